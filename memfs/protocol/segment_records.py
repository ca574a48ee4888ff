"""Records in segments: the part of their layout that clients of a node's host know.

A client that maps a node's segments of small blocks is told where records begin. A record has 56
bytes of header, of which the last four are its ``extent``, the length of all of it, in the byte
order of the machine; then the CRC32C of each 64 KiB that fit, 4 bytes each, padded to 8; then the
block. The extent of a record stays as long as the segment exists. The rest of the header is the
node's own (``memfs.node.blocks.block_records``).
"""

from __future__ import annotations

import struct
from typing import Final

from memfs.limits import CHUNK_BYTES

RECORD_HEADER_BYTES: Final = 56
EXTENT: Final = struct.Struct("=I")
EXTENT_OFFSET: Final = RECORD_HEADER_BYTES - EXTENT.size
OFFSET_BITS: Final = 32
"""A place is the number of a segment, and in so many bits an offset there."""
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1


def data_offset(extent: int) -> int:
    """Where the bytes begin in a record of ``extent``."""
    if extent < CHUNK_BYTES:
        return RECORD_HEADER_BYTES
    return RECORD_HEADER_BYTES + -(-4 * (extent // CHUNK_BYTES) // 8) * 8
