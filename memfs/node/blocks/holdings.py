"""What a store holds and what is arriving: the one place where versions come and go.

Owns the account, the index, the placement and the fence; its callers (the store's surface and
the writes under way) never touch them in any other way when a version appears or disappears.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple, Protocol

from memfs.errors import LeaseLostError
from memfs.limits import BLOCK_BYTES_DEFAULT
from memfs.node.blocks.account import Account
from memfs.node.blocks.index import BlockIndex
from memfs.node.blocks.memory import Memfd, ScratchPool
from memfs.node.blocks.placement import Placement
from memfs.node.blocks.region import VERSION_BYTES, Region, SlotRegion, Version
from memfs.protocol.messages import BlockVersion

SCRATCH_BUFFERS: Final = 16
"""Blocks that arrive at once through warm memory: 16 x 4 MiB beside the limit, made on demand."""


class Arriving(Protocol):
    """A write under way."""

    @property
    def region(self) -> Region | None:
        """The region that it holds."""

    @property
    def charged(self) -> int:
        """Bytes reserved for it beside what regions count for."""


class Watcher(Protocol):
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


class Holdings:
    """Versions, their memory and its account."""

    def __init__(self, limit: int) -> None:
        """``limit`` in bytes."""
        self.account = Account(limit)
        self.index = BlockIndex()
        self.placement = Placement(self.account, self.index)
        self.scratch = ScratchPool(BLOCK_BYTES_DEFAULT, SCRATCH_BUFFERS)
        self.arriving: set[Arriving] = set()
        """Writes under way."""
        self.watcher: Watcher | None = None

    def fence(self, inode: int, generation: int) -> None:
        """Refuse a writer whose successor was seen (WriterFence). Raises LeaseLostError."""
        highest = self.index.generation(inode)
        if generation < highest:
            raise LeaseLostError(
                f"inode {inode} is written under lease generation {highest}, {generation} is over"
            )

    def publish(
        self,
        inode: int,
        index: int,
        version: Version,
        layout: tuple[int, int] = (0, 0),
        base: BlockVersion | None = None,
    ) -> None:
        """Hold a version. ``layout``: its block size and group; ``base``, what it begins with."""
        self.index.insert(inode, index, version)
        if self.watcher is not None:
            identity = BlockVersion(inode, index, *version.age)
            data = version.view(0, version.length)
            self.watcher.stored(Stored(identity, version.crc, data, *layout, base))

    def drop(self, inode: int, index: int, version: Version) -> None:
        """Forget a version and free what only it needed."""
        self.index.remove(inode, index, version)
        if self.watcher is not None:
            self.watcher.forgotten(BlockVersion(inode, index, *version.age))
        self.account.release(VERSION_BYTES)
        region = version.region
        self.let_go(region)
        if region.holders:
            self._trim(inode, index, region)

    def exposes(self, memfd: Memfd) -> bool:
        """Would lending a memfd now show what was there before a write under way?"""
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
        heap = sum(region.charge for region in holders if not isinstance(region, SlotRegion))
        expected = heap + self.placement.charge + self.index.count * VERSION_BYTES
        expected += sum(write.charged for write in self.arriving)
        used, spare, limit = self.account.used, self.account.spare, self.account.limit
        assert used == expected, f"{used} bytes charged, {expected} held"
        assert spare == self.placement.spare, f"{spare} spare bytes, {self.placement.spare} kept"
        assert used + spare <= limit, f"{used} + {spare} bytes of {limit} (MemoryBound)"
