"""Numbers in a row that may become very many, and do not move when they become more.

An array grows by ``realloc``, which copies it or moves its pages: each step takes longer the more
numbers there are, up to 30 ms with eight million inodes. Here the addresses of all numbers that
there can ever be are reserved at once, and the system gives memory where it is written to. It takes
that of numbers back which are 0 again.

Owns that memory, nothing else. Invariant: ``cells`` is one object for good; beyond ``length`` its
numbers are 0, or there are none.
"""

from __future__ import annotations

import contextlib
import mmap
from array import array
from typing import Final, TypeAlias

from memfs.types import Buffer

Cells: TypeAlias = "memoryview[int] | array[int]"

_MAP_NORESERVE: Final = 0x4000
"""Of mmap(2): reserved memory is not counted as used. Python has no name for it before 3.13."""
_PAGE: Final = mmap.PAGESIZE
_FLAGS: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE


class Growing:
    """Numbers of one type code of ``array``."""

    __slots__ = ("_map", "_raw", "cells", "length")

    def __init__(self, code: str, most: int) -> None:
        """There may be ``most`` of them. Where the system does not let that be reserved (no
        overcommitment, a bound on addresses), they lie in an array, which grows as arrays do."""
        self.cells: Cells = array(code)
        self._map: mmap.mmap | None = None
        self._raw = memoryview(b"")
        self.length = 0
        """Numbers that there are."""
        with contextlib.suppress(OSError):
            self._map = mmap.mmap(-1, most * self.cells.itemsize, flags=_FLAGS)
            self._raw = memoryview(self._map)
            self.cells = self._raw.cast(code)  # type: ignore[call-overload]

    def grow(self, count: int, fill: int = 0) -> None:
        """Add ``count`` numbers whose bytes are ``fill``."""
        if fill or isinstance(self.cells, array):
            self.extend(bytes([fill]) * (count * self.cells.itemsize))
        else:
            self.length += count

    def extend(self, raw: Buffer) -> None:
        """Add numbers by their bytes."""
        item = self.cells.itemsize
        if isinstance(self.cells, array):
            self.cells.frombytes(raw)
        else:
            at = self.length * item
            self._raw[at : at + len(raw)] = raw
        self.length += len(raw) // item

    @property
    def reserved(self) -> bool:
        """Whether memory can go back to the system: :meth:`zero` may be called."""
        return self._map is not None

    def zero(self, first: int, end: int) -> None:
        """Let the numbers from ``first`` to ``end`` - 1 be 0, and take no memory: whole pages of
        them are the system's."""
        assert self._map is not None, "an array keeps what it has"
        low, high = (at * self.cells.itemsize for at in (first, end))
        start, stop = -(-low // _PAGE) * _PAGE, high // _PAGE * _PAGE
        if start < stop:
            self._map.madvise(mmap.MADV_DONTNEED, start, stop - start)
        else:
            start = stop = high
        for begin, edge in ((low, start), (stop, high)):
            self._raw[begin:edge] = bytes(edge - begin)

    def clear(self) -> None:
        """Forget all numbers."""
        if isinstance(self.cells, array):
            del self.cells[:]
        else:
            self.zero(0, self.length)
        self.length = 0
