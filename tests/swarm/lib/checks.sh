# Checks of the images and the stack, for scripts/test-swarm.
# shellcheck shell=bash disable=SC2154

# run_joining MOUNT REASON: a peer that should join network weave ends with status
# 1 and one line.
run_joining() {
    local status=0 said
    said=$(docker run --rm ${1:+-v "$1"} -e CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE=weave \
        "$images:peer" 192.0.2.1 2>&1) || status=$?
    [ "$status" -eq 1 ] || fail "status $status, not 1, for '$2': $said"
    [ "$(wc -l <<<"$said")" -eq 1 ] || fail "more than one line: $said"
    grep -q "^start_peer: .*$2" <<<"$said" || fail "it does not say '$2': $said"
}

joining_fails_clearly() {
    mkdir "$work/dead"
    docker run --rm -v "$work/dead:/dead" --entrypoint python3 "$images:peer" \
        -c 'import socket; socket.socket(socket.AF_UNIX).bind("/dead/docker.sock")'
    run_joining '' 'no Docker socket at /var/run/docker.sock'
    run_joining "$work/dead/docker.sock:/var/run/docker.sock" \
        'cannot join network weave .*onnect to'
    run_joining /var/run/docker.sock:/var/run/docker.sock \
        'cannot join network weave .*network weave not found'
}

