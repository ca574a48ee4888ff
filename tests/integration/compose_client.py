"""A client in a container of its own that shares nothing with the nodes but the socket volume.

``compose_client.py PATH SHA256``: reads a file in pieces and as a view, and says how it came.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import memfs


def main(path, digest):
    fs = memfs.connect()
    with fs.open(path, "rb") as file:
        while file.read(1 << 20):
            pass
    view = fs.map(path)
    assert hashlib.sha256(view).hexdigest() == digest, "another content"
    mapped = "memfd:" in Path("/proc/self/maps").read_text()
    print("through descriptors" if mapped else "through sockets")


if __name__ == "__main__":
    main(*sys.argv[1:])
