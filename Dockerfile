# tidegate in a container, not root.
#
#   docker build -t tidegate .
#   docker run --init --name tidegate -p 8080:8080 \
#     -v ./tidegate.toml:/etc/tidegate/tidegate.toml:ro -v tidegate:/var/lib/tidegate \
#     --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
#     --security-opt systempaths=unconfined tidegate
#
# Sandboxes are namespaces within this container. Docker's own filters forbid making
# them, hence the three options: they give up a wall around the gateway's container,
# not one between sandboxes. They take no privilege: don't add --privileged.
#
# In tidegate.toml: listen = "0.0.0.0:8080", state-dir = "/var/lib/tidegate". The
# control API stays on the container's loopback: `docker exec tidegate tidegate ps`.

FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-unknown-unknown
WORKDIR /src
COPY . .
# The registry and what was built stay between builds of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package tidegate \
    && install -D target/release/tidegate /out/tidegate

FROM debian:bookworm-slim AS runtime
# Certificates for upstreams over HTTPS come with the binary; nothing to install.
RUN useradd --system --uid 10001 --home-dir /var/lib/tidegate --shell /usr/sbin/nologin tidegate \
    && install -d -o tidegate -g tidegate -m 0700 /var/lib/tidegate \
    && install -d /etc/tidegate
COPY --from=build /out/tidegate /usr/local/bin/tidegate
USER tidegate
WORKDIR /var/lib/tidegate
VOLUME /var/lib/tidegate
EXPOSE 8080
STOPSIGNAL SIGTERM
# The control API's health check: is the process alive and answering?
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8081 && printf 'GET /healthz HTTP/1.0\\r\\nhost: 127.0.0.1:8081\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["tidegate"]
CMD ["serve", "--config", "/etc/tidegate/tidegate.toml"]
