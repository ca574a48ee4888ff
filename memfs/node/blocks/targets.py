"""Where one arriving version is built: a region of its own, or the region of its base.

A target reserves room when it is made, so that nothing fails for lack of memory later, and
changes nothing that versions share until :meth:`Target.publish`. Owns the choice between them.
"""

from __future__ import annotations

from collections.abc import Sequence

from memfs.errors import NoSpaceError
from memfs.limits import CHUNK_BYTES, SEGMENT_BYTES_MIN
from memfs.node.blocks import chunks
from memfs.node.blocks.chunks import Checks, Piece
from memfs.node.blocks.holdings import Holdings
from memfs.node.blocks.region import HeapRegion, Region, SegmentRegion, SlotRegion, Version
from memfs.protocol.messages import BlockVersion, Extent, WriteBlock


def choose(holdings: Holdings, request: WriteBlock, base: Version | None) -> Target:
    """In place when only bytes behind the base change, else a new region. Raises NoSpaceError."""
    if base is None:
        return OwnRegion(holdings, request, None)
    holdings.placement.group(request)  # may move the base into a memfd, where it can grow
    if any(extent.offset < base.length for extent in request.extents):
        return OwnRegion(holdings, request, base)
    if request.length <= base.length and not base.region.busy:
        return Prefix(holdings, request, base)
    if _extensible(base, request):
        return Extension(holdings, request, base)
    return OwnRegion(holdings, request, base)


def _extensible(base: Version, request: WriteBlock) -> bool:
    region = base.region
    if not region.extensible(base.length, request.generation):
        return False
    if isinstance(region, SlotRegion):
        return request.length <= region.capacity
    # What passes 1 MiB goes to a memfd, if one can be made; if not, it is on the heap by then.
    return request.length < SEGMENT_BYTES_MIN or region.written >= SEGMENT_BYTES_MIN


class Target:
    """The place of one arriving version; holds the region until the version does."""

    private = False
    """Nobody else sees the region: the payload may go there while it arrives."""
    continues: BlockVersion | None = None
    """The version that this one is the whole of, and more behind it."""

    def __init__(self, holdings: Holdings, region: Region, length: int) -> None:
        self.region = region
        self.length = length
        self.charged = 0
        """Bytes reserved that no region accounts for."""
        self._holdings = holdings
        region.holders += 1

    def prepare(self) -> None:
        """Make the place ready for the payload, which has been verified."""

    def publish(self, pieces: Sequence[Piece]) -> Checks:
        """Let versions cover the payload, which is in place; returns its checksums."""
        raise AssertionError("a target that cannot be published")

    def withdraw(self) -> None:
        """Give everything back, instead of :meth:`publish`."""
        self._holdings.let_go(self.region)


