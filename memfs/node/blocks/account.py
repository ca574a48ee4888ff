"""The byte budget of a block store.

Owns two numbers, and their invariant (MemoryBound): ``used`` never exceeds ``limit``, because room
is reserved before memory is touched. What a charge stands for is the business of its holders.
"""

from __future__ import annotations

from memfs.errors import NoSpaceError


class Account:
    """Bytes used of a hard limit."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        """``limit`` in bytes, positive."""
        assert limit > 0, f"a limit of {limit} bytes"
        self.limit = limit
        self.used = 0

    def fits(self, count: int) -> bool:
        """Whether ``count`` more bytes can be reserved now."""
        return self.used + count <= self.limit

    def reserve(self, count: int) -> None:
        """Charge ``count`` bytes. Raises NoSpaceError, and then charges nothing."""
        assert count >= 0, f"a reservation of {count} bytes"
        if self.used + count > self.limit:
            raise NoSpaceError(
                f"the node's memory is full: {self.used} of {self.limit} bytes are used, "
                f"{count} more are needed; delete files or add nodes"
            )
        self.used += count

    def release(self, count: int) -> None:
        """Give back ``count`` bytes."""
        assert 0 <= count <= self.used, f"{count} bytes released of {self.used}"
        self.used -= count
