# Three replicas of the service on a store in etcd: scripts/swarm/stack-ha.yml, whose
# three nodes are all this machine. For scripts/test-swarm.
# shellcheck shell=bash disable=SC2154

build_etcd() {
    build etcd -f tests/swarm/Dockerfile.etcd tests/swarm
}

# The addresses of the nodes, on a bridge without ports: any engine's kernel has
# bridges. Tasks reach all of them directly, so the source addresses are rewritten as
# they are for a task on the first node: what goes to the other nodes is masqueraded
# by its engine. The replica on the first node sees the task itself (`masqueraded` in
# scripts/swarm/replica.toml).
make_nodes() {
    local number node protocol
    node=$(docker info -f '{{.Swarm.NodeID}}')
    ip link add "$bridge" type bridge
    ip link set "$bridge" up
    for number in 1 2 3; do
        ip address add "$nodes.$number/32" dev "$bridge"
        docker node update --label-add "paramd$number=true" "$node" >/dev/null
    done
    for number in 2 3; do
        for protocol in udp tcp; do
            source_rule -A "$number" "$protocol"
        done
    done
}

# source_rule -A|-D NODE PROTOCOL
source_rule() {
    iptables -w -t nat "$1" INPUT -i docker_gwbridge -d "$nodes.$2" -p "$3" --dport 53 \
        -j SNAT --to-source "$nodes.1"
}

remove_nodes() {
    local number protocol
    for number in 2 3; do
        for protocol in udp tcp; do
            source_rule -D "$number" "$protocol"
        done
    done
    ip link delete "$bridge"
}

