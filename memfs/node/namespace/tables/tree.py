"""The tree of names: walking paths, adding and removing names, totals of subtrees.

Owns inodes, directories, symlink targets, extended attributes and what inodes share. Knows nothing
of blocks, leases or clients. Checks search permission on the way, as POSIX path resolution says;
what the last component needs is the operation's business.

Invariants: a live inode's chain of parents ends at the root, that of a deleted tree ends NOWHERE
(TreeAcyclic); the totals of a directory are the sum over the homes below it. A file with several
links is charged to one of them, its home: the directory that has held a link for longest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from memfs import limits
from memfs.errors import (
    NameTooLongError,
    NotDirectoryError,
    PathNotFoundError,
    StaleHandleError,
    SymlinkLoopError,
)
from memfs.node.namespace.containers.interning import Arena, Interned, Owners
from memfs.node.namespace.containers.slot_map import SlotMap
from memfs.node.namespace.rules import acls as acl_rules
from memfs.node.namespace.rules.acls import NO_ACL, StoredAcl
from memfs.node.namespace.rules.permissions import HAS_ACL, SEARCH, Caller
from memfs.node.namespace.rules.refusals import access_denied, text
from memfs.node.namespace.tables.directory import Directory, Entries, Frozen
from memfs.node.namespace.tables.inodes import (
    DIRECTORY,
    FIFO,
    FILE,
    NOWHERE,
    ROOT,
    SYMLINK,
    Inodes,
    is_named,
)
from memfs.node.namespace.tables.xattrs import Xattrs
from memfs.paths import split
from memfs.types import ROOT_INODE

Place: TypeAlias = tuple[int, bytes, int]
"""Where a path leads: (directory, name, slot). The slot is NOWHERE when the name is free; the name
is empty when the path ends in the root, in ``..`` or in the base itself."""

Make: TypeAlias = Callable[[int, bytes, list[bytes]], int]
"""Makes a missing directory of a path: (parent, name, later components in reverse) -> slot."""

NO_DIRECTORY: Final = Directory()
NO_DIRECTORY.directories = 0  # a real one counts itself
_ALL_MAY_SEARCH: Final = 0o111
_SEARCH_BITS: Final = _ALL_MAY_SEARCH | HAS_ACL
_OWNER_MAY: Final = 0o700
_ALL_MAY_LIST: Final = 0o555
_LIST_BITS: Final = _ALL_MAY_LIST | HAS_ACL
_REPORTED_MAX: Final = (1 << 63) - 1


class Tree:
    """Names and the inodes they mean."""

    __slots__ = (
        "acl_values",
        "acls",
        "directories",
        "inodes",
        "layouts",
        "linkable",
        "named",
        "nameless",
        "owners",
        "parents",
        "quotas",
        "targets",
        "touched",
        "unlinked",
        "xattrs",
    )

    def __init__(self) -> None:
        self.inodes = Inodes()
        self.owners = Owners()
        """(user, group) pairs."""
        self.layouts: Interned[tuple[int, int, int]] = Interned((0, 0, 0))
        """(block size, group blocks, replication) of files."""
        self.directories: Arena[Directory, Frozen] = Arena(NO_DIRECTORY, Directory.freeze)
        self.targets: Arena[bytes, bytes] = Arena(b"", bytes)
        """Texts of symlinks."""
        self.xattrs = Xattrs()
        self.acl_values: Interned[StoredAcl] = Interned(NO_ACL)
        self.acls: SlotMap[int] = SlotMap()
        """Number of the access control list by slot, of those whose mode says HAS_ACL."""
        self.quotas: dict[int, tuple[int, int]] = {}
        """Most names and most bytes times replicas by slot, of directories limited so; -1: any."""
        self.touched: list[int] = []
        """Inodes that changed, or went, since somebody looked: not a part of the state."""
        self.named: list[bytes] = []
        """Likewise names that came, went or mean something else, in whatever directory."""
        self.nameless: set[int] = set()
        """Files that are written out of sight under a lease, and have no name yet."""
        self.unlinked: set[int] = set()
        """Files whose last name is gone, or that never had one, and that somebody has open."""
        self.linkable: set[int] = set()
        """Those of :attr:`unlinked` that never had a name and may get one."""
        self.parents: SlotMap[dict[int, int]] = SlotMap()
        """Of what has several links: links per directory, the home first."""

    # --- resolution --------------------------------------------------------------------------

    def find(self, caller: Caller, base: int, path: bytes, follow: bool = True) -> int:
        """The slot of an existing path. Raises what :meth:`locate` does, PathNotFoundError."""
        slot = self.locate(caller, base, path, follow)[2]
        if not slot:
            raise PathNotFoundError("no such file or directory", path=text(path))
        return slot

    def locate(
        self,
        caller: Caller,
        base: int,
        path: bytes,
        follow: bool = True,
        make: Make | None = None,
    ) -> Place:
        """Walk a path; all but its last component must exist, or are made by ``make``.

        Symlinks in the middle are followed, a final one when ``follow``; directories that are
        missing behind a symlink are not made. Raises PathNotFoundError, NotDirectoryError,
        AccessDeniedError, SymlinkLoopError, StaleHandleError (base is gone), InvalidPathError,
        NameTooLongError.
        """
        parts = split(path)
        slot = ROOT if base == ROOT_INODE else self.base_of(caller, base)
        inodes = self.inodes
        if not parts:
            if path and inodes.kind[slot] != DIRECTORY:
                raise NotDirectoryError("not a directory", path=text(path))
            return slot, b"", slot
        parts.reverse()
        kinds, modes, extra = inodes.kind, inodes.mode, inodes.extra
        directories = self.directories.items
        needs_directory = ends_as_directory(path)
        follows = 0
        given = len(parts)  # components that are the caller's own: the last so many, at most
        while True:
            name = parts.pop()
            if kinds[slot] != DIRECTORY:
                raise NotDirectoryError("a component is no directory", path=text(path))
            if modes[slot] & _SEARCH_BITS != _ALL_MAY_SEARCH and not self.may(caller, slot, SEARCH):
                raise access_denied(self, caller, slot, SEARCH, path)
            if name != b"..":
                child = directories[extra[slot]].get(name)
            else:
                child, name = inodes.parent[slot], b""
            if not child:
                if not parts:
                    return slot, name, NOWHERE
                if make is None or len(parts) >= given:
                    raise PathNotFoundError("no such file or directory", path=text(path))
                slot = make(slot, name, parts)
            elif kinds[child] == SYMLINK and (parts or follow or needs_directory):
                follows += 1
                if follows > limits.SYMLINK_FOLLOWS:
                    raise SymlinkLoopError("too many symbolic links", path=text(path))
                target = self.targets.items[extra[child]]
                needs_directory |= not parts and ends_as_directory(target)
                given = min(given, len(parts))
                parts += reversed(split(target))
                if target.startswith(b"/"):
                    slot = ROOT
                if not parts:
                    return slot, b"", slot
            elif parts:
                slot = child
            elif needs_directory and kinds[child] != DIRECTORY:
                raise NotDirectoryError("not a directory", path=text(path))
            else:
                return slot, name, child

    def passed(self, path: bytes) -> list[int] | None:
        """Inodes that :meth:`locate` looks at, from the root, whoever asks; the last ones may be
        missing. None when the way leads through a symlink or ``..``.
        """
        inodes, directories = self.inodes, self.directories.items
        slot, passed = ROOT, [ROOT_INODE]
        for name in split(path):
            if inodes.kind[slot] != DIRECTORY:
                break
            slot = directories[inodes.extra[slot]].get(name)
            if not slot:
                return None if name == b".." else passed
            if inodes.kind[slot] == SYMLINK:
                return None
            passed.append(inodes.id_of(slot))
        return passed

    def base_of(self, caller: Caller, inode: int) -> int:
        """The slot of a handle that is still part of the tree, and in the caller's reach.

        A handle proves nothing, since anybody can name an inode: the caller must be able to walk
        to it now. An inode without a path is available to who has it open, and the superuser.
        Raises StaleHandleError, AccessDeniedError.
        """
        slot = self.inodes.slot_of(inode)
        if not slot or not is_named(self.inodes.kind[slot]):
            raise StaleHandleError("the file or directory behind the handle was deleted")
        if not self.is_attached(slot):
            if caller.has_open(inode):
                return slot
            if slot not in self.nameless and not (caller.superuser and slot in self.unlinked):
                raise StaleHandleError("the file or directory behind the handle was deleted")
        if not caller.superuser and not self.is_reachable(caller, slot):
            raise access_denied(self, caller, self._refusing(caller, slot), SEARCH, b"")
        return slot

    def is_alive(self, slot: int) -> bool:
        """Can it be reached, by a path or by the handle of who has it open without one?"""
        return slot in self.nameless or slot in self.unlinked or self.is_attached(slot)

    def end_unlinked(self, slot: int) -> None:
        """A file of :attr:`unlinked` goes, or gets a name."""
        self.unlinked.discard(slot)
        self.linkable.discard(slot)

    def is_attached(self, slot: int) -> bool:
        """Does any path lead there from the root? Costs a step per ancestor."""
        links = self.parents.get(slot)
        if links is not None:
            return any(self.is_attached(parent) for parent in links)
        parent = self.inodes.parent
        while slot > ROOT:
            slot = parent[slot]
        return slot == ROOT

    def is_reachable(self, caller: Caller, slot: int) -> bool:
        """May the caller search all directories of some path there? Costs a step per ancestor."""
        links = self.parents.get(slot)
        if links is not None:
            return any(self._is_searchable(caller, parent) for parent in links)
        return slot == ROOT or self._is_searchable(caller, self.inodes.parent[slot])

    def _is_searchable(self, caller: Caller, slot: int) -> bool:
        """May the caller search the directory and all above it?"""
        parent, modes = self.inodes.parent, self.inodes.mode
        while slot:
            if modes[slot] & _SEARCH_BITS != _ALL_MAY_SEARCH and not self.may(caller, slot, SEARCH):
                return False
            if slot == ROOT:
                return True
            slot = parent[slot]
        return False

    def _refusing(self, caller: Caller, slot: int) -> int:
        """The highest directory above ``slot`` that the caller may not search, or ``slot``."""
        refusing, parent = slot, self.inodes.parent
        while slot > ROOT:  # a file without a name has nothing above it
            slot = parent[slot]
            if slot and not self.may(caller, slot, SEARCH):
                refusing = slot
        return refusing

    def has_ancestor(self, slot: int, ancestor: int) -> bool:
        """Is ``ancestor`` the directory ``slot`` or one above it?"""
        parent = self.inodes.parent
        while slot > ROOT and slot != ancestor:
            slot = parent[slot]
        return slot == ancestor

    def check_depth(self, slot: int, more: int) -> None:
        """Raise NameTooLongError when ``more`` levels below directory ``slot`` are too deep."""
        parent = self.inodes.parent
        while slot > ROOT:
            slot = parent[slot]
            more += 1
        if more > limits.DIRECTORY_DEPTH:
            raise NameTooLongError(f"more than {limits.DIRECTORY_DEPTH} directories deep")

    # --- permission --------------------------------------------------------------------------

    def may(self, caller: Caller, slot: int, wanted: int) -> bool:
        """Do the inode's mode bits and access list grant the caller all of ``wanted``?"""
        owner, group = self.owners.values[self.inodes.owner[slot]]
        mode = self.inodes.mode[slot]
        if mode & HAS_ACL:
            return acl_rules.may(caller, mode, owner, group, self.acl(slot), wanted)
        return caller.may(mode, owner, group, wanted)

    def acl(self, slot: int) -> StoredAcl:
        """The part of an inode's access control list that its mode bits do not hold."""
        return self.acl_values.values[self.acls.get(slot, 0)]

    def set_acl(self, slot: int, acl: StoredAcl) -> None:
        """Give an inode a list, or with NO_ACL none; its mode bits are the caller's business."""
        old = self.acls.pop(slot, 0)
        if acl == NO_ACL:
            self.set_mode(slot, self.inodes.mode[slot] & ~HAS_ACL)
        else:
            self.acls[slot] = self.acl_values.acquire(acl)
            self.set_mode(slot, self.inodes.mode[slot] | HAS_ACL)
        if old:
            self.acl_values.release(old)

    def set_mode(self, slot: int, mode: int) -> None:
        """Give an inode other mode bits, HAS_ACL included."""
        if self.inodes.kind[slot] != DIRECTORY or not self.inodes.extra[slot]:
            self.inodes.set_mode(slot, mode)  # no directory, or not yet
            return
        self._count_guard(slot, -1)
        self.inodes.set_mode(slot, mode)
        self._count_guard(slot, 1)

    def set_owner(self, slot: int, owner: str, group: str) -> None:
        """Give an inode to another user or group."""
        inodes, old = self.inodes, self.inodes.owner[slot]
        user = self.owners.values[old][0]
        entries = self._entries_of(slot) if user != owner else {}
        for parent, count in entries.items():
            self._count_entry(parent, slot, -count)
        guards = inodes.kind[slot] == DIRECTORY and user != owner
        if guards:
            self.charge_guards(slot, self.directory(slot).change_user(user, owner), 0)
            self._count_guard(slot, -1)
        inodes.owner[slot] = self.owners.acquire((owner, group))
        if guards:
            self._count_guard(slot, 1)
        for parent, count in entries.items():
            self._count_entry(parent, slot, count)
        self.owners.release(old)
        self.xattrs.give(slot, owner)

    def owner_of(self, slot: int) -> str:
        """Whose an inode is."""
        return self.owners.values[self.inodes.owner[slot]][0]

    def require(self, caller: Caller, slot: int, wanted: int, path: bytes = b"") -> None:
        """Raise AccessDeniedError unless :meth:`may`."""
        if not caller.superuser and not self.may(caller, slot, wanted):
            raise access_denied(self, caller, slot, wanted, path)

    def owns(self, caller: Caller, slot: int) -> bool:
        """May the caller do what only the inode's owner may?"""
        return caller.superuser or self.owner_of(slot) == caller.user

    # --- names -------------------------------------------------------------------------------

    def directory(self, slot: int) -> Entries:
        """The entries and totals of a directory's slot, to look at."""
        assert self.inodes.kind[slot] == DIRECTORY
        return self.directories.items[self.inodes.extra[slot]]

    def changing(self, slot: int) -> Directory:
        """The entries of a directory's slot, which the present command changes."""
        assert self.inodes.kind[slot] == DIRECTORY
        return self.directories.changing(self.inodes.extra[slot])

    def insert_name(self, parent: int, name: bytes, slot: int) -> None:
        """Add a name that is not there to directory ``parent``."""
        self.changing(parent).insert(name, slot)
        self.named.append(name)
        self._count_entry(parent, slot, 1)

    def replace_name(self, parent: int, name: bytes, slot: int) -> None:
        """Let an existing name mean another slot."""
        directory = self.changing(parent)
        self._count_entry(parent, directory.get(name), -1)
        directory.replace(name, slot)
        self.named.append(name)
        self._count_entry(parent, slot, 1)

    def remove_name(self, parent: int, name: bytes) -> None:
        """Take an existing name out."""
        self._count_entry(parent, self.changing(parent).remove(name), -1)
        self.named.append(name)

    def pop_name(self, parent: int) -> tuple[bytes, int]:
        """Take some name out; returns it with its slot."""
        name, slot = self.changing(parent).pop()
        self._count_entry(parent, slot, -1)
        return name, slot

    def _count_entry(self, parent: int, slot: int, entries: int) -> None:
        """Directory ``parent`` has so many more entries that mean ``slot``."""
        owner, above = self.inodes.owner[slot], self.inodes.owner[parent]
        if owner != above:
            user = self.owners.values[owner][0]
            if user != self.owners.values[above][0]:
                self.directory(parent).count_foreign(user, entries)

    def _entries_of(self, slot: int) -> dict[int, int]:
        """Directories that have entries which mean ``slot``, and how many."""
        links = self.parents.get(slot)
        if links is not None:
            return links
        parent = self.inodes.parent[slot] if slot != ROOT else NOWHERE
        return {parent: 1} if parent else {}

    def touch(self, slot: int, now: int, change: int) -> None:
        """The entries or the content of ``slot`` changed."""
        self.inodes.touch(slot, now, change)
        self.touched.append(self.inodes.id_of(slot))

    def mark(self, slot: int, now: int, change: int) -> None:
        """Attributes of ``slot`` changed, its content did not."""
        self.inodes.changed[slot] = now
        self.inodes.change[slot] = change
        self.touched.append(self.inodes.id_of(slot))

    def note_link(self, parent: int, slot: int) -> None:
        """``parent`` holds one more link of an inode that keeps its others."""
        links = self._links_to_change(slot)
        links[parent] = links.get(parent, 0) + 1
        self.charge_links(parent, 1)

    def drop_link(self, parent: int, slot: int) -> None:
        """``parent`` holds one link less of an inode that has others; its charge may move on."""
        links = self._links_to_change(slot)
        links[parent] -= 1
        if not links[parent]:
            del links[parent]
        home = next(iter(links))
        if home != self.inodes.parent[slot]:
            self.move_charge(slot, home)
            parent = home  # one of its links was a further one and is none any more
        self.charge_links(parent, -1)
        if len(links) == 1 and next(iter(links.values())) == 1:
            del self.parents[slot]

    def _links_to_change(self, slot: int) -> dict[int, int]:
        """The entry in :attr:`parents`, made if there is none; a copy while an image is read."""
        links = self.parents.get(slot)
        if links is None:
            links = self.parents[slot] = {self.inodes.parent[slot]: 1}
        elif self.parents.images:
            links = self.parents[slot] = links.copy()
        return links

    def names_at_home(self, slot: int) -> int:
        """How many names a file has in the directory that is charged for it."""
        links = self.parents.get(slot)
        return 1 if links is None else links[self.inodes.parent[slot]]

    def move_charge(self, slot: int, home: int) -> None:
        """Charge a file or symlink to another directory, its home from now on."""
        length, space = self.weight(slot)
        self.charge(self.inodes.parent[slot], -length, -1, 0, -space)
        self.charge(home, length, 1, 0, space)
        self.inodes.set_parent(slot, home)

    # --- totals ------------------------------------------------------------------------------

    def weight(self, slot: int) -> tuple[int, int]:
        """(bytes, bytes times replicas) of a file; zeros for what has no blocks."""
        if self.inodes.kind[slot] != FILE:
            return 0, 0
        size = self.inodes.size[slot]
        return size, size * self.layouts.values[self.inodes.layout[slot]][2]

    def charge(self, slot: int, length: int, files: int, directories: int, space: int) -> None:
        """Add to the totals of directory ``slot`` and of all above it."""
        parent, extra, changing = self.inodes.parent, self.inodes.extra, self.directories.changing
        while slot:
            totals = changing(extra[slot])
            totals.length += length
            totals.files += files
            totals.directories += directories
            totals.space += space
            slot = parent[slot] if slot != ROOT else NOWHERE

    def charge_links(self, slot: int, links: int) -> None:
        """Add further names to the totals of directory ``slot`` and of all above it."""
        parent, extra, changing = self.inodes.parent, self.inodes.extra, self.directories.changing
        while slot:
            changing(extra[slot]).links += links
            slot = parent[slot] if slot != ROOT else NOWHERE

    def guard(self, slot: int, parent: int) -> tuple[int, int]:
        """What directory ``slot`` adds to ``mixed`` and ``closed`` of ``parent`` and above."""
        inodes, users = self.inodes, self.owners.values
        mode, owner, above = inodes.mode[slot], inodes.owner[slot], inodes.owner[parent]
        kin = owner == above or users[owner][0] == users[above][0]
        return (
            not (kin and mode & _OWNER_MAY == _OWNER_MAY),
            mode & _LIST_BITS != _ALL_MAY_LIST,
        )

    def count_guard(self, slot: int, parent: int, sign: int) -> None:
        """Directory ``slot`` is one more below ``parent`` and above (with ``sign`` -1 one less)."""
        mixed, closed = self.guard(slot, parent)
        if self.inodes.mode[slot] & _OWNER_MAY == _OWNER_MAY:
            above = self.directories.items[self.inodes.extra[parent]]
            above.count_open(self.owner_of(slot), sign, kin=not mixed)
        self.charge_guards(parent, sign * mixed, sign * closed)

    def charge_guards(self, slot: int, mixed: int, closed: int) -> None:
        """Add to what directory ``slot`` and all above it know of the directories below."""
        if not mixed and not closed:
            return
        parent, extra, items = self.inodes.parent, self.inodes.extra, self.directories.items
        while slot:
            items[extra[slot]].mixed += mixed
            items[extra[slot]].closed += closed
            slot = parent[slot] if slot != ROOT else NOWHERE

    def count_guards(self) -> None:
        """Count all guards anew, of a tree that was restored without them."""
        for slot in self.directory_slots():
            self._count_guard(slot, 1)

    def directory_slots(self) -> Iterator[int]:
        """The slots of all directories, deleted ones included."""
        return self.inodes.of_kind(DIRECTORY)

    def _count_guard(self, slot: int, sign: int) -> None:
        parent = self.inodes.parent[slot]
        if slot != ROOT and parent:
            self.count_guard(slot, parent, sign)

    def resize(self, slot: int, size: int) -> None:
        """Set a file's size and charge its home with the difference."""
        difference = size - self.inodes.size[slot]
        if difference:
            replication = self.layouts.values[self.inodes.layout[slot]][2]
            self.charge(self.inodes.parent[slot], difference, 0, 0, difference * replication)
            self.inodes.size[slot] = size

    def set_replication(self, slot: int, replication: int) -> None:
        """Set a file's wanted copies and charge its home with the difference."""
        inodes = self.inodes
        old = inodes.layout[slot]
        block_size, group_blocks, before = self.layouts.values[old]
        inodes.layout[slot] = self.layouts.acquire((block_size, group_blocks, replication))
        self.layouts.release(old)
        self.charge(inodes.parent[slot], 0, 0, 0, inodes.size[slot] * (replication - before))

    def charge_subtree(self, slot: int, top: int, sign: int) -> None:
        """Add (or with ``sign`` -1 take) the totals of directory ``top`` to ``slot`` and above."""
        totals = self.directory(top)
        self.charge(
            slot,
            sign * totals.length,
            sign * totals.files,
            sign * totals.directories,
            sign * totals.space,
        )
        if totals.links:
            self.charge_links(slot, sign * totals.links)
        self.count_guard(top, slot, sign)
        self.charge_guards(slot, sign * totals.mixed, sign * totals.closed)

    # --- freeing -----------------------------------------------------------------------------

    def forget(self, slot: int) -> None:
        """Free an inode that has no name, no entries and no blocks any more."""
        inodes = self.inodes
        self.touched.append(inodes.id_of(slot))
        kind = inodes.kind[slot]
        self.owners.release(inodes.owner[slot])
        if kind == DIRECTORY:
            self.directories.remove(inodes.extra[slot])
        elif kind == SYMLINK:
            self.targets.remove(inodes.extra[slot])
        elif kind < FIFO:
            self.layouts.release(inodes.layout[slot])
        self.xattrs.forget(slot)
        if slot in self.acls:
            self.set_acl(slot, NO_ACL)
        if self.quotas:
            self.quotas.pop(slot, None)
        inodes.free(slot)


def reported(total: int) -> int:
    """A total as far as 63 bits go: sparse files may add up to more."""
    return min(total, _REPORTED_MAX)


def ends_as_directory(path: bytes) -> bool:
    """Does the text of a path insist on a directory (``a/``, ``a/.``)?"""
    return path.endswith((b"/", b"/."))
