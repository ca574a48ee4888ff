"""The versions a store holds and the writes under way: the one place where versions come and go.

Owns the account, the index, the placement and the fence; its callers (the store's surface and
the writes under way) never touch them in any other way when a version appears or disappears.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from memfs.errors import LeaseLostError
from memfs.limits import BLOCK_BYTES_DEFAULT
from memfs.node.blocks import packing
from memfs.node.blocks.account import Account
from memfs.node.blocks.block_records import INDEX_BYTES, BlockHeader
from memfs.node.blocks.cleaner import Cleaner
from memfs.node.blocks.departed import Departed
from memfs.node.blocks.index import BLOCK_MASK, INDEX_BITS, BlockIndex
from memfs.node.blocks.memory import Memfd, ScratchPool
from memfs.node.blocks.placement import Placement
from memfs.node.blocks.region import (
    VERSION_BYTES,
    HeapRegion,
    Region,
    SegmentRegion,
    SlotRegion,
    Version,
)
from memfs.node.blocks.segments import MemorySegment, Segments, segment_bytes
from memfs.protocol.messages import BlockVersion
from memfs.types import Buffer

SCRATCH_BUFFERS: Final = 16
"""Blocks that arrive at once through warm memory: 16 x 4 MiB beside the limit, made on demand."""
ALLOWED_SEGMENTS: Final = 2
"""Segments' worth of dead bytes that may lie beyond the limit: of those being filled, of one
that is being emptied, and what is not worth its cleaning."""
SCRATCH_SHARE: Final = 16
"""... and no more than this part of the limit, for a small node's process has little beside it."""

_Row = tuple[int, int, int, int, int, int]
_header = tuple.__new__
"""Makes a named tuple in a third of the time that its name takes."""


class Arriving(Protocol):
    """A write under way."""

    @property
    def region(self) -> Region | None:
        """The region that it holds."""

    @property
    def charged(self) -> int:
        """Bytes reserved for it that no region accounts for."""


class VersionObserver(Protocol):
    """Is told which versions come and go, in order: a journal."""

    def stored(self, stored: Stored) -> None:
        """A version is held now."""

    def forgotten(self, version: BlockVersion) -> None:
        """A version is held no longer, or was to be discarded and is not held."""


class Stored(NamedTuple):
    """A version that came."""

    version: BlockVersion
    crc: int
    """CRC32C of all its bytes."""
    data: memoryview
    """All its bytes; valid and unchanged for as long as it is kept."""
    block_size: int
    """0: it came in a batch of small blocks."""
    group_blocks: int
    base: BlockVersion | None
    """It begins with all of this one."""


class WrittenRecords(NamedTuple):
    """Versions whose bytes are in a segment, not yet in the index."""

    headers: list[BlockHeader]
    starts: list[int]
    """Where in the segment each record begins."""


