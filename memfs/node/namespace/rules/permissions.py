"""Callers, and what mode bits let them do: the POSIX rules as pure functions.

Owns no state and knows no tree. Superuser is the configured user and every member of the
configured supergroup. A user without groups is the only member of a group of the same name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from memfs import limits
from memfs.errors import InvalidArgumentError
from memfs.types import Identity

READ: Final = 4
WRITE: Final = 2
EXECUTE: Final = 1
SEARCH: Final = EXECUTE
CHANGE: Final = WRITE | SEARCH
"""What adding and removing names of a directory needs."""

SET_UID: Final = 0o4000
SET_GID: Final = 0o2000
STICKY: Final = 0o1000
MODE_BITS: Final = 0o7777
EXECUTABLE: Final = 0o111
HAS_ACL: Final = 0o10000
"""Beside the mode bits of an inode that has an access control list, access or default."""

_CALLERS_CACHED: Final = 4096


class Caller:
    """An identity seen against the cluster's superuser and supergroup."""

    __slots__ = ("group", "groups", "opened", "parents_group", "superuser", "user")

    def __init__(self, identity: Identity, superuser: str, supergroup: str) -> None:
        groups = identity.groups or (identity.user,)
        self.user = identity.user
        self.groups = frozenset(groups)
        self.group = groups[0]
        """Group of what they create, unless the directory hands on its own."""
        self.parents_group = identity.parents_group
        """Whether every directory does."""
        self.superuser = identity.user == superuser or supergroup in self.groups
        self.opened: Callable[[int], bool] | None = None
        """Whether they have an inode open; asked for inodes that no path leads to any more."""

    def with_open_files(self, opened: Callable[[int], bool]) -> Caller:
        """The same caller, with what they have open."""
        same = Caller.__new__(Caller)
        same.user, same.groups, same.group = self.user, self.groups, self.group
        same.parents_group = self.parents_group
        same.superuser, same.opened = self.superuser, opened
        return same

    def has_open(self, inode: int) -> bool:
        """Do they have the inode open? False where that is not known."""
        return self.opened is not None and self.opened(inode)

    def may(self, mode: int, owner: str, group: str, wanted: int) -> bool:
        """Do the mode bits of something owned by ``owner``, ``group`` grant all of ``wanted``?"""
        if self.superuser:
            return True
        if owner == self.user:
            mode >>= 6
        elif group in self.groups:
            mode >>= 3
        return mode & wanted == wanted

    def owns(self, owner: str) -> bool:
        """May they do what only the owner may?"""
        return self.superuser or owner == self.user


@functools.lru_cache(_CALLERS_CACHED)
def caller_of(identity: Identity, superuser: str, supergroup: str) -> Caller:
    """The caller behind an identity. Raises InvalidArgumentError for overlong names."""
    for name in (identity.user, *identity.groups):
        if len(name.encode()) > limits.OWNER_BYTES:
            raise InvalidArgumentError(f"a user or group has {limits.OWNER_BYTES} bytes at most")
    return Caller(identity, superuser, supergroup)


def mode_after_write(mode: int, caller: Caller) -> int:
    """Mode of a file whose content was changed: as Linux, set-id bits survive the superuser only.

    POSIX (write, truncate) lets the bits be cleared; group execution tells set-gid from locking.
    """
    if caller.superuser or not mode & (SET_UID | SET_GID):
        return mode
    return mode_after_chown(mode)


def mode_after_chown(mode: int) -> int:
    """Mode of a file that changed hands (POSIX chown; as Linux for the superuser too)."""
    if mode & 0o010:
        mode &= ~SET_GID
    return mode & ~SET_UID


def mode_without_foreign_gid(mode: int, group: str, caller: Caller) -> int:
    """Mode that ``caller`` may give a file of ``group``: no set-gid for another's group (chmod)."""
    if caller.superuser or group in caller.groups:
        return mode
    return mode & ~SET_GID
