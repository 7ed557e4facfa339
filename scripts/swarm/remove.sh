#!/bin/sh
# Removes the stack, the chaincode containers on its networks, and then the
# networks. Peers start these containers through the Docker socket, so they do not
# belong to Swarm: `docker stack rm` leaves them, and their networks remain in
# use.
#
#   scripts/swarm/remove.sh [STACK]
#
# The default of STACK is fabric. Run it on a manager. On each other node that has
# run peers, run it first for the containers only:
#
#   scripts/swarm/remove.sh --chaincode [STACK]
#
# Volumes are kept, since they hold the registrations and the ledgers. The images
# of chaincode are kept as well.
set -eu

chaincode_only=''
if [ "${1-}" = --chaincode ]; then
    chaincode_only=yes
    shift
fi
stack=${1:-fabric}
label=com.docker.stack.namespace=$stack
# The time limit for tasks and networks to disappear, in seconds.
patience=60

die() { printf 'remove: %s\n' "$*" >&2; exit 1; }

case $stack in
    '' | -* | *[!A-Za-z0-9_-]*) die "no name of a stack: $stack" ;;
esac
[ "$#" -le 1 ] || die "usage: remove.sh [--chaincode] [STACK]"

# The names of all containers on a network that are not tasks of the Swarm.
plain_containers() {
    docker ps -a --filter "network=$1" --format '{{.Names}} {{.Label "com.docker.swarm.task.id"}}' |
        awk 'NF == 1 { print $1 }'
}

# Chaincode containers are named NETWORKID-PEERID-HASH.
is_chaincode() {
    printf '%s\n' "$1" | grep -Eqx '[A-Za-z0-9._-]+-n?vp[0-9]+-[0-9a-f]{32,}'
}

remove_chaincode() {
    for container in $(plain_containers "$1"); do
        if is_chaincode "$container"; then
            docker rm --force --volumes "$container" >/dev/null
            echo "removed container $container"
        fi
    done
}

networks=$(docker network ls --filter "label=$label" --format '{{.Name}}')
if [ -z "$chaincode_only" ]; then
    [ "$(docker info --format '{{.Swarm.ControlAvailable}}')" = true ] ||
        die "this node is no manager: run it on one, or with --chaincode for what this node has"
    services=$(docker service ls --quiet --filter "label=$label")
    [ -n "$services$networks" ] || die "there is no stack $stack"
    # The peers are removed first, since they would restart their chaincode.
    # Networks in use are not an error yet.
    docker stack rm "$stack" || true
    waited=0
    while [ -n "$(docker ps --quiet --filter "label=$label")" ]; do
        [ "$waited" -lt "$patience" ] || die "tasks of $stack still run after $patience s"
        sleep 1
        waited=$((waited + 1))
    done
fi

for network in $networks; do
    remove_chaincode "$network"
    [ -z "$chaincode_only" ] || continue
    others=$(plain_containers "$network" | paste -sd ' ' -)
    [ -z "$others" ] ||
        die "network $network stays: these containers on it are no chaincode: $others"
    # Swarm needs a moment to notice that nothing uses a network; and stack rm may
    # have removed it.
    waited=0
    while docker network inspect "$network" >/dev/null 2>&1; do
        docker network rm "$network" >/dev/null 2>&1 || true
        [ "$waited" -lt "$patience" ] ||
            die "network $network is in use, perhaps on another node: run this there with --chaincode"
        sleep 1
        waited=$((waited + 1))
    done
    echo "removed network $network"
done
