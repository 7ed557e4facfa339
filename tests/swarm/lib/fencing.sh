# The service stands still, a peer stands still, a peer is disconnected: no two
# processes get one ID with the same epoch. For scripts/test-swarm.
# shellcheck shell=bash disable=SC2154

# holders ZONE: prints a line for each: ID HOST ADDRESS EPOCH.
holders() {
    docker exec "$(container "$server")" paramd peers "$1.fabric.internal" 2>&1 |
        awk '$1 ~ /^n?vp[0-9]+$/ { print $1, $2, $4, $NF }'
}

epoch_of() { holders pbft | awk -v host="$1" '$2 == host { print $4 }'; }

# The service was unable to hear anyone in the meantime, so nobody was silent.
paused_service_takes_nothing() {
    local before container
    before=$(holders pbft)
    container=$(container "$server")
    docker pause "$container" >/dev/null
    sleep $((lease + 6))
    docker unpause "$container" >/dev/null
    sleep 1
    [ "$(holders pbft)" = "$before" ] || fail "before: $before; now: $(holders pbft)"
    eventually 10 "five live peers" lives pbft 5
    docker logs "$container" 2>&1 | grep 'the service stood still for' >/dev/null || fail "the log says nothing"
}

# A peer that stands still for longer than its lease loses its ID to another
# container with its name, and is stopped when it continues.
paused_peer_is_stopped() {
    local old
    old=$(container "${stack}_peer.2")
    docker pause "$old" >/dev/null
    loses_its_id "$old" docker unpause "$old"
}

# The same for a peer that is disconnected.
cut_off_peer_is_stopped() {
    local old
    old=$(container "${stack}_peer.2")
    drop_packets -I "$old"
    loses_its_id "$old" drop_packets -D "$old"
}

# drop_packets -I|-D CONTAINER: of all its connections, or no longer.
drop_packets() {
    local process
    process=$(docker inspect -f '{{.State.Pid}}' "$2")
    nsenter -t "$process" -n iptables -w "$1" INPUT ! -i lo -j DROP
    nsenter -t "$process" -n iptables -w "$1" OUTPUT ! -o lo -j DROP
}

# loses_its_id CONTAINER COMMAND...: another container takes over from slot 2 of
# the peers, and then the command lets the old one continue.
loses_its_id() {
    local old=$1 host=${stack}_peer-2 rival id before began
    shift
    id=$(id_of pbft "$host")
    before=$(epoch_of "$host")
    rival=$(docker run -d --label "$label" --hostname "$host" --network "$pbft" --dns "$PARAM_DNS" \
        -e CONSEN=pbft -e ROLE=validator -e PARAM_RENEW=3 "$images:peer" "$PARAM_DNS")
    eventually $((lease + 20)) "$host is $id elsewhere" says "$rival" "^start_peer: $host is $id at "
    [ "$(epoch_of "$host")" -gt "$before" ] || fail "the epoch has not risen: $(holders pbft)"
    began=$SECONDS
    "$@" >/dev/null
    eventually 30 "the old peer is stopped" has_ended "$old" 75
    note "the old peer was stopped $((SECONDS - began)) s after it went on"
    docker stop "$rival" >/dev/null
    docker rm -v "$rival" >/dev/null
    eventually 40 "the slot has its ID again" is_at_its_address pbft "$host"
    eventually 60 "all of PBFT see each other" pbft_peers_meet
}

# has_ended CONTAINER STATUS
has_ended() {
    [ "$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1")" = "exited $2" ]
}
