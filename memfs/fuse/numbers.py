"""Users and groups: numbers in the kernel, names in the cluster.

A user without a name has their number as a name. Owns the two-way mapping, which follows the host's
user database with a delay of a minute. Invariant: a number that came from here goes back to the
same name, unless the name is not of this host: then it is :data:`NOBODY`'s.
"""

from __future__ import annotations

import grp
import pwd
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from memfs.client.stat import NOBODY

FRESH_SECONDS: Final = 60.0
ENTRIES: Final = 65_536


K = TypeVar("K")
V = TypeVar("V")


class LookupCache(Generic[K, V]):
    """One direction: what was looked up, for a while."""

    def __init__(self, look_up: Callable[[K], V]) -> None:
        self._known: dict[K, V] = {}
        self._look_up = look_up
        self._until = 0.0

    def __call__(self, key: K) -> V:
        found = self._known.get(key)
        if found is None or time.monotonic() > self._until:
            found = self._again(key)
        return found

    def _again(self, key: K) -> V:
        now = time.monotonic()
        if now > self._until or len(self._known) >= ENTRIES:
            self._known.clear()
            self._until = now + FRESH_SECONDS
        found = self._known[key] = self._look_up(key)
        return found


class Numbers:
    """The host's users and groups."""

    def __init__(self) -> None:
        self.user = LookupCache(_user)
        """Name of a uid."""
        self.group = LookupCache(_group)
        """Name of a gid."""
        self.uid = LookupCache(_uid)
        self.gid = LookupCache(_gid)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return _written(name)


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return _written(name)


def _written(name: str) -> int:
    """The number that a name spells, else NOBODY."""
    if name.isascii() and name.isdigit() and int(name) < 1 << 32:
        return int(name)
    return NOBODY
