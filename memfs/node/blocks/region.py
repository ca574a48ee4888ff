"""Regions: the bytes of one block, shared by versions of different lengths; and those versions.

A version is the first ``length`` bytes of its region. Bytes of a version that was ever readable are
never changed (NoPartialVisible): a region is only written behind its versions, by one writer at a
time, and bytes behind a truncation are not written again while somebody could be reading them.
Owns that rule; knows nothing of requests.

Charges: a region in a segment counts with its record, one on the heap with its capacity, one in a
memfd with the bytes its slot touched, a version with ``VERSION_BYTES`` for its objects, unless it
is nothing but a record of a segment.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Final

from memfs.errors import NoSpaceError
from memfs.node.blocks.account import Account
from memfs.node.blocks.block_records import capacity_of, extent_for
from memfs.node.blocks.chunks import NO_CHUNKS, Checks
from memfs.node.blocks.memory import Slot
from memfs.node.blocks.segments import MemorySegment, Segments
from memfs.protocol.segment_records import data_offset
from memfs.types import Buffer

VERSION_BYTES: Final = 640
"""Charge of a version's objects and index entries: they take 610 (measured)."""


class Version:
    """One immutable version of a block; versions of the same block are chained, newest first."""

    __slots__ = (
        "birth",
        "claims",
        "crc",
        "generation",
        "length",
        "older",
        "region",
        "sequence",
        "tail",
        "writer",
    )

    def __init__(
        self,
        generation: int,
        sequence: int,
        length: int,
        checks: Checks,
        region: Region,
        writer: int = 0,
    ) -> None:
        self.generation = generation
        self.sequence = sequence
        self.length = length
        self.crc = checks.crc
        self.tail = checks.tail
        self.region = region
        self.writer = writer
        """The client that stored it, 0: not known (any more)."""
        self.older: Version | None = None
        self.birth = 0
        """Its number in the store, given once: no two versions have the same, 0: not held yet."""
        self.claims = 1
        """Writers that were told that it is stored and have not taken it back."""

    @property
    def age(self) -> tuple[int, int]:
        """Its place in the order of versions."""
        return self.generation, self.sequence

    @property
    def checks(self) -> Checks:
        """Its checksums."""
        return Checks(self.crc, self.tail)

    def view(self, start: int, stop: int) -> memoryview:
        """Its bytes from ``start`` to ``stop``; they stay valid after a discard."""
        return self.region.view(start, stop)


class Region:
    """Bytes of one block; subclasses say in which memory."""

    __slots__ = ("busy", "chunks", "fixed", "generation", "holders", "written")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        """Of the last writer who has a version here."""
        self.written = 0
        """Bytes that versions cover, or covered."""
        self.fixed = 0
        """Bytes before this stay as they are although no version may cover them any more."""
        self.holders = 0
        """Versions, and writes under way, that need it."""
        self.busy = False
        """A write is under way behind ``written``."""
        self.chunks: Sequence[int] = NO_CHUNKS
        """CRCs of its whole chunks below ``written``."""

    def extensible(self, base_length: int, generation: int) -> bool:
        """Whether a writer of ``generation`` may write from ``base_length`` on, in place.

        Bytes that lie there must be those of a fenced writer: of a lower generation, and
        never committed, since a successor starts from the committed version (WriterFence).
        """
        if self.busy or base_length < self.fixed:
            return False
        return base_length == self.written or self.generation < generation

    def view(self, start: int, stop: int) -> memoryview:
        """Its bytes from ``start`` to ``stop``, writable unless packed."""
        raise AssertionError("a region without memory")

    def store(self, start: int, data: Buffer) -> None:
        """Copy bytes into it."""
        self.view(start, start + len(data))[:] = data

    def clear(self, start: int, stop: int) -> None:
        """Make bytes that nothing was stored to read as zeros."""

    @property
    def viewed(self) -> bool:
        """Whether a view of it is alive."""
        raise AssertionError("a region without memory")

    @property
    def charge(self) -> int:
        """Bytes it counts for."""
        raise AssertionError("a region without memory")

    @property
    def capacity(self) -> int:
        """Bytes that fit without growing."""
        raise AssertionError("a region without memory")

    def trim(self, length: int, account: Account) -> None:
        """Forget the bytes from ``length`` on, when no version covers and nobody views them."""
        raise AssertionError("a region without memory")

    def _trimmed(self, length: int) -> None:
        self.written = length
        self.fixed = min(self.fixed, length)


