"""One directory: an ordered map from names to slots, and the totals of its subtree.

Owns the order of names (by their bytes) and pages over it. Knows nothing of inodes: a slot is a
number to it, and whose it is it hears. Names lie in leaves, each with the names in one range of the
order. So a lookup touches little memory whatever the size of the directory, nothing is
ever rebuilt as a whole, and a page sorts the few leaves that it shows.

Invariant: the names of a leaf are less than those of the next, none is empty unless it is the only
one, and ``_firsts[i]`` separates leaf ``i`` from the one before: greater than all names there, than
none here. The order inside a leaf is that of insertion.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

from memfs.node.namespace.tables.leaf import LEAF, Leaf

_MERGE: Final = LEAF // 8  # a leaf that shrinks to this joins its neighbour

Frozen = tuple[tuple[int, ...], Sequence[Leaf]]
"""Totals and leaves of a directory as they were."""


class Entries:
    """Names and slots in order, and the content summary of everything below, to look at."""

    __slots__ = (
        "_firsts",
        "_leaves",
        "_lent",
        "closed",
        "count",
        "directories",
        "files",
        "foreign",
        "length",
        "links",
        "mixed",
        "open_kin",
        "open_others",
        "space",
    )

    def __init__(self) -> None:
        self._leaves: list[Leaf] = [Leaf()]
        self._firsts: list[bytes] = [b""]
        self._lent: dict[int, Leaf] | None = None
        """Leaves by their ``id`` that a snapshot looks at as well: they are copied before they
        change. None as long as there has been one leaf only."""
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
        self.links = 0
        """Names in the subtree of files that are counted already: hard links but for the home."""
        self.mixed = 0
        """Directories below that are another user's than the one above, or deny theirs a right."""
        self.closed = 0
        """Directories below that not everybody may read and search."""
        self.foreign: dict[str, int] | None = None
        """Entries that are not of the directory's own user, by user; None: there are none."""
        self.open_kin = 0
        """Directories among the entries that are the same user's and deny that user nothing."""
        self.open_others: dict[str, int] | None = None
        """Those of other users that deny theirs nothing, by user: what becomes ``open_kin`` when
        the directory is given to one of them. None: there are none."""

    def get(self, name: bytes) -> int:
        """The slot of ``name``, 0 when there is none."""
        leaves = self._leaves
        leaf = leaves[0 if len(leaves) == 1 else bisect_right(self._firsts, name) - 1]
        return leaf.slots[leaf.places.get(name, 0)]

    @property
    def finder(self) -> Callable[[bytes], int]:
        """:meth:`get` for many names, good until the directory changes."""
        if len(self._leaves) > 1:
            return self.get
        place, slots = self._leaves[0].places.get, self._leaves[0].slots
        return lambda name: slots[place(name, 0)]

    def after(self, name: bytes) -> Iterator[tuple[bytes, int]]:
        """Names greater than ``name`` with their slots, in order; ``b""``: all."""
        first = self._leaf_of(name)
        yield from sorted(item for item in self._leaves[first].items() if item[0] > name)
        for leaf in self._leaves[first + 1 :]:
            yield from sorted(leaf.items())

    def remaining(self, name: bytes) -> int:
        """How many names are greater than ``name``: a step per leaf, not per name."""
        at = self._leaf_of(name)
        later = sum([len(leaf.places) for leaf in self._leaves[at + 1 :]])
        return later + sum(each > name for each in self._leaves[at])

    # --- whose the entries are ----------------------------------------------------------------

    def count_foreign(self, user: str, entries: int) -> None:
        """There are so many more entries of ``user``, who is not the directory's own."""
        self.foreign = _counted(self.foreign, user, entries)

    def foreign_to(self, user: str) -> int:
        """Entries of ``user``, who is not the directory's own."""
        return self.foreign.get(user, 0) if self.foreign else 0

    def count_open(self, user: str, entries: int, *, kin: bool) -> None:
        """There are so many more directories of ``user`` among the entries that deny that user
        nothing; ``kin``: who is the directory's own."""
        if kin:
            self.open_kin += entries
        else:
            self.open_others = _counted(self.open_others, user, entries)

    def change_user(self, old: str, new: str) -> int:
        """The directory is another user's; its entries are not. Returns by how much ``mixed``
        grows."""
        foreign = self.foreign or {}
        kin = self.count - sum(foreign.values())
        foreign.pop(new, None)
        if kin:
            foreign[old] = kin
        self.foreign = foreign or None
        others, kin = self.open_others or {}, self.open_kin
        self.open_kin = others.pop(new, 0)
        if kin:
            others[old] = kin
        self.open_others = others or None
        return kin - self.open_kin

    @property
    def names(self) -> int:
        """All names of the subtree, this directory's own included."""
        return self.files + self.directories + self.links

    @property
    def totals(self) -> tuple[int, int, int, int, int]:
        """length, files, directories, space and links of the subtree."""
        return self.length, self.files, self.directories, self.space, self.links

    def items(self) -> Iterator[tuple[bytes, int]]:
        """All names with their slots, in no order that means something."""
        return chain.from_iterable([leaf.items() for leaf in self._leaves])

    def name_of(self, slot: int) -> bytes | None:
        """Some name of ``slot``; looks at all names."""
        found = (leaf.name_of(slot) for leaf in self._leaves)
        return next((name for name in found if name is not None), None)

    def names_beside(self, slot: int) -> dict[int, bytes]:
        """The names of ``slot`` and of its neighbours, by their slots; empty: it is not here."""
        for leaf in self._leaves:
            if slot in leaf.slots:
                found = {held: name for name, held in leaf.items()}
                if slot in found:
                    return found
        return {}

    def leaves(self) -> Iterator[Leaf]:
        """The leaves in order, as they are."""
        return iter(self._leaves)

    def check_invariants(self) -> None:
        """Assert the module's invariant."""
        assert self.count == sum(map(len, self._leaves)), "entries are miscounted"
        assert len(self._leaves) == len(self._firsts) and self._firsts[0] == b""
        assert len(self._leaves) == 1 or all(self._leaves), "an empty leaf"
        for leaf in self._leaves:
            leaf.check_invariants()
        for at in range(1, len(self._leaves)):
            before, here = self._leaves[at - 1], self._leaves[at]
            assert max(before) < self._firsts[at] <= min(here), "a name lies in a wrong leaf"

    def _leaf_of(self, name: bytes) -> int:
        return bisect_right(self._firsts, name) - 1 if len(self._firsts) > 1 else 0


