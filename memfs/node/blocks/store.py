"""The surface of the block store: begin, read, discard, list, verify, lend.

Pure memory within a hard limit (MemoryBound); no network, no event loop. A block version is
immutable: what :meth:`BlockStore.read` once gave stays valid and unchanged for as long as the
reader keeps it, whatever happens to the version. Requests are checked here before anything else.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import BlockNotFoundError, CorruptBlockError, InvalidArgumentError
from memfs.node.blocks import chunks
from memfs.node.blocks.arrival import BatchWrite, BlockWrite, RepeatedWrite, check_repeat
from memfs.node.blocks.holdings import Holdings, Watcher
from memfs.node.blocks.memory import Memfd
from memfs.node.blocks.region import SlotRegion, Version
from memfs.protocol.messages import (
    BlockVersion,
    Segment,
    SmallBlock,
    StoredBlock,
    WriteBlock,
    WriteBlocks,
)


class Statistics(NamedTuple):
    """What a store holds."""

    used: int
    limit: int
    versions: int
    arriving: int
    """Writes under way."""
    memfds: int


class BlockStore:
    """Immutable block versions of one node."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes of blocks and their records, reservations included."""
        self._holdings = Holdings(limit)
        self._index = self._holdings.index

    @property
    def used(self) -> int:
        """Bytes charged."""
        self._holdings.placement.sweep()
        return self._holdings.account.used

    @property
    def limit(self) -> int:
        """Bytes that may be charged."""
        return self._holdings.account.limit

    @property
    def count(self) -> int:
        """Versions held."""
        return self._index.count

    @property
    def spare(self) -> int:
        """Bytes of deleted versions that are kept for new ones, within the limit."""
        return self._holdings.account.spare

    def surplus(self) -> int:
        """Spare bytes that were never needed since this was last asked."""
        return self._holdings.account.surplus()

    def give_back(self, count: int) -> int:
        """Give spare memory back to the system, ``count`` bytes and a memfd at most; how many."""
        return self._holdings.placement.give_back(count)

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` which versions come and go from now on."""
        self._holdings.watcher = watcher

    # --- writing -----------------------------------------------------------------------------

    def begin(self, request: WriteBlock) -> BlockWrite | RepeatedWrite:
        """Reserve room for a version, whole or derived.

        What another writer left is verified before it is built upon: damage is not handed down
        to versions of which nobody knows that they are bad. Raises InvalidArgumentError,
        LeaseLostError (a later writer was seen), BlockNotFoundError or CorruptBlockError (the base
        is not here, or not intact) and NoSpaceError; nothing is reserved then.
        """
        _check_request(request)
        self._holdings.fence(request.inode, request.generation)
        self._holdings.placement.sweep()
        held = self._index.find(*request[:4])
        if held is not None:
            check_repeat(request, held)
            return RepeatedWrite(self._holdings, request, held)
        base = None
        if request.base_generation >= 0:
            version = BlockVersion(
                request.inode, request.index, request.base_generation, request.base_sequence
            )
            base = self._find(version)
            if request.base_generation != request.generation and self.verify(version):
                raise CorruptBlockError(f"the copy of {version} here does not match its CRC32C")
        self._index.raise_generation(request.inode, request.generation)
        return BlockWrite(self._holdings, request, base)

    def begin_many(self, request: WriteBlocks, payload_length: int) -> BatchWrite:
        """Reserve room for many small whole versions. Raises as :meth:`begin`."""
        _check_batch(request.blocks, payload_length)
        for block in request.blocks:
            self._holdings.fence(block.inode, block.generation)
        self._holdings.placement.sweep()
        return BatchWrite(self._holdings, request)

    def begin_copy(self, request: WriteBlock) -> BlockWrite:
        """Reserve room for a copy of a published version, whatever later writers were seen.

        It must not be held yet. Raises InvalidArgumentError, NoSpaceError.
        """
        _check_request(request)
        self._holdings.placement.sweep()
        return BlockWrite(self._holdings, request, None, fenced=False)

    # --- reading -----------------------------------------------------------------------------

    def read(self, version: BlockVersion, offset: int, length: int) -> tuple[memoryview, int]:
        """Bytes of a version and their CRC32C; the view stays valid after a discard.

        A whole version comes with the CRC that is stored, unchecked: its reader knows it. Of a
        part, the chunks that hold it are checked. Raises BlockNotFoundError, CorruptBlockError,
        InvalidArgumentError (outside the version).
        """
        found = self._find(version)
        stop = offset + length
        if offset < 0 or length < 0 or stop > found.length:
            raise InvalidArgumentError(
                f"bytes {offset} to {stop} of a block of {found.length} bytes"
            )
        data = found.view(offset, stop)
        if length == found.length:
            return data, found.crc
        if not chunks.intact(
            found.region.chunks, found.tail, found.length, offset, stop, found.view
        ):
            raise CorruptBlockError(f"{version} fails its checksum near byte {offset}")
        return data, crc32c(data)

    def whole(self, version: BlockVersion) -> memoryview:
        """All bytes of a version, unchecked. Raises BlockNotFoundError."""
        found = self._find(version)
        return found.view(0, found.length)

    def verify(self, version: BlockVersion) -> int:
        """Re-read a version: 0, or the code of BlockNotFoundError or CorruptBlockError."""
        found = self._index.find(*version)
        if found is None:
            return BlockNotFoundError.code
        intact = crc32c(found.view(0, found.length)) == found.crc
        return 0 if intact else CorruptBlockError.code

    def list(self, after: BlockVersion | None, limit: int) -> builtins.list[StoredBlock]:
        """Up to ``limit`` versions behind ``after``, ordered by identity."""
        return [
            StoredBlock(*identity, version.length, version.crc)
            for identity, version in islice(self._index.after(after), limit)
        ]

    def descriptors(
        self, versions: Iterable[BlockVersion]
    ) -> tuple[builtins.list[Segment], builtins.list[int]]:
        """Where versions lie in shared memory, and the sealed descriptors of it.

        Descriptor -1 stands for a version that is not held or lies on the heap, or beside one that
        is arriving where something else was before. The descriptors stay the store's: pass them
        on before the next call.
        """
        segments: builtins.list[Segment] = []
        numbers: dict[Memfd, int] = {}
        for version in versions:
            found = self._index.find(*version)
            slot = found.region.slot if found and isinstance(found.region, SlotRegion) else None
            if found is None or slot is None or self._holdings.exposes(slot.memfd):
                segments.append(Segment(-1, 0, 0))
                continue
            number = numbers.setdefault(slot.memfd, len(numbers))
            segments.append(Segment(number, slot.offset, found.length))
        return segments, [self._holdings.placement.lend(memfd) for memfd in numbers]

    # --- the rest ----------------------------------------------------------------------------

    def discard(self, version: BlockVersion) -> None:
        """Forget a version; an unknown one is no error."""
        found = self._index.find(*version)
        if found is not None:
            self._holdings.drop(version.inode, version.index, found)
        elif self._holdings.watcher is not None:
            self._holdings.watcher.forgotten(version)

    def clear(self) -> None:
        """Forget everything; writes under way end by themselves."""
        for identity, version in list(self._index.after(None)):
            self._holdings.drop(identity.inode, identity.index, version)

    def statistics(self) -> Statistics:
        """What is held now."""
        holdings = self._holdings
        return Statistics(
            self.used, self.limit, self.count, len(holdings.arriving), holdings.placement.memfds
        )

    def check_invariants(self) -> None:
        """Assert that every byte charged is held and nothing else. O(versions)."""
        self._holdings.check_invariants()

    def _find(self, version: BlockVersion) -> Version:
        found = self._index.find(*version)
        if found is None:
            raise BlockNotFoundError(f"{version} is not here")
        return found


def _check_request(request: WriteBlock) -> None:
    _require(0 < request.inode < 1 << 64, "an inode id out of range")
    _require(0 <= request.index < limits.BLOCKS_PER_FILE, "a block index out of range")
    _require(request.generation >= 0 and request.sequence >= 0, "a negative version")
    _require(0 < request.block_size <= limits.BLOCK_BYTES_MAX, "a block size out of range")
    _require(
        0 < request.group_blocks <= limits.GROUP_BYTES_MAX // request.block_size,
        "a group size out of range",
    )
    _require(0 <= request.length <= request.block_size, "a length outside the block")
    if request.base_generation < 0:
        _require(not request.extents, "extents of a block that is not derived")
        return
    _require(request.base_generation <= request.generation, "a base newer than the version")
    base = (request.base_generation, request.base_sequence)
    _require(base != (request.generation, request.sequence), "a version derived from itself")
    at = 0
    for extent in request.extents:
        _require(extent.offset >= at and extent.length > 0, "extents out of order")
        at = extent.offset + extent.length
    _require(at <= request.length, "extents outside the block")


def _check_batch(blocks: Sequence[SmallBlock], payload_length: int) -> None:
    _require(len(blocks) <= limits.BLOCKS_PER_BATCH, "too many blocks in a batch")
    _require(payload_length <= limits.BATCH_PAYLOAD_BYTES, "too many bytes in a batch")
    for block in blocks:
        _require(0 < block.inode < 1 << 64, "an inode id out of range")
        _require(0 <= block.index < limits.BLOCKS_PER_FILE, "a block index out of range")
        _require(block.generation >= 0 and block.sequence >= 0, "a negative version")
        _require(block.length >= 0, "a negative length")
    _require(len({block[:4] for block in blocks}) == len(blocks), "a version twice in a batch")
    total = sum(block.length for block in blocks)
    _require(total == payload_length, f"{total} bytes of blocks in {payload_length} of payload")


def _require(condition: bool, wrong: str) -> None:
    if not condition:
        raise InvalidArgumentError(f"a block write with {wrong}")
