#!/bin/sh
# One of the equal containers of the compose file's service "node": what tells it from the others.
#
# Its address is the container's own, which other containers and, on Linux, the host can reach. Its
# name is the container's id, as "docker ps" shows it. With JOURNALS, a directory that all of them
# share, it takes the first journal in there that no other one has, and the name that goes with it:
# so whoever comes after it, in a new container too, is the same member of the cluster.
set -eu

address=$(hostname -i)
address=${address%% *}

if [ -z "${JOURNALS:-}" ]; then
  exec memfs node --name "$(hostname)" --advertise-host "$address" "$@"
fi
for number in $(seq 99); do
  name=node-$number
  exec 9>"$JOURNALS/$name.lock"
  if flock --nonblock 9; then # held by the node until it ends
    exec memfs node --name "$name" --advertise-host "$address" --journal "$JOURNALS/$name" "$@"
  fi
done
echo "memfs-replica: all journals in $JOURNALS are in use" >&2
exit 1
