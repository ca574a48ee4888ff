"""What few inodes have, by slot, with images of it for snapshots.

Owns nothing but the division into parts: the values are the caller's. A slot that has nothing costs
nothing, and what a change or an image costs does not grow with how many have something.

Invariant: no part is empty. A value is replaced, not changed, as long as an image is being read.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Final, TypeVar, overload

from memfs.node.namespace.containers.images import TableImage, TableImages

V = TypeVar("V")
D = TypeVar("D")

_PART_BITS: Final = 11
"""Of the number of slots that are copied together for a snapshot, microseconds."""


class SlotMap(MutableMapping[int, V]):
    """Values by slot; a walk through them is ordered by parts of slots."""

    __slots__ = ("_count", "_parts", "images")

    def __init__(self) -> None:
        self.images: TableImages[dict[int, V]] = TableImages()
        self._parts: dict[int, dict[int, V]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        for number in sorted(self._parts):
            yield from self._parts[number]

    def __contains__(self, slot: object) -> bool:
        return isinstance(slot, int) and slot in self._parts.get(slot >> _PART_BITS, ())

    def __getitem__(self, slot: int) -> V:
        return self._parts[slot >> _PART_BITS][slot]

    @overload
    def get(self, slot: int, default: None = None) -> V | None: ...
    @overload
    def get(self, slot: int, default: D) -> V | D: ...
    def get(self, slot: int, default: object = None) -> object:
        """The value of a slot, or ``default``."""
        part = self._parts.get(slot >> _PART_BITS)
        return default if part is None else part.get(slot, default)

    def __setitem__(self, slot: int, value: V) -> None:
        number = slot >> _PART_BITS
        if self.images:
            self.images.keep(number)
        part = self._parts.setdefault(number, {})
        self._count += slot not in part
        part[slot] = value

    def __delitem__(self, slot: int) -> None:
        number = slot >> _PART_BITS
        part = self._parts[number]
        if slot not in part:
            raise KeyError(slot)
        if self.images:
            self.images.keep(number)
        del part[slot]
        self._count -= 1
        if not part:
            del self._parts[number]

    def from_slot(self, first: int = 0) -> Iterator[int]:
        """Slots from ``first`` on, in order. Others may come and go meanwhile; they are seen or
        not."""
        for number in sorted(self._parts):
            if number >= first >> _PART_BITS:
                for slot in sorted(self._parts.get(number, ())):
                    if slot >= first:
                        yield slot

    def image(self) -> TableImage[dict[int, V]]:
        """The values as they are now, in parts, of which many may be empty."""
        return self.images.begin(max(self._parts, default=-1) + 1, self._copy)

    def _copy(self, number: int) -> dict[int, V]:
        part = self._parts.get(number)
        return part.copy() if part else {}
