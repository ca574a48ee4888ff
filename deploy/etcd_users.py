#!/usr/bin/env python3
"""etcd_users.py URL DIRECTORY: switch on etcd's users, root and the nodes' memfs; once is enough.

DIRECTORY has ca.crt and the passwords (deploy/certificates.sh). Over etcd's JSON gateway: its image
has no shell to run etcdctl seven times in.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

PREFIX = b"memfs/"


class Refused(Exception):
    """What etcd said, with its code."""


def main(url: str, directory: Path) -> None:
    """Make users and roles, then demand them. Raises Refused."""
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    passwords = {name: (directory / f"{name}.password").read_text() for name in ("root", "memfs")}

    def ask(path: str, **fields: object) -> None:
        data = json.dumps(fields).encode()
        try:
            with urllib.request.urlopen(
                f"{url}/v3/auth/{path}", data, 30, context=context
            ) as found:
                found.read()
        except urllib.error.HTTPError as error:
            said = json.loads(error.read())
            raise Refused(said.get("code"), said.get("message")) from None

    try:
        ask("authenticate", name="root", password=passwords["root"])
    except Refused as error:
        if "not enabled" not in str(error):
            raise
    else:
        return  # users are on, and these are ours
    key = base64.b64encode(PREFIX).decode()
    end = base64.b64encode(PREFIX[:-1] + bytes([PREFIX[-1] + 1])).decode()
    permission = {"permType": "READWRITE", "key": key, "range_end": end}
    steps: list[tuple[str, dict[str, object]]] = [
        *(("user/add", {"name": user, "password": passwords[user]}) for user in passwords),
        *(("role/add", {"name": role}) for role in passwords),
        ("role/grant", {"name": "memfs", "perm": permission}),
        *(("user/grant", {"user": user, "role": user}) for user in passwords),
    ]
    for path, fields in steps:
        try:
            ask(path, **fields)
        except Refused as error:
            if "already" not in str(error):  # of an attempt that broke off
                raise
    ask("enable")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
