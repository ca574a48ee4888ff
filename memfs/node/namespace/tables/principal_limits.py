"""Limits that the superuser has set: of what one user may have, beside those that are built in.

Owns which limits can be set, and the table of those that are: by name, for everybody or for one
user. What counts against a limit, and what happens beyond it, is where the thing is given out: in
the namespace for what all nodes share, on each node for the rest. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from memfs import limits

ANY: Final = 1 << 62
"""More than there can be of anything."""
SETTABLE: Final[dict[str, int]] = {
    "connections": limits.CONNECTIONS_PER_NODE,
    "requests": limits.REQUESTS_PER_NODE,
    "requests_per_second": 10_000_000,
    "unread_bytes": limits.UNREAD_BYTES_PER_NODE,
    "ahead_bytes": ANY,
    "unknown_bytes": ANY,
    "sessions": limits.SESSIONS,
    "tokens": limits.TOKENS,
    "xattr_bytes": limits.XATTRS_CLUSTER_BYTES,
    "inodes": ANY,
}
"""Names of limits, and the most that one may be. The first six are each node's, by user and
address the byte counts; the others are the namespace's, by user."""


class PrincipalLimits:
    """What was set, by (name, user); user empty: for everybody else.

    Those for everybody do not bind the superuser, who must be able to take them back; one for the
    superuser by name does.
    """

    __slots__ = ("_names", "_superuser", "by_key")

    def __init__(self, superuser: str) -> None:
        self._superuser = superuser
        self._names: dict[str, int] = {}
        self.by_key: dict[tuple[str, str], int] = {}

    def set(self, name: str, user: str, value: int | None) -> None:
        """Set a limit, None: take it back."""
        former = self.by_key.pop((name, user), None)
        if value is not None:
            self.by_key[name, user] = value
        count = self._names.get(name, 0) + (value is not None) - (former is not None)
        if count:
            self._names[name] = count
        else:
            self._names.pop(name, None)

    def has(self, name: str) -> bool:
        """Is a limit of that name set for anybody?"""
        return name in self._names

    def of(self, name: str, user: str, usual: int) -> int:
        """The limit of a user: their own, everybody's, or else the ``usual`` one."""
        if name not in self._names:
            return usual
        own = self.by_key.get((name, user))
        if own is not None:
            return own
        return usual if user == self._superuser else self.by_key.get((name, ""), usual)

    def rows(self) -> Iterator[tuple[str, str, int]]:
        """All of them, ordered."""
        return ((*key, self.by_key[key]) for key in sorted(self.by_key))

    def check_invariants(self) -> None:
        """Assert that names are counted, and that nothing is beyond what can be set."""
        assert all(0 <= value <= SETTABLE[name] for (name, _), value in self.by_key.items())
        assert len(self.by_key) == sum(self._names.values()) <= limits.LIMITS_SET
