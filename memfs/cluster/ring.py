"""The consistent-hash ring: which members should hold the copies of a group of blocks.

Pure and immutable: a ring is made from the members of one view. It only chooses where new copies
go; where a copy is stands in the namespace. Members own points on a circle of 64-bit numbers, in
proportion to their weight, derived from their *name*: a restarted node gets the points it had. A
key's copies go to the first members clockwise of it that lie in different racks, then on different
hosts, then anywhere.

Invariants: the members of one placement are distinct, of weight above zero and not excluded;
when a member joins or leaves, only keys that it gains or held change their place.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final, NamedTuple

from memfs.types import Member

POINTS_PER_WEIGHT: Final = 256
"""Points of a member of weight 100: shares then differ by 1/sqrt(256) = 6 % (one sigma)."""
_CACHED_PLACES: Final = 65_536
_MASK: Final = (1 << 64) - 1
_EIGHT: Final = struct.Struct(">8Q")


class _Owner(NamedTuple):
    """A member as the ring sees it."""

    number: int
    rack: str
    host: tuple[str, str]


_DOMAINS: Final = (attrgetter("rack"), attrgetter("host"), attrgetter("number"))
"""What copies should differ in, the most wanted first."""


_Walk = tuple[int, int, frozenset[int], tuple[int, ...]]
"""Position on the circle, copies, members excluded, members that hold it."""


class Ring:
    """The ring of one view."""

    __slots__ = ("_cache", "_known", "_owners", "_points", "_takers", "epoch", "members", "takers")

    def __init__(self, members: Iterable[Member], epoch: int = 0) -> None:
        """``epoch`` is that of the view; members of weight 0 or leaving get nothing."""
        self.epoch = epoch
        self.members = tuple(members)
        self._known = {member.number: _owner(member) for member in self.members}
        owners = {_owner(member): member for member in self.members if accepts_copies(member)}
        self.takers = frozenset(owner.number for owner in owners)
        """Numbers of the members that get something."""
        placed = sorted(
            (point, owner) for owner, member in owners.items() for point in _points(member)
        )
        self._points = [point for point, _ in placed]
        self._owners = [owner for _, owner in placed]
        self._takers = tuple(owners)
        # A place depends on the position on the circle alone, and there are not many of those.
        self._cache: dict[_Walk, tuple[int, ...]] = {}

    def place(
        self, inode: int, group: int, copies: int, exclude: frozenset[int] = frozenset()
    ) -> tuple[int, ...]:
        """Numbers of the members for ``copies`` copies, the preferred first.

        ``exclude``: member numbers that must not be chosen. Fewer come back when there are not
        enough members.
        """
        return self._choose(inode, group, copies, exclude, ())

    def positions(self, keys: Iterable[tuple[int, int]]) -> list[int]:
        """Where groups lie, by inode and number: equal positions have equal places."""
        points = self._points
        return [bisect_left(points, key_hash(*key)) % (len(points) or 1) for key in keys]

    def extend(
        self,
        inode: int,
        group: int,
        held: tuple[int, ...],
        copies: int,
        exclude: frozenset[int] = frozenset(),
    ) -> tuple[int, ...]:
        """Members to add to those that hold a group already, until there are ``copies``.

        They lie in other domains than ``held`` where possible. What is left of a placement is
        extended to the placement.
        """
        return self._choose(inode, group, copies, exclude, held)

    def _choose(
        self, inode: int, group: int, copies: int, exclude: frozenset[int], held: tuple[int, ...]
    ) -> tuple[int, ...]:
        (position,) = self.positions(((inode, group),))
        key = (position, copies, exclude, held)
        numbers = self._cache.get(key)
        if numbers is None:
            if len(self._cache) >= _CACHED_PLACES:
                self._cache.clear()
            numbers = self._cache[key] = self._walk(*key)
        return numbers

    def _walk(
        self, position: int, copies: int, exclude: frozenset[int], held: tuple[int, ...]
    ) -> tuple[int, ...]:
        found = [self._known[number] for number in held if number in self._known]
        first = len(found)
        candidates = [owner for owner in self._takers if owner.number not in exclude]
        for domain in _DOMAINS:
            left = {domain(owner) for owner in candidates}.difference(map(domain, found))
            for owner in self._clockwise(position):
                if len(found) >= copies or not left:
                    break
                if owner.number not in exclude and domain(owner) in left:
                    left.remove(domain(owner))
                    found.append(owner)
        return tuple([owner.number for owner in found[first:]])

    def _clockwise(self, position: int) -> Iterator[_Owner]:
        """The owners of all points from ``position`` on, once around."""
        owners = self._owners
        for at in range(position - len(owners), position):  # negative ones count from the end
            yield owners[at]


def accepts_copies(member: Member) -> bool:
    """Does a member get new copies?"""
    return member.weight > 0 and not member.leaving


def key_hash(inode: int, group: int) -> int:
    """Where on the circle a group lies: splitmix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (inode * 0x9E3779B97F4A7C15 + group * 0xD1B54A32D192ED03) & _MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31


def _points(member: Member) -> Iterator[int]:
    count = max(1, round(POINTS_PER_WEIGHT * member.weight / 100))
    name = member.name.encode()
    for first in range(0, count, 8):
        digest = hashlib.blake2b(name, salt=first.to_bytes(16, "big")).digest()
        yield from _EIGHT.unpack(digest)[: count - first]


def _owner(member: Member) -> _Owner:
    rack, _, host = member.domain.partition("/")
    return _Owner(member.number, rack, (rack, host or member.host))
