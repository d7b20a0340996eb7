#!/bin/bash
# Begins the throw-away machine: enters its control groups, then becomes the program that makes the namespaces. Ends with it.
#
#     begin.sh FOLDER INIT ARGUMENT...
set -eu
folder=$1 init=$2
shift
while read -r _ group; do echo "$BASHPID" >"$group/cgroup.procs"; done <"$folder/groups"
exec unshare --net --mount --pid --cgroup --ipc --uts --fork --kill-child --propagation private bash "$init" "$folder" "${@:2}"
