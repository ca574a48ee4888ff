"""Where the bytes of a new version go: the group's memfd, a memfd of its own, or a segment.

Owns the memfds and the rule: a group with 1 MiB of data or more lies in one memfd at its natural
offsets, smaller data in segments; a version that may not overwrite its predecessor's place gets a
memfd of its own, or, when its writer writes the group anew from the start, a place beside the
others in a second memfd of the group, so that a rewritten file costs no descriptor for each block.
The heap is used where no memfd is available. Every path reserves the room first (MemoryBound). An
unused memfd whose descriptor was never lent is kept for the next group of its layout, since its
pages are allocated.
"""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Iterator
from typing import Final, Protocol

from memfs.errors import NoSpaceError
from memfs.limits import SEGMENT_BYTES_MIN
from memfs.node.blocks.account import Account
from memfs.node.blocks.block_records import extent_for
from memfs.node.blocks.departed import Departed
from memfs.node.blocks.index import BlockIndex
from memfs.node.blocks.memory import Memfd, Slot
from memfs.node.blocks.region import HeapRegion, Region, SegmentRegion, SlotRegion
from memfs.node.blocks.segments import Segments
from memfs.protocol.messages import WriteBlock

_GroupKey = tuple[int, int]
_Layout = tuple[int, int]


REORDERED: Final = 8
"""How many positions out of order a block may arrive and still continue a sequential rewrite."""


class _Renewal:
    """A group that its writer writes anew, and into which memfd."""

    __slots__ = ("generation", "last", "memfd")

    def __init__(self, generation: int, memfd: Memfd) -> None:
        self.generation = generation
        self.memfd = memfd
        self.last = 0
        """Position in the group of the last block that came."""

    def place(self, request: WriteBlock) -> Slot | None:
        """The slot of a block that goes on where the writer was; once lent, memory stays as it is,
        and what is replaced block by block there would stay with it."""
        position = request.index % self.memfd.slots
        near = abs(position - self.last) <= REORDERED
        if request.generation != self.generation or self.memfd.sealed or not near:
            return None
        slot = self.memfd.slot(position)
        if not slot.free:
            return None
        self.last = position
        return slot


class Packer(Protocol):
    """Makes objects of records, and records of objects."""

    def unpack(self, inode: int, index: int) -> None:
        """Raises NoSpaceError."""

    def pack(self, inode: int, index: int) -> None:
        """If that is possible."""


