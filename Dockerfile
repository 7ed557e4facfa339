# The parameter service.
#
#   docker build -t param-daemon .
#   docker run -p 53:53/udp -p 53:53/tcp -v paramd-data:/var/lib/paramd
# param-daemon
#
# Your own zone files replace those of the image, as a whole directory (-v
# "$PWD/zones:/etc/paramd/zones:ro") or file by file, as in scripts/swarm.
#
# Both base images can be replaced: any with Rust 1.89 and apt for the build, any
# small Debian of the same release to run on.
ARG RUST_IMAGE=rust:1-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock README.md ./
COPY src src
COPY benches benches
# The profile of releases (Cargo.toml). Link-time optimization takes most of the time
# of a build, so builds for tests do without it.
ARG CARGO_PROFILE_RELEASE_LTO=fat
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
RUN cargo build --release --locked --bin paramd \
    && strip target/release/paramd

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="param-daemon" \
      org.opencontainers.image.description="A DNS server that gives identical containers an identity: peer ID, root nodes and PBFT size" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 953 --user-group --no-create-home --home-dir /var/lib/paramd --shell /usr/sbin/nologin paramd \
    && install -d -o paramd -g paramd -m 0750 /var/lib/paramd
COPY --from=build /src/target/release/paramd /usr/local/bin/paramd
# Any user may bind port 53 with this program, also on the host's network, and has
# no other privilege. It is set here because not every builder copies file
# capabilities.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libcap2-bin \
    && setcap cap_net_bind_service=+ep /usr/local/bin/paramd \
    && apt-get purge -y --auto-remove libcap2-bin \
    && rm -rf /var/lib/apt/lists/*
COPY zones /etc/paramd/zones
ENV PARAMD_ZONES=/etc/paramd/zones \
    PARAMD_DATA=/var/lib/paramd
USER paramd
# There is no volume for the zone files: those of the first image would hide those
# of a new one.
VOLUME ["/var/lib/paramd"]
EXPOSE 53/udp 53/tcp 853/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["paramd", "health"]
ENTRYPOINT ["paramd"]
CMD ["serve"]
