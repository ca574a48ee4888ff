"""The names of one range of a directory, and whose slot each is, with no object for a slot.

In a dictionary from names to slots each slot is an object of 32 bytes. Here the dictionary has the
place in an array at which the slot stands, 4 bytes; the places are integers that all leaves share.

Owns the places. Invariant: place 0 is no name's and holds 0. Places of names that have gone form a
chain from ``_vacant``: each holds the next one, the last one 0.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

LEAF: Final = 682  # what a dictionary of 1024 places holds: 31 bytes an entry, 20 us to split
_PLACES: Final = tuple(range(LEAF + 1))


class Leaf:
    """Up to LEAF names with their slots, in the order of their arrival."""

    __slots__ = ("_vacant", "places", "slots")

    def __init__(self, names: Iterable[bytes] = (), slots: Iterable[int] = ()) -> None:
        """As many of both; raises ValueError otherwise, or if they are too many."""
        self.slots = array("I", (0, *slots))
        """By place; a name's is ``slots[places.get(name, 0)]``, 0 when it is not there."""
        count = len(self.slots)
        if count > LEAF + 1:
            raise ValueError(f"a leaf of {count - 1} names")
        self.places = dict(zip(names, _PLACES[1:count], strict=True))
        self._vacant = 0

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.places)

    def values(self) -> Iterator[int]:
        """The slots, in the order of their names' arrival."""
        return map(self.slots.__getitem__, self.places.values())

    def items(self) -> Iterator[tuple[bytes, int]]:
        """Names with their slots, in the order of arrival."""
        return zip(self.places, self.values(), strict=True)

    def copy(self) -> Leaf:
        """Another one with the same names."""
        copied = Leaf()
        copied.places, copied.slots = self.places.copy(), self.slots[:]
        copied._vacant = self._vacant
        return copied

    def name_of(self, slot: int) -> bytes | None:
        """Some name of ``slot``; looks at all names."""
        if slot not in self.slots:
            return None
        return next((name for name, held in self.items() if held == slot), None)

    def add(self, name: bytes, slot: int) -> None:
        """Add a name that is not there; there is room for it."""
        place, slots = self._vacant, self.slots
        if place:
            self._vacant = slots[place]
            slots[place] = slot
        else:
            place = len(slots)
            slots.append(slot)
        self.places[name] = _PLACES[place]

    def replace(self, name: bytes, slot: int) -> None:
        """Let a name that is there mean another slot."""
        self.slots[self.places[name]] = slot

    def pop(self, name: bytes) -> int:
        """Take a name out that is there; returns its slot."""
        place = self.places.pop(name)
        if self.places:
            slot, self.slots[place] = self.slots[place], self._vacant
            self._vacant = place
            return slot
        return self._empty(place)

    def popitem(self) -> tuple[bytes, int]:
        """Take the name out that came last; returns it with its slot."""
        name = next(reversed(self.places))
        return name, self.pop(name)

    def check_invariants(self) -> None:
        """Assert the module's invariant."""
        vacant, place = [], self._vacant
        while place:
            vacant.append(place)
            place = self.slots[place]
        assert not self.slots[0], "place 0 is a name's"
        assert sorted((*vacant, *self.places.values())) == list(range(1, len(self.slots)))
        assert len(self.slots) <= LEAF + 1, "too many names"

    def _empty(self, place: int) -> int:
        """The name of ``place`` was the last one: an emptied dictionary would keep its size."""
        slot = self.slots[place]
        self.places, self.slots, self._vacant = {}, array("I", (0,)), 0
        return slot
