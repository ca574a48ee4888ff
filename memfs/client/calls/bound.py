"""What belongs to one process and cannot be handed to another: open files, locks, iterators."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class Bound:
    """Neither pickled nor copied: its other end is a connection."""

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"memfs: {name} cannot be pickled or copied: make it anew there")
