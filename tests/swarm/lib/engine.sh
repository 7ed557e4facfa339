# The engine before, during and after the tests: requirements, the Swarm, the
# stack, and its removal. For scripts/test-swarm.
# shellcheck shell=bash disable=SC2154

refuse() {
    printf 'test-swarm: %s\n' "$*" >&2
    exit 1
}

look_around() {
    local network
    [ "$(id -u)" -eq 0 ] || refuse "run it as root: it makes a root file system"
    command -v rustc >/dev/null || refuse "rustc is missing: install Rust 1.89 or later"
    command -v docker >/dev/null || refuse "docker is missing: install Docker Engine"
    docker info >/dev/null 2>&1 || refuse "no Docker Engine answers: start it"
    [ "$(docker info -f '{{.Swarm.LocalNodeState}}')" = inactive ] ||
        refuse "this engine is in a Swarm already: use a machine of its own, or docker swarm leave"
    for network in "${networks[@]}"; do
        ! docker network inspect "$network" >/dev/null 2>&1 ||
            refuse "there is a network named $network already: remove it"
    done
    [ -z "$(ip -brief address show to "$nodes.0/24")" ] || refuse "this machine has an address in $nodes.0/24"
    [ -z "$(docker volume ls -q --filter "name=^${stack}_" --filter 'name=^param_')" ] ||
        refuse "there are volumes named ${stack}_... or param_... already: remove them"
    [ -n "$keep" ] || [ -z "$(docker images -q "$images")" ] ||
        refuse "there are images named $images already: remove them, or use them with --keep"
}

install_tools() {
    scripts/install-tools debootstrap=debootstrap dnsmasq=dnsmasq-base ss=iproute2 \
        hostname=hostname iptables=iptables nsenter=util-linux curl=curl update-ca-certificates=ca-certificates
}

# The objects of the engine, and what the tests change of this machine's network, to
# verify at the end that they are the same.
inventory() {
    docker ps -aq --no-trunc
    [ -n "$keep" ] || docker images -aq --no-trunc
    docker volume ls -q
    docker network ls --format '{{.Name}}' | sort
    iptables -w -t nat -S INPUT 2>/dev/null
    ip -brief address show to "$nodes.0/24"
}

make_swarm() {
    [ -z "$(ss -Hlntu 'sport = :53')" ] || fail "port 53 is not free: $(ss -Hlntup 'sport = :53' | head -n 1)"
    swarm=yes
    docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:2377 >/dev/null
    docker node update --label-add paramd=true "$(docker info -f '{{.Swarm.NodeID}}')" >/dev/null
    gateway=$(ip -4 -o address show docker0 | awk '{ sub("/.*", "", $4); print $4 }')
    [ -n "$gateway" ] || fail "the engine has no bridge docker0"
    in_background "$work/dnsmasq.log" dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
        --listen-address="127.0.0.53,$gateway" --bind-interfaces --address="/$public_name/$public_address"
}

# Zone files with short leases, and more networks: one of two peers without stable
# names, one for queries by hand, one of a single validator and a REST peer, and two
# that share a Docker network.
make_zones() {
    local zone
    mkdir "$work/zones"
    for zone in pbft noops; do
        sed "s/^lease = .*/lease = \"${lease}s\"/" "zones/$zone.toml" >"$work/zones/$zone.toml"
    done
    sed -e 's/^origin = .*/origin = "unnamed.fabric.internal"/' -e 's/^n = .*/n = 2/' \
        -e 's/^reclaim = .*/reclaim = "4s"/' "$work/zones/pbft.toml" >"$work/zones/unnamed.toml"
    sed 's/^origin = .*/origin = "tools.fabric.internal"/' zones/noops.toml >"$work/zones/tools.toml"
    for zone in pair left right; do
        sed "s/^origin = .*/origin = \"$zone.fabric.internal\"/" "$work/zones/noops.toml" >"$work/zones/$zone.toml"
    done
    chmod -R a+rX "$work"
}

# deploy_stack [VARIABLE=VALUE...]: deploys with these values, now and later.
deploy_stack() {
    local setting
    for setting; do
        export "${setting?}"
    done
    docker stack deploy --resolve-image never \
        -c scripts/swarm/stack.yml -c tests/swarm/override.yml "$stack" >"$work/deploy.log" 2>&1 ||
        fail "$(cat "$work/deploy.log")"
}

nothing_is_left() {
    local before
    before=$(cat "$work/before")
    clean_up || true
    [ "$(inventory)" = "$before" ] || fail "left behind: $(diff <(echo "$before") <(inventory))"
}

clean_up() {
    local entry pid deadline network
    for entry in "${background[@]}"; do
        # Its PID may be that of another process by now.
        [ ! -e "${entry#* }.status" ] || continue
        pid=${entry%% *}
        kill -- "-$pid"
        deadline=$((SECONDS + 10))
        while kill -0 -- "-$pid"; do
            [ "$SECONDS" -lt "$deadline" ] || kill -KILL -- "-$pid"
            sleep 0.1
        done
    done
    background=()
    if [ -n "$swarm" ]; then
        docker service rm param_daemon peer_mixed peer_validator peer_rest
        docker stack rm "$stack"
        deadline=$((SECONDS + 30))
        while [ -n "$(docker ps -aq --filter label=com.docker.swarm.task)" ] && [ "$SECONDS" -lt "$deadline" ]; do
            sleep 0.3
        done
    fi
    # By their labels: those of an image without the base are not found otherwise.
    # shellcheck disable=SC2046
    docker rm -fv $(docker ps -aq --filter "label=$label")
    if [ -n "$(docker images -q "$images:base")" ]; then
        # shellcheck disable=SC2046
        docker rm -fv $(docker ps -aq --filter "ancestor=$images:base")
    fi
    if [ -n "$swarm" ]; then
        for network in "${networks[@]}"; do
            docker network rm "$network"
        done
        docker volume rm "${stack}"_{data,ledger,data1,data2,data3,etcd1,etcd2,etcd3} param_data param_ledger
        docker swarm leave --force
        remove_nodes
        if ! grep -qx docker_gwbridge "$work/before"; then
            docker network disconnect -f docker_gwbridge gateway_ingress-sbox
            docker network rm docker_gwbridge
        fi
        swarm=''
    fi
    if [ -z "$keep" ]; then
        remove_images
    fi
    # An interrupted debootstrap may have left these mounted.
    umount "$work/root/proc" "$work/root/sys"
    rm -rf --one-file-system "$work" target/swarm/*.part
} >/dev/null 2>&1

remove_images() {
    local image first
    # Everything that was built on the base, including failed builds.
    first=$(docker image inspect -f '{{index .RootFS.Layers 0}}' "$images:base")
    if [ -n "$first" ]; then
        for image in $(docker images -aq --no-trunc); do
            [ "$(docker image inspect -f '{{index .RootFS.Layers 0}}' "$image")" != "$first" ] ||
                docker rmi -f "$image"
        done
    fi
    # shellcheck disable=SC2046
    docker rmi -f $(docker images -q --filter "label=$label")
}

# A failing check ends the script.
leave() {
    local status=$?
    trap - EXIT ERR
    trap '' HUP INT TERM
    set +e
    clean_up
    [ "$status" -eq 0 ] || printf '%d passed, 1 failed\n' "$passed"
    exit "$status"
}
