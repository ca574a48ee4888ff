"""Files sealed by their writer: the form in which a cluster holds what it cannot read.

Owns the layout and the cryptography of sealed content. Pure but for the dice, which are given. Must
not know files, paths or requests.

A sealed file is a header, pieces, and an end::

    header   magic (8) | key id (8) | salt (32) | tag (16)
    piece    nonce (12) | AES-256-GCM of PIECE_BYTES of content, the last one shorter | tag (16)
    end      tag (16) over the length of the content

Each file has keys of its own: HKDF-SHA256 (RFC 5869) of the user's key with the header's random
salt gives one for the pieces (AES-256-GCM, NIST SP 800-38D, random nonces: good for 2^32 pieces of
one file) and one for header and end (HMAC-SHA256, cut to 16 bytes). What is authenticated with a
piece is its place, so that pieces cannot be exchanged, and the salt is in the key, so that they
cannot be taken from another file. Invariant: stored and logical length determine each other.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from memfs.errors import IntegrityError
from memfs.security.keys import KEY_BYTES, key_id, key_of
from memfs.types import Buffer

MAGIC: Final = b"memfssl\x01"
_ID_BYTES: Final = 8
_SALT_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_OVERHEAD = _NONCE_BYTES + _TAG_BYTES
HEADER_BYTES: Final = len(MAGIC) + _ID_BYTES + _SALT_BYTES + _TAG_BYTES
END_BYTES: Final = _TAG_BYTES
STORED_PIECE_BYTES: Final = 64 * 1024
"""Bytes of a piece as it is stored: what a read of a single byte fetches and decrypts."""
PIECE_BYTES: Final = STORED_PIECE_BYTES - _OVERHEAD

Draw = Callable[[int], bytes]
"""So many random bytes, from a source fit for keys."""


def stored_size(size: int) -> int:
    """Bytes in which content of ``size`` bytes is stored."""
    return HEADER_BYTES + size + _OVERHEAD * (-(-size // PIECE_BYTES)) + END_BYTES


def content_size(stored: int) -> int | None:
    """Bytes of content in ``stored`` bytes; None: no sealed file has that length."""
    body = stored - HEADER_BYTES - END_BYTES
    pieces = -(-body // STORED_PIECE_BYTES)
    if body < 0 or (body and body - (pieces - 1) * STORED_PIECE_BYTES <= _OVERHEAD):
        return None
    return body - pieces * _OVERHEAD


class FileKeys:
    """The keys of one sealed file."""

    def __init__(self, header: bytes, key: bytes) -> None:
        """``header``: as it is stored, or as far as its tag. Raises IntegrityError."""
        salt = header[len(MAGIC) + _ID_BYTES :][:_SALT_BYTES]
        derived = HKDF(hashes.SHA256(), 2 * KEY_BYTES, salt, b"memfs sealed file 1").derive(key)
        self._pieces = AESGCM(derived[:KEY_BYTES])
        self._ends = derived[KEY_BYTES:]
        body = header[: HEADER_BYTES - _TAG_BYTES]
        self.header = body + self._tag(b"header", body)
        """As it is stored."""
        if len(header) == HEADER_BYTES and not hmac.compare_digest(header, self.header):
            raise IntegrityError("the header was changed: the content is not what was sealed")

    def seal(self, index: int, content: Buffer, draw: Draw) -> bytes:
        """Piece ``index`` as it is stored."""
        nonce = draw(_NONCE_BYTES)
        return nonce + self._pieces.encrypt(nonce, content, index.to_bytes(8, "big"))

    def open(self, index: int, stored: memoryview) -> bytes:
        """The content of piece ``index``. Raises IntegrityError."""
        try:
            return self._pieces.decrypt(
                stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], index.to_bytes(8, "big")
            )
        except InvalidTag:
            raise IntegrityError(
                f"bytes from {index * PIECE_BYTES} on are not what was sealed"
            ) from None

    def end(self, size: int) -> bytes:
        """What stands behind the pieces of ``size`` bytes of content."""
        return self._tag(b"end", size.to_bytes(8, "big"))

    def check_end(self, size: int, end: Buffer) -> None:
        """Raises IntegrityError when the content does not end at ``size``."""
        if not hmac.compare_digest(self.end(size), bytes(end)):
            raise IntegrityError("the end is missing: the file was cut, or is being written")

    def _tag(self, what: bytes, data: bytes) -> bytes:
        return hmac.digest(self._ends, what + b"\0" + data, "sha256")[:_TAG_BYTES]


class Keyring(NamedTuple):
    """A user's keys of 32 bytes: the first one seals, each opens what it sealed."""

    keys: tuple[bytes, ...]

    @classmethod
    def of(cls, given: Iterable[bytes | str]) -> Keyring:
        """From keys as bytes or as text (base64 or hex). Raises ConfigError."""
        return cls(tuple(key_of(each) for each in given))

    def new_file(self, draw: Draw) -> FileKeys:
        """Keys for a new file."""
        key = self.keys[0]
        return FileKeys(MAGIC + key_id(key) + draw(_SALT_BYTES), key)

    def keys_of(self, header: Buffer) -> FileKeys:
        """The keys of a file with that header. Raises IntegrityError."""
        header = bytes(header)
        if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
            raise IntegrityError("it is not sealed: it was written without an encryption key")
        wanted = header[len(MAGIC) :][:_ID_BYTES]
        for key in self.keys:
            if hmac.compare_digest(key_id(key), wanted):
                return FileKeys(header, key)
        raise IntegrityError(f"it was sealed with the key {wanted.hex()}, which is not at hand")

    def seal(self, content: Buffer, draw: Draw) -> bytes:
        """All of a file as it is stored."""
        view, keys = memoryview(content).cast("B"), self.new_file(draw)
        starts = range(0, len(view), PIECE_BYTES)
        pieces = (
            keys.seal(index, view[start : start + PIECE_BYTES], draw)
            for index, start in enumerate(starts)
        )
        return b"".join((keys.header, *pieces, keys.end(len(view))))

    def open(self, stored: Buffer) -> bytes:
        """The content of all of a file. Raises IntegrityError."""
        view = memoryview(stored).cast("B")
        keys, size = self.keys_of(view[:HEADER_BYTES]), content_size(len(view))
        if size is None:
            raise IntegrityError("the end is missing: the file was cut, or is being written")
        keys.check_end(size, view[-END_BYTES:])
        body = view[HEADER_BYTES:-END_BYTES]
        return b"".join(open_pieces(keys, 0, body))


def open_pieces(keys: FileKeys, first: int, body: memoryview) -> list[bytes]:
    """Contents of consecutive pieces from ``first`` on. Raises IntegrityError."""
    return [
        keys.open(first + number, body[start : start + STORED_PIECE_BYTES])
        for number, start in enumerate(range(0, len(body), STORED_PIECE_BYTES))
    ]
