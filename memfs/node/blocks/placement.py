"""Where the bytes of a new version go: the group's memfd, a memfd of its own, or the heap.

Owns the memfds and the rule of design section 2: data of a group from 1 MiB on lies in one memfd
at its natural offsets, smaller data on the heap; a version that may not overwrite its
predecessor's place goes apart. Every path reserves the room first (MemoryBound). A memfd that
nobody needs any more, and of which no descriptor ever left, is kept for the next group of its
kind: the pages are there.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

from memfs.errors import NoSpaceError
from memfs.limits import SEGMENT_BYTES_MIN
from memfs.node.blocks.account import Account
from memfs.node.blocks.index import BlockIndex
from memfs.node.blocks.memory import Memfd, Slot
from memfs.node.blocks.region import HeapRegion, Region, SlotRegion
from memfs.protocol.messages import WriteBlock

_GroupKey = tuple[int, int]
_Layout = tuple[int, int]


class Placement:
    """Gives regions out and takes them back."""

    def __init__(self, account: Account, index: BlockIndex) -> None:
        """``index`` tells which heap regions a new memfd has to take in."""
        self._account = account
        self._index = index
        self._groups: dict[_GroupKey, Memfd] = {}
        self._memfds: dict[Memfd, _GroupKey | None] = {}
        self._kept: dict[_Layout, list[Memfd]] = {}
        """Memfds without a region, all of them spare memory."""
        self._roomy: dict[Memfd, None] = {}
        """Memfds in use that have spare memory."""
        self._lingering: dict[Slot, None] = {}
        """Slots without a region that could not be emptied since somebody still views them."""
        account.give_back = self.give_back

    @property
    def memfds(self) -> int:
        """Memfds open now."""
        return len(self._memfds) + sum(map(len, self._kept.values()))

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
        memfd = self.group(request)
        if memfd is not None:
            slot = memfd.slot(request.index % request.group_blocks)
            if slot.free:
                return self._settle(slot, request)
        if request.length >= SEGMENT_BYTES_MIN:
            apart = self._create(request.block_size, 1, None)
            if apart is not None:
                return self._settle(apart.slot(0), request)
        self._account.reserve(request.length)
        return HeapRegion(request.generation, bytearray(request.length))

    def free(self, region: Region) -> None:
        """Take a region back that nothing needs any more."""
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

        Returns how many bytes it were.
        """
        given = 0
        while given < count and (memfd := self._pop_kept()) is not None:
            spare = memfd.spare
            self._account.spend(spare)
            memfd.close()
            given += spare
        while given < count and self._roomy:
            memfd = next(iter(self._roomy))
            del self._roomy[memfd]
            given += memfd.shed(self._account)
        return given

    def group(self, request: WriteBlock) -> Memfd | None:
        """The memfd of the block's group, opened when its data reaches 1 MiB with ``request``.

        Opening it moves the group's heap regions in. None: the group is small, or no memfd can
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
            self._move_in(memfd, key)
        return memfd

    # --- memfds ------------------------------------------------------------------------------

    def _create(self, slot_bytes: int, slots: int, key: _GroupKey | None) -> Memfd | None:
        memfd = self._pop_kept((slot_bytes, slots)) or self._open(slot_bytes, slots)
        if memfd is None:
            return None
        self._memfds[memfd] = key
        if key is not None:
            self._groups[key] = memfd
        if memfd.stale:
            self._roomy[memfd] = None
        return memfd

    def _open(self, slot_bytes: int, slots: int) -> Memfd | None:
        """None: out of descriptors or mappings. The heap serves as well, only slower."""
        try:
            return Memfd(slot_bytes, slots)
        except OSError:
            if not self._kept:
                return None
        self.give_back(self._account.spare)  # they hold descriptors too
        return self._open(slot_bytes, slots)

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

    def _settle(self, slot: Slot, request: WriteBlock) -> SlotRegion:
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
            del self._groups[key]
        if memfd.vacate(self._account):
            self._kept.setdefault((memfd.slot_bytes, memfd.slots), []).append(memfd)
        else:
            self._account.release(memfd.charge)
            self._account.spend(memfd.spare)
            memfd.close()

    # --- from the heap into a memfd ----------------------------------------------------------

    def _is_large(self, request: WriteBlock) -> bool:
        """Whether the group's data reaches 1 MiB; a block counts with a page at least."""
        total = request.length
        for index, region in self._heap_regions(request.inode, request.index, request.group_blocks):
            if index != request.index:
                total += max(region.written, mmap.PAGESIZE)
            if total >= SEGMENT_BYTES_MIN:
                return True
        return False

    def _heap_regions(
        self, inode: int, index: int, group_blocks: int
    ) -> Iterator[tuple[int, HeapRegion]]:
        first = index - index % group_blocks
        for number, version in self._index.blocks(inode, first, first + group_blocks):
            if isinstance(version.region, HeapRegion):
                yield number, version.region

    def _move_in(self, memfd: Memfd, key: _GroupKey) -> None:
        inode, group = key
        regions = list(self._heap_regions(inode, group * memfd.slots, memfd.slots))
        for index, region in regions:
            sharers = [v for v in self._index.versions(inode, index) if v.region is region]
            if region.holders != len(sharers) or not 0 < region.written <= memfd.slot_bytes:
                continue  # a write under way needs it where it is
            slot = memfd.slot(index % memfd.slots)
            try:
                slot.touch(region.written, self._account)
            except NoSpaceError:
                return
            moved = _moved(region, slot)
            for version in sharers:
                version.region = moved
            self._account.release(region.charge)


def _moved(region: HeapRegion, slot: Slot) -> SlotRegion:
    moved = SlotRegion(region.generation, slot)
    moved.store(0, region.view(0, region.written))
    moved.written, moved.fixed = region.written, region.fixed
    moved.chunks, moved.holders = region.chunks, region.holders
    return moved
