#!/bin/bash
# The first process of the throw-away machine: makes its own view of the kernel, then only collects what has ended. It is begun inside
# fresh namespaces and inside the control groups that FOLDER/groups names, one line each: controllers, folder. What is to be
# its own lies where FOLDER/places says.
#
#     init.sh FOLDER NODE ADDRESS GATEWAY
set -eu
folder=$1 node=$2 address=$3 gateway=$4
hostname "$node"

# control groups below our own, under the names that programs expect
umount -R /sys/fs/cgroup && umount -R /sys
umount -l /proc || true
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
while read -r controllers _; do
    name=${controllers#name=}
    mkdir -p "/sys/fs/cgroup/$name"
    case $controllers in
        name=*) mount -t cgroup -o "none,$controllers" cgroup "/sys/fs/cgroup/$name" ;;
        *) mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$name" ;;
    esac
    # hierarchies with several controllers are looked for by each name
    for one in ${name//,/ }; do [ -e "/sys/fs/cgroup/$one" ] || ln -s "$name" "/sys/fs/cgroup/$one"; done
done <"$folder/groups"

# what containers and kubelet write where they always do goes into our folder
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/containerd /run/netns /run/lock
while read -r place; do
    mkdir -p "$place" "$folder/var$place"
    mount --bind "$folder/var$place" "$place"
done <"$folder/places"

# the kubelet insists on these values; it finds them, and the machine keeps its own
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
    file=/run/${setting//\//-}
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done
mount --make-rshared /

# one interface that leads nowhere: the node needs an address, and addresses of services need a way out
ip link set lo up
ip link add node0 type veth peer name node1
ip addr add "$address/24" dev node0
ip link set node0 up
ip link set node1 up
ip route add default via "$gateway" dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

touch "$folder/ready"
while :; do sleep 3600 & wait $! || true; done
