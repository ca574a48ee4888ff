"""Segments: memory for small blocks, records one behind the other (log-structured memory).

After Rumble, Kejariwal and Ousterhout, "Log-structured Memory for DRAM-based Storage" (FAST '14). A
record is never overwritten while a reader could see it: freeing one leaves dead bytes, which are
reclaimed with the whole segment, once everything in it is dead or was moved by the cleaner. Owns
the memory and its account; knows nothing of versions.

Charges: a live record counts with its extent. Dead bytes, and resident pages of recycled segments,
are spare. Invariant: a segment of which a view exists, or whose descriptor was lent to another
process, is never reused; it is closed, and the kernel frees it with the last view or mapping.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from memfs.errors import NoSpaceError
from memfs.limits import KIB, MIB
from memfs.node.blocks.account import Account
from memfs.node.blocks.departed import Departed
from memfs.node.blocks.memory import SEALS, UNTRACKED, write_at
from memfs.protocol.segment_records import EXTENT, EXTENT_OFFSET, OFFSET_BITS, OFFSET_MASK
from memfs.types import Buffer

SEGMENT_BYTES_LEAST: Final = 64 * KIB
SEGMENT_BYTES_MOST: Final = 8 * MIB
SEGMENTS_PER_LIMIT: Final = 64
"""A segment is this part of the limit, within the two bounds: a small node cleans small ones."""
_FLAGS: Final = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
"""A shared mapping would be counted as others' memory, and keep its pages until it is closed."""
WRITTEN_FROM_BYTES: Final = 16 * KIB
"""From here up write(2) is faster into fresh pages than the mapping, which zeroes them first."""

PIECES_WRITTEN_AT_ONCE: Final = 1024
"""IOV_MAX of Linux."""


