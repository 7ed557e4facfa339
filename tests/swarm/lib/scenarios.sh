# Networks of peers that lose tasks, nodes and addresses; all heal within a minute.
# tests/peers/fabric.rs tests more of this, in network namespaces. For
# scripts/test-swarm.
# shellcheck shell=bash disable=SC2154

# run_scenarios ROUNDS: so many times. The networks of `pair` and of `left` and
# `right` have nothing in common with those of the other checks. The first peer has
# listened late already when the stack was deployed.
run_scenarios() {
    local round suffix=''
    for ((round = 1; round <= $1; round++)); do
        [ "$1" -eq 1 ] || suffix=" (round $round of $1)"
        check_beside "the only validator is replaced, or starts after the REST peer: they find each other$suffix" \
            only_validator_is_replaced
        check_beside "two networks do not mix when an address is used again$suffix" reused_address_misleads_nobody
        [ "$round" -eq 1 ] ||
            check_that "all of PBFT start from nothing, and the first one listens late$suffix" pbft_starts_anew
        check_that "a task that is replaced without its ledger has its slot's ID and its network again$suffix" \
            replaced_task_has_its_id
        check_that "a rolling update of all waits for no lease, and no request goes to an address that is gone$suffix" \
            rolling_update_keeps_the_network
        check_that "the replacement of a peer that lost its power is in the network within 40 s$suffix" \
            power_loss_is_healed
        join_checks
    done
}

# remove_ledger ZONE ID: the folder of a peer; with '*' that of all peers.
remove_ledger() {
    docker run --rm --label "$label" -v "${stack}_ledger:/ledger" --entrypoint sh "$images:peer" \
        -c "rm -r /ledger/$1.fabric.internal/$2"
}

# The host is registered as live at the address of its task's container. Sets new.
is_at_its_address() {
    new=$(container "${2%-*}.${2##*-}")
    [ -n "$new" ] && has_line "$1" "n\?vp[0-9]* $2 $(address_on "${stack}_$1" "$new") live"
}

has_ended_tasks() { [ -z "$(container "$1")" ]; }

# Without consensus there may be one validator, and a peer that only serves REST.
only_validator_is_replaced() {
    local task=${stack}_pair.1 host=${stack}_pair-1 old before began
    eventually 60 "the two see each other" pair_meets
    old=$(container "$task")
    before=$(address_on "$pair" "$old")
    began=$SECONDS
    docker kill "$old" >/dev/null
    remove_ledger pair vp0
    healed_within 60 "$began" "a new container" is_replaced "$task" "$old"
    healed_within 60 "$began" "$host is vp0 at its new address" is_at_its_address pair "$host"
    [ "$(address_on "$pair" "$new")" != "$before" ] || fail "the address is the same: $before"
    healed_within 60 "$began" "the two see each other" pair_meets
    note "the two see each other $((SECONDS - began)) s after the only validator was killed"
    only_answered_requests pair_rest pair

    # Both are gone. The peer that does not validate starts first, and has nobody to
    # join.
    docker service scale --detach "${stack}_pair=0" "${stack}_pair_rest=0" >/dev/null 2>&1
    eventually 40 "both have ended" has_ended_tasks "${stack}_pair(_rest)?"
    eventually 5 "nobody is live" lives pair 0
    remove_ledger pair '*'
    docker service scale --detach "${stack}_pair_rest=1" >/dev/null 2>&1
    eventually 20 "the REST peer starts" is_replaced "${stack}_pair_rest.1" ''
    eventually 15 "it waits for a validator, and says why" says "$new" '^start_peer: waiting: .* REFUSED: '
    ! says "$new" ' listens on ' || fail "it has not waited: $(docker logs "$new" 2>&1)"
    began=$SECONDS
    docker service scale --detach "${stack}_pair=1" >/dev/null 2>&1
    healed_within 60 "$began" "the two see each other" pair_meets
    note "the two see each other $((SECONDS - began)) s after the validator was started, after the REST peer"
    only_answered_requests pair_rest pair
}

# A validator is killed, and returns at another address without its ledger.
replaced_task_has_its_id() {
    local task=${stack}_peer.2 host=${stack}_peer-2 old id before address began took
    old=$(container "$task")
    id=$(id_of pbft "$host")
    before=$(address_on "$pbft" "$old")
    began=$SECONDS
    docker kill "$old" >/dev/null
    remove_ledger pbft "$id"
    healed_within 60 "$began" "a new container" is_replaced "$task" "$old"
    healed_within 60 "$began" "$host is $id at its new address" is_at_its_address pbft "$host"
    took=$((SECONDS - began))
    address=$(address_on "$pbft" "$new")
    [ "$address" != "$before" ] || fail "the address is the same: $before"
    note "$id again, at its new address, $took s after it was killed"
    [ "$took" -le $((lease + 5)) ] || fail "it took $took s"
    eventually 5 "the script says so" says "$new" "^start_peer: $host is $id at $address in pbft.fabric.internal"
    healed_within 60 "$began" "all of PBFT see each other" pbft_peers_meet
    note "one network again $((SECONDS - began)) s after it was killed"
    only_answered_requests rest pbft
}

