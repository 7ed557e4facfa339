# The building blocks of checks, for scripts/test-swarm, which sets the variables.
# shellcheck shell=bash disable=SC2154

# check_that WHAT FUNCTION: one check.
check_that() {
    local began=$SECONDS
    is_wanted "$2" || return 0
    check=$1
    "$2"
    passed=$((passed + 1))
    printf 'ok %4d s  %s\n' $((SECONDS - began)) "$check"
    check=''
}

# check_beside WHAT FUNCTION: a check that runs beside the following ones, until
# join_checks. It must not depend on them, nor they on it.
check_beside() {
    is_wanted "$2" || return 0
    local log=$work/check-${#background[@]}.log
    in_background "$log" check_that "$1" "$2"
    beside+=("$log")
}

join_checks() {
    local log
    for log in "${beside[@]}"; do
        if ! succeeds "$log"; then
            cat "$log" >&2
            exit 1
        fi
        cat "$log"
        passed=$((passed + 1))
    done
    beside=()
}

# Whether the function of a check is to be called: all are, unless some are chosen.
is_wanted() {
    [ "${#chosen[@]}" -eq 0 ] || printf '%s\n' "${chosen[@]}" | grep -qx "$1"
}

note() { printf '            %s\n' "$*"; }

fail() {
    trap - ERR
    printf 'FAILED: %s: %s\n' "${check:-making ready}" "$*" >&2
    [ -z "$swarm" ] || show_services >&2
    exit 1
}

show_services() {
    local service
    for service in $(docker service ls --format '{{.Name}}'); do
        printf '\n== %s\n' "$service"
        docker service ps --no-trunc --format '{{.Name}}  {{.CurrentState}}  {{.Error}}' "$service"
        timeout 10 docker service logs --tail 60 "$service" 2>&1 || true
    done
    printf '\n== registered\n'
    table "${zones[@]}" || true
    cat "$work/peers.err"
}

# eventually SECONDS WHAT COMMAND...: repeats the command until it succeeds.
eventually() {
    local limit=$1 what=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "not within $limit s: $what"
        sleep 0.3
    done
}

# healed_within SECONDS BEGAN WHAT COMMAND...: the same, from the fault at BEGAN.
healed_within() {
    local limit=$1 began=$2 what=$3
    shift 3
    eventually $((began + limit - SECONDS)) "$what ($limit s after the fault)" "$@"
}

# The running container of a task, as SERVICE.SLOT, or all of a SERVICE.
container() {
    docker ps -q --no-trunc --filter "name=^$1\\."
}

# address_on NETWORK CONTAINER
address_on() {
    docker inspect -f "{{with index .NetworkSettings.Networks \"$1\"}}{{.IPAddress}}{{end}}" "$2"
}

# table ZONE...: the registrations, a line for each: ID HOST ADDRESS live|gone.
table() {
    local zone
    for zone; do
        docker exec "$(container "$server")" paramd peers "$zone.fabric.internal" 2>"$work/peers.err" || true
    done | awk '$1 ~ /^n?vp[0-9]+$/ { print $1, $2, $4, $5 }'
}

has_line() { table "$1" | grep -x -- "$2" >/dev/null; }
lives() { [ "$(table "$1" | grep -c ' live$')" -eq "$2" ]; }
id_of() { table "$1" | awk -v host="$2" '$2 == host { print $1 }'; }
address_of() { table "$1" | awk -v id="$2" '$1 == id { print $3 }'; }
says() { docker logs "$1" 2>&1 | grep -- "$2" >/dev/null; }

# The task has another container than the given one. Sets new.
is_replaced() {
    new=$(container "$1")
    [ -n "$new" ] && [ "$new" != "$2" ]
}

# The ID that the peer of a container is running as.
peer_id() {
    docker logs "$1" 2>&1 | sed -n 's/^\(n\?vp[0-9]*\) listens on .*/\1/p'
}

# The value of a variable in the environment of a container's peer.
peer_variable() {
    # shellcheck disable=SC2016  # for the shell inside
    docker exec "$1" sh -c '
        for process in /proc/[0-9]*; do
            tr "\0" "\n" <"$process/cmdline" | grep -x /usr/local/bin/peer >/dev/null || continue
            tr "\0" "\n" <"$process/environ" | sed -n "s/^$1=//p"
        done 2>/dev/null' sh "$2"
}

# All of these see each other, and nobody else: all_see "vp0 vp1" CONTAINER...
all_see() {
    local ids=$1 container id others
    shift
    [ "$#" -eq "$(wc -w <<<"$ids")" ] || return 1
    for container; do
        id=$(peer_id "$container")
        [ -n "$id" ] || return 1
        others=$(tr ' ' '\n' <<<"$ids" | grep -vx "$id" | paste -sd ' ')
        docker logs "$container" 2>&1 | sed -n "s/^$id sees \(.*\) of n=.*/\1/p" | tail -n 1 |
            grep -x "$others" >/dev/null || return 1
    done
}

# All peers of the stack's networks see each other.
pbft_peers_meet() {
    # shellcheck disable=SC2046  # a word each
    all_see "nvp0 vp0 vp1 vp2 vp3" $(container "${stack}_peer") $(container "${stack}_rest")
}

noops_peers_meet() {
    # shellcheck disable=SC2046
    all_see "vp0 vp1" $(container "${stack}_noops")
}

pair_meets() {
    # shellcheck disable=SC2046
    all_see "nvp0 vp0" $(container "${stack}_pair") $(container "${stack}_pair_rest")
}

# The seconds since 1970 of a time as the engine prints it.
seconds_at() { date -d "$1" +%s.%N; }

# resolves CONTAINER NAME ADDRESS
resolves() {
    local answer
    answer=$(docker exec "$1" getent hosts "$2") || fail "$2 is not found"
    [ "${answer%% *}" = "$3" ] || fail "$2 is not $3 but $answer"
}

# in_background LOG COMMAND...: runs a long command in a process group of its own, so that
# a signal is handled immediately, and the group can be ended as a whole. Its status
# goes to LOG.status: the shell forgets it when another child gets the same PID.
in_background() {
    local log=$1
    shift
    set -m
    (
        trap 'echo "$?" >"$log.status"' EXIT
        "$@"
    ) >"$log" 2>&1 &
    set +m
    background+=("$! $log")
}

# succeeds LOG: waits for that command.
succeeds() {
    until [ -s "$1.status" ]; do
        sleep 0.3
    done
    [ "$(cat "$1.status")" -eq 0 ]
}

# finished LOG WHAT
finished() {
    succeeds "$1" || { tail -n 30 "$1" >&2; fail "$2 cannot be made"; }
}

# timed FUNCTION: stores its duration for `built`.
timed() {
    local began=$SECONDS
    "$1"
    echo $((SECONDS - began)) >"$work/$1.time"
}

# built LOG FUNCTION WHAT: waits for what runs timed in the background.
built() {
    finished "$1" "$3"
    printf '   %4d s  %s, built in %d s\n' "$SECONDS" "$3" "$(cat "$work/$2.time")"
}
