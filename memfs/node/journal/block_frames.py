"""What the frames of the block journal say: blocks, their extensions, what was forgotten.

Owns the layout of those frames' metadata. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from memfs.checksum import crc32c
from memfs.node.journal.segment_format import META_BYTES, Frame
from memfs.node.journal.series import LogRecord
from memfs.protocol.messages import BlockVersion
from memfs.types import Buffer

KIND: Final = 2
BLOCK: Final = 1
"""A whole version; the body holds its bytes."""
EXTENSION: Final = 2
"""A version that is a base and the bytes of the body behind it."""
FORGET: Final = 3
"""Versions that the node holds no longer; in the metadata."""
PROBE: Final = 4
"""Nothing: a failing disk is tried with it."""

_IDENTITY: Final = struct.Struct(">QIQQ")
_SHAPE: Final = struct.Struct(">IIII")
FORGOTTEN_PER_RECORD: Final = META_BYTES // _IDENTITY.size


class Shape(NamedTuple):
    """The metadata with which a version is stored again at recovery."""

    length: int
    crc: int
    """CRC32C of all its bytes."""
    block_size: int
    """0: it came in a batch of small blocks, and goes back in one."""
    group_blocks: int


class StoredRecord(NamedTuple):
    """The metadata of a block or an extension."""

    version: BlockVersion
    shape: Shape
    base: BlockVersion | None


def block(version: BlockVersion, shape: Shape, data: Buffer) -> LogRecord:
    """The record of a whole version."""
    meta = _IDENTITY.pack(*version) + _SHAPE.pack(*shape)
    return LogRecord(BLOCK, meta, (data,), shape.length, shape.crc)


def extension(version: BlockVersion, shape: Shape, base: BlockVersion, more: Buffer) -> LogRecord:
    """The record of a version that continues ``base`` with ``more``."""
    meta = _IDENTITY.pack(*version) + _SHAPE.pack(*shape) + _IDENTITY.pack(*base)
    return LogRecord(EXTENSION, meta, (more,), len(more), crc32c(more))


def forget(versions: Sequence[BlockVersion]) -> LogRecord:
    """The record of at most ``FORGOTTEN_PER_RECORD`` discarded versions."""
    return LogRecord(FORGET, b"".join(_IDENTITY.pack(*version) for version in versions), (), 0, 0)


def probe() -> LogRecord:
    """A record without meaning."""
    return LogRecord(PROBE, b"", (), 0, 0)


def stored(frame: Frame) -> StoredRecord:
    """What the frame of a block or an extension says."""
    version = BlockVersion(*_IDENTITY.unpack_from(frame.meta))
    shape = Shape(*_SHAPE.unpack_from(frame.meta, _IDENTITY.size))
    base = None
    if frame.kind == EXTENSION:
        at = _IDENTITY.size + _SHAPE.size
        base = BlockVersion(*_IDENTITY.unpack_from(frame.meta, at))
    return StoredRecord(version, shape, base)


def forgotten(frame: Frame) -> Iterable[BlockVersion]:
    """What a frame of forgotten versions says."""
    return (BlockVersion(*fields) for fields in _IDENTITY.iter_unpack(frame.meta))
