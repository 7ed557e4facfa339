# Networks of peers whose tasks are replaced. tests/peers/fabric.rs tests more of this,
# in network namespaces. For scripts/test-swarm.
# shellcheck shell=bash disable=SC2154

# A validator is killed, and returns at another address without its ledger.
replaced_task_has_its_id() {
    local task=${stack}_peer.2 host=${stack}_peer-2 old id address began took
    old=$(container "$task")
    id=$(id_of pbft "$host")
    began=$SECONDS
    docker kill "$old" >/dev/null
    docker run --rm -v "${stack}_ledger:/ledger" --entrypoint rm "$images:peer" \
        -r "/ledger/pbft.fabric.internal/$id"
    eventually 20 "a new container" is_replaced "$task" "$old"
    eventually 40 "$host is $id at its new address" is_at_its_address pbft "$host"
    took=$((SECONDS - began))
    address=$(address_on "$pbft" "$new")
    note "$id again, at its new address, $took s after it was killed"
    [ "$took" -le $((lease + 5)) ] || fail "it took $took s"
    eventually 5 "the script says so" says "$new" "^start_peer: $host is $id at $address in pbft.fabric.internal"
    eventually 60 "all of PBFT see each other" pbft_peers_meet
    note "one network again $((SECONDS - began)) s after it was killed"
    only_answered_requests
}

# The host is registered as live at the address of its task's container. Sets new.
is_at_its_address() {
    new=$(container "${2%-*}.${2##*-}")
    [ -n "$new" ] && has_line "$1" "n\?vp[0-9]* $2 $(address_on "$pbft" "$new") live"
}

# All replicas are replaced, one by one, while the REST peer sends requests.
rolling_update_keeps_the_network() {
    local old slot id
    old=$(container "${stack}_peer")
    docker service update --detach --force "${stack}_peer" >/dev/null 2>&1
    eventually 180 "all four are replaced" all_replaced "${stack}_peer" 4 "$old"
    for slot in 1 2 3 4; do
        new=$(container "${stack}_peer.$slot")
        eventually 20 "slot $slot runs" says "$new" ' listens on '
        ! says "$new" '^start_peer: waiting' || fail "it had to wait: $(docker logs "$new" 2>&1)"
        id=$(peer_id "$new")
        has_line pbft "$id ${stack}_peer-$slot $(address_on "$pbft" "$new") live" || fail "not $id: $(table pbft)"
    done
    eventually 60 "all of PBFT see each other" pbft_peers_meet
    only_answered_requests
}

# all_replaced SERVICE COUNT OLD: this many are running, and none of the old ones.
all_replaced() {
    local now
    now=$(container "$1")
    [ "$(wc -w <<<"$now")" -eq "$2" ] && ! grep -qF "$3" <<<"$now"
}

# From now on, each request of the REST peer is answered by a validator at its
# current address.
only_answered_requests() {
    local rest before line addresses
    rest=$(container "${stack}_rest.1")
    before=$(requests "$rest" | wc -l)
    eventually 40 "eight more requests" has_requests "$rest" $((before + 9))
    addresses=$(table pbft | awk '$1 ~ /^vp/ { print "(" $3 "): answered by " $1 " of pbft-fabric-internal" }')
    # The first request may have been under way.
    while read -r line; do
        grep -qF "${line#* asked * }" <<<"$addresses" || fail "a request has gone astray: $line; there are: $addresses"
    done < <(requests "$rest" | tail -n "+$((before + 2))")
}

requests() { docker logs "$1" 2>&1 | grep '^nvp0 asked '; }
has_requests() { [ "$(requests "$1" | wc -l)" -ge "$2" ]; }

# No peer has ever had a connection with one of another network.
networks_are_separate() {
    local service zone met
    for service in peer rest noops unnamed; do
        case $service in
            peer | rest) zone=pbft ;;
            *) zone=$service ;;
        esac
        met=$(docker service logs --raw "${stack}_$service" 2>&1 |
            sed -n 's/.* talks with n\?vp[0-9]* of \([^ ]*\) at .*/\1/p' | sort -u)
        [ "$met" = "$zone-fabric-internal" ] || fail "a peer of $zone has met peers of: $met"
    done
}

# Chaincode containers do not belong to Swarm. They must not keep the networks.
stack_is_removed_with_its_chaincode() {
    local said
    [ "$(docker ps -q --filter "label=$label" | wc -l)" -eq 2 ] || fail "the chaincode has ended"
    said=$(scripts/swarm/remove.sh "$stack" 2>&1) || fail "$said"
    [ -z "$(docker ps -aq --filter "label=com.docker.stack.namespace=$stack" --filter "label=$label")" ] ||
        fail "containers are left: $said"
    [ -z "$(docker ps -aq --filter "label=$label")" ] || fail "the chaincode is left: $said"
    [ -z "$(docker network ls -q --filter "label=com.docker.stack.namespace=$stack")" ] || fail "networks are left: $said"
    [ -n "$(docker volume ls -q --filter "name=^${stack}_data")" ] || fail "the registrations are gone"
}

# scripts/swarm/services.sh, with a network of the engine instead of Weave.
earlier_services_work() {
    local service container host address
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
        has_line pbft "$(id_of pbft "$host") $host $address live" || fail "$host is not at $address on weave"
    done
    # shellcheck disable=SC2046
    eventually 30 "all see each other" all_see "nvp0 vp0 vp1 vp2 vp3" $(container 'peer_[a-z]*')
    eventually 10 "REST is published" curl --silent --fail --output /dev/null --max-time 5 "http://$PARAM_DNS:7050/network/peers"
}
