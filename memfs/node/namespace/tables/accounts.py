"""Users as the cluster knows them: the keys that prove them, and their groups.

Owns both tables. A key proves one user, who may have several. Whoever is in the table of groups is
in these groups only; of others the nodes' hosts know the groups.

Invariant: no user is listed without a key, or without a group; counts are within their limits.
"""

from __future__ import annotations

from collections.abc import Iterator

from memfs import limits
from memfs.errors import InvalidArgumentError


class Accounts:
    """Keys and groups of users."""

    __slots__ = ("groups", "keys", "memberships", "owners")

    def __init__(self) -> None:
        self.keys: dict[str, tuple[bytes, ...]] = {}
        self.owners: dict[bytes, str] = {}
        """Whom a key proves."""
        self.groups: dict[str, tuple[str, ...]] = {}
        self.memberships = 0
        """Of all users in groups."""

    # --- keys ---------------------------------------------------------------------------------

    def add_key(self, user: str, key: bytes) -> None:
        """Let a key prove a user; once more is no error. Raises InvalidArgumentError."""
        owner = self.owners.get(key)
        if owner == user:
            return
        if owner is not None:
            raise InvalidArgumentError(f"the key is {owner}'s: make one for {user}")
        held = self.keys.get(user, ())
        if len(held) >= limits.KEYS_PER_USER:
            raise InvalidArgumentError(
                f"{user} has {len(held)} keys, as many as one user may: remove some"
            )
        if len(self.owners) >= limits.USER_KEYS:
            raise InvalidArgumentError(f"there are {limits.USER_KEYS} keys, as many as there may")
        self.keys[user] = (*held, key)
        self.owners[key] = user

    def remove_key(self, user: str, key: bytes) -> None:
        """Forget a key of a user; empty: all of them. Raises InvalidArgumentError."""
        held = self.keys.get(user, ())
        if not held or (key and key not in held):
            raise InvalidArgumentError(f"{user} has no {'such ' * bool(key)}key")
        left = tuple(each for each in held if key and each != key)
        for each in held:
            if each not in left:
                del self.owners[each]
        if left:
            self.keys[user] = left
        else:
            del self.keys[user]

    # --- groups -------------------------------------------------------------------------------

    def groups_of(self, user: str) -> tuple[str, ...] | None:
        """The groups of a user; None: the table does not say."""
        return self.groups.get(user)

    def enter(self, user: str, group: str) -> None:
        """Put a user into a group; once more is no error. Raises InvalidArgumentError."""
        held = self.groups.get(user, ())
        if group in held:
            return
        if len(held) >= limits.GROUPS_PER_USER:
            raise InvalidArgumentError(f"{user} is in {len(held)} groups, as many as one user may")
        if self.memberships >= limits.GROUP_MEMBERSHIPS:
            text = f"there are {limits.GROUP_MEMBERSHIPS} members of groups, as many as there may"
            raise InvalidArgumentError(text)
        self.restore_groups(user, (*held, group))

    def leave(self, user: str, group: str) -> None:
        """Take a user out of a group. Raises InvalidArgumentError."""
        held = self.groups.get(user, ())
        if group not in held:
            raise InvalidArgumentError(f"{user} is not in {group} by the cluster's table")
        self.restore_groups(user, tuple(each for each in held if each != group))

    def restore_groups(self, user: str, groups: tuple[str, ...]) -> None:
        """Have a user in these groups."""
        self.memberships += len(groups) - len(self.groups.get(user, ()))
        if groups:
            self.groups[user] = groups
        else:
            self.groups.pop(user, None)

    def restore_keys(self, user: str, keys: tuple[bytes, ...]) -> None:
        """Have a user with these keys, out of a snapshot."""
        self.keys[user] = keys
        self.owners.update(dict.fromkeys(keys, user))

    def rows(self) -> Iterator[tuple[str, tuple[bytes, ...], tuple[str, ...]]]:
        """Everybody with keys and groups."""
        for user in sorted({*self.keys, *self.groups}):
            yield user, self.keys.get(user, ()), self.groups.get(user, ())

    def check_invariants(self) -> None:
        """Assert the module's invariant."""
        assert all(self.keys.values()) and all(self.groups.values())
        assert self.owners == {key: user for user, keys in self.keys.items() for key in keys}
        assert self.memberships == sum(map(len, self.groups.values()))
        assert len(self.owners) <= limits.USER_KEYS
        assert self.memberships <= limits.GROUP_MEMBERSHIPS
