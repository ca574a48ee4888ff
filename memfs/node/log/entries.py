"""The replicated log: one entry, and how a run of entries travels in a ``Replicate`` payload.

Owns the bytes of that payload and nothing of what entries mean (``memfs.node.namespace`` does).
Invariant: ``unpack_entries(pack_entries(entries)) == entries``; anything else is refused whole.

::

    payload = CRC32C of the rest (4 bytes) | entry | entry | ...
    entry   = index, epoch, now_ns, client, request id (8 bytes each), opcode, identity length
              (2 each), record length (4) | identity (msgpack) | [held] | record (msgpack)
    held    = number of inodes (4) | inode (8 each); there when the opcode's highest bit is set

Integers are unsigned and big-endian.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import ProtocolError
from memfs.protocol import records
from memfs.types import Buffer, Identity

_HEAD: Final = struct.Struct(">QQQQQHHI")
_CRC: Final = struct.Struct(">I")
_COUNT: Final = struct.Struct(">I")
_HAS_HELD: Final = 0x8000
_IDENTITIES_CACHED: Final = 1024


class Entry(NamedTuple):
    """One command of the replicated log, with everything that applying it depends on."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which no entry needs
    """Position in the log, from 1."""
    epoch: int
    """The primary's epoch when it appended the entry."""
    now_ns: int
    """The primary's wall clock then; the only time that the namespace knows."""
    client: int
    """Whose command: with ``request_id`` the key of deduplication; 0: the cluster's own."""
    request_id: int
    identity: Identity
    opcode: int
    record: bytes
    """The request as it travelled, its payload put where the record has a field for it."""
    held: tuple[int, ...] = ()
    """Inodes that clients had open, where that changed what the command did. Only the primary knows
    it; it applies the entry before it ships it."""


def entry_bytes(entry: Entry) -> int:
    """Bytes that the entry adds to a payload: for cutting batches at a limit."""
    identity = _pack_identity(entry.identity)
    return _HEAD.size + len(identity) + len(_pack_held(entry.held)) + len(entry.record)


def pack_entries(entries: Iterable[Entry]) -> bytes:
    """The payload that carries ``entries``, in order."""
    parts = [b""]
    for entry in entries:
        identity = _pack_identity(entry.identity)
        opcode = entry.opcode | _HAS_HELD if entry.held else entry.opcode
        head = _HEAD.pack(*entry[:5], opcode, len(identity), len(entry.record))
        parts += (head, identity, _pack_held(entry.held), entry.record)
    body = b"".join(parts)
    return _CRC.pack(crc32c(body)) + body


def unpack_entries(payload: Buffer) -> list[Entry]:
    """The entries of a payload. Raises ProtocolError."""
    view = memoryview(payload)
    if len(view) < _CRC.size or _CRC.unpack_from(view)[0] != crc32c(view[_CRC.size :]):
        raise ProtocolError("log entries fail their checksum")
    entries, at = [], _CRC.size
    while at < len(view):
        entry, at = _unpack(view, at)
        entries.append(entry)
    return entries


def _unpack(view: memoryview, at: int) -> tuple[Entry, int]:
    if len(view) - at < _HEAD.size:
        raise ProtocolError("log entry is cut short")
    index, epoch, now_ns, client, request_id, opcode, identity_length, record_length = (
        _HEAD.unpack_from(view, at)
    )
    middle = at + _HEAD.size + identity_length
    held, start = _unpack_held(view, middle) if opcode & _HAS_HELD else ((), middle)
    end = start + record_length
    if record_length > limits.LOGGED_BYTES or end > len(view):
        raise ProtocolError("log entry is cut short")
    identity = _unpack_identity(bytes(view[at + _HEAD.size : middle]))
    record, opcode = bytes(view[start:end]), opcode & ~_HAS_HELD
    return Entry(index, epoch, now_ns, client, request_id, identity, opcode, record, held), end


def _pack_held(held: tuple[int, ...]) -> bytes:
    return _COUNT.pack(len(held)) + struct.pack(f">{len(held)}Q", *held) if held else b""


def _unpack_held(view: memoryview, at: int) -> tuple[tuple[int, ...], int]:
    start = at + _COUNT.size
    count = _COUNT.unpack_from(view, at)[0] if start <= len(view) else 0
    end = start + 8 * count
    if not count or end > len(view):
        raise ProtocolError("log entry is cut short")
    return struct.unpack_from(f">{count}Q", view, start), end


@functools.lru_cache(_IDENTITIES_CACHED)
def _pack_identity(identity: Identity) -> bytes:
    return records.encode(identity)


@functools.lru_cache(_IDENTITIES_CACHED)
def _unpack_identity(raw: bytes) -> Identity:
    return records.decode(Identity, raw)
