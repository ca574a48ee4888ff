#!/bin/sh
# certificates.sh DIRECTORY SUPERUSER SUBNET: all that the containers of compose.secure.yaml prove
# themselves with. What is there already stays: remove DIRECTORY/node to have the nodes' made anew.
#
# One authority makes nodes and users, another one the server certificate of etcd: whoever has etcd's
# key is no node. Both stay in DIRECTORY/authority, which no other container sees.
set -eu
umask 077

top=$1
user=$2
subnet=$3 # of 256 addresses, as 172.30.105.0/24: a node is known by its container's

here() { [ -e "$top/$1" ]; }
make() { memfs certs "$@" >&2; }
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for part in authority/etcd node gateway cli etcd prometheus; do mkdir -p "$top/$part"; done
chmod 755 "$top/node" "$top/gateway" "$top/cli" "$top/etcd" "$top/prometheus"
here authority/ca.key || make create-ca --certs-dir "$top/authority"
here authority/etcd/ca.key || make create-ca --certs-dir "$top/authority/etcd"

if ! here node/node.key; then
  addresses=$(seq -f "${subnet%.*}.%g" 1 254)
  # shellcheck disable=SC2086  # a word each
  make create-node node proxy localhost 127.0.0.1 $addresses --certs-dir "$top/authority" --overwrite
  mv "$top/authority/node.crt" "$top/authority/node.key" "$top/node/"
fi
if ! here etcd/node.key; then
  make create-node etcd localhost 127.0.0.1 --certs-dir "$top/authority/etcd" --overwrite
  mv "$top/authority/etcd/node.crt" "$top/authority/etcd/node.key" "$top/etcd/"
fi
for pair in gateway:gateway prometheus:prometheus "cli:$user"; do
  if ! here "${pair%%:*}/client.${pair#*:}.key"; then
    make create-client "${pair#*:}" --certs-dir "$top/authority" --overwrite
    mv "$top/authority/client.${pair#*:}".* "$top/${pair%%:*}/"
  fi
done
for part in node gateway cli prometheus; do cp "$top/authority/ca.crt" "$top/$part/"; done
cp "$top/authority/etcd/ca.crt" "$top/node/etcd.crt"
cp "$top/authority/etcd/ca.crt" "$top/etcd/ca.crt"

here etcd/root.password || secret > "$top/etcd/root.password"
here node/etcd.password || secret > "$top/node/etcd.password"
cp "$top/node/etcd.password" "$top/etcd/memfs.password"
for pair in cli:hadoop prometheus:prometheus; do # whom the tokens speak for at the gateways
  token="${pair%%:*}/gateway.token"
  if ! here "$token"; then
    secret > "$top/$token"
    echo "$(sha256sum < "$top/$token" | cut -d' ' -f1) ${pair#*:}" >> "$top/gateway/tokens"
  fi
done

if [ "$(id -u)" = 0 ] && owner=$(id -u memfs 2>/dev/null); then
  chown -R "$owner:$owner" "$top/node" "$top/gateway" "$top/cli"
  chown -R 65534:65534 "$top/prometheus"
fi