def _counted(counts: dict[str, int] | None, user: str, more: int) -> dict[str, int] | None:
    """``counts`` with so many more of ``user``; None stands for no counts at all."""
    counts = counts or {}
    left = counts.get(user, 0) + more
    if left:
        counts[user] = left
    else:
        counts.pop(user, None)
    return counts or None


class Directory(Entries):
    """The same, to change: see ``tree.Tree.changing``."""

    __slots__ = ()

    def insert(self, name: bytes, slot: int) -> None:
        """Add a name that is not there."""
        at = self._leaf_of(name)
        leaf = self._own(at)
        assert name not in leaf.places, "the name is taken"
        if len(leaf.places) == LEAF:
            leaf = self._split(at, name)
        leaf.add(name, slot)
        self.count += 1

    def replace(self, name: bytes, slot: int) -> None:
        """Let an existing name mean another slot."""
        leaf = self._own(self._leaf_of(name))
        assert name in leaf.places, "no such name"
        leaf.replace(name, slot)

    def remove(self, name: bytes) -> int:
        """Take an existing name out; returns its slot."""
        at = self._leaf_of(name)
        slot = self._own(at).pop(name)
        self.count -= 1
        self._shrink(at)
        return slot

    def pop(self) -> tuple[bytes, int]:
        """Take some name out; returns it with its slot. The directory is not empty."""
        name, slot = self._own(len(self._leaves) - 1).popitem()
        self.count -= 1
        self._shrink(len(self._leaves) - 1)
        return name, slot

    def freeze(self) -> Frozen:
        """The directory as it is now, whatever changes later."""
        leaves = self._leaves[:]
        if len(leaves) == 1:
            return self.totals, (leaves[0].copy(),)
        assert self._lent is not None, "leaves were added without it"
        self._lent.update(zip(map(id, leaves), leaves, strict=True))  # others' marks stay
        return self.totals, leaves

    def append_leaf(self, leaf: Leaf) -> None:
        """Add a leaf behind all others: for restoring a snapshot."""
        if self.count:
            if self._lent is None:
                self._lent = {}
            self._leaves.append(leaf)
            self._firsts.append(min(leaf))
        else:
            self._leaves = [leaf]
        self.count += len(leaf)

    def _own(self, at: int) -> Leaf:
        """A leaf that is about to change."""
        leaf = self._leaves[at]
        if self._lent and self._lent.pop(id(leaf), None) is not None:
            leaf = self._leaves[at] = leaf.copy()
        return leaf

    def _shrink(self, at: int) -> None:
        """Keep the invariant after a name of leaf ``at`` has gone; join small leaves."""
        size = len(self._leaves[at].places)
        if size > _MERGE or len(self._leaves) == 1:
            return
        if at and len(self._leaves[at - 1]) + size <= LEAF // 2:
            before = self._own(at - 1)
            for name, slot in self._leaves[at].items():
                before.add(name, slot)
        elif size:
            return
        del self._leaves[at], self._firsts[at]
        self._firsts[0] = b""

    def _split(self, at: int, name: bytes) -> Leaf:
        """Halve a full leaf; returns the half where ``name`` belongs.

        The last leaf stays full when it grows at its end: names often come in order.
        """
        leaf = self._leaves[at]
        if self._lent is None:
            self._lent = {}
        if at == len(self._leaves) - 1 and name > max(leaf):
            self._leaves.append(Leaf())
            self._firsts.append(name)
            return self._leaves[-1]
        items = sorted(leaf.items())
        middle = items[LEAF // 2][0]
        self._leaves[at : at + 1] = [
            Leaf(*zip(*half, strict=True)) for half in (items[: LEAF // 2], items[LEAF // 2 :])
        ]
        self._firsts.insert(at + 1, middle)
        return self._leaves[at if name < middle else at + 1]