class HeapRegion(Region):
    """A region in a buffer of its own, where a block of 1 MiB or more gets no memfd."""

    __slots__ = ("__weakref__", "memory")

    def __init__(self, generation: int, memory: bytes | bytearray) -> None:
        """``memory`` is charged already."""
        super().__init__(generation)
        self.memory = memory

    def view(self, start: int, stop: int) -> memoryview:
        return memoryview(self.memory)[start:stop]

    @property
    def viewed(self) -> bool:
        return sys.getrefcount(self.memory) > 2  # our attribute and the call's argument

    @property
    def charge(self) -> int:
        return len(self.memory)

    @property
    def capacity(self) -> int:
        return len(self.memory)

    def trim(self, length: int, account: Account) -> None:
        if self.viewed:
            return
        self._trimmed(length)
        if length < len(self.memory) // 2:
            account.release(len(self.memory) - length)
            self.memory = self.memory[:length]

    def grown(self, kept: int, length: int, most: int, account: Account) -> bytearray | None:
        """A larger buffer with the first ``kept`` bytes, charged; None: ``length`` fits this one.

        Grows by half as much again up to ``most``, so that an appended byte costs amortised O(1).
        The old buffer is never resized, since views of it may be alive. Raises NoSpaceError.
        """
        if length <= len(self.memory) and isinstance(self.memory, bytearray):
            return None
        ample = max(length, min(length + length // 2, most))
        capacity = ample if account.fits(ample) else length
        account.reserve(capacity)
        memory = bytearray(capacity)
        memory[:kept] = memoryview(self.memory)[:kept]
        return memory


class SlotRegion(Region):
    """A region in a slot of a memfd."""

    __slots__ = ("slot",)

    def __init__(self, generation: int, slot: Slot) -> None:
        """Moves into ``slot``."""
        super().__init__(generation)
        assert not slot.taken, "two regions in one slot"
        slot.taken = True
        slot.memfd.taken += 1
        self.slot = slot

    def view(self, start: int, stop: int) -> memoryview:
        return self.slot.view(start, stop)

    def store(self, start: int, data: Buffer) -> None:
        self.slot.store(start, data)

    def clear(self, start: int, stop: int) -> None:
        self.slot.clear(start, stop)

    @property
    def viewed(self) -> bool:
        return self.slot.viewed

    @property
    def charge(self) -> int:
        return self.slot.touched

    @property
    def capacity(self) -> int:
        return self.slot.memfd.slot_bytes

    def trim(self, length: int, account: Account) -> None:
        if self.slot.trim(length, account):
            self._trimmed(length)

    def leave(self) -> Slot:
        """Move out; the slot stays charged until it is emptied."""
        self.slot.taken = False
        self.slot.memfd.taken -= 1
        return self.slot


class SegmentRegion(Region):
    """A region in a record of a segment: data below 1 MiB.

    Moves to another record when it grows or shrinks, and when the cleaner wants its segment: the
    old bytes stay as they are for those who view them.
    """

    __slots__ = ("_data", "_segments", "extent", "offset", "pinned", "segment")

    def __init__(
        self, generation: int, segments: Segments, segment: MemorySegment, offset: int, extent: int
    ) -> None:
        """Describes the record at ``offset``; see :meth:`attach`."""
        super().__init__(generation)
        self._segments = segments
        self.pinned = False
        """Somebody is writing into it through a view: it cannot move."""
        self._describe(segment, offset, extent)

    def attach(self) -> SegmentRegion:
        """Register as the holder of the record, which is live from now on."""
        assert self.offset not in self.segment.regions, "two regions in one record"
        self.segment.regions[self.offset] = self
        return self

    def detach(self) -> None:
        """Undo :meth:`attach`: the record describes itself."""
        assert self.segment.regions.pop(self.offset) is self, "another region's record"

    def free(self) -> None:
        """Release the record."""
        self.detach()
        self._segments.release(self.segment, self.extent)

    def view(self, start: int, stop: int) -> memoryview:
        return self.segment.view(self._data + start, self._data + stop)

    def store(self, start: int, data: Buffer) -> None:
        self.segment.store(self._data + start, data)

    def clear(self, start: int, stop: int) -> None:
        if start < stop:
            self.store(start, bytes(stop - start))

    @property
    def viewed(self) -> bool:
        return self.segment.viewed

    @property
    def charge(self) -> int:
        return self.extent

    @property
    def capacity(self) -> int:
        return capacity_of(self.extent)

    def trim(self, length: int, account: Account) -> None:
        with contextlib.suppress(NoSpaceError):
            self.move(length)
            self._trimmed(length)

    def move(self, length: int) -> None:
        """Move to a record of its own length, with the first ``length`` bytes.

        Raises NoSpaceError when the system has no memory.
        """
        extent = extent_for(length)
        segment, offset = self._segments.append(extent, moved=True)
        place = SegmentRegion(0, self._segments, segment, offset, extent).attach()
        try:
            self.move_to(place, length)
        except NoSpaceError:
            place.free()
            raise

    def relocate(self) -> int:
        """Move to a record of just the bytes that it holds; how many bytes that covers.

        It keeps its room while somebody writes. Raises NoSpaceError as :meth:`move` does.
        """
        self.move(self.capacity if self.busy or not self.written else self.written)
        return self.extent

    def grown(self, length: int, most: int, account: Account) -> SegmentRegion | None:
        """A larger place for it, charged; None: ``length`` bytes fit here.

        Grows by half as much again up to ``most``, so that an appended byte costs amortised O(1).
        Raises NoSpaceError.
        """
        if length <= self.capacity:
            return None
        ample = extent_for(max(length, min(length + length // 2, most)))
        extent = ample if account.fits(ample) else extent_for(length)
        place = self._segments.append(extent)
        return SegmentRegion(0, self._segments, *place, extent).attach()

    def move_to(self, place: SegmentRegion, kept: int) -> None:
        """Move to the record of ``place`` with the first ``kept`` bytes; release its own.

        Raises NoSpaceError when the system has no memory, and then stays where it is.
        """
        place.store(0, self.view(0, kept))
        self.free()
        place.detach()
        self._describe(place.segment, place.offset, place.extent)
        self.attach()

    def _describe(self, segment: MemorySegment, offset: int, extent: int) -> None:
        self.segment = segment
        self.offset = offset
        self.extent = extent
        self._data = offset + data_offset(extent)
