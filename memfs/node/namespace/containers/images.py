"""How a table looked at one moment, while it goes on changing: for snapshots.

A table has parts, numbered from 0. An image copies each part when it is read, in order, and no
sooner, unless the part is about to change: then it is copied before. So taking a snapshot costs
nothing at once, and what it costs a change does not grow with the table.

Owns which parts have been read or kept. The table says how a part is copied, and calls
:meth:`TableImages.keep` before it changes one. Images are read in the thread that changes tables.

Invariant (of an image): what it yields is what the parts held when it was made, and it copies each
part once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class TableImage(Generic[T]):
    """The parts of a table as they were."""

    __slots__ = ("__weakref__", "_copy", "_count", "_kept", "_next")

    def __init__(self, count: int, copy: Callable[[int], T]) -> None:
        """``copy`` copies one of the ``count`` parts that there are."""
        self._count = count
        self._copy = copy
        self._next = 0
        """Parts before this one were read."""
        self._kept: dict[int, T] = {}

    def keep(self, part: int) -> None:
        """The part is about to change."""
        if self._next <= part < self._count and part not in self._kept:
            self._kept[part] = self._copy(part)

    def __iter__(self) -> Iterator[T]:
        """All parts in order, once."""
        for part in range(self._count):
            self._next = part + 1
            yield self._kept.pop(part) if part in self._kept else self._copy(part)


class TableImages(list["weakref.ref[TableImage[T]]"]):
    """The images of one table that somebody still reads. A list: every change asks whether there
    are any."""

    __slots__ = ()

    def begin(self, count: int, copy: Callable[[int], T]) -> TableImage[T]:
        """How the table looks now. It is kept until the image is forgotten."""
        image = TableImage(count, copy)
        self.append(weakref.ref(image, self.remove))
        return image

    def keep(self, part: int) -> None:
        """A part of the table is about to change."""
        for each in tuple(self):  # one may be forgotten meanwhile
            image = each()
            if image is not None:
                image.keep(part)
