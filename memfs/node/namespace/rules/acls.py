"""Access control lists as POSIX.1e and HDFS have them: pure functions on entries and mode bits.

Owns how a list is stored, changed, inherited and evaluated; knows no tree. Owner, other and, when
there is an access list, the mask live in the mode bits, so that chmod and ls need not know of
lists; a :class:`StoredAcl` holds the rest. The transformations and the order of their checks are
those of Hadoop's ``AclTransformation`` and ``AclStorage``.

Invariant: entries are sorted, one for each (scope, kind, name); default ones have owner, group and
other, and a mask whenever one of them is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from memfs import limits
from memfs.errors import InvalidArgumentError
from memfs.node.namespace.rules.permissions import Caller
from memfs.security.acls import check_entry, minimal, order
from memfs.types import AclEntry, AclKind

USER: Final = int(AclKind.USER)
GROUP: Final = int(AclKind.GROUP)
MASK: Final = int(AclKind.MASK)
OTHER: Final = int(AclKind.OTHER)
_PERMISSIONS: Final = 0o777
_ANY: Final = 7

Entries = list[AclEntry]
_Key = tuple[bool, int, str]


class StoredAcl(NamedTuple):
    """The part of a list that the mode bits do not hold."""

    access: tuple[AclEntry, ...] = ()
    """Named users, the owning group and named groups; empty: the mode bits say all."""
    default: tuple[AclEntry, ...] = ()
    """Of a directory: the whole list for what is made in it."""


NO_ACL: Final = StoredAcl()


def may(caller: Caller, mode: int, owner: str, group: str, acl: StoredAcl, wanted: int) -> bool:
    """Do mode bits and list grant all of ``wanted``? (POSIX.1e 23.1.5, access check algorithm)"""
    if not acl.access or caller.superuser or caller.user == owner:
        return caller.may(mode, owner, group, wanted)
    mask = mode >> 3
    matched = False
    for kind, name, permission, _ in acl.access:
        if kind == USER:
            if name == caller.user:
                return permission & mask & wanted == wanted
        elif (name or group) in caller.groups:
            if permission & mask & wanted == wanted:
                return True
            matched = True
    return not matched and mode & wanted == wanted


# --- stored and whole lists ------------------------------------------------------------------


def whole(acl: StoredAcl, mode: int) -> Entries:
    """All entries in order, including those that the mode bits hold."""
    owner, middle, other = mode >> 6 & _ANY, mode >> 3 & _ANY, mode & _ANY
    entries = [AclEntry(USER, "", owner)]
    if acl.access:
        entries += [*acl.access, AclEntry(MASK, "", middle)]
    else:
        entries.append(AclEntry(GROUP, "", middle))
    return [*entries, AclEntry(OTHER, "", other), *acl.default]


def stored(entries: Entries, mode: int) -> tuple[StoredAcl, int]:
    """Split a valid complete list into the stored part and the mode."""
    access = [entry for entry in entries if not entry.default]
    default = tuple([entry for entry in entries if entry.default])
    extended = not minimal(access)
    bits = access[0].permission << 6 | access[-2].permission << 3 | access[-1].permission
    held = tuple(access[1:-2]) if extended else ()
    return StoredAcl(held, default), mode & ~_PERMISSIONS | bits


def without(acl: StoredAcl, mode: int) -> int:
    """The mode once the list is gone: the group's own permissions instead of the mask."""
    for kind, name, permission, _ in acl.access:
        if kind == GROUP and not name:
            return mode & ~0o070 | permission << 3
    return mode


def inherited(default: Iterable[AclEntry], mode: int, directory: bool) -> tuple[StoredAcl, int]:
    """List and mode of what is made with ``mode`` in a directory that has a default list."""
    default = tuple(default)
    plain = minimal(default)
    access = []
    for entry in default:
        granted = entry.permission
        if entry.kind == USER and not entry.name:
            granted &= mode >> 6
        elif entry.kind == MASK or (entry.kind == GROUP and plain):
            granted &= mode >> 3
        elif entry.kind == OTHER:
            granted &= mode
        access.append(AclEntry(entry.kind, entry.name, granted))
    return stored([*access, *(default if directory else ())], mode)


