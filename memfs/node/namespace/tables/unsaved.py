"""What external stores lack, and how much that is: changed files and directories, and deletions.

Owns both tables, their totals by mount, and the order of deletions. What is looked at does not grow
with the changes: neither a total, nor a change, nor the beginning of an image for snapshots.

Invariants: totals are the sums over both tables; a directory counts the deletions right below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping
from typing import Final, NamedTuple, TypeAlias

from memfs.node.namespace.containers.images import TableImage
from memfs.node.namespace.containers.slot_map import SlotMap
from memfs.types import ObjectState

_SECOND: Final = 1_000_000_000

Key: TypeAlias = tuple[int, bytes]
"""Number of a mount, and a path below it."""


class Change(NamedTuple):
    """What the store lacks of a file or directory."""

    version: int
    """Log index of the last change."""
    since_ns: int
    attempts: tuple[tuple[int, int], ...]
    """(size, CRC32C) of contents that may have reached the store unheard; the last is under way."""
    mount: int
    """Its number."""
    size: int
    """Of the file, in bytes; 0 of a directory."""

    @property
    def state(self) -> ObjectState:
        """DIRTY or PERSISTING."""
        return ObjectState.PERSISTING if self.attempts else ObjectState.DIRTY


class Tombstone(NamedTuple):
    """A deletion that the store may lack."""

    version: int
    since_ns: int
    tag: bytes | None
    """The version that was deleted; None: whichever."""
    directory: bool


class Unsaved(NamedTuple):
    """What the store of one mount lacks."""

    changes: int = 0
    """Files and directories changed or deleted."""
    size: int = 0
    """Bytes of the files among them."""
    since_ns: int = 0
    """Time of the oldest change, to a second; 0: there is none."""


NOTHING: Final = Unsaved()


class Totals:
    """Sums by the mount's number."""

    __slots__ = ("_by_mount",)

    def __init__(self) -> None:
        self._by_mount: dict[int, tuple[Counter[int], list[int]]] = {}
        """How many changes there are of each second; the bytes of all."""

    def of(self, mount: int) -> Unsaved:
        """What is lacking; a step for each second in which some of it was changed."""
        if mount not in self._by_mount:
            return NOTHING
        seconds, (size,) = self._by_mount[mount]
        return Unsaved(seconds.total(), size, max(1, min(seconds) * _SECOND))

    def count(self, mount: int, size: int, since_ns: int, sign: int) -> None:
        """Add a change (``sign`` 1) or take it away (-1)."""
        seconds, total = self._by_mount.setdefault(mount, (Counter(), [0]))
        second = since_ns // _SECOND
        seconds[second] += sign
        total[0] += sign * size
        if not seconds[second]:
            del seconds[second]
            if not seconds:
                del self._by_mount[mount]


class UnsavedChanges(SlotMap[Change]):
    """UnsavedChanges by slot."""

    __slots__ = ("_totals",)

    def __init__(self, totals: Totals) -> None:
        super().__init__()
        self._totals = totals

    def __setitem__(self, slot: int, change: Change) -> None:
        self._count_former(slot)
        self._totals.count(change.mount, change.size, change.since_ns, 1)
        super().__setitem__(slot, change)

    def __delitem__(self, slot: int) -> None:
        self._count_former(slot)
        super().__delitem__(slot)

    def _count_former(self, slot: int) -> None:
        former = self.get(slot)
        if former is not None:
            self._totals.count(former.mount, former.size, former.since_ns, -1)


class Tombstones(MutableMapping[Key, Tombstone]):
    """Deletions by what was deleted, in their order."""

    __slots__ = ("_below", "_numbers", "_rows", "_totals")

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._numbers: dict[Key, int] = {}
        """The place of each in the order."""
        self._rows: SlotMap[tuple[Key, Tombstone]] = SlotMap()
        """By place."""
        self._below: Counter[Key] = Counter()
        """How many there are right below a directory."""

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._numbers)

    def __contains__(self, key: object) -> bool:
        return key in self._numbers

    def __getitem__(self, key: Key) -> Tombstone:
        return self._rows[self._numbers[key]][1]

    def __setitem__(self, key: Key, tombstone: Tombstone) -> None:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = next(reversed(self._numbers.values()), 0) + 1
            self._below[_above(key)] += 1
        else:
            self._totals.count(key[0], 0, self._rows[number][1].since_ns, -1)
        self._totals.count(key[0], 0, tombstone.since_ns, 1)
        self._rows[number] = (key, tombstone)

    def __delitem__(self, key: Key) -> None:
        number = self._numbers.pop(key)
        self._totals.count(key[0], 0, self._rows[number][1].since_ns, -1)
        del self._rows[number]
        above = _above(key)
        self._below[above] -= 1
        if not self._below[above]:
            del self._below[above]

    def has_below(self, key: Key) -> bool:
        """Was something right below a directory deleted that the store may have still?"""
        return key in self._below

    def in_order(self) -> Iterator[Key]:
        """The oldest first. Others may come and go meanwhile; they are seen or not."""
        for number in self._rows.from_slot():
            row = self._rows.get(number)
            if row is not None:
                yield row[0]

    def image(self) -> TableImage[dict[int, tuple[Key, Tombstone]]]:
        """The deletions as they are now, in parts, by their places."""
        return self._rows.image()


def _above(key: Key) -> Key:
    """The directory that a deleted name was in."""
    number, path = key
    return number, path.rpartition(b"/")[0]
