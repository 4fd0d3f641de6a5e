#!/usr/bin/env bash
# Builds the image `harness-kafka:VERSION`, in which `harness --target kafka` runs Apache Kafka,
# without any container registry: Kafka's jars come from Maven Central, Java from Debian.
#
#   targets/kafka/build-image.sh            # builds it unless it is there
#   targets/kafka/build-image.sh --force    # builds it anew
#
# It needs Docker, Maven (mvn) and mmdebstrap (Debian: apt install maven mmdebstrap), and takes
# some minutes, most of them for the root file system.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
version="$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")"
image="harness-kafka:$version"

if [ "${1:-}" != --force ] && docker image inspect "$image" >/dev/null 2>&1; then
  echo "$image is there already"
  exit 0
fi
missing=()
for tool in docker mvn mmdebstrap; do
  command -v "$tool" >/dev/null 2>&1 || missing+=("$tool")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "error: ${missing[*]} not found; on Debian: apt install docker.io maven mmdebstrap" >&2
  exit 1
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/opt/kafka"

echo "== the jars of Apache Kafka $version"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies \
  -DincludeScope=runtime "-DoutputDirectory=$work/root/opt/kafka/libs"
ls "$work/root/opt/kafka/libs/kafka_2.13-$version.jar" >/dev/null

jre=harness-jre:bookworm-17
if ! docker image inspect "$jre" >/dev/null 2>&1; then
  echo "== a root file system with Java"
  mmdebstrap --variant=minbase --include=openjdk-17-jre-headless \
    --essential-hook='mkdir -p "$1/usr/share/man/man1"' bookworm "$work/jre.tar"
  docker import "$work/jre.tar" "$jre" >/dev/null
fi

echo "== the image"
cat >"$work/root/Dockerfile" <<DOCKERFILE
FROM $jre
COPY opt /opt
DOCKERFILE
docker build -q -t "$image" "$work/root" >/dev/null
echo "built $image"
