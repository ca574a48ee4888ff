"""Values that many inodes share, stored once under a small number.

Owns these containers; but for :class:`Owners` they know nothing of what they hold.
:class:`Interned` counts its users and forgets a value with the last one, so neither owners nor
replica sets of the past pile up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from memfs.node.namespace.containers.images import TableImage, TableImages

F = TypeVar("F")
H = TypeVar("H", bound=Hashable)
T = TypeVar("T")


class Interned(Generic[H]):
    """Equal values under one number; number 0 is ``nothing`` and is not counted."""

    __slots__ = ("counts", "free", "numbers", "values")

    def __init__(self, nothing: H) -> None:
        self.values: list[H] = [nothing]
        self.counts: list[int] = [0]
        self.free: list[int] = []
        self.numbers: dict[H, int] = {nothing: 0}

    def acquire(self, value: H) -> int:
        """The value's number, counted once more."""
        number = self.numbers.get(value)
        if number is None:
            return self._add(value)
        self.counts[number] += 1
        return number

    def retain(self, number: int) -> int:
        """Count the value of ``number`` once more; returns ``number``."""
        self.counts[number] += 1
        return number

    def release(self, number: int) -> None:
        """Count it once less; the last user's value is forgotten."""
        self.counts[number] -= 1
        if number and not self.counts[number]:
            self._forget(number)

    def restore(self, value: H, count: int) -> None:
        """Take the next number of a snapshot: a value and its users, or none to be reused."""
        number = len(self.values)
        self.values.append(value)
        self.counts.append(count)
        if count:
            self.numbers[value] = number
        else:
            self.free.append(number)

    def _forget(self, number: int) -> None:
        del self.numbers[self.values[number]]
        self.values[number] = self.values[0]
        self.free.append(number)

    def _add(self, value: H) -> int:
        if self.free:
            number = self.free.pop()
            self.values[number] = value
            self.counts[number] = 1
        else:
            number = len(self.values)
            self.values.append(value)
            self.counts.append(1)
        self.numbers[value] = number
        return number


class Owners(Interned[tuple[str, str]]):
    """(user, group) pairs, and how many inodes each user has.

    An inode more or less costs nothing beside its count: a user's are added up when asked for.
    """

    __slots__ = ("_of_user",)

    def __init__(self) -> None:
        super().__init__(("", ""))
        self._of_user: dict[str, dict[int, None]] = {}
        """Numbers of the pairs of each user."""

    def inodes_of(self, user: str) -> int:
        """How many inodes a user has."""
        return sum(self.counts[number] for number in self._of_user.get(user, ()))

    def by_user(self) -> dict[str, int]:
        """Inodes of all users that have some."""
        return {user: self.inodes_of(user) for user in self._of_user}

    def restore(self, value: tuple[str, str], count: int) -> None:
        """See :class:`Interned`."""
        if count:
            self._of_user.setdefault(value[0], {})[len(self.values)] = None
        super().restore(value, count)

    def _add(self, value: tuple[str, str]) -> int:
        number = super()._add(value)
        self._of_user.setdefault(value[0], {})[number] = None
        return number

    def _forget(self, number: int) -> None:
        user = self.values[number][0]
        del self._of_user[user][number]
        if not self._of_user[user]:
            del self._of_user[user]
        super()._forget(number)


class Arena(Generic[T, F]):
    """Objects of few inodes under numbers from 1: a list grows without the stalls of a dict.

    Images of it hold what :meth:`__init__`'s ``freeze`` makes of each. Whoever changes an object
    gets it from :meth:`changing`.
    """

    __slots__ = ("_freeze", "free", "images", "items")

    def __init__(self, nothing: T, freeze: Callable[[T], F]) -> None:
        self._freeze = freeze
        self.images: TableImages[F] = TableImages()
        self.items: list[T] = [nothing]
        self.free: list[int] = []

    def changing(self, number: int) -> T:
        """The item of ``number``, which is about to change, or to go."""
        if self.images:
            self.images.keep(number)
        return self.items[number]

    def add(self, item: T) -> int:
        """Keep ``item``; returns its number."""
        if self.free:
            number = self.free.pop()
            self.changing(number)
            self.items[number] = item
            return number
        self.items.append(item)
        return len(self.items) - 1

    def restore(self, item: T, vacant: bool) -> None:
        """Take the next number of a snapshot: an item, or a number to be reused."""
        if vacant:
            self.free.append(len(self.items))
        self.items.append(self.items[0] if vacant else item)

    def remove(self, number: int) -> T:
        """Forget and return the item of ``number``."""
        assert number, "number 0 is nothing"
        item = self.changing(number)
        self.items[number] = self.items[0]
        self.free.append(number)
        return item

    def image(self) -> TableImage[F]:
        """The items as they are now, in the order of their numbers, that of 0 first."""
        items, freeze = self.items, self._freeze
        return self.images.begin(len(items), lambda number: freeze(items[number]))
