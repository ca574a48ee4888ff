#!/usr/bin/env bash
# A tour of the cluster of compose.yaml, which must be up: every way in, and a node that is killed.
#
#   docker compose up --detach --wait && ./tour.sh
#
# Needs curl, and a Python with memfs for one of its steps: PYTHON=... names it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

python=${PYTHON:-python3}
host=${MEMFS_BIND:-localhost}
user=${MEMFS_SUPERUSER:-${USER:-memfs}} # as in compose.yaml
export MEMFS_URL=memfs://$host:10500 MEMFS_CLIENT_USER=$user

step() { printf '\n== %s\n' "$*"; }
in_container() { docker compose run --rm --no-TTY cli "$@"; }
webhdfs() { curl --silent --show-error --fail --location "http://$host:9870/webhdfs/v1$1&user.name=$user" "${@:2}"; }

step "A file in and out, by the memfs command in a container"
in_container mkdir -p /tour
echo "written in a container" | in_container put - /tour/container.txt
in_container cat /tour/container.txt

step "memfs.open() on this host"
"$python" - <<'PYTHON'
import memfs

with memfs.open("memfs:///tour/container.txt") as f:
    print("read on the host:", f.read().strip())
with memfs.open("memfs:///tour/python.txt", "w") as f:
    f.write("written by Python\n")
PYTHON

step "curl on WebHDFS"
webhdfs "/tour/python.txt?op=OPEN"
echo "written by curl" | webhdfs "/tour/curl.txt?op=CREATE&overwrite=true" --upload-file -
in_container cat /tour/curl.txt

step "A node is killed: everything is read again"
docker kill "$(docker compose ps --quiet node | head -n 1)"
for file in container python curl; do webhdfs "/tour/$file.txt?op=OPEN"; done
"$python" -c "import memfs; print('on the host:', memfs.open('memfs:///tour/curl.txt').read().strip())"

step "It comes back"
docker compose up --detach --wait --no-build 2>/dev/null
in_container cluster wait --nodes 3
in_container cluster status