# --- changes ---------------------------------------------------------------------------------


def modified(existing: Entries, given: Iterable[AclEntry]) -> Entries:
    """Entries replaced by those given, and new ones added."""
    changed = _specification(given)
    draft = _Draft()
    for entry in existing:
        if order(entry) not in changed:
            draft.keep(entry)
    for entry in changed.values():
        draft.change(entry)
    return draft.finish()


def removed(existing: Entries, given: Iterable[AclEntry]) -> Entries:
    """Without the entries given, whatever their permissions."""
    gone = _specification(given)
    draft = _Draft()
    for entry in existing:
        if order(entry) in gone:
            draft.remove(entry)
        else:
            draft.keep(entry)
    return draft.finish()


def replaced(existing: Entries, given: Iterable[AclEntry]) -> Entries:
    """The entries given; those of a scope (access or default) of which none is given stay."""
    changed = _specification(given)
    scopes = {entry.default for entry in changed.values()}
    draft = _Draft()
    for entry in changed.values():
        draft.change(entry)
    for entry in existing:
        if entry.default not in scopes:
            draft.keep(entry)
    return draft.finish()


def _specification(given: Iterable[AclEntry]) -> dict[_Key, AclEntry]:
    entries: dict[_Key, AclEntry] = {}
    for entry in given:
        check_entry(entry)
        if entries.setdefault(order(entry), entry) is not entry:
            raise InvalidArgumentError("an entry is given twice")
    _check_count(entries.values())
    return entries


class _Draft:
    """A list being built: its entries; masks are computed unless given."""

    def __init__(self) -> None:
        self._entries: dict[_Key, AclEntry] = {}
        self._masks: dict[bool, AclEntry] = {}
        self._dirty: set[bool] = set()
        """Scopes of which some entry changed."""
        self._explicit: set[bool] = set()
        """Scopes of which the mask was given or removed."""

    def keep(self, entry: AclEntry) -> None:
        if entry.kind == MASK:
            self._masks[entry.default] = entry
        else:
            self._entries[order(entry)] = entry

    def change(self, entry: AclEntry) -> None:
        self.keep(entry)
        self._note(entry)

    def remove(self, entry: AclEntry) -> None:
        self._note(entry)

    def _note(self, entry: AclEntry) -> None:
        self._dirty.add(entry.default)
        if entry.kind == MASK:
            self._explicit.add(entry.default)

    def finish(self) -> Entries:
        """The valid list. Raises InvalidArgumentError."""
        self._complete_default()
        for scope in {entry.default for entry in self._entries.values()}:
            self._add_mask(scope)
        entries = sorted(self._entries.values(), key=order)
        for default in {False, *(entry.default for entry in entries)}:
            if not all((default, kind, "") in self._entries for kind in (USER, GROUP, OTHER)):
                raise InvalidArgumentError("the entries of owner, group and other are required")
        _check_count(entries)
        return entries

    def _complete_default(self) -> None:
        """Complete a default list: missing owner, group and other come from the access list."""
        if not any(entry.default for entry in self._entries.values()):
            return
        for kind in (USER, GROUP, OTHER):
            model = self._entries.get((False, kind, ""))
            if model is not None:
                copy = model._replace(default=True)
                self._entries.setdefault(order(copy), copy)

    def _add_mask(self, scope: bool) -> None:
        entries = [entry for entry in self._entries.values() if entry.default == scope]
        given = self._masks.get(scope)
        needed = any(entry.name for entry in entries)
        if given is None and needed and scope in self._explicit:
            raise InvalidArgumentError("a list with named users or groups needs its mask")
        if given is None or (scope in self._dirty and scope not in self._explicit):
            if not needed and given is None:
                return
            union = 0
            for entry in entries:
                if entry.kind == GROUP or entry.name:
                    union |= entry.permission
            given = AclEntry(MASK, "", union, scope)
        self._entries[order(given)] = given


def _check_count(entries: Iterable[AclEntry]) -> None:
    scopes = [entry.default for entry in entries]
    for default in (False, True):
        if scopes.count(default) > limits.ACL_ENTRIES:
            kind = "default" if default else "access"
            raise InvalidArgumentError(f"at most {limits.ACL_ENTRIES} {kind} entries are possible")
