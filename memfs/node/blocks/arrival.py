"""Writes of block versions: reserve, receive, verify, then publish all or nothing.

A write reserves its room when it is made, lends buffers, verifies 64 KiB chunks while they are in
the CPU cache, and either publishes its versions or leaves no trace. Payloads that go to fresh pages
of a memfd arrive in a warm scratch buffer and are copied by write(2) as they come: a page fault per
4 KiB costs more than the copy (3.3 against 2.1 GB/s over loopback).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from memfs.checksum import crc32c, crcs32c
from memfs.errors import BlockNotFoundError, CorruptBlockError, InvalidArgumentError
from memfs.limits import CHUNK_BYTES, KIB
from memfs.node.blocks import targets
from memfs.node.blocks.block_records import FIELD_MAX, INDEX_BYTES, extent_for
from memfs.node.blocks.chunks import PieceCrcs, rebuild
from memfs.node.blocks.holdings import Holdings, WrittenRecords
from memfs.node.blocks.index import BLOCK_MASK, INDEX_BITS
from memfs.node.blocks.region import VERSION_BYTES, HeapRegion, Region, SegmentRegion, Version
from memfs.node.blocks.segments import MemorySegment
from memfs.protocol.messages import (
    BlockVersion,
    Empty,
    Extent,
    SmallBlock,
    WriteBlock,
    WriteBlockReply,
)
from memfs.protocol.segment_records import data_offset

_OBJECT_BYTES: Final = VERSION_BYTES - INDEX_BYTES
STAGED_BYTES: Final = 64 * KIB
"""From here up a buffer comes from the scratch pool; below, malloc has one in its cache."""


class BlockWrite:
    """One whole or derived version arriving (``WriteBlock``)."""

    def __init__(
        self,
        holdings: Holdings,
        request: WriteBlock,
        base: BlockVersion | None,
        *,
        fenced: bool = True,
        given: tuple[memoryview, Sequence[int]] | None = None,
    ) -> None:
        """Raises NoSpaceError or BlockNotFoundError (the base is not here any more), and then
        reserves nothing. A copy is not ``fenced``: no writer.

        ``given``: all of a whole version, which is somewhere else in memory, and the CRC32C of each
        of its chunks; nothing is to arrive.
        """
        self._holdings = holdings
        self._request = request
        self._fenced = fenced
        self._birth = 0
        self._open = True
        holdings.account.reserve(VERSION_BYTES)
        try:
            holdings.unpack(request.inode, request.index)
            found = None if base is None else holdings.index.find(*base)
            if base is not None and found is None:
                raise BlockNotFoundError(f"{base} is not here any more: room was made")
            self._target = targets.choose(holdings, request, found)
        except BaseException:
            holdings.account.release(VERSION_BYTES)
            holdings.pack(request.inode, request.index)
            raise
        holdings.arriving.add(self)
        self._staged = True
        self._flushed = 0
        if given is None:
            self._parts = self._lay_out()
            self._crcs = PieceCrcs(self._parts)
        else:
            self._parts = [(0, given[0])]
            self._crcs = PieceCrcs.known(len(given[0]), given[1])

    @property
    def region(self) -> Region:
        """The region that it holds."""
        return self._target.region

    @property
    def charged(self) -> int:
        """Bytes reserved for it that no region accounts for."""
        return VERSION_BYTES + self._target.charged

    def buffers(self) -> Sequence[memoryview]:
        """Where the payload goes, in order."""
        return [buffer for _, buffer in self._parts]

    def received(self, total: int) -> None:
        """The first ``total`` bytes of the payload have arrived."""
        self._crcs.advance(total)
        if self._staged and self._target.private:
            self._flush(total - total % CHUNK_BYTES)

    def finish(self) -> WriteBlockReply:
        """Publish the version; the whole payload has arrived.

        Raises CorruptBlockError, LeaseLostError or InvalidArgumentError (another version of the
        same identity is here), and then gives the reservation back.
        """
        assert self._open, "a write that has ended"
        try:
            self._check()
            if self._held():
                version = self._holdings.claim(self._request.version)
                self._withdraw()
            else:
                version = self._publish()
        except BaseException:
            self.abort()
            raise
        self._birth = version.birth
        return WriteBlockReply(version.length, version.crc)

    def abort(self) -> None:
        """Leave no trace; after :meth:`finish`, forget the version unless a retry stored it too."""
        if self._open:
            self._withdraw()
        elif self._birth:
            birth, self._birth = self._birth, 0
            self._holdings.unclaim(self._request.version, birth)

    # --- arriving ----------------------------------------------------------------------------

    def _lay_out(self) -> list[tuple[int, memoryview]]:
        """Block offset and buffer of each part of the payload."""
        request, target = self._request, self._target
        extents = request.extents
        if request.base_generation < 0:
            extents = (Extent(0, request.length),)
        size = sum(extent.length for extent in extents)
        buffer = None
        if target.private and isinstance(target.region, HeapRegion):
            self._staged = False
        elif size >= STAGED_BYTES:
            buffer = self._holdings.scratch.lend(size)
            self._staged = buffer is not None or not target.private
        elif target.private and isinstance(target.region, SegmentRegion):
            self._staged = False
        if not self._staged:
            if isinstance(target.region, SegmentRegion):
                target.region.pinned = True
            return [(at, target.region.view(at, at + length)) for at, length in extents]
        return _divide(extents, memoryview(bytearray(size)) if buffer is None else buffer)

    def _flush(self, total: int) -> None:
        """Copy what has been received since the last call to its place."""
        at = 0
        for offset, buffer in self._parts:
            low, high = max(self._flushed - at, 0), min(total - at, len(buffer))
            if low < high:
                self._target.region.store(offset + low, buffer[low:high])
            at += len(buffer)
        self._flushed = max(self._flushed, total)

    # --- ending ------------------------------------------------------------------------------

    def _check(self) -> None:
        request = self._request
        self._crcs.advance(sum(len(buffer) for _, buffer in self._parts), complete=True)
        if self._crcs.crc() != request.crc:
            raise CorruptBlockError(
                f"block {request.index} of inode {request.inode} arrived damaged: CRC32C is "
                f"{self._crcs.crc():#010x}, {request.crc:#010x} was sent"
            )
        if self._fenced:
            self._holdings.fence(request.inode, request.generation)

    def _held(self) -> bool:
        """Whether a retry of this write has published the version. Raises NoSpaceError."""
        request = self._request
        self._holdings.unpack(request.inode, request.index)
        held = self._holdings.index.find(*request.version)
        if held is not None:
            check_repeat(request, held)
        return held is not None

    def _publish(self) -> Version:
        request, target = self._request, self._target
        target.prepare()
        if self._staged:
            self._flush(sum(len(buffer) for _, buffer in self._parts))
        checks = target.publish(self._crcs.pieces)
        version = Version(
            request.generation,
            request.sequence,
            request.length,
            checks,
            target.region,
            request.writer,
        )
        layout = request.block_size, request.group_blocks
        self._holdings.publish(request.inode, request.index, version, layout, target.continues)
        self._end()
        self._holdings.pack(request.inode, request.index)
        return version

    def _withdraw(self) -> None:
        self._end()
        self._target.withdraw()
        self._holdings.account.release(VERSION_BYTES)
        self._holdings.pack(self._request.inode, self._request.index)

    def _end(self) -> None:
        self._open = False
        self._parts, self._crcs = [], PieceCrcs(())  # no view of ours keeps a slot from emptying
        if isinstance(self.region, SegmentRegion):
            self.region.pinned = False
        self._holdings.arriving.discard(self)


class RepeatedWrite:
    """A retry of a write whose version is held: its payload is verified and dropped."""

    def __init__(self, holdings: Holdings, request: WriteBlock, version: Version) -> None:
        """``version`` fits the request (:func:`check_repeat`)."""
        self._holdings = holdings
        self._request = request
        self._finished = False
        whole = request.base_generation < 0
        size = request.length if whole else sum(extent.length for extent in request.extents)
        self._buffer = holdings.scratch.lend(size) or memoryview(bytearray(size))
        self._birth = version.birth

    def buffers(self) -> Sequence[memoryview]:
        """Where the payload goes."""
        return [self._buffer]

    def received(self, total: int) -> None:
        """Nothing is done before the end."""

    def finish(self) -> WriteBlockReply:
        """Answer as the first time.

        Raises CorruptBlockError, BlockNotFoundError (discarded), NoSpaceError.
        """
        if crc32c(self._buffer) != self._request.crc:
            raise CorruptBlockError(f"a retry for inode {self._request.inode} arrived damaged")
        held = self._holdings.index.find(*self._request.version)
        if held is None or held.birth != self._birth:
            raise BlockNotFoundError(f"the block of inode {self._request.inode} was discarded")
        version = self._holdings.claim(self._request.version)
        self._finished = True
        return WriteBlockReply(version.length, version.crc)

    def abort(self) -> None:
        """Forget it."""
        if self._finished:
            self._finished = False
            self._holdings.unclaim(self._request.version, self._birth)


class _Run(NamedTuple):
    """Versions of a batch that are stored alike, in records that follow one another."""

    plain: bool
    """Records can describe them."""
    first: int
    """The first of them in the batch."""
    stop: int
    """The first one behind them."""
    offset: int
    """Of the first record in the segment."""


class BatchWrite:
    """Many small whole versions in one payload (``WriteBlocks``), published all or none."""

    def __init__(
        self,
        holdings: Holdings,
        blocks: Sequence[SmallBlock],
        *,
        fenced: bool = True,
        given: memoryview | None = None,
    ) -> None:
        """Raises NoSpaceError, and then reserves nothing. Copies are not ``fenced``: no writer.

        ``given``: the payload, which is here already.
        """
        self._fenced = fenced
        lengths = [block[4] for block in blocks]
        extents = {length: extent_for(length) for length in set(lengths)}
        self._extents = [extents[length] for length in lengths]
        extent = sum(self._extents) or extent_for(0)
        self.charged = INDEX_BYTES * len(blocks)
        """Bytes reserved for it that its region does not account for."""
        holdings.account.reserve(self.charged)
        try:
            place = holdings.segments.append(extent)
        except BaseException:
            holdings.account.release(self.charged)
            raise
        self.region = SegmentRegion(0, holdings.segments, *place, extent).attach()
        """Room for all records, in one."""
        self.region.holders, self.region.pinned = 1, True
        holdings.arriving.add(self)
        self._holdings = holdings
        self._blocks = blocks
        if given is None:
            size = sum(lengths)
            given = holdings.scratch.lend(size) or memoryview(bytearray(size))
        self._buffer = given
        self._births: list[int] = []
        self._beside: set[BlockVersion] = set()
        """Versions of blocks that have others."""
        self._open = True

    def buffers(self) -> Sequence[memoryview]:
        """Where the payload goes."""
        return [self._buffer]

    def received(self, total: int) -> None:
        """Nothing is done before the end: the payload is small."""

    def finish(self) -> Empty:
        """Publish all, or none.

        Raises CorruptBlockError, LeaseLostError, InvalidArgumentError, NoSpaceError.
        """
        assert self._open, "a write that has ended"
        pieces = self._pieces()
        try:
            self._check(pieces)
            repeated = self._repeated()
            runs = self._runs(repeated)
            records = self._write(runs, pieces)
        except BaseException:
            self.abort()
            raise
        self._open = False
        self._holdings.arriving.discard(self)
        segment = self.region.segment
        self.region.detach()
        if not self._blocks:
            self._holdings.segments.release(segment, self.region.extent)
        for run, written in zip(runs, records, strict=True):
            if written is not None:
                self._births += self._holdings.publish_records(segment, written)
            elif repeated[run.first]:
                self._repeat(self._blocks[run.first], segment, self._extents[run.first])
            else:
                self._publish(self._blocks[run.first], segment, run.offset)
        return Empty()

    def abort(self) -> None:
        """Leave no trace; after :meth:`finish`, forget the versions that no retry stored too."""
        if self._open:
            self._open = False
            self._holdings.arriving.discard(self)
            self._holdings.let_go(self.region)
            self._holdings.account.release(self.charged)
            self._pack()
        for block, birth in zip(self._blocks, self._births, strict=False):
            self._holdings.unclaim(block.version, birth)
        self._births.clear()

    def _pieces(self) -> list[memoryview]:
        ends = list(accumulate([block[4] for block in self._blocks]))
        return [self._buffer[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def _check(self, pieces: list[memoryview]) -> None:
        crcs = crcs32c(pieces)
        if crcs != [block[5] for block in self._blocks]:
            wrong = next(b for b, crc in zip(self._blocks, crcs, strict=True) if b.crc != crc)
            raise CorruptBlockError(f"block {wrong.index} of inode {wrong.inode} arrived damaged")
        if self._fenced:
            for block in self._blocks:
                self._holdings.fence(block.inode, block.generation)

    def _repeated(self) -> list[bool]:
        """Which versions are held already. Reserves room for versions of blocks that have others.

        Raises InvalidArgumentError for one that is held with other bytes, NoSpaceError.
        """
        if self._holdings.index.lacks([block[:2] for block in self._blocks]):
            return [False] * len(self._blocks)  # nearly always
        repeated = []
        for block in self._blocks:
            held = self._holdings.index.find(*block.version)
            if held is not None and (held.length, held.crc) != (block.length, block.crc):
                raise InvalidArgumentError(f"{block.version} is here with other bytes")
            repeated.append(held is not None)
        self._make_room()
        return repeated

    def _make_room(self) -> None:
        for block in self._blocks:
            self._holdings.unpack(block.inode, block.index)
            if self._holdings.index.holds(block.inode, block.index):
                self._holdings.account.reserve(_OBJECT_BYTES)
                self.charged += _OBJECT_BYTES
                self._beside.add(block.version)

    def _plain(self, repeated: Sequence[bool]) -> list[bool]:
        """Which versions records can describe from the start."""
        beside = self._beside
        return [
            extent < CHUNK_BYTES
            and block[0] << INDEX_BITS <= FIELD_MAX - BLOCK_MASK
            and block[3] <= FIELD_MAX
            and not (known or (beside and block.version in beside))
            for block, extent, known in zip(self._blocks, self._extents, repeated, strict=True)
        ]

    def _runs(self, repeated: Sequence[bool]) -> list[_Run]:
        """The versions in order: those together that records can describe, the others alone."""
        plain, offset = self._plain(repeated), self.region.offset
        if all(plain):  # nearly always
            return [_Run(True, 0, len(plain), offset)]
        runs: list[_Run] = []
        for at, (alike, extent) in enumerate(zip(plain, self._extents, strict=True)):
            if alike and runs and runs[-1].plain:
                runs[-1] = runs[-1]._replace(stop=at + 1)
            else:
                runs.append(_Run(alike, at, at + 1, offset))
            offset += extent
        return runs

    def _write(
        self, runs: Sequence[_Run], pieces: Sequence[memoryview]
    ) -> list[WrittenRecords | None]:
        """Put all bytes where they belong, before anybody can see one of them."""
        segments, segment = self._holdings.segments, self.region.segment
        try:
            if len(runs) > 1:
                segments.divide(segment, self.region.offset, self._extents)
            return [self._write_run(run, segment, pieces) for run in runs]
        except BaseException:
            segments.divide(segment, self.region.offset, [self.region.extent])
            raise

    def _write_run(
        self, run: _Run, segment: MemorySegment, pieces: Sequence[memoryview]
    ) -> WrittenRecords | None:
        first, stop = run.first, run.stop
        if not run.plain:
            segment.store(run.offset + data_offset(self._extents[first]), pieces[first])
            return None
        some = zip(self._blocks[first:stop], self._extents[first:stop], strict=True)
        rows = [
            (inode << INDEX_BITS | index, generation, sequence, length, crc, extent)
            for (inode, index, generation, sequence, length, crc), extent in some
        ]
        return self._holdings.write_records(segment, run.offset, rows, pieces[first:stop])

    def _publish(self, block: SmallBlock, segment: MemorySegment, offset: int) -> None:
        """Hold a version by objects, whose bytes are in the record at ``offset``."""
        holdings, extent = self._holdings, extent_for(block.length)
        if block.version not in self._beside:
            holdings.account.move(_OBJECT_BYTES, 0)  # until it is packed, below
        region = SegmentRegion(block.generation, holdings.segments, segment, offset, extent)
        region.attach()
        region.written, region.holders = block.length, 1
        region.chunks, sums = rebuild(lambda _: None, block.length, (), region.view)
        version = Version(block.generation, block.sequence, block.length, sums, region)
        holdings.publish(block.inode, block.index, version)
        holdings.pack(block.inode, block.index)
        self._births.append(version.birth)

    def _repeat(self, block: SmallBlock, segment: MemorySegment, extent: int) -> None:
        """One more writer is told that a version is here."""
        self._holdings.account.release(VERSION_BYTES)
        self._holdings.segments.release(segment, extent)
        self._births.append(self._holdings.claim(block.version).birth)

    def _pack(self) -> None:
        for block in self._blocks:
            self._holdings.pack(block.inode, block.index)


def check_repeat(request: WriteBlock, held: Version) -> None:
    """Whether ``held`` can be what a retry of ``request`` stored. Raises InvalidArgumentError."""
    whole = request.base_generation < 0
    if held.length != request.length or (whole and held.crc != request.crc):
        raise InvalidArgumentError(
            f"{request.version} is here with other bytes: a sequence number was reused"
        )


def _divide(extents: Sequence[Extent], buffer: memoryview) -> list[tuple[int, memoryview]]:
    """Block offset and share of a payload of each extent."""
    parts, at = [], 0
    for offset, length in extents:
        parts.append((offset, buffer[at : at + length]))
        at += length
    return parts
