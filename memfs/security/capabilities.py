"""Capabilities: what the primary gives out with a file, and a node checks before it touches blocks.

Owns the format and its proof, HMAC-SHA256 cut to 16 bytes. Pure: no clock, no dice, no connection.
A capability is worth something only in the hands of its holder, a client of one user in one
cluster: who that is does not travel with it, but goes into the proof.

::

    capability = key number (8) | expires (4) | rights (1) | grants | proof (16)
    grant      = first inode (8) | inodes (4) | generation (4)      all little-endian

``expires`` counts seconds of the key's life, so that no two clocks have to agree on the time of
day. Reading covers all generations up to that of the grant, writing that one alone.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import struct
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from memfs.errors import CapabilityError

READ: Final = 1
WRITE: Final = 2
GRANTS: Final = 256
"""Most of one capability: 4 KiB of a record. Inodes with numbers in a row are one."""
GRANT_BYTES: Final = 16
PROOF_BYTES: Final = 16
ANY_GENERATION: Final = 0xFFFFFFFF
"""Of an inode that is gone and whose blocks another file has taken over."""

_HOLDERS_CACHED: Final = 4096
_HEADER: Final = struct.Struct("<QIB")
_GRANT: Final = struct.Struct("<QII")
_HOLDER: Final = struct.Struct("<QHH")
_RIGHTS_AT: Final = 12
_LEAST: Final = _HEADER.size + PROOF_BYTES


class Key(NamedTuple):
    """What capabilities are proved with; nodes share it."""

    number: int
    material: bytes

    def __repr__(self) -> str:
        return f"Key({self.number:#x})"


class Capability(NamedTuple):
    """One whose proof was right."""

    key: int
    expires: int
    rights: int
    firsts: tuple[int, ...]
    """First inodes of the grants, in order."""
    ends: tuple[int, ...]
    """... and the first one after each."""
    generations: tuple[int, ...]

    def covers(self, inode: int, generation: int, right: int) -> bool:
        """Does it allow ``right`` on blocks of that inode and generation?"""
        if not self.rights & right:
            return False
        at = bisect_right(self.firsts, inode) - 1
        if at < 0 or inode >= self.ends[at]:
            return False
        granted = self.generations[at]
        return generation == granted if right == WRITE else generation <= granted


@functools.lru_cache(_HOLDERS_CACHED)
def holder(cluster: str, user: str, client: int) -> bytes:
    """Whom a capability is for, as the bytes that go into the proof."""
    names = cluster.encode(), user.encode()
    sizes = _HOLDER.pack(client & 0xFFFF_FFFF_FFFF_FFFF, len(names[0]), len(names[1]))
    return b"".join((sizes, *names))


def make(
    key: Key, whose: bytes, rights: int, expires: int, inodes: Iterable[tuple[int, int]]
) -> bytes:
    """A capability of ``whose`` for pairs of inode and generation; those that are too many are
    left out, and asked for again."""
    body = _HEADER.pack(key.number, expires, rights) + _grants(inodes)
    return body + _proof(key, whose, body)


def verify(key: Key, whose: bytes, raw: bytes) -> Capability:
    """A capability made with ``key`` for ``whose``. Raises CapabilityError."""
    body = raw[:-PROOF_BYTES]
    if not hmac.compare_digest(_proof(key, whose, body), raw[-PROOF_BYTES:]):
        raise CapabilityError("the capability is not genuine, or somebody else's: ask for one")
    number, expires, rights = _HEADER.unpack_from(body)
    grants = list(_GRANT.iter_unpack(body[_HEADER.size :]))
    return Capability(
        number,
        expires,
        rights,
        tuple([first for first, _, _ in grants]),
        tuple([first + count for first, count, _ in grants]),
        tuple([generation for _, _, generation in grants]),
    )


def key_number(raw: bytes) -> int:
    """Which key a capability says that it was made with. Raises CapabilityError."""
    grants = len(raw) - _LEAST
    if grants < 0 or grants % GRANT_BYTES or grants > GRANTS * GRANT_BYTES:
        raise CapabilityError("no capability, or one that is cut short: ask the primary for one")
    return int.from_bytes(raw[:8], "little")


def gives(raw: bytes, right: int) -> bool:
    """Does a capability say that it is good for ``right``?"""
    return len(raw) >= _LEAST and bool(raw[_RIGHTS_AT] & right)


def _proof(key: Key, whose: bytes, body: bytes) -> bytes:
    return hmac.digest(key.material, whose + body, hashlib.sha256)[:PROOF_BYTES]


def _grants(inodes: Iterable[tuple[int, int]]) -> bytes:
    """Grants in order of inodes, runs of the same generation as one."""
    ordered = sorted(inodes)
    if len(ordered) == 1:
        return _GRANT.pack(ordered[0][0], 1, ordered[0][1])
    runs: list[tuple[int, int, int]] = []
    for inode, generation in ordered:
        if runs:
            first, count, same = runs[-1]
            if inode == first + count and generation == same:
                runs[-1] = first, count + 1, same
                continue
        if len(runs) == GRANTS:
            break
        runs.append((inode, 1, generation))
    return b"".join([_GRANT.pack(*run) for run in runs])
