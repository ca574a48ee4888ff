#!/bin/sh
# base-image.sh IMAGE [TARBALL [MIRROR...]]: a base for the Dockerfile, made of Debian packages.
#
# For where no registry can be reached. Needs root, mmdebstrap and a Debian mirror, by default the
# public one. With TARBALL the file system is kept there, or taken from there when it exists.
#
#   deploy/base-image.sh memfs-base && cd deploy && MEMFS_BASE_IMAGE=memfs-base docker compose build
set -eu

image=${1:?usage: base-image.sh IMAGE [TARBALL [MIRROR...]]}
tarball=${2:-$(mktemp -u).tar}
[ $# -ge 2 ] && shift 2 || { trap 'rm -f "$tarball"' EXIT && shift; }

if [ ! -e "$tarball" ]; then
  mmdebstrap --quiet --variant=essential --include=python3,python3-venv,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --format=tar bookworm "$tarball.part" "$@"
  mv "$tarball.part" "$tarball"
fi
docker import --message "Debian bookworm with Python" "$tarball" "$image"
