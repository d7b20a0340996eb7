#!/bin/bash
# A cable between two throw-away machines, each named by its first process, its address and the network of its pods. It ends with either.
#
#     join.sh PROCESS ADDRESS PODS PROCESS ADDRESS PODS
set -eu
one=$1 one_address=$2 one_pods=$3 two=$4 two_address=$5 two_pods=$6
in_one() { nsenter -t "$one" --net "$@"; }
in_two() { nsenter -t "$two" --net "$@"; }

in_one ip link add to-two type veth peer name to-one netns "$two"
in_one ip addr add "$one_address" peer "$two_address/32" dev to-two
in_two ip addr add "$two_address" peer "$one_address/32" dev to-one
in_one ip link set to-two up
in_two ip link set to-one up
in_one ip route add "$two_pods" via "$two_address" dev to-two
in_two ip route add "$one_pods" via "$one_address" dev to-one
