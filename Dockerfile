# The reference broker's image: one static binary and an empty data directory. No shell, no libc,
# no root.
#
# The harness builds it by itself. By hand, from the top of the repository:
#
#   RUSTFLAGS="--cfg tokio_unstable -C target-feature=+crt-static" \
#     cargo build --release --target x86_64-unknown-linux-gnu -p broker
#   mkdir -p target/image/data
#   cp target/x86_64-unknown-linux-gnu/release/broker target/image/
#   docker build -t broker -f Dockerfile target/image
#   docker run --rm -p 127.0.0.1:9092:9092 -v broker-data:/data broker
#
# Arguments after the image's name replace those of CMD; `docker run --rm broker --help` lists
# them.
FROM scratch
COPY --chown=65532:65532 data /data
COPY broker /broker
USER 65532:65532
EXPOSE 9092 9093 9094 9095
ENTRYPOINT ["/broker"]
CMD ["--data-dir=/data", "--client-listen=0.0.0.0:9092", "--client-advertised=127.0.0.1:9092", "--admin-listen=0.0.0.0:9095"]
