"""One directory: an ordered map from names to slots, and the totals of its subtree.

Owns the order of names (by their bytes) and pages over it. Knows nothing of inodes: a slot is a
number to it. Names lie in sorted leaves of at most ``LEAF`` entries, so that a step costs
microseconds in a directory of millions and nothing is ever rebuilt as a whole.

Invariant: leaves are in order, none is empty unless it is the only one, and ``_firsts[i]``
separates leaf ``i`` from the one before: greater than all names there, than none here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

LEAF: Final = 512
_MERGE: Final = LEAF // 8  # a leaf that shrinks to this joins its neighbour


class Directory:
    """Names and slots in order, and the content summary of everything below."""

    __slots__ = ("_firsts", "_names", "_slots", "count", "directories", "files", "length", "space")

    def __init__(self) -> None:
        self._names: list[list[bytes]] = [[]]
        self._slots: list[array[int]] = [array("I")]
        self._firsts: list[bytes] = [b""]
        self.count = 0
        """Entries."""
        self.length = 0
        """Bytes of the files whose home lies in the subtree."""
        self.files = 0
        """Such files and symlinks."""
        self.directories = 1
        """Directories of the subtree, this one included."""
        self.space = 0
        """Bytes times wanted replicas."""

    def get(self, name: bytes) -> int:
        """The slot of ``name``, 0 when there is none."""
        leaf = bisect_right(self._firsts, name) - 1 if len(self._firsts) > 1 else 0
        names = self._names[leaf]
        at = bisect_left(names, name)
        if at < len(names) and names[at] == name:
            return self._slots[leaf][at]
        return 0

    def insert(self, name: bytes, slot: int) -> None:
        """Add a name that is not there."""
        leaf = bisect_right(self._firsts, name) - 1 if len(self._firsts) > 1 else 0
        names = self._names[leaf]
        at = bisect_left(names, name)
        assert at == len(names) or names[at] != name, "the name is taken"
        if len(names) == LEAF:
            leaf, at = self._split(leaf, at)
            names = self._names[leaf]
        names.insert(at, name)
        self._slots[leaf].insert(at, slot)
        self.count += 1

    def replace(self, name: bytes, slot: int) -> None:
        """Let an existing name mean another slot."""
        leaf, at = self._find(name)
        self._slots[leaf][at] = slot

    def remove(self, name: bytes) -> None:
        """Take an existing name out."""
        leaf, at = self._find(name)
        self._delete(leaf, at)

    def pop(self) -> tuple[bytes, int]:
        """Take the last name out; returns it with its slot. The directory is not empty."""
        leaf = len(self._names) - 1
        name, slot = self._names[leaf][-1], self._slots[leaf][-1]
        self._delete(leaf, len(self._names[leaf]) - 1)
        return name, slot

    def after(self, name: bytes) -> Iterator[tuple[bytes, int]]:
        """Names greater than ``name`` with their slots, in order; ``b""``: all."""
        leaf = self._leaf_of(name)
        at = bisect_right(self._names[leaf], name)
        for number in range(leaf, len(self._names)):
            names, slots = self._names[number], self._slots[number]
            for position in range(at, len(names)):
                yield names[position], slots[position]
            at = 0

    def rank(self, name: bytes) -> int:
        """How many names are not greater than ``name``: one step per leaf, not per name."""
        leaf = self._leaf_of(name)
        return sum(map(len, self._names[:leaf])) + bisect_right(self._names[leaf], name)

    @property
    def totals(self) -> tuple[int, int, int, int]:
        """length, files, directories and space of the subtree."""
        return self.length, self.files, self.directories, self.space

    def leaves(self) -> Iterator[tuple[list[bytes], array[int]]]:
        """The leaves in order, as they are: for snapshots."""
        return zip(self._names, self._slots, strict=True)

    def append_leaf(self, names: list[bytes], slots: array[int]) -> None:
        """Add a leaf behind all others: for restoring a snapshot."""
        assert names and len(names) == len(slots)
        if self.count:
            self._names.append(names)
            self._slots.append(slots)
            self._firsts.append(names[0])
        else:
            self._names, self._slots = [names], [slots]
        self.count += len(names)

    def check_invariants(self) -> None:
        """Assert the module's invariant."""
        names = [name for leaf in self._names for name in leaf]
        assert names == sorted(set(names)), "names are out of order"
        assert self.count == len(names) == sum(map(len, self._slots)), "entries are miscounted"
        assert len(self._names) == len(self._slots) == len(self._firsts)
        assert len(self._names) == 1 or all(self._names), "an empty leaf"
        assert self._firsts[0] == b""
        for before, leaf, first in zip(
            self._names, self._names[1:], self._firsts[1:], strict=False
        ):
            assert before[-1] < first <= leaf[0], "a leaf begins elsewhere than said"

    def _leaf_of(self, name: bytes) -> int:
        return bisect_right(self._firsts, name) - 1

    def _find(self, name: bytes) -> tuple[int, int]:
        leaf = self._leaf_of(name)
        at = bisect_left(self._names[leaf], name)
        assert self._names[leaf][at] == name, "no such name"
        return leaf, at

    def _delete(self, leaf: int, at: int) -> None:
        del self._names[leaf][at]
        del self._slots[leaf][at]
        self.count -= 1
        size = len(self._names[leaf])
        if not leaf:
            if not size and len(self._names) > 1:
                del self._names[0], self._slots[0], self._firsts[0]
                self._firsts[0] = b""
        elif size < _MERGE and len(self._names[leaf - 1]) + size <= LEAF // 2:
            self._names[leaf - 1] += self._names.pop(leaf)
            self._slots[leaf - 1] += self._slots.pop(leaf)
            del self._firsts[leaf]
        elif not size:
            del self._names[leaf], self._slots[leaf], self._firsts[leaf]

    def _split(self, leaf: int, at: int) -> tuple[int, int]:
        """Halve a full leaf; returns where an entry meant for ``(leaf, at)`` belongs now.

        The last leaf stays full when it grows at its end: names often come in order.
        """
        names, slots = self._names[leaf], self._slots[leaf]
        grows_at_end = at == LEAF and leaf == len(self._names) - 1
        cut = LEAF - 1 if grows_at_end else LEAF // 2
        self._names[leaf : leaf + 1] = [names[:cut], names[cut:]]
        self._slots[leaf : leaf + 1] = [slots[:cut], slots[cut:]]
        self._firsts.insert(leaf + 1, names[cut])
        return (leaf + 1, at - cut) if at > cut else (leaf, at)
