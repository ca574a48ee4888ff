"""The byte budget of a block store.

Owns three numbers: ``used``, the bytes charged; ``process_memory``, the measured memory of the rest
of the process; and ``spare``, freed memory that is kept for reuse. Invariant (MemoryBound):
together they never exceed ``limit``, because room is reserved before memory is touched and spare
memory is given back first; only dead bytes between small blocks may exceed it, by up to
``allowance``, since it takes work to reclaim them. Does not know what charges stand for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from memfs.errors import NoSpaceError


class Account:
    """Bytes used of a hard limit."""

    __slots__ = (
        "_untouched",
        "allowance",
        "give_back",
        "headroom",
        "limit",
        "process_memory",
        "refusal",
        "scarcity",
        "spare",
        "used",
    )

    def __init__(self, limit: int) -> None:
        """``limit`` in bytes, positive."""
        assert limit > 0, f"a limit of {limit} bytes"
        self.limit = limit
        self.used = 0
        self.spare = 0
        self.process_memory = 0
        """Bytes that others take of the limit, as measured last."""
        self.refusal = ""
        """Why nothing may be reserved at all now; empty: it may."""
        self.headroom = sys.maxsize
        """Bytes that the system can give until it is asked again: memory beyond it is refused, for
        what writers fill between two measurements could be more than there is."""
        self.scarcity = ""
        """Why it is no more than that, in words."""
        self.allowance = 0
        """Bytes by which spare memory that cannot be given back may exceed the limit."""
        self.give_back: Callable[[int], object] = lambda count: None
        """Called to free ``count`` spare bytes; it subtracts them from ``spare``."""
        self._untouched = 0

    def fits(self, count: int) -> bool:
        """Whether ``count`` more bytes can be reserved now."""
        return not self.refusal and self.used + self.process_memory + count <= self.limit

    def reserve(self, count: int, spare: int = 0) -> None:
        """Charge ``count`` bytes, ``spare`` of which lie in memory that was spare.

        Raises NoSpaceError, and then charges nothing.
        """
        assert 0 <= spare <= count, f"a reservation of {count} bytes, {spare} of them spare"
        if not self.fits(count):
            raise self._full(count)
        fresh = count - spare
        if fresh > self.headroom and not self._find(fresh):
            raise NoSpaceError(self.scarcity)
        self.headroom -= fresh
        self.used += count
        self.spend(spare)
        if self.excess > 0:
            self.give_back(self.excess)
            if self.excess > self.allowance:
                self.used -= count
                self.spare += spare
                self.headroom += fresh
                raise self._full(count)

    @property
    def excess(self) -> int:
        """Bytes that are too many, spare ones included; negative: there is room."""
        return self.used + self.process_memory + self.spare - self.limit

    def move(self, count: int, spare: int) -> None:
        """Charge ``count`` bytes twice until their old place is released; ``spare`` as above."""
        self.used += count
        self.headroom -= count - spare
        self.spend(spare)

    def release(self, count: int, *, keep: bool = False) -> None:
        """Give back ``count`` bytes; their memory is spare if it is kept."""
        assert 0 <= count <= self.used, f"{count} bytes released of {self.used}"
        self.used -= count
        if keep:
            self.spare += count

    def spend(self, count: int) -> None:
        """Remove ``count`` bytes from the spare ones: reused, or given back to the system."""
        assert 0 <= count <= self.spare, f"{count} spare bytes spent of {self.spare}"
        self.spare -= count
        self._untouched = min(self._untouched, self.spare)

    def surplus(self) -> int:
        """Spare bytes that were never needed since this was last asked."""
        surplus, self._untouched = self._untouched, self.spare
        return surplus

    def _find(self, fresh: int) -> bool:
        """Give spare memory back until there is headroom for ``fresh`` bytes; whether there is."""
        before = self.spare
        self.give_back(min(before, fresh - self.headroom))
        self.headroom += before - self.spare
        return fresh <= self.headroom

    def _full(self, count: int) -> NoSpaceError:
        if self.refusal:
            return NoSpaceError(self.refusal)
        other = f", {self.process_memory} of them beside blocks" if self.process_memory else ""
        total = self.used + self.process_memory
        return NoSpaceError(
            f"the node's memory is full: {total} of {self.limit} bytes are used{other}, "
            f"{count} more are needed; delete files or add nodes"
        )
