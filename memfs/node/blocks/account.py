"""The byte budget of a block store.

Owns two numbers: ``used``, what is charged, and ``spare``, memory of what was freed that is kept
for what comes next. Invariant (MemoryBound): together they never exceed ``limit``, because room is
reserved before memory is touched, and spare memory gives way. What a charge stands for is the
business of its holders.
"""

from __future__ import annotations

from collections.abc import Callable

from memfs.errors import NoSpaceError


class Account:
    """Bytes used of a hard limit."""

    __slots__ = ("_untouched", "give_back", "limit", "spare", "used")

    def __init__(self, limit: int) -> None:
        """``limit`` in bytes, positive."""
        assert limit > 0, f"a limit of {limit} bytes"
        self.limit = limit
        self.used = 0
        self.spare = 0
        self.give_back: Callable[[int], object] = lambda count: None
        """Called when ``count`` spare bytes are in the way; takes them off ``spare``."""
        self._untouched = 0

    def fits(self, count: int) -> bool:
        """Whether ``count`` more bytes can be reserved now."""
        return self.used + count <= self.limit

    def reserve(self, count: int, spare: int = 0) -> None:
        """Charge ``count`` bytes, ``spare`` of which lie in memory that was spare.

        Raises NoSpaceError, and then charges nothing.
        """
        assert 0 <= spare <= count, f"a reservation of {count} bytes, {spare} of them spare"
        if self.used + count > self.limit:
            raise NoSpaceError(
                f"the node's memory is full: {self.used} of {self.limit} bytes are used, "
                f"{count} more are needed; delete files or add nodes"
            )
        self.used += count
        self.spend(spare)
        excess = self.used + self.spare - self.limit
        if excess > 0:
            self.give_back(excess)

    def release(self, count: int, *, keep: bool = False) -> None:
        """Give back ``count`` bytes; their memory is spare if it is kept."""
        assert 0 <= count <= self.used, f"{count} bytes released of {self.used}"
        self.used -= count
        if keep:
            self.spare += count

    def spend(self, count: int) -> None:
        """``count`` spare bytes are so no more: used again, or given back to the system."""
        assert 0 <= count <= self.spare, f"{count} spare bytes spent of {self.spare}"
        self.spare -= count
        self._untouched = min(self._untouched, self.spare)

    def surplus(self) -> int:
        """Spare bytes that were never needed since this was last asked."""
        surplus, self._untouched = self._untouched, self.spare
        return surplus
