"""Which block versions are held: by identity, by block and in order.

Owns the chains of versions per block, the order of blocks for listings, and the highest lease
generation seen per inode while blocks of it are held (WriterFence). Knows nothing of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sortedcontainers import SortedList

from memfs.limits import BLOCKS_PER_FILE
from memfs.node.blocks.region import Version
from memfs.protocol.messages import BlockVersion

_INDEX_BITS: Final = 24
assert 1 << _INDEX_BITS == BLOCKS_PER_FILE
_COUNT_BITS: Final = _INDEX_BITS + 1
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1


class BlockIndex:
    """Versions by (inode, index, generation, sequence)."""

    def __init__(self) -> None:
        self.count = 0
        """Versions held."""
        # One integer for (inode, index) is the smallest key, and sorts as the pair does.
        self._newest: dict[int, Version] = {}
        self._order: SortedList[int] = SortedList()
        # Highest generation and number of blocks of an inode, likewise in one: objects per block
        # are what the garbage collector pays for.
        self._files: dict[int, int] = {}

    def find(self, inode: int, index: int, generation: int, sequence: int) -> Version | None:
        """The version of that identity."""
        if not 0 <= index < BLOCKS_PER_FILE:
            return None
        version = self._newest.get(inode << _INDEX_BITS | index)
        while version is not None:
            if version.generation == generation and version.sequence == sequence:
                return version
            version = version.older
        return None

    def versions(self, inode: int, index: int) -> Iterator[Version]:
        """All versions of a block, newest first."""
        version = self._newest.get(inode << _INDEX_BITS | index)
        while version is not None:
            yield version
            version = version.older

    def blocks(self, inode: int, first: int, stop: int) -> Iterator[tuple[int, Version]]:
        """Index and newest version of the blocks from ``first`` to before ``stop``."""
        base = inode << _INDEX_BITS
        for key in self._order.irange(base + first, base + stop, inclusive=(True, False)):
            yield key - base, self._newest[key]

    def after(self, after: BlockVersion | None) -> Iterator[tuple[BlockVersion, Version]]:
        """Every version ordered by identity, from the one behind ``after``."""
        low = None if after is None else after.inode << _INDEX_BITS | after.index
        for key in self._order.irange(low):
            inode, index = key >> _INDEX_BITS, key & BLOCKS_PER_FILE - 1
            for version in reversed(list(self.versions(inode, index))):
                identity = BlockVersion(inode, index, version.generation, version.sequence)
                if after is None or identity > after:
                    yield identity, version

    def insert(self, inode: int, index: int, version: Version) -> None:
        """Hold a version that is not held yet."""
        key = inode << _INDEX_BITS | index
        newest = self._newest.get(key)
        if newest is None:
            self._newest[key] = version
            self._order.add(key)
            self._files[inode] = self._files.get(inode, 0) + 1
        elif newest.age < version.age:
            version.older = newest
            self._newest[key] = version
        else:
            self._insert_behind(newest, version)
        self.raise_generation(inode, version.generation)
        self.count += 1

    def remove(self, inode: int, index: int, version: Version) -> None:
        """Forget a version that is held."""
        key = inode << _INDEX_BITS | index
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

    def generation(self, inode: int) -> int:
        """The highest lease generation seen while blocks of the inode are held; -1: none."""
        file = self._files.get(inode)
        return -1 if file is None else file >> _COUNT_BITS

    def raise_generation(self, inode: int, generation: int) -> None:
        """A writer of ``generation`` was seen."""
        file = self._files.get(inode)
        if file is not None and file >> _COUNT_BITS < generation:
            self._files[inode] = generation << _COUNT_BITS | file & _COUNT_MASK

    def check_invariants(self) -> None:
        """Assert that the maps agree and every chain is ordered."""
        assert list(self._order) == sorted(self._newest), "the order misses a block"
        blocks: dict[int, int] = {}
        count = 0
        for key in self._newest:
            inode, index = key >> _INDEX_BITS, key & BLOCKS_PER_FILE - 1
            ages = [version.age for version in self.versions(inode, index)]
            assert ages == sorted(set(ages), reverse=True), f"chain out of order: {ages}"
            assert ages[0][0] <= self.generation(inode), "a generation above the highest seen"
            blocks[inode] = blocks.get(inode, 0) + 1
            count += len(ages)
        assert blocks == {inode: file & _COUNT_MASK for inode, file in self._files.items()}
        assert count == self.count, f"{count} versions, {self.count} counted"

    def _insert_behind(self, newer: Version, version: Version) -> None:
        while newer.older is not None and newer.older.age > version.age:
            newer = newer.older
        assert version.age not in (newer.age, newer.older and newer.older.age), "held already"
        version.older = newer.older
        newer.older = version

    def _close(self, inode: int) -> None:
        file = self._files[inode] - 1
        if file & _COUNT_MASK:
            self._files[inode] = file
        else:
            del self._files[inode]
