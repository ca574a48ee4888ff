"""Block versions on their way in: buffers first, then checks, then all or nothing.

A write reserves its room when it is made; gives buffers; checks 64 KiB chunks while they are in
the cache; and either publishes its versions or leaves no trace. Payloads that go to fresh pages of
a memfd arrive in a warm scratch buffer and are copied by write(2) as they come: a page fault per
4 KiB costs more than the copy (3.3 against 2.1 GB/s over loopback).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from memfs.checksum import crc32c
from memfs.errors import BlockNotFoundError, CorruptBlockError, InvalidArgumentError
from memfs.limits import CHUNK_BYTES, KIB
from memfs.node.blocks import targets
from memfs.node.blocks.chunks import Checks, PieceCrcs, rebuild
from memfs.node.blocks.holdings import Holdings
from memfs.node.blocks.region import VERSION_BYTES, HeapRegion, Region, SlotRegion, Version
from memfs.protocol.messages import (
    BlockVersion,
    Empty,
    Extent,
    SmallBlock,
    WriteBlock,
    WriteBlockReply,
    WriteBlocks,
)

STAGED_BYTES: Final = 64 * KIB
"""From here up a buffer comes from the scratch pool; below, malloc has one in its cache."""


class BlockWrite:
    """One whole or derived version arriving (``WriteBlock``)."""

    def __init__(
        self, holdings: Holdings, request: WriteBlock, base: Version | None, *, fenced: bool = True
    ) -> None:
        """Raises NoSpaceError, and then reserves nothing. A copy is not ``fenced``: no writer."""
        self._holdings = holdings
        self._request = request
        self._fenced = fenced
        self._version: Version | None = None
        self._open = True
        holdings.account.reserve(VERSION_BYTES)
        try:
            self._target = targets.choose(holdings, request, base)
        except BaseException:
            holdings.account.release(VERSION_BYTES)
            raise
        holdings.arriving.add(self)
        self._staged = True
        self._flushed = 0
        self._parts = self._lay_out()
        self._crcs = PieceCrcs(self._parts)

    @property
    def region(self) -> Region:
        """The region that it holds."""
        return self._target.region

    @property
    def charged(self) -> int:
        """Bytes reserved for it beside what regions count for."""
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
            version = self._held()
            if version is not None:
                self._withdraw()
                version.claims += 1
            else:
                version = self._publish()
        except BaseException:
            self.abort()
            raise
        self._version = version
        return WriteBlockReply(version.length, version.crc)

    def abort(self) -> None:
        """Leave no trace; after :meth:`finish`, forget the version unless a retry stored it too."""
        if self._open:
            self._withdraw()
        elif self._version is not None:
            version, self._version = self._version, None
            _unclaim(self._holdings, self._request.inode, self._request.index, version)

    # --- arriving ----------------------------------------------------------------------------

    def _lay_out(self) -> list[tuple[int, memoryview]]:
        """Block offset and buffer of each part of the payload."""
        request, target = self._request, self._target
        extents = request.extents
        if request.base_generation < 0:
            extents = (Extent(0, request.length),)
        size = sum(extent.length for extent in extents)
        buffer = None
        if target.private and not isinstance(target.region, SlotRegion):
            self._staged = False
        elif size >= STAGED_BYTES:
            buffer = self._holdings.scratch.take(size)
            self._staged = buffer is not None or not target.private
        if not self._staged:
            return [(at, target.region.view(at, at + length)) for at, length in extents]
        return _divide(extents, memoryview(bytearray(size)) if buffer is None else buffer)

    def _flush(self, total: int) -> None:
        """Copy what has come since the last time to its place."""
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

    def _held(self) -> Version | None:
        """The same version, if a retry of this write was quicker."""
        request = self._request
        held = self._holdings.index.find(*request[:4])
        if held is not None:
            check_repeat(request, held)
        return held

    def _publish(self) -> Version:
        request, target = self._request, self._target
        target.settle()
        if self._staged:
            self._flush(sum(len(buffer) for _, buffer in self._parts))
        checks = target.publish(self._crcs.pieces)
        version = Version(
            request.generation, request.sequence, request.length, checks, target.region
        )
        layout = request.block_size, request.group_blocks
        self._holdings.publish(request.inode, request.index, version, layout, target.continues)
        self._end()
        return version

    def _withdraw(self) -> None:
        self._end()
        self._target.withdraw()
        self._holdings.account.release(VERSION_BYTES)

    def _end(self) -> None:
        self._open = False
        self._parts, self._crcs = [], PieceCrcs(())  # no view of ours keeps a slot from emptying
        self._holdings.arriving.discard(self)


class RepeatedWrite:
    """A retry of a write whose version is here already: its payload is checked and forgotten."""

    def __init__(self, holdings: Holdings, request: WriteBlock, version: Version) -> None:
        """``version`` fits the request (:func:`check_repeat`)."""
        self._holdings = holdings
        self._request = request
        self._finished = False
        whole = request.base_generation < 0
        size = request.length if whole else sum(extent.length for extent in request.extents)
        self._buffer = holdings.scratch.take(size) or memoryview(bytearray(size))
        self._version: Version | None = version

    def buffers(self) -> Sequence[memoryview]:
        """Where the payload goes."""
        return [self._buffer]

    def received(self, total: int) -> None:
        """Nothing is done before the end."""

    def finish(self) -> WriteBlockReply:
        """Answer as the first time. Raises CorruptBlockError, BlockNotFoundError (discarded)."""
        version = self._version
        if crc32c(self._buffer) != self._request.crc:
            raise CorruptBlockError(f"a retry for inode {self._request.inode} arrived damaged")
        if version is None or self._holdings.index.find(*self._request[:4]) is not version:
            raise BlockNotFoundError(f"the block of inode {self._request.inode} was discarded")
        version.claims += 1
        self._finished = True
        return WriteBlockReply(version.length, version.crc)

    def abort(self) -> None:
        """Forget it."""
        if self._finished and self._version is not None:
            _unclaim(self._holdings, self._request.inode, self._request.index, self._version)
        self._version = None


class BatchWrite:
    """Many small whole versions in one payload (``WriteBlocks``): all or none."""

    region = None
    """It holds none before the end."""

    def __init__(self, holdings: Holdings, request: WriteBlocks) -> None:
        """Raises NoSpaceError, and then reserves nothing."""
        size = sum(block.length for block in request.blocks)
        self.charged = size + VERSION_BYTES * len(request.blocks)
        """Bytes reserved for it."""
        holdings.account.reserve(self.charged)
        holdings.arriving.add(self)
        self._holdings = holdings
        self._blocks = request.blocks
        self._buffer = holdings.scratch.take(size) or memoryview(bytearray(size))
        self._stored: list[Version] = []
        self._open = True

    def buffers(self) -> Sequence[memoryview]:
        """Where the payload goes."""
        return [self._buffer]

    def received(self, total: int) -> None:
        """Nothing is done before the end: the payload is small."""

    def finish(self) -> Empty:
        """Publish all, or none: CorruptBlockError, LeaseLostError, InvalidArgumentError."""
        assert self._open, "a write that has ended"
        try:
            found = [self._check(block, data) for block, data in self._pieces()]
        except BaseException:
            self.abort()
            raise
        self._open = False
        self._holdings.arriving.discard(self)
        for (block, data), held in zip(self._pieces(), found, strict=True):
            self._stored.append(self._store(block, data) if held is None else self._repeat(held))
        return Empty()

    def abort(self) -> None:
        """Leave no trace; after :meth:`finish`, forget the versions that no retry stored too."""
        if self._open:
            self._open = False
            self._holdings.arriving.discard(self)
            self._holdings.account.release(self.charged)
        for block, version in zip(self._blocks, self._stored, strict=False):
            _unclaim(self._holdings, block.inode, block.index, version)
        self._stored.clear()

    def _pieces(self) -> Iterator[tuple[SmallBlock, memoryview]]:
        at = 0
        for block in self._blocks:
            yield block, self._buffer[at : at + block.length]
            at += block.length

    def _check(self, block: SmallBlock, data: memoryview) -> Version | None:
        if crc32c(data) != block.crc:
            raise CorruptBlockError(f"block {block.index} of inode {block.inode} arrived damaged")
        self._holdings.fence(block.inode, block.generation)
        held = self._holdings.index.find(*block[:4])
        if held is not None and (held.length, held.crc) != (block.length, block.crc):
            raise InvalidArgumentError(f"{BlockVersion(*block[:4])} is here with other bytes")
        return held

    def _store(self, block: SmallBlock, data: memoryview) -> Version:
        region = HeapRegion(block.generation, bytes(data))
        region.written, region.holders = block.length, 1
        checks = Checks(block.crc, block.crc)
        if block.length >= CHUNK_BYTES:
            region.chunks, checks = rebuild(lambda _: None, block.length, (), region.view)
        version = Version(block.generation, block.sequence, block.length, checks, region)
        self._holdings.publish(block.inode, block.index, version)
        return version

    def _repeat(self, held: Version) -> Version:
        self._holdings.account.release(held.length + VERSION_BYTES)
        held.claims += 1
        return held


def check_repeat(request: WriteBlock, held: Version) -> None:
    """Whether ``held`` can be what a retry of ``request`` stored. Raises InvalidArgumentError."""
    whole = request.base_generation < 0
    if held.length != request.length or (whole and held.crc != request.crc):
        raise InvalidArgumentError(
            f"{BlockVersion(*request[:4])} is here with other bytes: a sequence number was reused"
        )


def _unclaim(holdings: Holdings, inode: int, index: int, version: Version) -> None:
    version.claims -= 1
    held = holdings.index.find(inode, index, version.generation, version.sequence)
    if version.claims == 0 and held is version:
        holdings.drop(inode, index, version)


def _divide(extents: Sequence[Extent], buffer: memoryview) -> list[tuple[int, memoryview]]:
    """Block offset and share of a payload of each extent."""
    parts, at = [], 0
    for offset, length in extents:
        parts.append((offset, buffer[at : at + length]))
        at += length
    return parts
