"""One block being written: the changed bytes, until they are sent. Pure.

A block is sent *whole* when nothing below it matters, and *derived* from its current version when
only some of its bytes change: then the changed ranges travel and the nodes copy the rest.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from typing import NamedTuple

from memfs.protocol.messages import Extent
from memfs.types import BlockRef, Buffer

BLOCK_COST = 512
RUN_COST = 128
"""Bytes of the objects that a block, and a run of bytes, are kept in."""
EXTENTS_MAX = 512
"""Ranges of one derived block: 512 x 12 bytes of record at most."""


class Copied(NamedTuple):
    """Bytes that lie on nodes already, as the payload of a block."""

    ref: BlockRef
    offset: int
    """Within the version."""
    length: int


class Sealed(NamedTuple):
    """A block version ready to be sent."""

    block: int
    """Its number in the file."""
    base: BlockRef | None
    """The version it is derived from; None: the payload is the whole block."""
    length: int
    extents: tuple[Extent, ...]
    payload: tuple[Buffer, ...]
    source: Copied | None = None
    """In place of a payload: nodes copy it, or refuse."""


class PendingBlock:
    """Collects writes to one block as disjoint, ascending runs of bytes.

    ``block`` is its number in the file, ``base`` its current version (a hole has length 0).
    """

    def __init__(self, block: int, base: BlockRef) -> None:
        self.block = block
        self.base = base
        self.held = BLOCK_COST
        """Bytes of memory that it takes, roughly."""
        self._starts: list[int] = []
        self._runs: list[bytearray] = []
        self._lent: list[memoryview] = []
        """Pieces of the only run, from byte 0 on, that others have lent; ``_runs`` is one empty."""
        self._lenders: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def full(self) -> bool:
        """Whether it should be sent because it consists of too many ranges."""
        return len(self._starts) >= EXTENTS_MAX

    def complete(self, block_size: int) -> bool:
        """Whether it is filled to the end of the block in one run: nothing more is to be expected.

        It begins where the block does, or where what is stored of it ends.
        """
        return (
            len(self._starts) == 1
            and self._starts[0] in (0, self.base.length)
            and self.end == block_size
        )

    @property
    def end(self) -> int:
        """One past the last changed byte."""
        if self._lent:
            return sum(map(len, self._lent))
        return self._starts[-1] + len(self._runs[-1]) if self._starts else 0

    def borrow(self, start: int, data: memoryview, give_back: Callable[[], None]) -> bool:
        """Take ``data`` itself for the bytes from ``start`` on; False: only a copy can be taken.

        It must not change before ``give_back`` is called; perhaps it never is, after a failure.
        """
        if start != self.end or len(self._lent) != len(self._lenders) or (self and not self._lent):
            return False
        self._starts, self._runs = [0], [bytearray()]
        self._lent.append(data)
        self._lenders.append(give_back)
        self.held += len(data)
        return True

    @property
    def borrowed(self) -> bool:
        """Whether :meth:`give_back` is to be called when what was sealed has been sent."""
        return bool(self._lenders)

    def give_back(self) -> None:
        """Nobody reads what was lent any more."""
        lenders, self._lenders = self._lenders, []
        for each in lenders:
            each()

    def _own(self) -> None:
        """Take a copy of what was lent."""
        self._runs = [bytearray().join(self._lent)]
        self._lent = []
        self.give_back()

    def write(self, start: int, data: memoryview) -> None:
        """Take a copy of ``data`` for the bytes from ``start`` on."""
        if self._lent:
            self._own()
        if self._starts and start == self.end:
            self._runs[-1] += data  # the usual case: one run that grows
            self.held += len(data)
            return
        first = self._first_touching(start)
        last = bisect.bisect_right(self._starts, start + len(data))
        if first == last:
            self._starts.insert(first, start)
            self._runs.insert(first, bytearray(data))
            self.held += len(data) + RUN_COST
            return
        self._merge(first, last, start, data)

    def _first_touching(self, start: int) -> int:
        """The first run that reaches ``start`` or begins after it."""
        at = bisect.bisect_right(self._starts, start)
        if at and self._starts[at - 1] + len(self._runs[at - 1]) >= start:
            return at - 1
        return at

    def _merge(self, first: int, last: int, start: int, data: memoryview) -> None:
        """Replace the runs ``first`` to ``last`` and ``data`` by their union, ``data`` on top."""
        begin = min(start, self._starts[first])
        end = max(start + len(data), self._starts[last - 1] + len(self._runs[last - 1]))
        if (first + 1, begin) == (last, self._starts[first]):
            union = self._runs[first]  # overwrite within one run, perhaps past its end
            union[start - begin : start - begin + len(data)] = data
        else:
            union = bytearray(end - begin)
            for at, run in zip(self._starts[first:last], self._runs[first:last], strict=True):
                union[at - begin : at - begin + len(run)] = run
            union[start - begin : start - begin + len(data)] = data
        before = sum(map(len, self._runs[first:last])) + RUN_COST * (last - first)
        self.held += end - begin + RUN_COST - before
        self._starts[first:last] = [begin]
        self._runs[first:last] = [union]

    def seal(self) -> Sealed:
        """What to send. The block takes no more writes."""
        length = max(self.base.length, self.end)
        if self._lent and self.end >= self.base.length:
            return Sealed(self.block, None, length, (), tuple(self._lent))
        if self._lent:
            self._own()
        covered = self._starts == [0] and len(self._runs[0]) >= self.base.length
        if covered:
            return Sealed(self.block, None, length, (), (self._runs[0],))
        if self.base.length == 0:
            return Sealed(self.block, None, length, (), tuple(self._with_zeros()))
        extents = tuple(map(Extent, self._starts, map(len, self._runs)))
        return Sealed(self.block, self.base, length, extents, tuple(self._runs))

    def _with_zeros(self) -> list[Buffer]:
        """The runs with zeros in between and in front."""
        pieces: list[Buffer] = []
        at = 0
        for start, run in zip(self._starts, self._runs, strict=True):
            if start > at:
                pieces.append(bytes(start - at))
            pieces.append(run)
            at = start + len(run)
        return pieces


class PendingBlocks:
    """The blocks of a file that are being changed, the longest gathered first."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes of memory that they take, roughly."""
        self._blocks: dict[int, PendingBlock] = {}

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def __iter__(self) -> Iterator[int]:
        """Numbers of the blocks, as they are now."""
        return iter(list(self._blocks))

    def get(self, block: int) -> PendingBlock | None:
        """The block of that number."""
        return self._blocks.get(block)

    def add(self, pending: PendingBlock) -> None:
        """Begin to gather changes of a block."""
        self._blocks[pending.block] = pending
        self.held += pending.held

    def write(self, pending: PendingBlock, start: int, data: memoryview) -> None:
        """Take a copy of a change."""
        before = pending.held
        pending.write(start, data)
        self.held += pending.held - before

    def borrow(
        self, pending: PendingBlock, start: int, data: memoryview, give_back: Callable[[], None]
    ) -> bool:
        """Take a change where it lies; see :meth:`PendingBlock.borrow`."""
        before = pending.held
        taken = pending.borrow(start, data, give_back)
        self.held += pending.held - before
        return taken

    def pop(self, block: int) -> PendingBlock | None:
        """Take a block out: it is sent, or forgotten."""
        pending = self._blocks.pop(block, None)
        if pending is not None:
            self.held -= pending.held
        return pending

    def clear(self) -> None:
        """Forget all of them."""
        self._blocks.clear()
        self.held = 0


def overlay(sealed: Sealed, base: memoryview) -> bytearray:
    """The whole block that ``sealed`` describes, from the ``base`` version's bytes."""
    whole = bytearray(sealed.length)
    kept = min(len(base), sealed.length)
    whole[:kept] = base[:kept]
    for extent, data in zip(sealed.extents, sealed.payload, strict=True):
        whole[extent.offset : extent.offset + extent.length] = data
    return whole
