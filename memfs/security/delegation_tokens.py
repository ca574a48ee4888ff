"""Delegation tokens as bytes: Hadoop's encoding of identifiers and of whole tokens.

Owns the format of ``AbstractDelegationTokenIdentifier`` and ``Token`` (Hadoop's Writable: VInt,
VLong, Text) and its URL form. Knows no keys: which tokens are good, the namespace says.

Invariant: what :meth:`TokenIdentifier.decode` accepts encodes to the same bytes again, since a
token's password is a MAC of exactly these.

::

    identifier = version 0 (1 byte) | Text owner | Text renewer | Text real user
                 | VLong issued | VLong latest | VInt sequence | VInt key
    token      = VInt n | identifier of n bytes | VInt m | password of m bytes
                 | Text kind | Text service;    in URLs as base64url without padding
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

from memfs import limits
from memfs.errors import InvalidTokenError

KIND: Final = "WEBHDFS delegation"
SECURE_KIND: Final = "SWEBHDFS delegation"

_VERSION: Final = b"\0"
_SMALL: Final = range(-112, 128)
_INT64: Final = range(-(1 << 63), 1 << 63)


class TokenIdentifier(NamedTuple):
    """Whom a token speaks for and how long it can live. Times are milliseconds since the epoch."""

    owner: str
    renewer: str
    real_user: str
    """Who asked for it on the owner's behalf; empty: the owner."""
    issued_ms: int
    latest_ms: int
    """It cannot be renewed beyond this."""
    sequence: int
    key: int
    """Number of the master key that made the password."""

    def encode(self) -> bytes:
        """The bytes that the password is a MAC of."""
        names = [_text(name) for name in (self.owner, self.renewer, self.real_user)]
        return b"".join([_VERSION, *names, *map(write_vint, self[3:])])

    @classmethod
    def decode(cls, raw: bytes) -> TokenIdentifier:
        """Decode without any proof of who made it. Raises InvalidTokenError."""
        reader = _FieldReader(raw)
        if reader.read(1) != _VERSION:
            raise InvalidTokenError("the token is of an unknown version")
        names = [reader.text() for _ in range(3)]
        found = cls(names[0], names[1], names[2], *[reader.vint() for _ in range(4)])
        if found.encode() != raw:
            raise InvalidTokenError("the token's identifier is malformed")
        return found


class Token(NamedTuple):
    """An identifier with the password that proves it. ``repr`` does not show the password."""

    identifier: bytes
    password: bytes
    kind: str = KIND
    service: str = ""

    def __repr__(self) -> str:
        return f"Token({self.identifier!r}, kind={self.kind!r}, service={self.service!r})"

    def to_url(self) -> str:
        """``urlString``, what travels in ``delegation=`` and in the answers of WebHDFS."""
        parts = [write_vint(len(self.identifier)), self.identifier]
        parts += [write_vint(len(self.password)), self.password]
        parts += [_text(self.kind), _text(self.service)]
        return base64.urlsafe_b64encode(b"".join(parts)).rstrip(b"=").decode("ascii")

    @classmethod
    def from_url(cls, text: str) -> Token:
        """A token of a URL, padding tolerated. Raises InvalidTokenError."""
        bare = text.rstrip("=")
        if len(bare) > limits.RECORD_BYTES:
            raise InvalidTokenError("the token is too long")
        try:
            raw = base64.b64decode(bare + "=" * (-len(bare) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidTokenError("the token is no base64url") from None
        reader = _FieldReader(raw)
        identifier = reader.read(reader.vint())
        password = reader.read(reader.vint())
        found = cls(identifier, password, reader.text(), reader.text())
        if not reader.at_end:
            raise InvalidTokenError("the token has surplus bytes")
        return found


def write_vint(number: int) -> bytes:
    """Hadoop's VInt and VLong (``WritableUtils.writeVLong``): 1 to 9 bytes."""
    if number in _SMALL:
        return number.to_bytes(1, "big", signed=True)
    assert number in _INT64, "a VLong has 64 bits"
    magnitude = ~number if number < 0 else number
    length = -(-magnitude.bit_length() // 8)
    first = (-120 if number < 0 else -112) - length
    return first.to_bytes(1, "big", signed=True) + magnitude.to_bytes(length, "big")


def _text(text: str) -> bytes:
    raw = text.encode()
    return write_vint(len(raw)) + raw


class _FieldReader:
    """Takes values off the front of bytes that somebody sent."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._raw)

    def read(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._raw):
            raise InvalidTokenError("the token is cut short")
        found = self._raw[self._at : end]
        self._at = end
        return found

    def vint(self) -> int:
        first = int.from_bytes(self.read(1), "big", signed=True)
        if first in _SMALL:
            return first
        negative = first < -120
        magnitude = int.from_bytes(self.read((-120 if negative else -112) - first), "big")
        number = ~magnitude if negative else magnitude
        if number not in _INT64:
            raise InvalidTokenError("the token holds a number that is too large")
        return number

    def text(self) -> str:
        try:
            return self.read(self.vint()).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidTokenError("the token holds a name that is not UTF-8") from None
