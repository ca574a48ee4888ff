"""The oracle's access control lists, written from POSIX.1e and the documentation of HDFS.

Owns the list of an inode, its five kinds of change, and inheritance. Slow and plain: a whole list
is a dictionary from (kind, name) to permissions, built from the inode for each change and stored
back. Shares no rule with the code under test, only the text of entries.
"""

from __future__ import annotations

from typing import Any

from memfs import errors, limits
from memfs.security.acls import format_entry, parse_entries
from memfs.testing.model.tree import GROUP, MASK, OTHER, OWNER, Inode, Listed, Walker, is_named
from memfs.types import AclEntry

_BASE = (OWNER, GROUP, OTHER)


class AccessModel(Walker):
    """Operations on lists, with the names of the client's; entries are text."""

    def acl(self, path: str) -> list[str]:
        """The whole list as text, in order."""
        inode = self.find(path)
        scopes = ((False, access_of(inode)), (True, inode.default))
        return [
            format_entry(AclEntry(*key, bits, default))
            for default, listed in scopes
            for key, bits in sorted(listed.items())
        ]

    def set_acl(self, path: str, entries: str) -> None:
        """Replace the scopes of which entries are given; none: as ``remove_acl``."""
        if not entries:
            self.remove_acl(path)
            return
        given = _scopes(entries)
        self._change(path, lambda listed, default: given[default] or listed, given)

    def modify_acl(self, path: str, entries: str) -> None:
        """Add or replace entries."""
        given = _scopes(entries)
        self._change(path, lambda listed, default: listed | given[default], given)

    def remove_acl_entries(self, path: str, entries: str) -> None:
        """Remove entries; a list that has none of them stays as it is, its mask too (as HDFS)."""
        gone, inode = _scopes(entries, permissions=False), self.find(path)
        had = {False: access_of(inode), True: inode.default}

        def without(listed: Listed, default: bool) -> Listed:
            return {key: bits for key, bits in listed.items() if key not in gone[default]}

        touched = {
            default: {key: bits for key, bits in gone[default].items() if key in had[default]}
            for default in had
        }
        self._change(path, without, touched)

    def remove_default_acl(self, path: str) -> None:
        """Remove the default list."""
        self._owned(path).default = {}

    def remove_acl(self, path: str) -> None:
        """Remove all that the mode bits do not say."""
        inode = self._owned(path)
        if inode.named:
            inode.mode = inode.mode & ~0o070 | inode.named[GROUP] << 3
        inode.named, inode.default = {}, {}

    def _owned(self, path: str) -> Inode:
        inode = self.find(path)
        self.require_owner(inode)
        return inode

    def _change(self, path: str, change: Any, touched: dict[bool, Listed]) -> None:
        inode = self._owned(path)
        access, default = change(access_of(inode), False), change(inode.default, True)
        if set(default) - {MASK}:
            default = {key: access[key] for key in _BASE if key in access} | default
        for listed, scope in ((access, False), (default, True)):
            _complete(listed, touched[scope])
        if any(listed and not set(_BASE) <= set(listed) for listed in (access, default)):
            raise errors.InvalidArgumentError("an entry is missing", path=path)
        if max(len(access), len(default)) > limits.ACL_ENTRIES:
            raise errors.InvalidArgumentError("too many entries", path=path)
        if not access or (default and not inode.is_directory):
            raise errors.InvalidArgumentError("not such a list", path=path)
        middle = access.get(MASK, access[GROUP])
        inode.mode = inode.mode & ~0o777 | access[OWNER] << 6 | middle << 3 | access[OTHER]
        extended = MASK in access
        inode.named = {key: access[key] for key in access if extended and is_named(key)}
        inode.default = default


def access_of(inode: Inode) -> Listed:
    """The whole access list of an inode."""
    middle = {MASK: inode.mode >> 3 & 7, **inode.named} if inode.named else {}
    group = {GROUP: inode.mode >> 3 & 7}
    return {OWNER: inode.mode >> 6 & 7, OTHER: inode.mode & 7, **(middle or group)}


def _complete(listed: Listed, touched: Listed) -> None:
    """Give a scope the mask that it needs."""
    named = any(name for _, name in listed)
    if MASK in touched:
        if named and MASK not in listed:
            raise errors.InvalidArgumentError("the mask is needed")
        if set(listed) == {MASK}:
            del listed[MASK]
    elif touched and (named or MASK in listed):
        listed[MASK] = 0
        for key, bits in listed.items():
            if is_named(key):
                listed[MASK] |= bits


def _scopes(entries: str, *, permissions: bool = True) -> dict[bool, Listed]:
    found: dict[bool, Listed] = {False: {}, True: {}}
    for kind, name, permission, default in parse_entries(entries, permissions=permissions):
        found[default][kind, name] = permission
    return found
