"""A signature as it is kept beside its file. Pure, and without the cryptography that checks it."""

from __future__ import annotations

import base64
import json
from typing import Final, NamedTuple

from memfs.errors import IntegrityError

ATTRIBUTE: Final = "user.memfs.signature"
"""The extended attribute that keeps the signature."""
_BITS_64: Final = 1 << 64


class Signature(NamedTuple):
    """Who signed what."""

    path: str
    version: int
    """Counts the signatures of the file: the signer's word that an older content is older."""
    size: int
    """Bytes as they are stored."""
    root: bytes
    public_key: bytes
    signature: bytes

    def encoded(self) -> bytes:
        """As it is kept beside the file."""
        found = {
            "format": 1,
            "path": self.path,
            "version": self.version,
            "size": self.size,
            "root": self.root.hex(),
            "public_key": self.public_key.hex(),
            "signature": base64.b64encode(self.signature).decode(),
        }
        return json.dumps(found).encode()


def decode(raw: bytes) -> Signature:
    """Decode a stored signature, unverified. Raises IntegrityError."""
    try:
        given = json.loads(raw)
        found = Signature(
            given["path"],
            given["version"],
            given["size"],
            bytes.fromhex(given["root"]),
            bytes.fromhex(given["public_key"]),
            base64.b64decode(given["signature"], validate=True),
        )
        sound = (
            given["format"] == 1
            and isinstance(found.path, str)
            and all(type(each) is int for each in (found.version, found.size))
            and 0 <= found.version < _BITS_64
            and 0 <= found.size < _BITS_64
            and len(found.root) == len(found.public_key) == 32
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise IntegrityError("the signature is damaged")
    return found
