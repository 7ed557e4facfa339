# The requests of peers that do not validate, each of which goes to a random entry
# of their lists (tests/swarm/peer). For scripts/test-swarm.
# shellcheck shell=bash disable=SC2154

# only_answered_requests SERVICE ZONE: from now on, each request of that REST peer is
# answered by a validator of the zone at its current address.
only_answered_requests() {
    local rest before line addresses
    rest=$(container "${stack}_$1.1")
    before=$(requests "$rest" | wc -l)
    eventually 40 "eight more requests" has_requests "$rest" $((before + 9))
    addresses=$(table "$2" | awk -v zone="$2" '
        $1 ~ /^vp/ { print "(" $3 "): answered by " $1 " of " zone "-fabric-internal" }')
    # The first request may have been under way.
    while read -r line; do
        starts_with_one_of "$line" "$addresses" || fail "a request has gone astray: $line; there are: $addresses"
    done < <(requests "$rest" | tail -n "+$((before + 2))")
}

# starts_with_one_of LINE PREFIXES
starts_with_one_of() {
    local prefix
    while read -r prefix; do
        [[ $1 != "$prefix"* ]] || return 0
    done <<<"$2"
    return 1
}

# requests CONTAINER: prints "(HOST): RESULT" for each that had an address.
requests() {
    docker logs "$1" 2>&1 | sed -n '/^nvp[0-9]* .*asked /s/^[^(]*(\([^()]*\))[^:]*: /(\1): /p'
}
has_requests() { [ "$(requests "$1" | wc -l)" -ge "$2" ]; }

# record_addresses CONTAINER...: for requests_follow_the_peers, since an engine
# forgets the address of a container that has ended.
record_addresses() {
    local container
    for container; do
        printf '%s %s %s\n' "$container" "$(peer_id "$container")" "$(address_on "$pbft" "$container")"
    done >>"$work/addresses"
}

# The recorded containers as lines: ID ADDRESS FROM TO. While the container is
# running, that is the address of the ID, or nothing is.
holdings() {
    local container id address started ended
    while read -r container id address; do
        read -r started ended < <(docker inspect -f '{{.State.StartedAt}} {{.State.FinishedAt}}' "$container")
        # The year of the end is 1 while it is running.
        case $ended in
            0001-*) ended=9999999999 ;;
            *) ended=$(seconds_at "$ended") ;;
        esac
        printf '%s %s %s %s\n' "$id" "$address" "$(seconds_at "$started")" "$ended"
    done < <(sort -u "$work/addresses")
}

# requests_follow_the_peers SINCE CONTAINER...: each request of these since then
# went to an address that was registered for the peer at that time, or to nobody while
# its name did not resolve. No request began after its peer's end with that address.
requests_follow_the_peers() {
    local since=$1 container verdict
    shift
    holdings >"$work/holdings"
    rm "$work/addresses"
    for container; do
        docker logs --timestamps --since "$since" "$container" 2>&1 | grep ' nvp[0-9]* .*asked ' >"$work/asked"
        # A request begins one second after the line of the one before it, less the
        # inaccuracy of the engine's times.
        verdict=$(paste -d ' ' <(cut -d ' ' -f 1 "$work/asked" | date -f - +%s.%N) "$work/asked" | awk '
            FNR == NR { holder[++held] = $0; next }
            {
                ended = $1
                began = (before ? before : ended - 4) + 0.9
                before = ended
                match($0, /asked [^ .]*/)
                id = substr($0, RSTART + 6, RLENGTH - 6)
                match($0, /\([^ ]*\)/)
                host = substr($0, RSTART + 1, RLENGTH - 2)
                total++
                right = host == "unresolved"
                unresolved += right
                for (number = 1; number <= held && !right; number++) {
                    split(holder[number], field, " ")
                    right = id == field[1] && host == field[2] && ended >= field[3] && began <= field[4]
                }
                if (!right) { print "astray: " $0; exit 1 }
                answered += index($0, "answered by ") > 0
                if (index($0, "answered by") && !index($0, "answered by " id " of pbft-fabric-internal")) {
                    print "answered by another: " $0
                    exit 1
                }
            }
            END { printf "%d requests, %d answered, %d unresolved\n", total, answered, unresolved }
        ' "$work/holdings" -) || fail "$verdict; the peers were: $(paste -sd ';' "$work/holdings")"
        note "$verdict"
    done
}