# All peers are replaced, one by one, while the REST peer sends requests.
rolling_update_keeps_the_network() {
    local old rest began slot host
    eventually 60 "all of PBFT see each other" pbft_peers_meet
    old=$(container "${stack}_peer")
    rest=$(container "${stack}_rest")
    began=$(date +%s.%N)
    # shellcheck disable=SC2086  # a word each
    record_addresses $old $rest
    docker service update --detach --force "${stack}_peer" >/dev/null 2>&1
    eventually 180 "all four are replaced" all_replaced "${stack}_peer" 4 "$old"
    docker service update --detach --force "${stack}_rest" >/dev/null 2>&1
    eventually 60 "the REST peer is replaced" all_replaced "${stack}_rest" 1 "$rest"
    for slot in peer.1 peer.2 peer.3 peer.4 rest.1; do
        new=$(container "${stack}_$slot")
        host=${stack}_${slot/./-}
        eventually 20 "$host runs" says "$new" ' listens on '
        ! says "$new" '^start_peer: waiting' || fail "it had to wait: $(docker logs "$new" 2>&1)"
        is_registered_at_once "$new" "$host"
        has_line pbft "$(peer_id "$new") $host $(address_on "$pbft" "$new") live" ||
            fail "not $(peer_id "$new"): $(table pbft)"
    done
    eventually 60 "all of PBFT see each other" pbft_peers_meet
    only_answered_requests rest pbft
    # shellcheck disable=SC2046
    record_addresses $(container "${stack}_(peer|rest)")
    requests_follow_the_peers "$began" "$rest" "$(container "${stack}_rest")"
}

# all_replaced SERVICE COUNT OLD: this many are running, and none of the old ones.
all_replaced() {
    local now
    now=$(container "$1")
    [ "$(wc -w <<<"$now")" -eq "$2" ] && ! grep -qF "$3" <<<"$now"
}

# is_registered_at_once CONTAINER HOST: after a clean stop there is no lease to wait
# for.
is_registered_at_once() {
    local registered started took
    registered=$(docker logs --timestamps "$1" 2>&1 |
        sed -n "s/^\([^ ]*\) start_peer: $2 is n\?vp[0-9]* at .*/\1/p" | awk 'NR == 1')
    started=$(docker inspect -f '{{.State.StartedAt}}' "$1")
    took=$(awk -v from="$(seconds_at "$started")" -v to="$(seconds_at "$registered")" \
        'BEGIN { printf "%.1f", to - from }')
    note "$2 was registered $took s after its start"
    awk -v took="$took" 'BEGIN { exit !(took <= 3) }' || fail "$2 was registered only $took s after its start"
}

# Without power nobody closes a connection. The others accept the replacement only
# after TCP has given up; see scripts/swarm/README.md.
power_loss_is_healed() {
    local task=${stack}_peer.2 host=${stack}_peer-2 old id others other since began
    eventually 60 "all of PBFT see each other" pbft_peers_meet
    old=$(container "$task")
    id=$(peer_id "$old")
    others=$(container "${stack}_(peer|rest)" | grep -vx "$old")
    drop_packets -I "$old"
    since=$(date +%s.%N)
    began=$SECONDS
    docker kill "$old" >/dev/null
    remove_ledger pbft "$id"
    while [ $((SECONDS - began)) -lt 9 ]; do
        sleep 0.3
    done
    for other in $others; do
        ! has_lost "$id" "$since" "$other" || fail "a peer has noticed too early, so packets have left: $(docker logs "$other" 2>&1)"
    done
    healed_within 40 "$began" "TCP of all others gives up" all_have_lost "$id" "$since" "$others"
    note "all others have lost $id $((SECONDS - began)) s after the loss of power"
    healed_within 40 "$began" "$host is $id at its new address" is_at_its_address pbft "$host"
    healed_within 40 "$began" "all of PBFT see each other" pbft_peers_meet
    note "one network again $((SECONDS - began)) s after the loss of power"
    only_answered_requests rest pbft
}

# has_lost ID SINCE CONTAINER
has_lost() { docker logs --since "$2" "$3" 2>&1 | grep " lost $1: " >/dev/null; }

# all_have_lost ID SINCE CONTAINERS
all_have_lost() {
    local container
    for container in $3; do
        has_lost "$1" "$2" "$container" || return 1
    done
}

# All tasks of PBFT end, lose their ledgers, and start at once.
pbft_starts_anew() {
    docker service scale --detach "${stack}_peer=0" "${stack}_rest=0" >/dev/null 2>&1
    eventually 60 "all have ended" has_ended_tasks "${stack}_(peer|rest)"
    eventually 5 "nobody is live" lives pbft 0
    remove_ledger pbft '*'
    docker service scale --detach "${stack}_peer=4" "${stack}_rest=1" >/dev/null 2>&1
    four_replicas_meet
}