class Placement:
    """Gives regions out and takes them back."""

    def __init__(
        self,
        account: Account,
        index: BlockIndex,
        segments: Segments,
        most: int,
        packer: Packer,
        departed: Departed,
    ) -> None:
        """``index`` tells which small regions a new memfd has to take in; ``most`` memfds;
        ``departed`` is told what is closed while somebody may be reading there."""
        self._account = account
        self._index = index
        self._segments = segments
        self._packer = packer
        self._departed = departed
        self._most = most
        self.unmappable = 0
        """Blocks that went to the heap because no memfd could be made."""
        self._refused = 0
        self._groups: dict[_GroupKey, Memfd] = {}
        self._renewals: dict[_GroupKey, _Renewal] = {}
        self._memfds: dict[Memfd, _GroupKey | None] = {}
        self._kept: dict[_Layout, list[Memfd]] = {}
        """Memfds without a region, all of them spare memory."""
        self._roomy: dict[Memfd, None] = {}
        """Memfds in use that have spare memory."""
        self._on_the_heap: weakref.WeakSet[HeapRegion] = weakref.WeakSet()
        self._lingering: dict[Slot, None] = {}
        """Slots without a region that could not be emptied since somebody still views them."""
        account.give_back = self.give_back

    @property
    def memfds(self) -> int:
        """Memfds open now."""
        return len(self._memfds) + sum(map(len, self._kept.values()))

    @property
    def heap(self) -> int:
        """Bytes of blocks on the heap."""
        return sum(region.charge for region in self._on_the_heap)

    @property
    def may_open(self) -> bool:
        """Whether a segment may take a descriptor: half of them are for groups."""
        return self.memfds + self._segments.shared < self._most // 2

    @property
    def charge(self) -> int:
        """Bytes that all memfds count for, recomputed."""
        return sum(memfd.charge for memfd in self._memfds)

    @property
    def spare(self) -> int:
        """Bytes that are kept for what comes next, recomputed."""
        kept = sum(memfd.spare for memfds in self._kept.values() for memfd in memfds)
        return kept + sum(memfd.spare for memfd in self._memfds)

    def place(self, request: WriteBlock) -> Region:
        """An empty region with room for ``request.length`` bytes. Raises NoSpaceError."""
        refused = self._refused
        memfd = self.group(request)
        if memfd is not None:
            slot = memfd.slot(request.index % request.group_blocks)
            if slot.free:
                return self._slot_region(slot, request)
            beside = self._renewed(request)
            if beside is not None:
                return self._slot_region(beside, request)
        if request.length >= SEGMENT_BYTES_MIN:
            alone = self._create(request.block_size, 1, None)
            if alone is not None:
                return self._slot_region(alone.slot(0), request)
            region: Region = self._on_heap(request)
        else:
            region = self._in_segment(request)
        self.unmappable += self._refused > refused
        return region

    def _renewed(self, request: WriteBlock) -> Slot | None:
        """A slot in a second memfd of the group, if its writer writes the group anew."""
        key = (request.inode, request.index // request.group_blocks)
        renewal = self._renewals.get(key)
        slot = None if renewal is None else renewal.place(request)
        begins = request.index % request.group_blocks == 0
        if slot is not None or not begins or request.length < SEGMENT_BYTES_MIN:
            return slot
        memfd = self._create(request.block_size, request.group_blocks, key)
        if memfd is None:
            return None
        self._renewals[key] = _Renewal(request.generation, memfd)
        return memfd.slot(0)

    def _in_segment(self, request: WriteBlock) -> SegmentRegion:
        extent = extent_for(request.length)
        place = self._segments.append(extent)
        return SegmentRegion(request.generation, self._segments, *place, extent).attach()

    def _on_heap(self, request: WriteBlock) -> HeapRegion:
        self._account.reserve(request.length)
        try:
            region = HeapRegion(request.generation, bytearray(request.length))
        except MemoryError:
            self._account.release(request.length)
            raise NoSpaceError(
                f"the system gives the node no {request.length} bytes more, though it may use "
                f"{self._account.limit}: lower its memory setting or free memory on its host"
            ) from None
        self._on_the_heap.add(region)
        return region

    def free(self, region: Region) -> None:
        """Take a region back that nothing needs any more."""
        if isinstance(region, SegmentRegion):
            region.free()
            return
        if not isinstance(region, SlotRegion):
            self._account.release(region.charge)
            return
        slot = region.leave()
        if slot.memfd.taken == 0:
            self._drop(slot.memfd)
        elif slot.vacate(self._account):
            self._roomy[slot.memfd] = None
        elif not slot.memfd.sealed:
            self._lingering[slot] = None

    def sweep(self) -> None:
        """Empty the slots whose last view is gone by now."""
        for slot in list(self._lingering):
            if slot.vacate(self._account):
                self._roomy[slot.memfd] = None
            elif not slot.memfd.sealed:
                continue
            del self._lingering[slot]

    def lend(self, memfd: Memfd) -> int:
        """The descriptor of a memfd, to be given away."""
        self._roomy.pop(memfd, None)
        return memfd.seal(self._account)

    def give_back(self, count: int) -> int:
        """Give at least ``count`` spare bytes back to the system, if there are so many.

        Returns the number of bytes given back.
        """
        before = self._account.spare
        while self._account.spare > before - count and self._close_unused():
            pass
        given = before - self._account.spare
        while given < count and self._roomy:
            memfd = next(iter(self._roomy))
            del self._roomy[memfd]
            given += memfd.shed(self._account)
        return given

    def group(self, request: WriteBlock) -> Memfd | None:
        """The memfd of the block's group, opened when its data reaches 1 MiB with ``request``.

        Opening it moves the group's small regions in. None: the group is small, or no memfd can
        be had, or blocks of that size cannot lie in one.
        """
        size, blocks = request.block_size, request.group_blocks
        key = (request.inode, request.index // blocks)
        memfd = self._groups.get(key)
        if memfd is not None:
            return memfd if (memfd.slot_bytes, memfd.slots) == (size, blocks) else None
        if size % mmap.PAGESIZE or size * blocks < SEGMENT_BYTES_MIN:
            return None
        if request.length < SEGMENT_BYTES_MIN and not self._is_large(request):
            return None
        memfd = self._create(size, blocks, key)
        if memfd is not None:
            self._groups[key] = memfd
            self._move_in(memfd, key)
        return memfd

    # --- memfds ------------------------------------------------------------------------------

    def _create(self, slot_bytes: int, slots: int, key: _GroupKey | None) -> Memfd | None:
        memfd = self._pop_kept((slot_bytes, slots)) or self._open(slot_bytes, slots)
        if memfd is None:
            return None
        self._memfds[memfd] = key
        if memfd.stale:
            self._roomy[memfd] = None
        return memfd

    def _open(self, slot_bytes: int, slots: int) -> Memfd | None:
        """None: out of descriptors or mappings. The heap serves as well, only slower."""
        most = self._most - self._segments.shared
        while self.memfds >= most and self._close_unused():
            most = self._most - self._segments.shared
        if self.memfds < most:
            try:
                return Memfd(slot_bytes, slots)
            except OSError:
                if self._close_unused():  # they hold descriptors too
                    return self._open(slot_bytes, slots)
        self._refused += 1
        return None

    def _close_unused(self) -> bool:
        """Give a memfd without a region, or a segment without a record, back to the system."""
        return self._close_kept() or self._segments.close_free()

    def _close_kept(self) -> bool:
        """Give a kept memfd back to the system, if there is one."""
        memfd = self._pop_kept()
        if memfd is None:
            return False
        self._account.spend(memfd.spare)
        memfd.close()
        return True

    def _pop_kept(self, layout: _Layout | None = None) -> Memfd | None:
        """The kept memfd of a layout that was used last; without one, any."""
        if layout is None:
            layout = next(iter(self._kept), (0, 0))
        memfds = self._kept.get(layout)
        if not memfds:
            return None
        memfd = memfds.pop()
        if not memfds:
            del self._kept[layout]
        return memfd

    def _slot_region(self, slot: Slot, request: WriteBlock) -> SlotRegion:
        try:
            slot.touch(request.length, self._account)
        except NoSpaceError:
            if slot.memfd.taken == 0:
                self._drop(slot.memfd)
            raise
        return SlotRegion(request.generation, slot)

    def _drop(self, memfd: Memfd) -> None:
        for slot in [slot for slot in self._lingering if slot.memfd is memfd]:
            del self._lingering[slot]
        self._roomy.pop(memfd, None)
        key = self._memfds.pop(memfd)
        if key is not None:
            self._forget(key, memfd)
        if memfd.vacate(self._account):
            self._kept.setdefault((memfd.slot_bytes, memfd.slots), []).append(memfd)
        else:
            self._account.release(memfd.charge)
            self._account.spend(memfd.spare)
            memfd.depart(self._departed)

    def _forget(self, key: _GroupKey, memfd: Memfd) -> None:
        """A memfd of a group is no more; what the group was written anew into takes its place."""
        renewal = self._renewals.get(key)
        if renewal is not None and renewal.memfd is memfd:
            del self._renewals[key]
        if self._groups.get(key) is memfd:
            del self._groups[key]
            if renewal is not None and renewal.memfd is not memfd:
                self._groups[key] = self._renewals.pop(key).memfd

    # --- from segments into a memfd ----------------------------------------------------------

    def _is_large(self, request: WriteBlock) -> bool:
        """Whether the group's data reaches 1 MiB; a block counts with a page at least."""
        total = request.length
        group = request.inode, request.index, request.group_blocks
        for index, region in self._small_regions(*group):
            if index != request.index:
                total += max(region.written, mmap.PAGESIZE)
            if total >= SEGMENT_BYTES_MIN:
                return True
        return False

    def _small_regions(
        self, inode: int, index: int, group_blocks: int
    ) -> Iterator[tuple[int, Region]]:
        first = index - index % group_blocks
        for number, version in self._index.blocks(inode, first, first + group_blocks):
            if not isinstance(version.region, SlotRegion):
                yield number, version.region

    def _move_in(self, memfd: Memfd, key: _GroupKey) -> None:
        inode, group = key
        found = self._small_regions(inode, group * memfd.slots, memfd.slots)
        for index in [index for index, _ in found]:
            try:
                self._packer.unpack(inode, index)
            except NoSpaceError:
                return
            region = next(self._index.versions(inode, index)).region
            sharers = [v for v in self._index.versions(inode, index) if v.region is region]
            if region.holders != len(sharers) or not 0 < region.written <= memfd.slot_bytes:
                self._packer.pack(inode, index)
                continue  # a write under way needs it where it is
            slot = memfd.slot(index % memfd.slots)
            try:
                slot.touch(region.written, self._account)
                moved = self._moved(region, slot)
            except NoSpaceError:
                self._packer.pack(inode, index)
                return
            for version in sharers:
                version.region = moved
            self.free(region)

    def _moved(self, region: Region, slot: Slot) -> SlotRegion:
        """A copy in a slot that was touched for it; untouched again after a NoSpaceError."""
        moved = SlotRegion(region.generation, slot)
        try:
            moved.store(0, region.view(0, region.written))
        except NoSpaceError:
            moved.leave().restore(0, self._account)
            raise
        moved.written, moved.fixed = region.written, region.fixed
        moved.chunks, moved.holders = region.chunks, region.holders
        return moved
