"""Segments of small blocks that nodes of this host have lent, mapped into this process.

Owns the mappings and how a block is copied out of one. Must not know files or requests. A node
overwrites no byte of a segment that it has lent, so a block that was deleted or moved meanwhile is
still what it was where it lay; and who reads compares the CRC in any case. The memory stays in use
as long as it is mapped, which is why segments that nobody uses are given back within seconds.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections.abc import Collection, Mapping, Sequence

from memfs.limits import CHUNK_BYTES
from memfs.protocol.segment_records import (
    EXTENT,
    EXTENT_OFFSET,
    OFFSET_BITS,
    OFFSET_MASK,
    RECORD_HEADER_BYTES,
    data_offset,
)

MAPPED = 2048
"""Segments per generation, of which two are kept: 16 GiB each with segments of 8 MiB, and a tenth
of the mappings that a process may have."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def map_descriptor(descriptor: int) -> memoryview:
    """All of it, read-only, mapped until nothing refers to the view. Raises OSError.

    ``mmap.mmap`` would keep a descriptor of its own, and segments are many.
    """
    size = os.fstat(descriptor).st_size
    address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED:
        raise OSError(ctypes.get_errno(), "a segment cannot be mapped")
    memory = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(memory, _libc.munmap, address, size).atexit = False
    return memoryview(memory).cast("B").toreadonly()


class SmallSegments:
    """What was lent, by the lender's incarnation and the segment's number.

    Two generations, as of ``MemoryPlaces``.
    """

    def __init__(self) -> None:
        self._young: dict[tuple[int, int], memoryview] = {}
        self._old: dict[tuple[int, int], memoryview] = {}

    def __bool__(self) -> bool:
        return bool(self._young or self._old)

    def find(self, lender: int, places: Sequence[int]) -> tuple[dict[int, memoryview], list[int]]:
        """The segments that places are in, by their numbers, and the numbers that are unknown."""
        found: dict[int, memoryview] = {}
        unknown = []
        for number in {place >> OFFSET_BITS for place in places if place >= 0}:
            key = lender, number
            segment = self._young.get(key)
            if segment is None and (segment := self._old.get(key)) is not None:
                self._young[key] = segment
            if segment is None:
                unknown.append(number)
            else:
                found[number] = segment
        return found, unknown

    def enter(
        self, lender: int, numbers: Collection[int], lent: Sequence[int], descriptors: list[int]
    ) -> None:
        """Map what a node has lent; the descriptors are closed."""
        try:
            if len(self._young) + len(numbers) > MAPPED:
                self.age()
            for number, index in zip(numbers, lent, strict=False):
                if index >= 0:
                    self._young[lender, number] = map_descriptor(descriptors[index])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def age(self) -> None:
        """Forget the old generation; the young one is old now."""
        self._old, self._young = self._young, {}


def copy_blocks(
    segments: Mapping[int, memoryview], places: Sequence[int], lengths: Sequence[int]
) -> list[bytes | None]:
    """``lengths`` bytes of the blocks at ``places``; None: in no segment that is known.

    Fewer where they are not in the segment. What they are shows their CRC only.
    """
    found: list[bytes | None] = []
    unpack, number, segment, last = EXTENT.unpack_from, -1, None, 0
    for place, length in zip(places, lengths, strict=False):
        if place >> OFFSET_BITS != number:  # mostly they follow one another
            number = place >> OFFSET_BITS
            segment = segments.get(number)
            last = len(segment) - RECORD_HEADER_BYTES if segment is not None else 0
        if segment is None:
            found.append(None)
            continue
        start = place & OFFSET_MASK
        if start > last:
            found.append(b"")
            continue
        (extent,) = unpack(segment, start + EXTENT_OFFSET)
        start += RECORD_HEADER_BYTES if extent < CHUNK_BYTES else data_offset(extent)
        found.append(segment[start : start + length].tobytes())
    return found