class OwnRegion(Target):
    """A region of its own, beginning with what the payload leaves of the base."""

    private = True

    def __init__(self, holdings: Holdings, request: WriteBlock, base: Version | None) -> None:
        super().__init__(holdings, holdings.placement.place(request), request.length)
        self._extents = request.extents
        self._base_length = 0 if base is None else min(base.length, request.length)
        self._base_chunks: Sequence[int] = chunks.NO_CHUNKS
        if base is None:
            return
        try:
            self._copy(base)
        except NoSpaceError:
            holdings.let_go(self.region)
            raise

    def publish(self, pieces: Sequence[Piece]) -> Checks:
        region, changed = self.region, _touched(self._extents)

        def known(index: int) -> int | None:
            if index in changed or index >= len(self._base_chunks):
                return None
            return self._base_chunks[index]

        region.chunks, checks = chunks.rebuild(known, self.length, pieces, region.view)
        region.written = self.length
        return checks

    def _copy(self, base: Version) -> None:
        self._base_chunks = base.region.chunks[: self._base_length // CHUNK_BYTES]
        at = 0
        for extent in self._extents:
            self._fill(base, at, extent.offset)
            at = extent.offset + extent.length
        self._fill(base, at, self.length)

    def _fill(self, base: Version, start: int, stop: int) -> None:
        """What the payload leaves: the base's bytes, and zeros behind them."""
        kept = min(stop, self._base_length)
        if start < kept:
            self.region.store(start, base.view(start, kept))
        self.region.clear(max(start, kept), stop)


class Extension(Target):
    """Behind the base, in its region: O(bytes appended)."""

    def __init__(self, holdings: Holdings, request: WriteBlock, base: Version) -> None:
        super().__init__(holdings, base.region, request.length)
        self._request = request
        self._base_length, self._base_checks = base.length, base.checks
        if self._contiguous:
            self.continues = BlockVersion(request.inode, request.index, *base.age)
        self._memory: bytearray | None = None
        self._place: SegmentRegion | None = None
        self._touched = 0
        try:
            self._reserve()
        except BaseException:
            holdings.let_go(base.region)
            raise
        self.region.busy = True

    def prepare(self) -> None:
        self._drop_leftovers()
        if isinstance(self.region, HeapRegion) and self._memory is not None:
            self._holdings.account.release(self.region.charge)
            self.region.memory = self._memory
            self.charged = 0
        if isinstance(self.region, SegmentRegion) and self._place is not None:
            self.region.move_to(self._place, self._base_length)
            self._place = None
        if not self._contiguous:
            self.region.store(self._base_length, bytes(self.length - self._base_length))

    def publish(self, pieces: Sequence[Piece]) -> Checks:
        region, base_length = self.region, self._base_length
        if self._contiguous:
            region.chunks, checks = chunks.append(
                region.chunks, base_length, self._base_checks, pieces
            )
        else:
            base = region.chunks

            def known(index: int) -> int | None:
                return base[index] if index < len(base) else None

            region.chunks, checks = chunks.rebuild(known, self.length, (), region.view)
        region.written, region.generation = self.length, self._request.generation
        region.busy = False
        return checks

    def withdraw(self) -> None:
        region, account = self.region, self._holdings.account
        region.busy = False
        if isinstance(region, SlotRegion):
            region.slot.restore(self._touched, account)
        if self._place is not None:
            self._place.free()
        account.release(self.charged)
        self.charged = 0
        super().withdraw()

    @property
    def _contiguous(self) -> bool:
        """Whether the payload is exactly what lies behind the base."""
        at = self._base_length
        for extent in self._request.extents:
            if extent.offset != at:
                return False
            at += extent.length
        return at == self.length

    def _reserve(self) -> None:
        region, account = self.region, self._holdings.account
        if isinstance(region, SlotRegion):
            self._touched = region.slot.touched
            region.slot.touch(self.length, account)
            return
        most = self._request.block_size
        if isinstance(region, SegmentRegion):
            self._place = region.grown(self.length, most, account)
        else:
            assert isinstance(region, HeapRegion)
            self._memory = region.grown(self._base_length, self.length, most, account)
            self.charged = 0 if self._memory is None else len(self._memory)

    def _drop_leftovers(self) -> None:
        """Drop what a fenced writer wrote behind the base: it was never committed."""
        region, request = self.region, self._request
        for version in list(self._holdings.index.versions(request.inode, request.index)):
            if version.region is region and version.length > self._base_length:
                assert version.generation < request.generation, "a living version in the way"
                self._holdings.drop(request.inode, request.index, version)
        region.chunks = chunks.truncated(region.chunks, self._base_length)


class Prefix(Target):
    """The beginning of the base: a truncation needs no memory."""

    def __init__(self, holdings: Holdings, request: WriteBlock, base: Version) -> None:
        super().__init__(holdings, base.region, request.length)
        self._generation = request.generation

    def publish(self, pieces: Sequence[Piece]) -> Checks:
        region = self.region
        region.generation = max(region.generation, self._generation)  # its bytes are its own now
        if self.length < region.written:
            region.fixed = region.written  # the rest may be read until the base is discarded
        return chunks.prefix(region.chunks, self.length, region.view)


def _touched(extents: Sequence[Extent]) -> set[int]:
    """Indices of the chunks that a payload changes."""
    return {
        index
        for start, length in extents
        for index in range(start // CHUNK_BYTES, (start + length - 1) // CHUNK_BYTES + 1)
    }
