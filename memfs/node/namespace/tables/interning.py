"""Values that many inodes share, stored once under a small number.

Owns these containers; but for :class:`Owners` they know nothing of what they hold.
:class:`Interned` counts its users and forgets a value with the last one, so neither owners nor
replica sets of the past pile up.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

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
            value = self.values[number]
            del self.numbers[value]
            self.values[number] = self.values[0]
            self.free.append(number)

    def restore(self, value: H, count: int) -> None:
        """Take the next number of a snapshot: a value and its users, or none to be reused."""
        number = len(self.values)
        self.values.append(value)
        self.counts.append(count)
        if count:
            self.numbers[value] = number
        else:
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
    """(user, group) pairs, and how many inodes each user has."""

    __slots__ = ("of_user",)

    def __init__(self) -> None:
        super().__init__(("", ""))
        self.of_user: dict[str, int] = {}

    def acquire(self, value: tuple[str, str]) -> int:
        """See :class:`Interned`."""
        user = value[0]
        self.of_user[user] = self.of_user.get(user, 0) + 1
        return super().acquire(value)

    def retain(self, number: int) -> int:
        """See :class:`Interned`."""
        self.of_user[self.values[number][0]] += 1
        return super().retain(number)

    def release(self, number: int) -> None:
        """See :class:`Interned`."""
        user = self.values[number][0]
        left = self.of_user[user] = self.of_user[user] - 1
        if not left:
            del self.of_user[user]
        super().release(number)

    def restore(self, value: tuple[str, str], count: int) -> None:
        """See :class:`Interned`."""
        if count:
            self.of_user[value[0]] = self.of_user.get(value[0], 0) + count
        super().restore(value, count)


class Arena(Generic[T]):
    """Objects of few inodes under numbers from 1: a list grows without the stalls of a dict."""

    __slots__ = ("free", "items")

    def __init__(self, nothing: T) -> None:
        self.items: list[T] = [nothing]
        self.free: list[int] = []

    def add(self, item: T) -> int:
        """Keep ``item``; returns its number."""
        if self.free:
            number = self.free.pop()
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
        item, self.items[number] = self.items[number], self.items[0]
        self.free.append(number)
        return item
