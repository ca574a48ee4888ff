"""The surface of the block store: begin, read, discard, list, verify, lend.

Pure memory within a hard limit (MemoryBound); no network, no event loop. A block version is
immutable: a view from :meth:`BlockStore.read` stays valid and unchanged for as long as the reader
keeps it, even if the version is discarded. Requests are validated here.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import BlockNotFoundError, CorruptBlockError, InvalidArgumentError
from memfs.node.blocks import chunks
from memfs.node.blocks.arrival import BatchWrite, BlockWrite, RepeatedWrite, check_repeat
from memfs.node.blocks.block_records import HEADER, INDEX_BYTES
from memfs.node.blocks.holdings import Holdings, VersionObserver
from memfs.node.blocks.memory import Memfd
from memfs.node.blocks.region import VERSION_BYTES, SlotRegion, Version
from memfs.protocol.messages import (
    BlockRange,
    BlockVersion,
    Segment,
    SmallBlock,
    StoredBlock,
    WriteBlock,
    WriteBlocks,
)
from memfs.types import Buffer, WholeBlock

_SUMS_BYTES = limits.RECORD_BYTES // 2
"""Checksums of chunks in one answer about descriptors: those of 128 blocks of 4 MiB."""


class BlockStatistics(NamedTuple):
    """What a store holds."""

    used: int
    limit: int
    versions: int
    arriving: int
    """Writes under way."""
    memfds: int
    """Groups of blocks in memory that can be mapped."""
    segments: int
    """Of small blocks."""
    dead: int
    """Bytes in them that nobody needs any more."""
    unmappable: int
    """Blocks that went to the heap, so far, because no memfd could be made."""


class BlockStore:
    """Immutable block versions of one node."""

    def __init__(self, limit: int, memfds: int = sys.maxsize) -> None:
        """``limit``: bytes of blocks and their records, reservations included; ``memfds``: groups
        of blocks in memory that can be mapped, further ones lie on the heap."""
        self._holdings = Holdings(limit, memfds)
        self._index = self._holdings.index
        self._on_shortage: list[Callable[[int], object]] = []
        self._measured = False
        self._grown = self._grown_before = 0

    @property
    def used(self) -> int:
        """Bytes charged, including the process's memory that is not blocks."""
        self._holdings.placement.sweep()
        return self._holdings.account.used + self._holdings.account.process_memory

    @property
    def room(self) -> int | None:
        """Bytes left of the limit, negative: too many are used; None: nobody measures."""
        account = self._holdings.account
        return account.limit - account.used - account.process_memory if self._measured else None

    @property
    def dead(self) -> int:
        """Dead bytes between small blocks."""
        return self._holdings.segments.dead

    @property
    def refusal(self) -> str:
        """Why nothing may be stored at all; empty: it may."""
        return self._holdings.account.refusal

    @property
    def grown_lately(self) -> int:
        """Bytes that were noted by :meth:`grow` since the last measurement but one."""
        return self._grown + self._grown_before

    def grow(self, count: int) -> None:
        """Note that the process takes ``count`` bytes more; the next measurement knows better."""
        if self._measured:
            self._grown += count
            self._holdings.account.process_memory += count

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

    @property
    def overhead(self) -> int:
        """Bytes of ``used`` that are not blocks' own: records, index, objects, the process."""
        holdings, packed = self._holdings, self._index.packed
        objects = (self.count - packed) * VERSION_BYTES
        return packed * (HEADER.size + INDEX_BYTES) + objects + holdings.account.process_memory

    @property
    def shared(self) -> int:
        """Bytes of memfds, spare and closed ones included: memory that is not the process's own."""
        account, departed = self._holdings.account, self._holdings.departed
        return account.used + account.spare - self._private + departed.bytes

    @property
    def _private(self) -> int:
        """Bytes charged, or spare, that lie in the process's own memory."""
        holdings, packed = self._holdings, self._index.packed
        objects = (self.count - packed) * VERSION_BYTES + packed * INDEX_BYTES
        return objects + holdings.placement.heap + holdings.segments.private

    def measured(
        self,
        anonymous: int | None,
        refusal: str = "",
        headroom: int = sys.maxsize,
        scarcity: str = "",
    ) -> None:
        """Set the measured anonymous memory of the process, that of blocks included.

        What is not of blocks counts against the limit, and so does what is closed and not free yet;
        neither where nobody measures (None). To be called once a second. ``refusal``: why no writes
        are accepted. ``headroom``: bytes that may be taken from the system until the next call;
        ``scarcity``: what bounds them.
        """
        account = self._holdings.account
        account.headroom, account.scarcity = headroom, scarcity
        self._measured = anonymous is not None
        self._grown, self._grown_before = 0, self._grown
        if anonymous is None:
            self._holdings.departed.forget()
            account.process_memory = 0
        else:
            closed = self._holdings.departed.look()
            account.process_memory = max(0, anonymous - self._private) + closed
            self.make_room(0)
        account.refusal = refusal
        excess = account.spare if refusal else account.excess
        if excess > 0:
            account.give_back(excess)

    def surplus(self) -> int:
        """Spare bytes that were never needed since this was last asked."""
        return self._holdings.account.surplus()

    def give_back(self, count: int) -> int:
        """Give back up to ``count`` spare bytes and one memfd; returns the number of bytes."""
        return self._holdings.placement.give_back(count)

    @property
    def sparse(self) -> bool:
        """Whether so many bytes between small blocks are dead that :meth:`clean` is due."""
        return self._holdings.cleaner.due

    def clean(self, records: int, count: int) -> int:
        """Run the cleaner for up to ``records`` records or ``count`` moved bytes.

        Returns how many records were processed, 0: there is nothing to gain."""
        return self._holdings.cleaner.step(records, count)

    @property
    def cleaned(self) -> int:
        """Bytes moved so far."""
        return self._holdings.cleaner.moved

    def pop_damaged(self) -> builtins.list[BlockVersion]:
        """Versions that failed their checksum when they were moved, each reported once."""
        damaged = builtins.list(self._holdings.cleaner.damaged)
        self._holdings.cleaner.damaged.clear()
        return damaged

    def watch(self, watcher: VersionObserver) -> None:
        """Tell ``watcher`` which versions come and go from now on."""
        self._holdings.watcher = watcher

    def on_uncached(self, tell: Callable[[BlockVersion], object]) -> None:
        """Call ``tell`` with each cached version (of generation 0) that goes."""
        self._holdings.uncached = tell

    def on_shortage(self, drop: Callable[[int], object]) -> None:
        """Call ``drop`` with the missing bytes before a write, and when the process has grown. It
        may discard versions."""
        self._on_shortage.append(drop)

    # --- writing -----------------------------------------------------------------------------

    def begin(self, request: WriteBlock) -> BlockWrite | RepeatedWrite:
        """Reserve room for a version, whole or derived.

        The base is verified if another writer wrote it, so that damage is not copied into a new
        version with a valid checksum. Raises InvalidArgumentError,
        LeaseLostError (a later writer was seen), BlockNotFoundError or CorruptBlockError (the base
        is not here, or not intact) and NoSpaceError; nothing is reserved then.
        """
        _check_request(request)
        self._holdings.fence(request.inode, request.generation)
        self._forget(request)
        self._holdings.placement.sweep()
        held = self._index.find(*request.version)
        if held is not None:
            check_repeat(request, held)
            return RepeatedWrite(self._holdings, request, held)
        base = None
        if request.base_generation >= 0:
            base = BlockVersion(
                request.inode, request.index, request.base_generation, request.base_sequence
            )
            self._find(base)
            if request.base_generation != request.generation and self.verify(base):
                raise CorruptBlockError(f"the copy of {base} here does not match its CRC32C")
        self._index.raise_generation(request.inode, request.generation)
        self.make_room(request.length)
        return BlockWrite(self._holdings, request, base)

    def _forget(self, request: WriteBlock) -> None:
        """Drop what the writer has stored of the block and will not publish."""
        base = request.base_generation, request.base_sequence
        for sequence in request.forget:
            identity = request.inode, request.index, request.generation, sequence
            found = self._index.find(*identity)
            if found is not None and found.age != base and found.writer == request.writer != 0:
                self._holdings.drop(request.inode, request.index, found)

    def begin_many(self, request: WriteBlocks, payload_length: int) -> BatchWrite:
        """Reserve room for many small whole versions. Raises as :meth:`begin`."""
        _check_batch(request.blocks, payload_length)
        for block in request.blocks:
            self._holdings.fence(block.inode, block.generation)
        self._holdings.placement.sweep()
        self.make_room(payload_length + len(request.blocks) * VERSION_BYTES)
        return BatchWrite(self._holdings, request.blocks)

    def begin_copy(self, request: WriteBlock) -> BlockWrite:
        """Reserve room for a copy of a published version, whatever later writers were seen.

        It must not be held yet. Raises InvalidArgumentError, NoSpaceError.
        """
        _check_request(request)
        self._holdings.placement.sweep()
        self.make_room(request.length)
        return BlockWrite(self._holdings, request, None, fenced=False)

    def lend(self, length: int) -> memoryview | None:
        """Warm memory for ``length`` bytes that are on their way, until the last view of it is
        gone; None: all is in use, or it is too long. Small where the limit is, for all together."""
        return self._holdings.scratch.lend(length)

    def put_copy(self, request: WriteBlock, data: memoryview, crcs: Sequence[int]) -> None:
        """As :meth:`begin_copy`, of bytes that are here already with the CRC32C of each of their
        chunks. Raises as that."""
        _check_request(request)
        self._holdings.placement.sweep()
        self.make_room(request.length)
        BlockWrite(self._holdings, request, None, fenced=False, given=(data, crcs)).finish()

    def put_copies(self, blocks: Sequence[SmallBlock], data: Buffer) -> None:
        """Store copies of many small whole versions, or none; some may be held already. Their bytes
        follow one another in ``data``. Raises as :meth:`begin_copy`, CorruptBlockError.
        """
        _check_batch(blocks, len(data))
        self._holdings.placement.sweep()
        self.make_room(len(data) + len(blocks) * VERSION_BYTES)
        BatchWrite(self._holdings, blocks, fenced=False, given=memoryview(data)).finish()

    def make_room(self, count: int) -> None:
        """Have cached versions dropped until ``count`` bytes and one version find room, if there
        are so many; before anything is reserved."""
        lacking = self.used + count + 2 * VERSION_BYTES - self.limit
        if lacking > 0:
            for drop in self._on_shortage:
                drop(lacking)
            self._holdings.placement.sweep()

    # --- reading -----------------------------------------------------------------------------

    def read(self, version: BlockVersion, offset: int, length: int) -> tuple[memoryview, int]:
        """Bytes of a version and their CRC32C; the view stays valid after a discard.

        A whole version comes with the CRC that is stored, unchecked: its reader knows it. Of a
        part, the chunks that hold it are checked. Raises BlockNotFoundError, CorruptBlockError,
        InvalidArgumentError (outside the version).
        """
        if offset == 0 and (whole := self._index.whole(version, length)) is not None:
            return whole
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

    def wholes(self, wanted: Sequence[BlockRange]) -> builtins.list[tuple[memoryview, int] | None]:
        """As :meth:`read`, of those that are all of a small block and need no second look."""
        return self._index.wholes(wanted)

    def lent_records(self, wanted: Iterable[WholeBlock]) -> builtins.list[int]:
        """Places of records that may hold small blocks; the caller verifies the CRC.

        -1: it is not here, or not in memory that can be lent.
        """
        return self._index.records(wanted)

    def locate(self, wanted: Sequence[WholeBlock]) -> builtins.list[int]:
        """Places of all bytes of small blocks.

        A place is the number of a segment and an offset there (``segments.place_of``), and good
        until the next change of the store; -1: the block is not here, or not in a segment.
        """
        return self._index.locate(wanted)

    def segment_view(self, number: int) -> memoryview:
        """All of the segment that a place names."""
        segment = self._holdings.segments.used[number]
        return segment.view(0, segment.size)

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

    def lacks(self, blocks: Iterable[tuple[int, int]]) -> bool:
        """Whether none of some blocks, each by inode and index, has any version here."""
        return self._index.lacks(blocks)

    def identity(self, version: BlockVersion) -> tuple[int, int]:
        """Length and CRC32C of a version, as stored. Raises BlockNotFoundError."""
        found = self._find(version)
        return found.length, found.crc

    def list(self, after: BlockVersion | None, limit: int) -> builtins.list[StoredBlock]:
        """Up to ``limit`` versions behind ``after``, ordered by identity."""
        return [*islice(self._index.listed(after), limit)]

    def descriptors(
        self, versions: Iterable[BlockVersion]
    ) -> tuple[builtins.list[Segment], builtins.list[int]]:
        """Where versions lie in shared memory, and the sealed descriptors of it.

        Descriptor -1: the version is not held, lies on the heap, or shares a memfd with a block
        that is arriving over former content. The descriptors stay the store's: pass them on before
        the next call.
        """
        segments: builtins.list[Segment] = []
        numbers: dict[Memfd, int] = {}
        room = _SUMS_BYTES
        for version in versions:
            found = self._index.find(*version)
            slot = found.region.slot if found and isinstance(found.region, SlotRegion) else None
            if found is None or slot is None or self._holdings.exposes(slot.memfd):
                segments.append(Segment(-1, 0, 0))
                continue
            number = numbers.setdefault(slot.memfd, len(numbers))
            sums = chunks.chunk_sums(found.region.chunks, found.tail, found.length)
            room -= len(sums)
            segments.append(Segment(number, slot.offset, found.length, sums if room >= 0 else b""))
        return segments, [self._holdings.placement.lend(memfd) for memfd in numbers]

    def lend_segments(self, wanted: Iterable[int]) -> tuple[builtins.list[int], builtins.list[int]]:
        """For each segment, by its number in a place, an index of the descriptors; and these.

        -1: it is not there any more, or cannot be lent. What was lent is never overwritten.
        """
        indexes: builtins.list[int] = []
        descriptors: builtins.list[int] = []
        for number in wanted:
            segment = self._holdings.segments.used.get(number)
            if segment is None or not segment.shared:
                indexes.append(-1)
                continue
            indexes.append(len(descriptors))
            descriptors.append(segment.lend())
        return indexes, descriptors

    # --- the rest ----------------------------------------------------------------------------

    def discard(self, version: BlockVersion) -> None:
        """Forget a version; an unknown one is no error."""
        found = self._index.find(*version)
        if found is not None:
            self._holdings.drop(version.inode, version.index, found)
        elif self._holdings.watcher is not None:
            self._holdings.watcher.forgotten(version)

    def discard_many(self, versions: Iterable[BlockVersion]) -> None:
        """As :meth:`discard`, of many: least work for small blocks whose inodes follow one
        another."""
        for version in self._holdings.drop_records(versions):
            self.discard(version)

    def generation(self, inode: int) -> int:
        """The lease generation whose predecessors are refused; -1: there is none."""
        return self._index.generation(inode)

    def claims(self, inode: int) -> builtins.list[BlockVersion]:
        """All versions held of an inode."""
        return [version for version, _ in self.sizes(inode)]

    def sizes(self, inode: int) -> builtins.list[tuple[BlockVersion, int]]:
        """All versions held of an inode with their lengths, the newest of a block first."""
        return [
            (BlockVersion(inode, index, *version.age), version.length)
            for index, _ in self._index.blocks(inode, 0, limits.BLOCKS_PER_FILE)
            for version in self._index.versions(inode, index)
        ]

    def disown(self, inode: int, forged: Iterable[BlockVersion], generation: int) -> None:
        """Forget versions with forged lease generations, and lower the fence accordingly.

        Generations up to ``generation`` were granted; later ones count only while versions remain.
        """
        for version in forged:
            self.discard(version)
        held = [version.generation for version in self.claims(inode)]
        self._index.set_generation(inode, max([generation, *held]))

    def clear(self) -> None:
        """Forget everything; writes under way end by themselves."""
        for identity, version in list(self._index.after(None)):
            self._holdings.drop(identity.inode, identity.index, version)

    def statistics(self) -> BlockStatistics:
        """What is held now."""
        holdings = self._holdings
        return BlockStatistics(
            self.used,
            self.limit,
            self.count,
            len(holdings.arriving),
            holdings.placement.memfds,
            len(holdings.segments.used),
            holdings.segments.dead,
            holdings.placement.unmappable,
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
    _require(0 <= request.generation <= limits.GENERATION_MAX, "a generation out of range")
    _require(request.sequence >= 0, "a negative version")
    _require(0 < request.block_size <= limits.BLOCK_BYTES_MAX, "a block size out of range")
    _require(
        0 < request.group_blocks <= limits.GROUP_BYTES_MAX // request.block_size,
        "a group size out of range",
    )
    _require(0 <= request.length <= request.block_size, "a length outside the block")
    _require(request.sequence not in request.forget, "itself to be forgotten")
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
    columns: list[tuple[int, ...]] = list(zip(*blocks, strict=True)) or [()] * 6
    inodes, indices, generations, sequences, lengths, _ = columns
    _within(inodes, 1, (1 << 64) - 1, "an inode id out of range")
    _within(indices, 0, limits.BLOCKS_PER_FILE - 1, "a block index out of range")
    _within(generations, 0, limits.GENERATION_MAX, "a generation out of range")
    _within(sequences, 0, None, "a negative version")
    _within(lengths, 0, None, "a negative length")
    if len(set(zip(inodes, indices, strict=True))) < len(blocks):
        versions = {block.version for block in blocks}
        _require(len(versions) == len(blocks), "a version twice in a batch")
        raise InvalidArgumentError("a block write with two versions of a block in a batch")
    total = sum(lengths)
    _require(total == payload_length, f"{total} bytes of blocks in {payload_length} of payload")


def _within(numbers: tuple[int, ...], low: int, high: int | None, wrong: str) -> None:
    """All are from ``low`` to ``high`` at most."""
    if numbers:
        _require(min(numbers) >= low and (high is None or max(numbers) <= high), wrong)


def _require(condition: bool, wrong: str) -> None:
    if not condition:
        raise InvalidArgumentError(f"a block write with {wrong}")
