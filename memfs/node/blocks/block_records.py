"""Records: how a small block lies in a segment.

Owns the layout, native byte order, all of it in memory only:

    key 8 | birth 8 | generation 8 | sequence 8 | writer 8 | length 4 | CRC 4 | tail 4 | extent 4
    CRC of each 64 KiB chunk that fits, 4 bytes each, padded to 8
    the bytes, with room behind them up to ``extent``, the length of the whole record

``tail`` is the CRC of the last, incomplete chunk. ``key`` says inode and index, ``birth`` is the
number of the version in its store, unique and unchanged when the record moves. While objects
describe the version (a write is under way, or versions share the record) only ``extent`` is valid.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from memfs.protocol.segment_records import RECORD_HEADER_BYTES, data_offset

HEADER: Final = struct.Struct("=QQQQQIIII")
assert HEADER.size == RECORD_HEADER_BYTES
WHOLE: Final = struct.Struct("=16xQQ8xI8xI")
"""Of a header: generation, sequence, length and extent."""
assert WHOLE.size == HEADER.size
INDEX_BYTES: Final = 32
"""Charge of a record's entry in the index: 16 bytes of columns, and what buckets leave empty."""
FIELD_MAX: Final = (1 << 64) - 1
"""Of the key and of what else has 8 bytes; a version beyond stays an object."""


class BlockHeader(NamedTuple):
    """What a record says of its version."""

    key: int
    birth: int
    generation: int
    sequence: int
    writer: int
    length: int
    crc: int
    tail: int
    extent: int


def extent_for(capacity: int) -> int:
    """Length of a record that has room for ``capacity`` bytes; a multiple of 8."""
    extent = _aligned(HEADER.size + capacity)
    while extent - data_offset(extent) < capacity:
        extent += 8
    return extent


def capacity_of(extent: int) -> int:
    """Bytes that fit into a record of ``extent``."""
    return extent - data_offset(extent)


def _aligned(count: int) -> int:
    return -(-count // 8) * 8
