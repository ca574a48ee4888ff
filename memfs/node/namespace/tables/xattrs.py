"""Extended attributes by slot, of the few inodes that have some, and what they take of memory.

Invariant: ``bytes`` is the sum of :func:`cost` over all attributes; no slot is listed without any.
"""

from __future__ import annotations

from collections.abc import ItemsView, Mapping
from typing import Final

from memfs import limits

_NONE: Final[Mapping[str, bytes]] = {}


def name_cost(name: str) -> int:
    """What a name counts against ``limits.XATTR_NAMES_BYTES``."""
    return limits.XATTR_OVERHEAD_BYTES + len(name.encode())


def cost(name: str, value: bytes) -> int:
    """What an attribute counts against the bounds of its inode and of the cluster."""
    return name_cost(name) + len(value)


class Xattrs:
    """Names and values of every inode that has some."""

    __slots__ = ("_rows", "bytes")

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, bytes]] = {}
        self.bytes = 0
        """All of them together, as :func:`cost` counts."""

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, slot: int) -> Mapping[str, bytes]:
        """Those of an inode. Not to be kept over a change."""
        return self._rows.get(slot, _NONE)

    def items(self) -> ItemsView[int, dict[str, bytes]]:
        """Slots and what they have."""
        return self._rows.items()

    def set(self, slot: int, name: str, value: bytes) -> None:
        """Set one, in place of one of that name."""
        row = self._rows.setdefault(slot, {})
        if name in row:
            self.bytes -= cost(name, row[name])
        row[name] = value
        self.bytes += cost(name, value)

    def remove(self, slot: int, name: str) -> None:
        """Remove one that is there."""
        row = self._rows[slot]
        self.bytes -= cost(name, row.pop(name))
        if not row:
            del self._rows[slot]

    def copy(self, source: int, target: int) -> None:
        """Give ``target``, which has none, what ``source`` has."""
        for name, value in self.of(source).items():
            self.set(target, name, value)

    def forget(self, slot: int) -> None:
        """Remove all of an inode."""
        if slot in self._rows:
            self.bytes -= sum(cost(*item) for item in self._rows.pop(slot).items())

    def check_invariants(self) -> None:
        """Assert the module's invariant."""
        assert all(self._rows.values())
        assert self.bytes == sum(cost(*item) for row in self._rows.values() for item in row.items())
