#!/bin/sh
# The services of the earlier system, translated one by one; README.md beside
# this file has the lines that they replace.
#   PARAM_DNS=192.168.1.10 scripts/swarm/services.sh
# PARAM_DNS is the address of the node that runs the parameter service.
set -eu
: "${PARAM_DNS:?the address of the node that runs the parameter service}"
server_image=${PARAM_IMAGE:-param-daemon}
peer_image=${PEER_IMAGE:-fabric-peer}

# param_daemon, and MongoDB with it: a volume takes its place.
docker service create --detach --name param_daemon \
    --network host \
    --constraint 'node.labels.paramd == true' \
    --mount type=volume,source=param_data,target=/var/lib/paramd \
    "$server_image"

# Peers that validate and serve REST.
docker service create --detach --name peer_mixed --replicas 2 \
    --hostname '{{.Service.Name}}-{{.Task.Slot}}' \
    --dns "$PARAM_DNS" \
    --env ROLE=mixed \
    --env CONSEN=pbft \
    --env CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE=weave \
    --mount type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock \
    "$peer_image"

# Peers that validate only. Without --detach, so that they run before the next
# ones ask: a peer that does not validate needs a validator to connect to.
docker service create --name peer_validator --replicas 2 \
    --hostname '{{.Service.Name}}-{{.Task.Slot}}' \
    --dns "$PARAM_DNS" \
    --env ROLE=validator \
    --env CONSEN=pbft \
    --env CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE=weave \
    --mount type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock \
    "$peer_image"

# Peers that serve REST and do not validate: they do not count for N.
docker service create --detach --name peer_rest --replicas 1 \
    --hostname '{{.Service.Name}}-{{.Task.Slot}}' \
    --dns "$PARAM_DNS" \
    --env ROLE=rest \
    --env CONSEN=pbft \
    --env CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE=weave \
    --mount type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock \
    "$peer_image"
