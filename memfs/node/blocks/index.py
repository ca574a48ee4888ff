"""Which block versions are held: by identity, by block and in order.

Owns the chains of versions per block, the order of blocks for listings, and the highest lease
generation seen per inode while blocks of it are held (WriterFence). A block with one small version
is packed: a key and the place of its record, in arrays. ``find`` and the listings make objects of
packed versions on demand, as snapshots; to change one, ``unpack`` the block first. Knows nothing
of charges.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from sortedcontainers import SortedList

from memfs.limits import BLOCKS_PER_FILE, CHUNK_BYTES
from memfs.node.blocks import packing
from memfs.node.blocks.block_records import FIELD_MAX, HEADER, WHOLE, BlockHeader
from memfs.node.blocks.region import SegmentRegion, Version
from memfs.node.blocks.segments import MemorySegment, Segments, place_of
from memfs.node.blocks.sorted_table import SortedTable
from memfs.protocol.messages import BlockRange, BlockVersion, StoredBlock
from memfs.protocol.segment_records import (
    OFFSET_BITS,
    OFFSET_MASK,
    RECORD_HEADER_BYTES,
    data_offset,
)
from memfs.types import WholeBlock

INDEX_BITS: Final = 24
"""A key is the inode, and the index in so many bits."""
BLOCK_MASK: Final = (1 << INDEX_BITS) - 1
assert 1 << INDEX_BITS == BLOCKS_PER_FILE
_COUNT_BITS: Final = INDEX_BITS + 1
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1


class BlockIndex:
    """Versions by (inode, index, generation, sequence)."""

    def __init__(self, segments: Segments) -> None:
        """``segments`` hold the records of packed blocks."""
        self.count = 0
        """Versions held."""
        self._segments = segments
        self._packed = SortedTable()
        """Key and place of packed blocks."""
        # One integer for (inode, index) is the smallest key, and sorts as the pair does.
        self._newest: dict[int, Version] = {}
        self._order: SortedList[int] = SortedList()
        # Highest generation and number of blocks of an inode, likewise in one: objects per block
        # are what the garbage collector pays for. An inode whose only block is packed, is its first
        # one and has the highest generation needs no entry.
        self._files: dict[int, int] = {}

    @property
    def packed(self) -> int:
        """Versions that are records and nothing else."""
        return len(self._packed)

    def find(self, inode: int, index: int, generation: int, sequence: int) -> Version | None:
        """The version of that identity."""
        if not 0 <= index < BLOCKS_PER_FILE:
            return None
        version = self._first(inode << INDEX_BITS | index)
        while version is not None:
            if version.generation == generation and version.sequence == sequence:
                return version
            version = version.older
        return None

    def lacks(self, blocks: Iterable[tuple[int, int]]) -> bool:
        """Whether none of some blocks, each by inode and index, has any version."""
        keys = [inode << INDEX_BITS | index for inode, index in blocks]
        if not self._newest.keys().isdisjoint(keys):
            return False
        return max(self._packed.get_many(keys), default=-1) < 0

    def versions(self, inode: int, index: int) -> Iterator[Version]:
        """All versions of a block, newest first."""
        version = self._first(inode << INDEX_BITS | index)
        while version is not None:
            yield version
            version = version.older

    def blocks(self, inode: int, first: int, stop: int) -> Iterator[tuple[int, Version]]:
        """Index and newest version of the blocks from ``first`` to before ``stop``."""
        base = inode << INDEX_BITS
        for key in self._between(base + first, base + stop):
            yield key - base, self._held(key)

    def after(self, after: BlockVersion | None) -> Iterator[tuple[BlockVersion, Version]]:
        """Every version ordered by identity, from the one behind ``after``."""
        low = 0 if after is None else after.inode << INDEX_BITS | after.index
        for key in self._between(low, None):
            inode, index = key >> INDEX_BITS, key & BLOCK_MASK
            for version in reversed(list(self.versions(inode, index))):
                identity = BlockVersion(inode, index, version.generation, version.sequence)
                if after is None or identity > after:
                    yield identity, version

    def listed(self, after: BlockVersion | None) -> Iterator[StoredBlock]:
        """As :meth:`after`, as listings show it: no objects are made of packed versions."""
        low = 0 if after is None else after.inode << INDEX_BITS | after.index
        for key in self._between(low, None):
            block, place = (key >> INDEX_BITS, key & BLOCK_MASK), self._packed.get(key)
            if place is not None:
                header = packing.read_header(*self._segments.at(place))
                identity = (*block, header.generation, header.sequence)
                if after is None or identity > after:
                    yield StoredBlock(*identity, header.length, header.crc)
                continue
            for each in reversed(list(self.versions(*block))):
                identity = (*block, each.generation, each.sequence)
                if after is None or identity > after:
                    yield StoredBlock(*identity, each.length, each.crc)

    def insert(self, inode: int, index: int, version: Version) -> None:
        """Hold a version that is not held yet, of a block that is not packed."""
        key = inode << INDEX_BITS | index
        newest = self._newest.get(key)
        if newest is None:
            self._newest[key] = version
            self._order.add(key)
            self._open(inode)
        elif newest.age < version.age:
            version.older = newest
            self._newest[key] = version
        else:
            self._insert_behind(newest, version)
        self.raise_generation(inode, version.generation)
        self.count += 1

    def remove(self, inode: int, index: int, version: Version) -> None:
        """Forget a version that is held, of a block that is not packed."""
        key = inode << INDEX_BITS | index
        newer = self._newest[key]
        if newer is not version:
            while newer.older is not version:
                assert newer.older is not None, "a version that is not held"
                newer = newer.older
            newer.older = version.older
        elif version.older is not None:
            self._newest[key] = version.older
        else:
            del self._newest[key]
            self._order.remove(key)
            self._close(inode)
        version.older = None
        self.count -= 1

    # --- packed blocks -----------------------------------------------------------------------

    def place(self, inode: int, index: int) -> int | None:
        """Where the record of a packed block lies; None: the block is not packed."""
        return self._packed.get(inode << INDEX_BITS | index)

    def holds(self, inode: int, index: int) -> bool:
        """Whether there is any version of a block."""
        key = inode << INDEX_BITS | index
        return key in self._newest or self._packed.get(key) is not None

    def unpack(self, inode: int, index: int) -> Version | None:
        """Represent the block's version by objects from now on; None: the block is not packed."""
        key = inode << INDEX_BITS | index
        place = self._packed.get(key)
        if place is None:
            return None
        version = packing.load(self._segments, place)
        if inode not in self._files:
            self._files[inode] = version.generation << _COUNT_BITS | 1
        self._packed.pop(key)
        assert isinstance(version.region, SegmentRegion)
        version.region.attach()
        self._newest[key] = version
        self._order.add(key)
        return version

    def pack(self, inode: int, index: int) -> bool:
        """Drop a block's objects and keep the record of its only version; False: not possible."""
        key = inode << INDEX_BITS | index
        version = self._newest.get(key)
        if version is None or not packing.is_packable(key, version):
            return False
        region = version.region
        assert isinstance(region, SegmentRegion)
        header = packing.header_of(key, version, region.extent)
        packing.write_record(
            region.segment, region.offset, header, region.chunks[: version.length // CHUNK_BYTES]
        )
        region.detach()
        del self._newest[key]
        self._order.remove(key)
        self._packed.set(key, place_of(region.segment, region.offset))
        self._slim(inode)
        return True

    def insert_records(
        self, segment: MemorySegment, headers: Sequence[BlockHeader], starts: Sequence[int]
    ) -> None:
        """Hold the versions of records, of blocks that have none."""
        keys = [header[0] for header in headers]
        places = [place_of(segment, start) for start in starts]
        others = any(key & BLOCK_MASK for key in keys)
        if not others and self._files.keys().isdisjoint([key >> INDEX_BITS for key in keys]):
            self._packed.set_many(keys, places)
        else:
            for header, place in zip(headers, places, strict=True):
                self._insert_record(header, place)
        self.count += len(keys)

    def _insert_record(self, header: BlockHeader, place: int) -> None:
        inode, index = header.key >> INDEX_BITS, header.key & BLOCK_MASK
        if index or inode in self._files:
            self._open(inode)
            self.raise_generation(inode, header.generation)
        self._packed.set(header.key, place)

    def remove_record(self, inode: int, index: int) -> None:
        """Forget the version of a packed block."""
        self._packed.pop(inode << INDEX_BITS | index)
        if inode in self._files:
            self._close(inode)
        self.count -= 1

    def whole_records(self, versions: Iterable[BlockVersion]) -> dict[int, tuple[int, int]]:
        """Those of some versions that are records and nothing else: by key, the number of the
        segment and the extent."""
        wanted = {
            inode << INDEX_BITS | index: (generation, sequence)
            for inode, index, generation, sequence in versions
            if 0 <= index < BLOCKS_PER_FILE
        }
        used, unpack = self._segments.used, WHOLE.unpack_from
        found = {}
        for (key, age), place in zip(wanted.items(), self._packed.get_many(wanted), strict=True):
            if place >= 0:
                number = place >> OFFSET_BITS
                generation, sequence, _, extent = unpack(used[number].mapping, place & OFFSET_MASK)
                if (generation, sequence) == age:
                    found[key] = number, extent
        return found

    def remove_records(self, keys: Collection[int]) -> None:
        """Forget the versions of packed blocks."""
        self._packed.pop_many(keys)
        if self._files:
            for key in keys:
                if key >> INDEX_BITS in self._files:
                    self._close(key >> INDEX_BITS)
        self.count -= len(keys)

    def find_record(self, segment: MemorySegment, offset: int) -> BlockHeader | None:
        """The header of a record that a packed version needs; None: nothing does."""
        header = packing.read_header(segment, offset)
        needed = self._packed.get(header.key) == place_of(segment, offset)
        return header if needed else None

    def whole(self, version: BlockVersion, length: int) -> tuple[memoryview, int] | None:
        """All ``length`` bytes of a packed version and their CRC32C, without making objects of it.

        None: it is not packed, not held, or of another length.
        """
        place = self._packed.get(version.inode << INDEX_BITS | version.index)
        if place is None or not 0 <= version.index < BLOCKS_PER_FILE:
            return None
        segment, offset = self._segments.at(place)
        return packing.whole(segment, offset, version.generation, version.sequence, length)

    def wholes(self, wanted: Sequence[BlockRange]) -> list[tuple[memoryview, int] | None]:
        """As :meth:`whole` of many, None also for what begins elsewhere; a microsecond for each."""
        keys = [inode << INDEX_BITS | index for inode, index, *_ in wanted]
        found: list[tuple[memoryview, int] | None] = []
        number, segment = -1, memoryview(b"")
        for block, place in zip(wanted, self._packed.get_many(keys), strict=True):
            _, index, generation, sequence, offset, length = block
            if place >= 0 and not offset and 0 <= index < BLOCKS_PER_FILE:
                if place >> OFFSET_BITS != number:
                    number = place >> OFFSET_BITS
                    segment = self._segments.used[number].view()
                start = place & OFFSET_MASK
                fields = HEADER.unpack_from(segment, start)
                if (fields[2], fields[3], fields[5]) == (generation, sequence, length):
                    start += data_offset(fields[8])
                    found.append((segment[start : start + length], fields[6]))
                    continue
            found.append(None)
        return found

    def records(self, wanted: Iterable[WholeBlock]) -> list[int]:
        """Places of the records of packed blocks in memory that can be lent, -1: there is none.

        The records are not read: a caller verifies the CRC to see whether a record is of the right
        version.
        """
        places = self._packed.get_many([block[0] << INDEX_BITS for block in wanted])
        used = self._segments.used
        numbers = {place >> OFFSET_BITS for place in places if place >= 0}
        if all(used[number].shared for number in numbers):
            return places
        return [
            place if place >= 0 and used[place >> OFFSET_BITS].shared else -1 for place in places
        ]

    def locate(self, wanted: Sequence[WholeBlock]) -> list[int]:
        """Where the bytes of packed blocks begin.

        -1: it is not packed, not held, or of another length. No objects are made: a microsecond
        for each.
        """
        places = self._packed.get_many([block[0] << INDEX_BITS for block in wanted])
        used, unpack = self._segments.used, WHOLE.unpack_from
        found, number = [], -1
        mapping: Any = None
        for (_, generation, sequence, length, _, _), place in zip(wanted, places, strict=True):
            if place >= 0:
                if place >> OFFSET_BITS != number:
                    number = place >> OFFSET_BITS
                    mapping = used[number].mapping
                written, version, size, extent = unpack(mapping, place & OFFSET_MASK)
                if written == generation and version == sequence and size == length:
                    start = RECORD_HEADER_BYTES if extent < CHUNK_BYTES else data_offset(extent)
                    found.append(place + start)
                    continue
            found.append(-1)
        return found

    def move_record(self, key: int, segment: MemorySegment, offset: int) -> None:
        """A packed version's record was moved."""
        self._packed.set(key, place_of(segment, offset))

    # --- files -------------------------------------------------------------------------------

    def generation(self, inode: int) -> int:
        """The highest lease generation seen while blocks of the inode are held; -1: none."""
        file = self._files.get(inode)
        if file is not None:
            return file >> _COUNT_BITS
        place = self._packed.get(inode << INDEX_BITS)
        if place is None:
            return -1
        return packing.read_header(*self._segments.at(place)).generation

    def raise_generation(self, inode: int, generation: int) -> None:
        """A writer of ``generation`` was seen."""
        if self.generation(inode) < generation:
            self.set_generation(inode, generation)

    def set_generation(self, inode: int, generation: int) -> None:
        """Correct the highest generation of an inode after a forged one."""
        file = self._files.get(inode)
        if file is not None:
            self._files[inode] = generation << _COUNT_BITS | file & _COUNT_MASK
        elif self._packed.get(inode << INDEX_BITS) is not None:
            self._files[inode] = generation << _COUNT_BITS | 1

    def check_invariants(self) -> None:
        """Assert that the maps agree and every chain is ordered."""
        assert list(self._order) == sorted(self._newest), "the order misses a block"
        self._packed.check_invariants()
        packed = list(self._packed.keys(0, FIELD_MAX))
        assert not set(packed) & set(self._newest), "a block twice"
        blocks: dict[int, int] = {}
        count = 0
        for key in (*self._newest, *packed):
            inode, index = key >> INDEX_BITS, key & BLOCK_MASK
            ages = [version.age for version in self.versions(inode, index)]
            assert ages == sorted(set(ages), reverse=True), f"chain out of order: {ages}"
            assert ages[0][0] <= self.generation(inode), "a generation above the highest seen"
            blocks[inode] = blocks.get(inode, 0) + 1
            count += len(ages)
        slim = {key >> INDEX_BITS for key in packed if not key & BLOCK_MASK}
        counted = {inode: file & _COUNT_MASK for inode, file in self._files.items()}
        assert blocks == dict.fromkeys(slim - set(counted), 1) | counted
        assert count == self.count, f"{count} versions, {self.count} counted"

    def _insert_behind(self, newer: Version, version: Version) -> None:
        while newer.older is not None and newer.older.age > version.age:
            newer = newer.older
        assert version.age not in (newer.age, newer.older and newer.older.age), "held already"
        version.older = newer.older
        newer.older = version

    def _first(self, key: int) -> Version | None:
        version = self._newest.get(key)
        if version is None and (place := self._packed.get(key)) is not None:
            return packing.load(self._segments, place)
        return version

    def _held(self, key: int) -> Version:
        version = self._first(key)
        assert version is not None, "a block without versions"
        return version

    def _between(self, low: int, high: int | None) -> Iterator[int]:
        """The keys of blocks from ``low`` to before ``high``, ascending."""
        objects = self._order.irange(low, high, inclusive=(True, False))
        packed = self._packed.keys(low, FIELD_MAX + 1 if high is None else high)
        return heapq.merge(objects, packed)

    def _open(self, inode: int) -> None:
        """One block more of an inode."""
        generation = self.generation(inode)
        file = self._files.get(inode)
        if file is None:
            file = 0 if generation < 0 else generation << _COUNT_BITS | 1
        self._files[inode] = file + 1

    def _close(self, inode: int) -> None:
        """One block less."""
        file = self._files[inode] - 1
        if file & _COUNT_MASK:
            self._files[inode] = file
            self._slim(inode)
        else:
            del self._files[inode]

    def _slim(self, inode: int) -> None:
        """Drop the entry of an inode where the record of its only block says the same."""
        file = self._files[inode]
        place = self._packed.get(inode << INDEX_BITS) if file & _COUNT_MASK == 1 else None
        if place is not None:
            header = packing.read_header(*self._segments.at(place))
            if header.generation == file >> _COUNT_BITS:
                del self._files[inode]