class Holdings:
    """Versions, their memory and its account."""

    def __init__(self, limit: int, memfds: int) -> None:
        """``limit`` in bytes; ``memfds`` at most."""
        self.account = Account(limit)
        size = segment_bytes(limit)
        self.account.allowance = ALLOWED_SEGMENTS * size
        self.departed = Departed()
        self.segments = Segments(self.account, size, lambda: self.placement.may_open, self.departed)
        self.index = BlockIndex(self.segments)
        self.cleaner = Cleaner(self.segments, self.index)
        self.placement = Placement(
            self.account, self.index, self.segments, memfds, self, self.departed
        )
        self.account.give_back = self._make_way
        self._births = 0
        buffers = min(SCRATCH_BUFFERS, max(1, limit // SCRATCH_SHARE // BLOCK_BYTES_DEFAULT))
        self.scratch = ScratchPool(BLOCK_BYTES_DEFAULT, buffers)
        self.arriving: set[Arriving] = set()
        """Writes under way."""
        self.watcher: VersionObserver | None = None
        self.uncached: Callable[[BlockVersion], object] | None = None
        """Is told of cached versions that go, whoever drops them."""

    def fence(self, inode: int, generation: int) -> None:
        """Refuse a writer whose successor was seen (WriterFence). Raises LeaseLostError."""
        highest = self.index.generation(inode)
        if generation < highest:
            raise LeaseLostError(
                f"the lease is over: generation {highest} of the file's followed {generation}; "
                "open the file again"
            )

    def publish(
        self,
        inode: int,
        index: int,
        version: Version,
        layout: tuple[int, int] = (0, 0),
        base: BlockVersion | None = None,
    ) -> None:
        """Hold a version. ``layout``: its block size and group; ``base``, what it begins with.

        The block is not packed yet; it is packed if possible.
        """
        version.birth = self._birth()
        self.index.insert(inode, index, version)
        if self.watcher is not None and version.generation:  # 0: cached, can be fetched again
            identity = BlockVersion(inode, index, *version.age)
            data = version.view(0, version.length)
            self.watcher.stored(Stored(identity, version.crc, data, *layout, base))

    def write_records(
        self, segment: MemorySegment, offset: int, rows: Iterable[_Row], pieces: Sequence[Buffer]
    ) -> WrittenRecords:
        """Put versions into records, from ``offset`` on; nobody sees them yet.

        A row is the key, generation, sequence, length, CRC32C and extent; ``pieces`` are the bytes.
        Raises NoSpaceError when the system has no memory.
        """
        first = self._births + 1
        headers = [
            _header(BlockHeader, (key, birth, generation, sequence, 0, length, crc, crc, extent))
            for birth, (key, generation, sequence, length, crc, extent) in enumerate(rows, first)
        ]
        self._births += len(headers)
        return WrittenRecords(headers, packing.write_records(segment, offset, headers, pieces))

    def publish_records(self, segment: MemorySegment, written: WrittenRecords) -> list[int]:
        """Hold versions in records, of blocks that have no others; their births."""
        self.index.insert_records(segment, *written)
        if self.watcher is not None:
            for header, start in zip(*written, strict=True):
                self._tell_stored(self.watcher, segment, start, header)
        return [header.birth for header in written.headers]

    def _tell_stored(
        self, watcher: VersionObserver, segment: MemorySegment, start: int, header: BlockHeader
    ) -> None:
        if header.generation:  # 0: cached, can be fetched again
            inode, index = header.key >> INDEX_BITS, header.key & BLOCK_MASK
            identity = BlockVersion(inode, index, header.generation, header.sequence)
            data = packing.whole_record(segment, start, header)[1]
            watcher.stored(Stored(identity, header.crc, data, 0, 0, None))

    def drop(self, inode: int, index: int, version: Version) -> None:
        """Forget a version and free what only it needed."""
        identity = BlockVersion(inode, index, *version.age)
        region = version.region
        if self.index.place(inode, index) is not None:
            self.index.remove_record(inode, index)
            self.account.release(INDEX_BYTES)
            assert isinstance(region, SegmentRegion)
            self.segments.release(region.segment, region.extent)
        else:
            self.index.remove(inode, index, version)
            self.account.release(VERSION_BYTES)
            self.let_go(region)
            if region.holders:
                self._trim(inode, index, region)
            self.pack(inode, index)
        if version.generation:
            if self.watcher is not None:
                self.watcher.forgotten(identity)
        elif self.uncached is not None:
            self.uncached(identity)

    def drop_records(self, versions: Iterable[BlockVersion]) -> list[BlockVersion]:
        """Forget those versions that are records and nothing else, a microsecond for each; returns
        the others."""
        given = dict.fromkeys(versions)
        records = self.index.whole_records([each for each in given if each.generation])
        self.index.remove_records(records)
        self.account.release(INDEX_BYTES * len(records))
        freed: dict[int, int] = {}
        for number, extent in records.values():
            freed[number] = freed.get(number, 0) + extent
        for number, count in freed.items():
            self.segments.release(self.segments.used[number], count)
        others = []
        for version in given:
            if version.inode << INDEX_BITS | version.index not in records:
                others.append(version)
            elif self.watcher is not None:
                self.watcher.forgotten(version)
        return others

    def unpack(self, inode: int, index: int) -> None:
        """Describe a block by objects, so that it can be changed. Raises NoSpaceError."""
        if self.index.place(inode, index) is not None:
            self.account.reserve(VERSION_BYTES - INDEX_BYTES)
            # Room may have been made by moving records: this one lies where it lies now.
            self.index.unpack(inode, index)

    def pack(self, inode: int, index: int) -> None:
        """Leave a block to its record, if nothing but its only version needs that."""
        if self.index.pack(inode, index):
            self.account.release(VERSION_BYTES - INDEX_BYTES)

    def claim(self, version: BlockVersion) -> Version:
        """Count one more writer that was told that it is stored. Raises NoSpaceError."""
        self.unpack(version.inode, version.index)
        held = self.index.find(*version)
        assert held is not None, "a claim to nothing"
        held.claims += 1
        return held

    def unclaim(self, version: BlockVersion, birth: int) -> None:
        """Undo :meth:`claim` of one writer; a version that no writer claims is forgotten."""
        held = self.index.find(*version)
        if held is None or held.birth != birth:
            return
        if held.claims == 1:
            self.drop(version.inode, version.index, held)
        else:
            held.claims -= 1
            self.pack(version.inode, version.index)

    def exposes(self, memfd: Memfd) -> bool:
        """Would lending a memfd now expose former content that a write under way replaces?"""
        if memfd.sealed or not memfd.stale:
            return False
        regions = [write.region for write in self.arriving]
        return any(isinstance(r, SlotRegion) and r.slot.memfd is memfd for r in regions)

    def let_go(self, region: Region) -> None:
        """One holder less."""
        assert region.holders > 0, "a region that nobody holds"
        region.holders -= 1
        if region.holders == 0:
            self.placement.free(region)

    def _birth(self) -> int:
        self._births += 1
        return self._births

    def _make_way(self, count: int) -> None:
        """Give ``count`` spare bytes back, cleaning segments if the rest is not enough."""
        count -= self.placement.give_back(count)
        if count > 0:
            self.cleaner.reclaim(count)
            self.placement.give_back(count)

    def _trim(self, inode: int, index: int, region: Region) -> None:
        """Free the end of a region when only shorter versions are left, as after a truncation."""
        sharers = [v for v in self.index.versions(inode, index) if v.region is region]
        longest = max((version.length for version in sharers), default=0)
        if longest < region.written and len(sharers) == region.holders:
            region.trim(longest, self.account)

    def check_invariants(self) -> None:
        """Recompute every charge from scratch and compare."""
        self.index.check_invariants()
        holders = Counter(w.region for w in self.arriving if w.region is not None)
        for identity, version in self.index.after(None):
            holders[version.region] += 1
            assert version.length <= version.region.written, f"{identity} is longer than its region"
            assert version.claims > 0, f"{identity} is held for nobody"
        for region, count in holders.items():
            assert region.holders == count, f"{region.holders} holders counted, {count} found"
            assert region.fixed <= region.written <= region.capacity, "bytes outside a region"
        heap = sum(region.charge for region in holders if isinstance(region, HeapRegion))
        packed = self.index.packed
        expected = heap + self.placement.charge + self.segments.live_bytes
        expected += (self.index.count - packed) * VERSION_BYTES + packed * INDEX_BYTES
        expected += sum(write.charged for write in self.arriving)
        used, spare, limit = self.account.used, self.account.spare, self.account.limit
        assert used == expected, f"{used} bytes charged, {expected} held"
        kept = self.placement.spare + self.segments.spare
        assert spare == kept, f"{spare} spare bytes, {kept} kept"
        most = limit + self.account.allowance
        assert (used <= limit and used + spare <= most) or self.account.process_memory, (
            f"{used} + {spare} bytes of {limit} (MemoryBound)"
        )
        self._check_records()

    def _check_records(self) -> None:
        self.segments.check_invariants()
        for segment in self.segments.used.values():
            live = 0
            for offset, extent in segment.records(0):
                region = segment.regions.get(offset)
                if region is not None:
                    assert (region.segment, region.offset) == (segment, offset)
                    live += extent
                elif (header := self.index.find_record(segment, offset)) is not None:
                    assert header.extent == extent, "a record that says another length"
                    live += extent
            assert live == segment.live, f"{segment.live} live bytes counted, {live} found"
