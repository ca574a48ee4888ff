"""Signing files: what is signed, and how it is checked.

Owns the bytes that are signed. Pure. Signed (Ed25519,
RFC 8032) are the path, the version, the length and the root of the tree of hashes, so that neither
another file of the same signer nor an older version passes for this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from memfs.errors import IntegrityError
from memfs.security.signature import Signature

_CONTEXT: Final = b"memfs signed file 1\0"


def public_key(private: bytes) -> bytes:
    """The 32 bytes that others need to check what ``private`` signs."""
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def sign(private: bytes, path: str, version: int, size: int, root: bytes) -> Signature:
    """Sign content of ``size`` bytes with that root."""
    signed = Ed25519PrivateKey.from_private_bytes(private).sign(_message(path, version, size, root))
    return Signature(path, version, size, root, public_key(private), signed)


def check(found: Signature, trusted: Sequence[bytes], path: str, at_least: int) -> None:
    """Believe a signature of ``path`` by one of the ``trusted`` keys. Raises IntegrityError."""
    if found.public_key not in trusted:
        raise IntegrityError(f"it is signed by {found.public_key.hex()}, whom nobody trusts here")
    message = _message(found.path, found.version, found.size, found.root)
    try:
        Ed25519PublicKey.from_public_bytes(found.public_key).verify(found.signature, message)
    except (InvalidSignature, ValueError):
        raise IntegrityError("the signature is forged") from None
    if found.path != path:
        raise IntegrityError(f"it was signed as {found.path}: its signer did not put it here")
    if found.version < at_least:
        text = f"it is version {found.version}, older than {at_least}, which was asked for"
        raise IntegrityError(text)


def _message(path: str, version: int, size: int, root: bytes) -> bytes:
    name = path.encode("utf-8", "surrogatepass")
    numbers = b"".join(each.to_bytes(8, "big") for each in (len(name), version, size))
    return _CONTEXT + numbers + root + name