def segment_bytes(limit: int) -> int:
    """The length of a segment of a store with a limit in bytes: a power of two."""
    least = max(SEGMENT_BYTES_LEAST, min(limit // SEGMENTS_PER_LIMIT, SEGMENT_BYTES_MOST))
    return 1 << least.bit_length() - 1


class RecordHolder(Protocol):
    """The object that owns a record and describes its content in place of the header."""

    segment: MemorySegment
    offset: int
    """Of the record in the segment."""
    pinned: bool
    """Somebody is writing into it through a view: it cannot move."""

    def relocate(self) -> int:
        """Move to another record; how many bytes the new one covers. Raises NoSpaceError."""


class MemorySegment:
    """Memory that is filled from its beginning to its end."""

    __slots__ = (
        "_descriptor",
        "_exporter",
        "filled",
        "lent",
        "live",
        "mapping",
        "number",
        "regions",
        "resident",
        "size",
    )

    def __init__(self, size: int, shared: bool) -> None:
        """``shared``: in a memfd, which takes a descriptor. OSError when none can be made."""
        self.size = size
        self.number = -1
        """Its name while it is in use; larger ones were taken into use later."""
        self.filled = 0
        """Bytes from its beginning that records cover, or covered."""
        self.resident = 0
        """Bytes from its beginning whose pages may be there."""
        self.live = 0
        """Bytes of records that somebody needs."""
        self.lent = False
        """Its descriptor has left, so that somebody may be reading it at any time."""
        self.regions: dict[int, RecordHolder] = {}
        """Records that are described by objects, by offset."""
        self._descriptor = -1
        if shared:
            self._descriptor = os.memfd_create("memfs-segment", _FLAGS)
        try:
            if shared:
                os.ftruncate(self._descriptor, size)
                self.mapping = mmap.mmap(self._descriptor, size, **UNTRACKED)
            else:
                self.mapping = mmap.mmap(-1, size, flags=_PRIVATE)
        except OSError:
            self.close()
            raise
        # Every view is a view of this object, so that its reference count tells whether any lives.
        self._exporter: ctypes.Array[ctypes.c_ubyte] = (ctypes.c_ubyte * size).from_buffer(
            self.mapping
        )

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Release the memory: it is freed with the last view of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def shared(self) -> bool:
        """Whether it takes a descriptor."""
        return self._descriptor >= 0

    @property
    def viewed(self) -> bool:
        """Whether a view of it is alive, say in a reply being sent."""
        return sys.getrefcount(self._exporter) > 2  # our attribute and the call's argument

    def view(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Bytes between two offsets, writable."""
        return memoryview(self._exporter).cast("B")[start:stop]

    def lend(self) -> int:
        """Its descriptor, to be given away: nobody else can write to it, or resize it.

        From now on no byte of a record is overwritten and no page taken away, whoever needs it.
        Raises OSError.
        """
        if not self.lent:
            fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, SEALS)
            self.lent = True
        return self._descriptor

    def store(self, start: int, data: Buffer) -> None:
        """Copy bytes into it. Raises NoSpaceError when the system has no memory."""
        if len(data) < WRITTEN_FROM_BYTES or self._descriptor < 0 or self.lent:
            self.mapping[start : start + len(data)] = data
            return
        write_at(self._descriptor, start, data)

    def store_all(self, start: int, pieces: Sequence[Buffer]) -> None:
        """Copy pieces into it, one behind the other. Raises NoSpaceError as :meth:`store` does."""
        if self._descriptor < 0 or self.lent:
            self.store(start, b"".join(pieces))
            return
        for first in range(0, len(pieces), PIECES_WRITTEN_AT_ONCE):
            some = pieces[first : first + PIECES_WRITTEN_AT_ONCE]
            write_at(self._descriptor, start, *some)
            start += sum(map(len, some))

    def shed(self) -> int:
        """Give the pages behind the last record back to the kernel; returns the number of bytes.

        Of a segment that was lent they stay.
        """
        if self.lent:
            return 0
        spare = self.resident - self.filled
        first = -(-self.filled // mmap.PAGESIZE) * mmap.PAGESIZE
        last = -(-self.resident // mmap.PAGESIZE) * mmap.PAGESIZE
        if first < last:
            advice = mmap.MADV_REMOVE if self.shared else mmap.MADV_DONTNEED
            self.mapping.madvise(advice, first, last - first)
        self.resident = self.filled
        return spare

    def records(self, start: int) -> Iterator[tuple[int, int]]:
        """Offset and extent of the records from the one at ``start`` on, dead or alive."""
        while start < self.filled:
            (extent,) = EXTENT.unpack_from(self.mapping, start + EXTENT_OFFSET)
            yield start, extent
            start += extent


class Segments:
    """All segments of a store."""

    def __init__(
        self, account: Account, size: int, may_share: Callable[[], bool], departed: Departed
    ) -> None:
        """``size`` of a segment in bytes; ``may_share`` says whether one more descriptor may be
        taken: segments without one are private memory of the process. ``departed`` is told what
        is closed while somebody may be reading there."""
        self.size = size
        self.used: dict[int, MemorySegment] = {}
        """Segments with records, by number."""
        self._account = account
        self._departed = departed
        self._may_share = may_share
        self._free: list[MemorySegment] = []
        """Segments without records whose pages are there."""
        self._heads: list[MemorySegment | None] = [None, None]
        """Where records are appended: what is written, and what the cleaner moves."""
        self._numbers = 0
        self.dead = 0
        """Bytes of records that nobody needs any more."""
        self.live_bytes = 0
        """Bytes of records that somebody needs."""
        self.shared = 0
        """Segments that take a descriptor."""

    @property
    def spare(self) -> int:
        """Bytes that are neither needed nor with the system, recomputed."""
        used = sum(segment.resident - segment.live for segment in self.used.values())
        return used + sum(segment.resident for segment in self._free)

    @property
    def private(self) -> int:
        """Resident bytes of segments without a descriptor."""
        every = (*self.used.values(), *self._free)
        return sum(segment.resident for segment in every if not segment.shared)

    def is_head(self, segment: MemorySegment) -> bool:
        """Whether records are still appended to it."""
        return segment in self._heads

    def append(self, extent: int, *, moved: bool = False) -> tuple[MemorySegment, int]:
        """Room for a record of ``extent`` bytes, charged: its segment and offset there.

        ``moved``: the room is for what the cleaner moves, whose old place is charged as well until
        it is released. Raises NoSpaceError, and then charges nothing.
        """
        segment = self._head(extent, moved)
        start, stop = segment.filled, segment.filled + extent
        segment.filled = stop
        segment.live += extent
        self.live_bytes += extent
        there = max(0, min(stop, segment.resident) - start)
        segment.resident = max(stop, segment.resident)
        EXTENT.pack_into(segment.mapping, start + EXTENT_OFFSET, extent)
        try:
            if moved:
                self._account.move(extent, there)
            else:
                self._account.reserve(extent, there)
        except NoSpaceError:
            segment.filled = start
            segment.live -= extent
            self.live_bytes -= extent
            segment.resident -= extent - there
            self._drop_if_empty(segment)
            raise
        return segment, start

    def divide(self, segment: MemorySegment, start: int, extents: Iterable[int]) -> list[int]:
        """Make several records of the one at ``start``; their offsets."""
        offsets = []
        for extent in extents:
            EXTENT.pack_into(segment.mapping, start + EXTENT_OFFSET, extent)
            offsets.append(start)
            start += extent
        return offsets

    def release(self, segment: MemorySegment, extent: int) -> None:
        """A record of ``extent`` bytes is needed no more."""
        assert extent <= segment.live, f"{extent} bytes released of {segment.live}"
        segment.live -= extent
        self.live_bytes -= extent
        self.dead += extent
        self._account.release(extent, keep=True)
        if segment.live == 0:
            self._drop_if_empty(segment)

    def close_free(self) -> bool:
        """Give a segment without records back to the system, if there is one."""
        if not self._free:
            return False
        self._close(self._free.pop())
        return True

    def at(self, place: int) -> tuple[MemorySegment, int]:
        """Segment and offset of a place."""
        return self.used[place >> OFFSET_BITS], place & OFFSET_MASK

    def close_heads(self) -> None:
        """Append to other segments from now on, so that these can be cleaned."""
        for head in self._heads:
            if head is not None:
                self._account.spend(head.shed())
        self._heads = [None, None]

    def check_invariants(self) -> None:
        """Assert that every segment's numbers agree."""
        for number, segment in self.used.items():
            assert segment.number == number, "a segment under another's number"
            assert 0 < segment.live <= segment.filled <= segment.resident <= segment.size
            extents = dict(segment.records(0))
            assert sum(extents.values()) == segment.filled, "records do not fill their segment"
            assert set(segment.regions) <= set(extents), "a region without a record"
        assert self.dead == sum(each.filled - each.live for each in self.used.values())
        assert self.live_bytes == sum(segment.live for segment in self.used.values())
        assert self.shared == sum(each.shared for each in (*self.used.values(), *self._free))
        for segment in self._free:
            assert not segment.live and not segment.filled and not segment.regions

    def _head(self, extent: int, moved: bool) -> MemorySegment:
        if extent > self.size:
            return self._add(self._open(-(-extent // mmap.PAGESIZE) * mmap.PAGESIZE))
        head = self._heads[moved]
        if head is None or head.filled + extent > head.size:
            if head is not None:
                self._account.spend(head.shed())
            head = self._add(self._free.pop() if self._free else self._open(self.size))
            self._heads[moved] = head
        return head

    def _add(self, segment: MemorySegment) -> MemorySegment:
        self._numbers += 1
        segment.number = self._numbers
        self.used[segment.number] = segment
        return segment

    def _open(self, size: int) -> MemorySegment:
        if self._may_share():
            try:
                segment = MemorySegment(size, True)
            except OSError:
                pass  # out of descriptors: private memory serves as well
            else:
                self.shared += 1
                return segment
        try:
            return MemorySegment(size, False)
        except OSError:
            raise NoSpaceError(
                f"the system gives the node no {size} bytes more, though it may use "
                f"{self._account.limit}: lower its memory setting or free memory on its host"
            ) from None

    def _drop_if_empty(self, segment: MemorySegment) -> None:
        """Recycle a segment without records, or close it when somebody may be reading there."""
        if segment.live or segment.regions:
            return
        del self.used[segment.number]
        self.dead -= segment.filled
        self._heads = [None if head is segment else head for head in self._heads]
        if segment.size == self.size and not segment.viewed and not segment.lent:
            segment.filled = 0
            self._free.append(segment)
        else:
            self._close(segment)

    def _close(self, segment: MemorySegment) -> None:
        self._account.spend(segment.resident)
        if segment.shared and (segment.lent or segment.viewed):
            self._departed.note(segment.mapping, segment.resident, lent=segment.lent)
        self.shared -= segment.shared
        segment.close()


def place_of(segment: MemorySegment, offset: int) -> int:
    """One integer for a segment and an offset in it."""
    return segment.number << OFFSET_BITS | offset
