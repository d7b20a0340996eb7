#!/bin/bash
# Runs a command inside the throw-away machine: first its control groups, then its namespaces, because the other way round is refused.
#
#     enter.sh FOLDER COMMAND...
set -eu
folder=$1
shift
while read -r _ group; do echo "$BASHPID" >"$group/cgroup.procs"; done <"$folder/groups"
exec nsenter -t "$(cat "$folder/first-pid")" --mount --net --pid --cgroup --ipc --uts "$@"