# Four peers of PBFT and one that does not validate, of which the first one listens 8 s
# late: the others do not reach it when they start.
four_replicas_meet() {
    local slot container id address began=$SECONDS
    healed_within 60 "$began" "five live peers" lives pbft 5
    [ "$(table pbft | cut -d ' ' -f 1 | paste -sd ' ')" = "nvp0 vp0 vp1 vp2 vp3" ] || fail "other IDs: $(table pbft)"
    for slot in 1 2 3 4; do
        container=$(container "${stack}_peer.$slot")
        id=$(id_of pbft "${stack}_peer-$slot")
        address=$(address_on "$pbft" "$container")
        has_line pbft "$id ${stack}_peer-$slot $address live" || fail "$address is not the address of $id"
        healed_within 60 "$began" "$id listens" says "$container" \
            "^$id listens on 7051, is reached at $id.pbft.fabric.internal:7051, network pbft-fabric-internal,"
        [ "$(docker exec "$container" cat /proc/sys/net/ipv4/tcp_retries2)" -eq 5 ] ||
            fail "TCP does not give up early in $container"
        [ "$id" = vp0 ] || healed_within 60 "$began" "$id did not reach the first peer" says "$container" \
            "^$id cannot reach vp0.pbft.fabric.internal:7051 "
    done
    healed_within 60 "$began" "all of PBFT see each other" pbft_peers_meet
    note "one network $((SECONDS - began)) s after its deployment"
}

# The address of a peer that is gone is given to one of another network. Peers of
# the first one dial its name repeatedly, and must not be led to the second.
reused_address_misleads_nobody() {
    local -A peers=()
    local host gone address since
    docker network create --driver overlay --attachable --subnet 10.213.77.0/28 "$shared" >/dev/null
    for host in left-1 left-2 right-1; do
        peers[$host]=$(start_on_shared "$host")
    done
    eventually 60 "the peers of one network see each other" all_see "vp0 vp1" "${peers[left-1]}" "${peers[left-2]}"
    gone=$(peer_id "${peers[left-2]}")
    address=$(address_on "$shared" "${peers[left-2]}")
    docker kill "${peers[left-2]}" >/dev/null
    eventually $((lease + 5)) "left-2 is gone" lives left 1
    # A dial that began before may last for 3 s, and the address may be kept for the TTL
    # of 5 s: nobody can be kept from a stranger who has the address so soon.
    sleep 9
    peers[right-2]=$(start_on_shared right-2 --ip "$address")
    [ "$(address_on "$shared" "${peers[right-2]}")" = "$address" ] || fail "right-2 is not at $address"
    eventually 60 "the peers of the other network see each other" \
        all_see "vp0 vp1" "${peers[right-1]}" "${peers[right-2]}"
    since=$(date +%s.%N)
    # Three times TOUCH_PERIOD of the stand-in.
    sleep 18
    for host in "${!peers[@]}"; do
        has_met_only "${host%-*}" < <(docker logs "${peers[$host]}" 2>&1)
    done
    docker logs --since "$since" "${peers[left-1]}" 2>&1 |
        grep " cannot reach $gone\.left\.fabric\.internal:7051 (unresolved): " >/dev/null ||
        fail "left-1 does not dial $gone: $(docker logs "${peers[left-1]}" 2>&1)"
    all_see "vp0 vp1" "${peers[right-1]}" "${peers[right-2]}" || fail "the other network is not one any more"
    docker stop "${peers[@]}" >/dev/null
    docker rm -v "${peers[@]}" >/dev/null
    docker network rm "$shared" >/dev/null
}

# start_on_shared HOST [OPTION...]: a peer of the zone that HOST begins with.
start_on_shared() {
    local host=$1
    shift
    docker run -d --label "$label" --hostname "$host" --network "$shared" --dns "$PARAM_DNS" \
        -e CONSEN="${host%-*}" -e PARAM_RENEW=3 "$@" "$images:peer" "$PARAM_DNS"
}

# service_logs SERVICE: the engine sometimes does not end them.
service_logs() {
    local tries=0
    until timeout 20 docker service logs --raw "$1" 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 3 ] || return 1
    done
}

# No peer has ever had a connection with one of another network.
networks_are_separate() {
    local service zone logs
    for service in peer rest noops unnamed pair pair_rest; do
        case $service in
            peer | rest) zone=pbft ;;
            *) zone=${service%_rest} ;;
        esac
        logs=$(service_logs "${stack}_$service") || fail "the engine does not end the log of $service"
        has_met_only "$zone" <<<"$logs"
    done
}

# has_met_only ZONE <LOG
has_met_only() {
    local met
    met=$(sed -n 's/.* talks with n\?vp[0-9]* of \([^ ]*\) at .*/\1/p' | sort -u)
    [ "$met" = "$1-fabric-internal" ] || fail "a peer of $1 has met peers of: $met"
}