# The network is one although each peer has its identity from any of the replicas.
# What one replica has registered, all of them know, and renew.
replicas_agree() {
    local number registered
    make_nodes
    PARAM_BRIDGE=$(docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' docker_gwbridge)
    export PARAM_BRIDGE
    ETCD_IMAGE="$images:etcd" PARAM_NODE1=$nodes.1 PARAM_NODE2=$nodes.2 PARAM_NODE3=$nodes.3 \
        docker stack deploy --resolve-image never \
        -c scripts/swarm/stack-ha.yml -c tests/swarm/override-ha.yml "$stack" >"$work/deploy.log" 2>&1 ||
        fail "$(cat "$work/deploy.log")"
    ask_replica 1
    eventually 60 "five live peers" lives pbft 5
    [ "$(table pbft | cut -d ' ' -f 1 | paste -sd ' ')" = "nvp0 vp0 vp1 vp2 vp3" ] || fail "other IDs: $(table pbft)"
    for number in 1 2 3; do
        eventually 10 "a host registers with replica $number" registers "$number" "$number"
    done
    registered=$SECONDS
    eventually 5 "all replicas know the same" all_know pbft 5
    eventually 5 "all replicas know the same" all_know tools 3
    eventually 40 "all of PBFT see each other" pbft_peers_meet
    while [ $((SECONDS - registered)) -lt 5 ]; do
        sleep 0.3
    done
    for number in 1 2 3; do
        registers $((number % 3 + 1)) "$number" || fail "replica $((number % 3 + 1)) does not answer"
    done
    eventually 2 "each host has renewed its lease through another replica" all_heard tools 3 2
    note "the writer is replica $(writer)"
}

# The others answer meanwhile. New hosts wait for the election only.
killed_writer_is_replaced() {
    local old other before began
    old=$(writer)
    other=$((old % 3 + 1))
    ask_replica "$other"
    before=$(running_peers)
    began=$SECONDS
    docker kill "$(container "${stack}_paramd$old")" >/dev/null
    eventually 10 "another host registers" registers "$other" 4
    [ -z "$(container "${stack}_paramd$old")" ] || fail "replica $old was back before another one was elected"
    note "replica $old, the writer, was killed, and a host registered $((SECONDS - began)) s later; the writer is $(writer)"
    goes_on "$before" "$began"
    eventually 20 "replica $old is back" knows "$old" tools 4
}

# A node is lost, that of the writer: a member of etcd and a replica.
lost_node_is_survived() {
    local lost other before began
    lost=$(writer)
    other=$((lost % 3 + 1))
    ask_replica "$other"
    before=$(running_peers)
    began=$SECONDS
    docker service scale --detach "${stack}_etcd$lost=0" "${stack}_paramd$lost=0" >/dev/null 2>&1
    eventually 20 "the member and the replica are gone" are_gone "$lost"
    eventually 10 "another host registers" registers "$other" 5
    note "a host registered $((SECONDS - began)) s after node $lost began to stop; the writer is $(writer)"
    resolves "$(container "${stack}_peer.1")" vp1.pbft.fabric.internal "$(address_of pbft vp1)"
    goes_on "$before" "$began"
    docker service scale --detach "${stack}_etcd$lost=1" "${stack}_paramd$lost=1" >/dev/null 2>&1
    eventually 30 "replica $lost is back, and knows the new hosts" knows "$lost" tools 5
    eventually 20 "member $lost is back" member_serves "$lost"
    eventually 10 "all replicas know the same" all_know pbft 5
    [ "$(running_peers)" = "$before" ] || fail "before: $before; now: $(running_peers)"
}

replicas_are_removed() {
    local said
    said=$(scripts/swarm/remove.sh "$stack" 2>&1) || fail "$said"
    ! ss -Hlntu 'sport = :53' | grep -F "$nodes." >/dev/null || fail "a replica is left: $(ss -Hlntup 'sport = :53')"
}

# ask_replica NUMBER: from now on, table and its like ask this one.
ask_replica() {
    # shellcheck disable=SC2034  # tools.sh reads it
    server=${stack}_paramd$1.1
}

# registers REPLICA NUMBER: a query by hand for the host of that number, from a task.
registers() {
    local answer
    answer=$(docker exec "$(container "${stack}_peer.1")" dig +short +tries=1 +time=1 \
        "@$nodes.$1" +subnet="10.9.0.$2/32" TXT "host-$2.tools.fabric.internal" 2>&1) &&
        grep '^"id=vp[0-9]*"' <<<"$answer" >/dev/null
}

# knows REPLICA ZONE COUNT
knows() {
    local server=${stack}_paramd$1.1
    [ -n "$(container "$server")" ] && [ "$(table "$2" | wc -l)" -eq "$3" ]
}

# all_know ZONE COUNT: the same registrations, without whether they are live.
all_know() {
    local number server views
    for number in 1 2 3; do
        knows "$number" "$1" "$2" || return 1
        server=${stack}_paramd$number.1
        views+=$(table "$1" | cut -d ' ' -f 1-3 | paste -sd ';')$'\n'
    done
    [ "$(sort -u <<<"${views%$'\n'}" | wc -l)" -eq 1 ]
}

# etcdctl_at NODE ARGUMENT...
etcdctl_at() {
    local node=$1
    shift
    docker exec "$(container "${stack}_etcd$node")" etcdctl --endpoints "http://$nodes.$node:2379" "$@" 2>&1
}

# The number of the replica that is the writer, from the first member that answers.
writer() {
    local node name
    for node in 1 2 3; do
        [ -n "$(container "${stack}_etcd$node")" ] || continue
        name=$(etcdctl_at "$node" get --print-value-only /paramd/1/leader | sed -n 's/.*"name":"\([^"]*\)".*/\1/p')
        [ -z "$name" ] || break
    done
    [ -n "$name" ] || fail "there is no writer"
    printf '%s\n' "${name#"${stack}_paramd"}"
}

member_serves() { etcdctl_at "$1" endpoint health | grep 'is healthy' >/dev/null; }

are_gone() { [ -z "$(container "${stack}_etcd$1")$(container "${stack}_paramd$1")" ]; }

# The peers of pbft: their registrations with their epochs, and their containers.
running_peers() {
    holders pbft
    container "${stack}_(peer|rest)" | sort
}

# goes_on BEFORE BEGAN: all peers have renewed their leases since, they have the IDs
# and epochs that they had before, and none has been stopped.
goes_on() {
    # Three times PARAM_RENEW: each peer that has to has gone on to the next replica.
    while [ $((SECONDS - $2)) -lt 9 ]; do
        sleep 0.3
    done
    eventually 3 "every peer has renewed its lease" all_heard pbft 5 6
    [ "$(running_peers)" = "$1" ] || fail "before: $1; now: $(running_peers)"
}

# all_heard ZONE COUNT SECONDS: so many live peers, each heard in that time.
all_heard() {
    docker exec "$(container "$server")" paramd peers "$1.fabric.internal" 2>&1 |
        awk -v count="$2" -v limit="$3" '
            $1 ~ /^n?vp[0-9]+$/ && $5 == "live" && $6 ~ /^[0-9]+s$/ && $6 + 0 <= limit { heard++ }
            END { exit heard != count }'
}
