"""How much of a directory to fetch when a program looks up one name after the other. Pure.

A program that asks for names one at a time (a loader with a list of files, ``make``, ``git``) pays
a round trip for each. After a second miss in a directory a page of it is fetched with all
attributes: a small directory is then cached whole; of a large one the next names in order are, more
and more as long as they are used. Must not know what is cached or how it is fetched.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memfs import limits

DIRECTORIES: Final = 1_000
"""Directories for which the pattern of lookups is remembered."""
FIRST_ENTRIES: Final = 256
LEAST_ENTRIES: Final = 32
SCARCE: Final = 0.5
"""Share of a page that must be used; below it the next page is smaller."""
RETRY_MISSES: Final = 100
"""Misses until a page is tried again in a directory where pages were not used."""


class Window(NamedTuple):
    """A part of a directory to fetch."""

    after: bytes
    """Entries after this name; empty: from the first one."""
    entries: int


class _Habit:
    """The pattern of lookups in one directory."""

    __slots__ = ("entries", "hits", "misses", "small")

    def __init__(self) -> None:
        self.misses = 0
        self.hits = 0
        """Since the last page was fetched."""
        self.entries = LEAST_ENTRIES
        """Entries of the next page."""
        self.small = False
        """The first page held the whole directory."""


class Lookahead:
    """The lookups of one mount."""

    def __init__(self) -> None:
        self._habits: dict[int, _Habit] = {}

    def hit(self, parent: int) -> None:
        """A name was found in the cache."""
        habit = self._habits.get(parent)
        if habit is not None:
            habit.hits += 1

    def miss(self, parent: int, name: bytes) -> Window | None:
        """A name was not cached: returns the page to fetch; None: only the name."""
        habit = self._habits.get(parent)
        if habit is None:
            if len(self._habits) >= DIRECTORIES:
                del self._habits[next(iter(self._habits))]
            self._habits[parent] = _Habit()
            return None
        habit.misses += 1
        hits, habit.hits = habit.hits, 0
        if habit.misses == 1 or habit.small:
            return Window(b"", FIRST_ENTRIES)
        if habit.misses > 2:
            if hits >= SCARCE * habit.entries:
                habit.entries = min(4 * habit.entries, limits.ENTRIES_PER_PAGE)
            elif habit.entries >= LEAST_ENTRIES:
                habit.entries //= 2
            elif habit.misses % RETRY_MISSES == 0:
                habit.entries = LEAST_ENTRIES
        if habit.entries < LEAST_ENTRIES:
            return None
        return Window(just_before(name), habit.entries)

    def whole(self, parent: int, *, small: bool) -> None:
        """Whether the first page of a directory was all of it."""
        habit = self._habits.get(parent)
        if habit is not None:
            habit.small = small


def just_before(name: bytes) -> bytes:
    """A key that sorts after all names before this one: UTF-8 never has the byte 255."""
    return name[:-1] + bytes((name[-1] - 1, 0xFF))
