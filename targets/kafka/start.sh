# The command of a container of Apache Kafka: its arguments are the lines of its properties. It
# suits every image with Java on the PATH and Kafka's jars in /opt/kafka/libs: ours, and the
# published apache/kafka.
set -eu
properties=/tmp/server.properties
printf '%s\n' "$@" >"$properties"
# The same for all brokers; a cluster of ours lives for one run.
cluster=4L6g3nShT-eMCtK--X86sw
java="java -cp /opt/kafka/libs/* -Xms256m -Xmx512m -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError"
java="$java -Dorg.apache.logging.log4j.level=INFO -Djava.awt.headless=true"
set -f # the star is for Java
[ -e /data/log/meta.properties ] ||
  $java kafka.tools.StorageTool format -t "$cluster" -c "$properties" --ignore-formatted
exec $java kafka.Kafka "$properties"
