#!/bin/sh
# certificates.sh DIRECTORY [NODES]: what the pods prove themselves with, a directory for each Secret:
#
#   for each in node gateway etcd etcd-users; do
#     kubectl -n memfs create secret generic memfs-$each-certs --from-file DIRECTORY/$each
#   done
#
# NODES is how many there will be, 3 usually. One authority makes nodes and users, another one what
# etcd's members show: whoever has etcd's key is no node. Both keys are in DIRECTORY/authority, which
# is for no Secret, as DIRECTORY/clients is: gateway.token there is the user hadoop's at the gateways.
# What is there already stays: remove DIRECTORY/node/node.key to have another one.
set -eu
umask 077

top=$1
nodes=${2:-3}

here() { [ -e "$top/$1" ]; }
make() { memfs certs "$@" >&2; }
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
names() { seq -f "$1" 0 $(($2 - 1)); }

for part in authority/etcd node gateway etcd etcd-users clients; do mkdir -p "$top/$part"; done
here authority/ca.key || make create-ca --certs-dir "$top/authority"
here authority/etcd/ca.key || make create-ca --certs-dir "$top/authority/etcd"

if ! here node/node.key; then
  # shellcheck disable=SC2046  # a word each
  make create-node memfs memfs.memfs memfs.memfs.svc $(names memfs-%g.memfs-peers.memfs.svc "$nodes") \
    --certs-dir "$top/authority" --overwrite
  mv "$top/authority/node.crt" "$top/authority/node.key" "$top/node/"
fi
if ! here etcd/node.key; then
  # shellcheck disable=SC2046
  make create-node etcd-peers $(names etcd-%g.etcd-peers 3) localhost 127.0.0.1 \
    --certs-dir "$top/authority/etcd" --overwrite
  mv "$top/authority/etcd/node.crt" "$top/authority/etcd/node.key" "$top/etcd/"
fi
for pair in node:memfs gateway:gateway; do # whom the memfs command in a pod speaks for
  if ! here "${pair%%:*}/client.${pair#*:}.key"; then
    make create-client "${pair#*:}" --certs-dir "$top/authority" --overwrite
    mv "$top/authority/client.${pair#*:}".* "$top/${pair%%:*}/"
  fi
done
for part in node gateway; do cp "$top/authority/ca.crt" "$top/$part/"; done
for part in etcd etcd-users; do cp "$top/authority/etcd/ca.crt" "$top/$part/"; done
cp "$top/authority/etcd/ca.crt" "$top/node/etcd.crt"

here etcd-users/root.password || secret > "$top/etcd-users/root.password"
here node/etcd.password || secret > "$top/node/etcd.password"
cp "$top/node/etcd.password" "$top/etcd-users/memfs.password"
if ! here clients/gateway.token; then
  secret > "$top/clients/gateway.token"
  echo "$(sha256sum < "$top/clients/gateway.token" | cut -d' ' -f1) hadoop" >> "$top/gateway/tokens"
fi
cp "$top/authority/ca.crt" "$top/clients/"
