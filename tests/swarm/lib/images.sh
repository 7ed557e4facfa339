# The images: a base, the service, a peer. For scripts/test-swarm.
# shellcheck shell=bash disable=SC2154

# The root file system of the base: a minimal Debian, without documentation, and
# with an apt that keeps no caches, like Debian's own images.
make_base() {
    local root=$work/root
    debootstrap --variant=minbase "$suite" "$root"
    rm -rf "$root"/usr/share/{doc,man,locale,info}/* \
        "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log
    cat >"$root/etc/apt/apt.conf.d/no-caches" <<'CONF'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
CONF
    tar -C "$root" -c . >"$1"
}

build_base() {
    local made cached
    made=$(declare -f make_base | cat - <(echo "$suite") | sha256sum | cut -c1-16)
    cached=target/swarm/base-$made.tar
    if [ ! -s "$cached" ]; then
        mkdir -p target/swarm
        rm -f target/swarm/base-*
        in_background "$work/base.log" make_base "$cached.part"
        finished "$work/base.log" "the base"
        mv "$cached.part" "$cached"
    fi
    # A new import would be another image, on which nothing has been built yet.
    if [ "$(docker image inspect -f '{{.Comment}}' "$images:base" 2>/dev/null)" != "$made" ]; then
        docker import -m "$made" "$cached" "$images:base" >/dev/null
    fi
    rm -rf "$work/root"
}

# build TAG ARGUMENT...
build() {
    local tag=$1
    shift
    DOCKER_BUILDKIT=0 docker build --force-rm -t "$images:$tag" --build-arg "BASE_IMAGE=$images:base" "$@"
}

# build_peer TAG PEER_IMAGE
build_peer() {
    build "$1" -f Dockerfile.peer --build-arg "PEER_IMAGE=$2" --build-arg "TOOLS_IMAGE=$images:base" .
}

build_peers() {
    build standin -f tests/swarm/Dockerfile.standin tests/swarm
    build_peer peer "$images:standin"
    build busybox -f tests/swarm/Dockerfile.busybox tests/swarm
    build_peer busybox-peer "$images:busybox"
}

# The stage that compiles is built separately, so that it has a tag by which it
# can be removed. It is compiled without link-time optimization, which takes most of
# the time, and which no check depends on.
build_service() {
    local rust
    local -a arguments=(
        --build-arg "RUST_IMAGE=$images:rust"
        --build-arg "CARGO_PROFILE_RELEASE_LTO=${CARGO_PROFILE_RELEASE_LTO:-off}"
        --build-arg "CARGO_PROFILE_RELEASE_CODEGEN_UNITS=${CARGO_PROFILE_RELEASE_CODEGEN_UNITS:-16}"
    )
    rust=$(rustc --print sysroot)
    tar -c -C "$PWD/tests/swarm" Dockerfile.rust -C /etc/ssl/certs --dereference ca-certificates.crt \
        -C "$rust" --exclude=lib/rustlib/src --exclude=share --exclude=etc . |
        build rust -f Dockerfile.rust -
    build compiled "${arguments[@]}" --target build .
    build service "${arguments[@]}" .
}
