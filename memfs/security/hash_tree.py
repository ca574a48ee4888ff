"""One hash that stands for all of a file, made of hashes of its parts.

Pure. The tree is RFC 6962's over leaves of LEAF_BYTES of stored bytes, with SHA-256, since the
CRC32C of blocks detects accidents only, not forgery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from memfs.types import Buffer

LEAF_BYTES: Final = 1 << 20


def leaf(data: Buffer) -> bytes:
    """The hash of one leaf."""
    state = hashlib.sha256(b"\0")
    state.update(data)
    return state.digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The hash that stands for all leaves."""
    level = list(leaves) or [hashlib.sha256(b"").digest()]
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b"\1" + level[at] + level[at + 1]).digest()
            for at in range(0, len(level) - 1, 2)
        ]
        level = pairs + level[len(level) & ~1 :]
    return level[0]
