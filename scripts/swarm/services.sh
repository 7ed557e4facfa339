#!/bin/sh
# The services of the earlier system, translated one by one; README.md in this
# directory shows the commands that they replace.
#   PARAM_DNS=192.168.1.10 scripts/swarm/services.sh
# PARAM_DNS is the address of the node that runs the parameter service.
set -eu
: "${PARAM_DNS:?set it to the address of the node that runs the parameter service}"
server_image=${PARAM_IMAGE:-param-daemon}
peer_image=${PEER_IMAGE:-fabric-peer}

# param_daemon, without MongoDB: a volume replaces it. The service takes
# PARAMD_LISTEN and PARAMD_FORWARD from this shell, if they are set.
docker service create --detach --name param_daemon \
    --network host \
    --constraint 'node.labels.paramd == true' \
    --env PARAMD_LISTEN --env PARAMD_FORWARD \
    --mount type=volume,source=param_data,target=/var/lib/paramd \
    "$server_image"

# peer NAME ROLE REPLICAS [OPTION...]: peers of the network that agrees by PBFT. A
# replaced peer needs what all of them have here: a stable name, the service as
# its resolver, its ledger, and other peers that notice within seconds that it is
# gone (tcp_retries2).
peer() {
    name=$1 role=$2 replicas=$3
    shift 3
    docker service create --detach --name "$name" --replicas "$replicas" \
        --hostname '{{.Service.Name}}-{{.Task.Slot}}' \
        --dns "$PARAM_DNS" \
        --sysctl net.ipv4.tcp_retries2=5 \
        --stop-grace-period 20s \
        --env ROLE="$role" \
        --env CONSEN=pbft \
        --env CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE=weave \
        --mount type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock \
        --mount type=volume,source=param_ledger,target=/var/hyperledger/production \
        "$@" "$peer_image"
}

# Peers that validate and serve REST.
peer peer_mixed mixed 2

# Peers that validate only.
peer peer_validator validator 2

# Peers that serve REST and do not validate, so they do not count for N. A node
# can publish port 7050 for one task only.
peer peer_rest rest 1 --publish mode=host,target=7050,published=7050