image_is_small_and_healthy() {
    local size capabilities container
    size=$(docker image inspect -f '{{.Size}}' "$images:service")
    note "the image has $((size / 1000000)) MB"
    [ "$size" -lt 120000000 ] || fail "the image has $size bytes"
    eventually 40 "the service is healthy" is_healthy
    container=$(container "$server")
    [ "$(docker exec "$container" id -u)" -ne 0 ] || fail "it runs as root"
    # Bit 10 is the capability to bind ports below 1024.
    capabilities=$(docker exec "$container" sed -n 's/^CapEff:\s*//p' /proc/1/status)
    [ $((16#$capabilities)) -eq $((1 << 10)) ] || fail "its capabilities are $capabilities"
    # The image contains zone files of its own.
    [ "$(docker run --rm --entrypoint sh "$images:service" -c 'cd /etc/paramd/zones && echo *')" = \
        "noops.toml pbft.toml" ] || fail "the image has other zone files"
    docker run --rm "$images:service" check >/dev/null || fail "the image's zone files are wrong"
}

is_healthy() {
    local container
    container=$(container "$server")
    [ -n "$container" ] && [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]
}

noops_peers_are_one_network() {
    eventually 20 "two noops peers" lives noops 2
    eventually 40 "the noops peers see each other" noops_peers_meet
}

rest_is_published() {
    local answer id
    answer=$(curl --silent --show-error --max-time 5 "http://$PARAM_DNS:7050/network/peers") ||
        fail "nobody answers at port 7050 of the node"
    for id in nvp0 vp0 vp1 vp2 vp3; do
        grep -q "\"name\":\"$id\"" <<<"$answer" || fail "$id is not in $answer"
    done
}

names_resolve_in_tasks() {
    local container
    # This one has only resolv.conf, the next one queries the service directly.
    container=$(container "${stack}_noops.1")
    resolves "$container" vp0 "$(address_of noops vp0)"
    resolves "$container" "${stack}_noops-2" "$(address_on "$noops" "$(container "${stack}_noops.2")")"
    container=$(container "${stack}_peer.1")
    resolves "$container" vp0.pbft.fabric.internal "$(address_of pbft vp0)"
    resolves "$container" "${stack}_peer-2" "$(address_on "$pbft" "$(container "${stack}_peer.2")")"
    # For the name in the zone, the service answers, and not the engine.
    resolves "$container" "${stack}_noops-2.noops.fabric.internal" \
        "$(address_on "$noops" "$(container "${stack}_noops.2")")"
}

# Without PARAMD_FORWARD the service refuses names that are in no zone, and the
# engine queries the next dns entry.
refused_names_go_to_the_next_entry() {
    local answer
    ! docker exec "$(container "${stack}_peer.1")" getent hosts "$public_name" >/dev/null ||
        fail "$public_name resolves, and nothing forwards it"
    answer=$(docker run --rm --network "$pbft" --dns "$PARAM_DNS" --dns "$gateway" --entrypoint sh "$images:peer" \
        -c "getent hosts $public_name; getent hosts vp1.pbft.fabric.internal" | awk '{ print $1 }' | paste -sd ' ')
    [ "$answer" = "$public_address $(address_of pbft vp1)" ] || fail "with a second entry: $answer"
}

# A task may use another tool than the script, and know only the resolver of the
# engine.
every_tool_registers() {
    local container tool answer number=0
    container=$(container "${stack}_noops.1")
    docker exec "$container" grep -qx 'nameserver 127.0.0.11' /etc/resolv.conf ||
        fail "the engine is not the resolver of a task"
    for tool in 'dig TXT' 'dig +nocookie TXT' 'dig +noedns TXT' 'kdig TXT' 'host -t TXT' 'nslookup -type=TXT'; do
        # shellcheck disable=SC2086  # a word each
        answer=$(docker exec "$container" $tool "host-$number.tools.fabric.internal." 2>&1) || fail "$tool: $answer"
        grep -q "\"id=vp$number\"" <<<"$answer" || fail "$tool is not given vp$number: $answer"
        number=$((number + 1))
    done
    lives tools "$number" || fail "not $number live hosts: $(table tools)"
}

# One container is kept for each network, to obstruct the removal of the stack.
chaincode_reaches_every_peer() {
    local zone
    for zone in pbft noops; do
        start_chaincode "$zone" 7
        # shellcheck disable=SC2016,SC2046  # for the shell inside; a word each
        docker exec "$new" bash -c '
            for peer; do
                timeout 3 bash -c "exec 3<>/dev/tcp/$peer/7051" || { echo "not $peer"; exit 1; }
            done' bash $(table "$zone" | sed "s/ .*/.$zone.fabric.internal/") || fail "a peer of $zone is not reached"
    done
}

# start_chaincode ZONE NUMBER: as a peer does it, with the name, and on the network and
# with the resolver in its environment. Sets new.
start_chaincode() {
    local peer name
    peer=$(container "${stack}_$([ "$1" = noops ] || echo peer; [ "$1" = pbft ] || echo noops).1")
    name=$(peer_variable "$peer" CORE_PEER_NETWORKID)-$(peer_id "$peer")-$(printf %064d "$2")
    new=$(docker run -d --name "$name" --label "$label" \
        --network "$(peer_variable "$peer" CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE)" \
        --dns "$(peer_variable "$peer" CORE_VM_DOCKER_HOSTCONFIG_DNS)" --entrypoint sleep "$images:peer" 1000)
}

unnamed_task_takes_over() {
    local old task id host address began
    eventually 20 "two unnamed peers" lives unnamed 2
    task=${stack}_unnamed.1
    old=$(container "$task")
    id=$(id_of unnamed "${old:0:12}")
    began=$SECONDS
    docker rm -fv "$old" >/dev/null
    eventually 20 "a new container" is_replaced "$task" "$old"
    host=${new:0:12}
    address=$(address_on fabric_unnamed "$new")
    eventually 10 "it waits, and says why" says "$new" '^start_peer: waiting: .* REFUSED: '
    has_line unnamed "$id ${old:0:12} .*" || fail "it need not have waited"
    docker logs "$new" 2>&1 | sed -n 's/^start_peer: waiting/            waiting/p'
    eventually 30 "$host is $id at $address" has_line unnamed "$id $host $address live"
    note "$id is its own $((SECONDS - began)) s after the other was killed"
}

# N is 2: a third peer waits until there is room.
scaling_follows_n() {
    local slot
    deploy_stack TEST_REPLICAS=4
    for slot in 3 4; do
        eventually 30 "slot $slot starts" is_replaced "${stack}_unnamed.$slot" ''
        eventually 15 "slot $slot waits, and says why" says "$new" '^start_peer: waiting: .* REFUSED: .*2'
    done
    docker logs "$new" 2>&1 | sed -n 's/^start_peer: waiting/            waiting/p'
    lives unnamed 2 || fail "not two live peers while two wait: $(table unnamed)"

    # A new version of the zone files, and forwarding to the resolver of the node
    # at 127.0.0.53.
    sed -i 's/^n = 2$/n = 4/' "$work/zones/unnamed.toml"
    deploy_stack PARAM_VERSION=2 PARAMD_FORWARD=127.0.0.53
    eventually 60 "four live peers" lives unnamed 4
    [ "$(table unnamed | cut -d ' ' -f 1 | paste -sd ' ')" = "vp0 vp1 vp2 vp3" ] || fail "other IDs: $(table unnamed)"
    resolves "$(container "${stack}_peer.1")" "$public_name" "$public_address"
    resolves "$(container "${stack}_noops.1")" "$public_name" "$public_address"

    deploy_stack TEST_REPLICAS=2
    # These leases are ended, so there is nothing to wait for.
    eventually $((lease - 3)) "two leases end" lives unnamed 2
}

# Without their state: a peer that is gone counts as live for one lease after a
# restart.
registrations() { table pbft noops unnamed pair | cut -d ' ' -f 1-3; }

service_comes_back_to_its_volume() {
    local old before peer containers
    old=$(container "$server")
    before=$(registrations)
    containers=$(container "${stack}_(noops|peer|rest|unnamed|pair|pair_rest)")
    [ "$(wc -l <<<"$containers")" -eq 11 ] || fail "not eleven peers: $containers"
    docker kill "$old" >/dev/null
    docker service scale --detach "${stack}_noops=3" >/dev/null 2>&1
    eventually 20 "a third noops peer starts" is_replaced "${stack}_noops.3" ''
    peer=$new
    eventually 15 "it waits" says "$peer" '^start_peer: waiting: '
    [ -z "$(container "$server")" ] || fail "the service was back before the peer could wait"
    docker logs "$peer" 2>&1 | sed -n 's/^start_peer: waiting/            waiting/p'
    eventually 30 "the service is back" is_replaced "$server" "$old"
    eventually 30 "three live noops peers" lives noops 3
    eventually 5 "the new peer is vp2" says "$peer" "^start_peer: ${stack}_noops-3 is vp2 "
    [ "$(registrations | grep -v " ${stack}_noops-3 ")" = "$before" ] ||
        fail "before: $before; now: $(registrations)"
    for peer in $containers; do
        [ "$(docker inspect -f '{{.State.Running}}' "$peer")" = true ] || fail "peer $peer has ended"
    done
}

# A container that is not on a network of the engine joins it if its environment
# names it.
plain_container_joins() {
    local plain address
    plain=$(docker run -d --hostname plain --dns "$PARAM_DNS" -e CONSEN=noops \
        -v /var/run/docker.sock:/var/run/docker.sock \
        -e CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE="$noops" "$images:peer" "$PARAM_DNS")
    eventually 20 "it is registered" says "$plain" '^start_peer: plain is '
    address=$(address_on "$noops" "$plain")
    [ -n "$address" ] || fail "it has no address on $noops"
    has_line noops "vp[0-9]* plain $address live" || fail "not registered at $address: $(table noops)"
    docker restart "$plain" >/dev/null
    address=$(address_on "$noops" "$plain")
    eventually 20 "it is there again" has_line noops "vp[0-9]* plain $address live"
    docker stop "$plain" >/dev/null
    has_line noops "vp[0-9]* plain $address gone" || fail "it left no word: $(docker logs "$plain" 2>&1)"
    docker rm -v "$plain" >/dev/null
}

# The script brings dig and curl, and otherwise needs only busybox.
# It asks the engine's resolver, which has a second server to ask.
busybox_alone_registers() {
    local container address
    container=$(docker run -d --hostname small --dns "$PARAM_DNS" --dns "$gateway" -e CONSEN=tools \
        -v /var/run/docker.sock:/var/run/docker.sock \
        -e CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE=fabric_unnamed "$images:busybox-peer")
    eventually 20 "it is registered" says "$container" '^start_peer: small is '
    address=$(address_on fabric_unnamed "$container")
    has_line tools "vp[0-9]* small $address live" || fail "not registered at $address: $(table tools)"
    eventually 10 "the peer runs" says "$container" '^vp[0-9]* runs, is reached at vp[0-9]*.tools.fabric.internal:7051'
    docker stop "$container" >/dev/null
    has_line tools "vp[0-9]* small $address gone" || fail "it left no word: $(docker logs "$container" 2>&1)"
    docker rm -v "$container" >/dev/null
}

# As on a node that is no manager: its other containers stay.
chaincode_is_removed_alone() {
    local said other tasks
    [ "$(docker ps -q --filter "label=$label" | wc -l)" -eq 2 ] || fail "the chaincode has ended"
    other=$(docker run -d --label "$label" --network "$pbft" --entrypoint sleep "$images:peer" 1000)
    tasks=$(container "${stack}_[a-z_]*")
    said=$(scripts/swarm/remove.sh --chaincode "$stack" 2>&1) || fail "$said"
    [ "$(grep -c '^removed container ' <<<"$said")" -eq 2 ] || fail "not two containers: $said"
    [ "$(docker ps -q --no-trunc --filter "label=$label")" = "$other" ] || fail "not only the other one is left: $said"
    [ "$(container "${stack}_[a-z_]*")" = "$tasks" ] || fail "tasks have ended: $said"
    docker rm -fv "$other" >/dev/null
}

# Chaincode containers do not belong to Swarm. They must not keep the networks.
stack_is_removed_with_its_chaincode() {
    local said zone
    for zone in pbft noops; do
        start_chaincode "$zone" 8
    done
    said=$(scripts/swarm/remove.sh "$stack" 2>&1) || fail "$said"
    [ -z "$(docker ps -aq --filter "label=com.docker.stack.namespace=$stack" --filter "label=$label")" ] ||
        fail "containers are left: $said"
    [ -z "$(docker ps -aq --filter "label=$label")" ] || fail "the chaincode is left: $said"
    [ -z "$(docker network ls -q --filter "label=com.docker.stack.namespace=$stack")" ] || fail "networks are left: $said"
    [ -n "$(docker volume ls -q --filter "name=^${stack}_data")" ] || fail "the registrations are gone"
}

# The volume of the ledger, as a template for docker inspect.
ledger_source='{{range .Mounts}}{{if eq .Destination "/var/hyperledger/production"}}{{.Name}}{{end}}{{end}}'

# scripts/swarm/services.sh, with a network of the engine instead of Weave.
earlier_services_work() {
    local service container host id address
    # shellcheck disable=SC2034  # tools.sh reads it
    server=param_daemon.1
    docker network create weave >/dev/null
    scripts/swarm/services.sh >"$work/services.log" 2>&1 || fail "$(cat "$work/services.log")"
    eventually 60 "five live peers" lives pbft 5
    [ "$(table pbft | cut -d ' ' -f 1 | paste -sd ' ')" = "nvp0 vp0 vp1 vp2 vp3" ] || fail "other IDs: $(table pbft)"
    has_line pbft 'nvp0 peer_rest-1 .*' || fail "the REST peer took a replica's number"
    for service in peer_mixed.1 peer_mixed.2 peer_validator.1 peer_validator.2 peer_rest.1; do
        container=$(container "$service")
        host=${service/./-}
        address=$(address_on weave "$container")
        id=$(id_of pbft "$host")
        has_line pbft "$id $host $address live" || fail "$host is not at $address on weave"
        eventually 20 "$id listens" says "$container" "^$id listens on "
        docker exec "$container" test -e "/var/hyperledger/production/pbft.fabric.internal/$id/LOCK" ||
            fail "$id has no ledger in the folder of its network and ID"
        [ "$(docker inspect -f "$ledger_source" "$container")" = param_ledger ] || fail "the ledger of $id is in no volume"
        [ "$(docker exec "$container" cat /proc/sys/net/ipv4/tcp_retries2)" -eq 5 ] ||
            fail "TCP does not give up early in $host"
    done
    # shellcheck disable=SC2046
    eventually 30 "all see each other" all_see "nvp0 vp0 vp1 vp2 vp3" $(container 'peer_[a-z]*')
    eventually 10 "REST is published" curl --silent --fail --output /dev/null --max-time 5 "http://$PARAM_DNS:7050/network/peers"
}
