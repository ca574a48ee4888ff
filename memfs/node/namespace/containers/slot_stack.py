"""A stack of slots with images of it for snapshots: what a push or an image costs does not grow.

Owns the numbers in it. Invariant: what lies above ``len`` of the stack is no part of it, and is
written to only after images have kept it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from memfs.node.namespace.containers.growing import Growing
from memfs.node.namespace.containers.images import TableImage, TableImages

PART: Final = 10_000
"""Slots that are copied together for a snapshot."""
_GROWTH: Final = 4096


class SlotStack:
    """Slots, the last one on top."""

    __slots__ = ("_count", "_numbers", "images")

    def __init__(self, most: int) -> None:
        """There will be ``most`` slots at most."""
        self.images: TableImages[list[int]] = TableImages()
        self._numbers = Growing("I", most)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        """From the bottom."""
        return iter(self._numbers.cells[: self._count].tolist())

    def push(self, slot: int) -> None:
        """Put one on top."""
        at = self._count
        if at == self._numbers.length:
            self._numbers.grow(_GROWTH)
        if self.images:
            self.images.keep(at // PART)
        self._numbers.cells[at] = slot
        self._count = at + 1

    def pop(self) -> int:
        """Take the one on top; there is one."""
        assert self._count, "an empty stack"
        self._count -= 1
        return self._numbers.cells[self._count]

    def extend(self, slots: Iterable[int]) -> None:
        """Put several on top, the last one highest."""
        for slot in slots:
            self.push(slot)

    def give_back(self) -> None:
        """Give memory above the top back to the system, unless an image may still read it."""
        if self._numbers.reserved and not self.images:
            self._numbers.zero(self._count, self._numbers.length)

    def image(self) -> TableImage[list[int]]:
        """The stack as it is now, from the bottom, in parts; one at least."""
        count, cells = self._count, self._numbers.cells
        return self.images.begin(
            max(1, -(-count // PART)),
            lambda part: cells[part * PART : min(count, (part + 1) * PART)].tolist(),
        )
