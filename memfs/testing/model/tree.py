"""The oracle's state: inodes as plain objects, how paths lead to them, who may do what.

Owns path resolution and the permission rules, written from POSIX and not from the code under
test. Knows no operation that changes anything but :meth:`Walker.add`.
"""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from memfs import errors, limits, paths
from memfs.types import FileKind, Identity

READ, WRITE, SEARCH = 4, 2, 1
CHANGE = WRITE | SEARCH
"""What adding or removing a name needs of a directory."""


Listed = dict[tuple[int, str], int]
"""Entries of an access control list: permissions by (kind, name)."""

OWNER, GROUP, MASK, OTHER = (0, ""), (1, ""), (2, ""), (3, "")


def is_named(key: tuple[int, str]) -> bool:
    """Is the entry one that the mask limits?"""
    return key not in (OWNER, MASK, OTHER)


@dataclass(eq=False)
class Inode:
    """A file, directory or symlink."""

    number: int
    kind: FileKind
    mode: int
    owner: str
    group: str
    replication: int = 0
    block_size: int = 0
    data: bytearray = field(default_factory=bytearray)
    target: str = ""
    entries: dict[str, Inode] = field(default_factory=dict)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    named: Listed = field(default_factory=dict)
    """Of an access list what the mode does not say: named users, the group, named groups."""
    default: Listed = field(default_factory=dict)
    """The whole default list of a directory."""
    names: int = 1
    """Directory entries that mean this inode."""
    modified_ns: int = 0
    accessed_ns: int = 0

    @property
    def is_directory(self) -> bool:
        return self.kind is FileKind.DIRECTORY

    @property
    def is_file(self) -> bool:
        return self.kind is FileKind.FILE

    @property
    def is_symlink(self) -> bool:
        return self.kind is FileKind.SYMLINK

    @property
    def links(self) -> int:
        """st_nlink: names of a file; 2 + subdirectories of a directory."""
        if not self.is_directory:
            return self.names
        return 2 + sum(child.is_directory for child in self.entries.values())

    @property
    def size(self) -> int:
        """Bytes of a file, of a symlink's target; 0 for a directory."""
        return len(self.data) if self.is_file else len(self.target.encode())

    def below(self) -> Iterator[Inode]:
        """Every inode under a directory, once per name."""
        for child in self.entries.values():
            yield child
            yield from child.below()

    @property
    def st_mode(self) -> int:
        """Type and permission bits."""
        types = {0: stat.S_IFREG, 1: stat.S_IFDIR, 2: stat.S_IFLNK}
        return types[self.kind] | self.mode


class Resolution(NamedTuple):
    """The end of a path: a name in a directory, and the inode that it refers to, if any."""

    parent: Inode
    name: str
    inode: Inode | None


@dataclass
class ModelTree:
    """The state, shared by the users who look at it."""

    superuser: str = "root"
    supergroup: str = "supergroup"
    replication: int = 2
    block_size: int = limits.BLOCK_BYTES_DEFAULT
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.root = Inode(
            next(self.numbers), FileKind.DIRECTORY, 0o755, self.superuser, self.supergroup
        )


class Walker:
    """Paths and permissions, as one identity sees them."""

    def __init__(self, tree: ModelTree | None = None, identity: Identity | None = None) -> None:
        """Args: ``tree``, by default a new one; ``identity``, by default the superuser."""
        self.tree = tree or ModelTree()
        self.identity = identity or Identity(self.tree.superuser)
        self.groups = self.identity.groups or (self.identity.user,)
        self.is_superuser = (
            self.identity.user == self.tree.superuser or self.tree.supergroup in self.groups
        )

    def may(self, inode: Inode, wanted: int) -> bool:
        """Whether the mode bits grant all of ``wanted``."""
        if self.is_superuser:
            return True
        if inode.named and inode.owner != self.identity.user:
            return self._may_as_listed(inode, wanted)
        owns, member = inode.owner == self.identity.user, inode.group in self.groups
        shift = 6 if owns else 3 if member else 0
        return inode.mode >> shift & wanted == wanted

    def _may_as_listed(self, inode: Inode, wanted: int) -> bool:
        """As :meth:`may`, by an access list: the user named, any group, the others."""
        mask = inode.mode >> 3 & 7
        named = inode.named.get((0, self.identity.user))
        if named is not None:
            return named & mask & wanted == wanted
        mine = {*self.groups, ""} if inode.group in self.groups else {*self.groups}
        found = [bits for (kind, name), bits in inode.named.items() if kind == 1 and name in mine]
        if found:
            return any(bits & mask & wanted == wanted for bits in found)
        return inode.mode & wanted == wanted

    def require(self, inode: Inode, wanted: int) -> None:
        """Raise AccessDeniedError unless :meth:`may`."""
        if not self.may(inode, wanted):
            raise errors.AccessDeniedError("permission denied")

    def require_owner(self, inode: Inode) -> None:
        """Raise NotPermittedError unless owner or superuser."""
        if not self.is_superuser and inode.owner != self.identity.user:
            raise errors.NotPermittedError("only the owner may do that")

    def require_removable(self, place: Resolution) -> None:
        """Check the parent's mode, and its sticky bit."""
        assert place.inode is not None
        self.require(place.parent, CHANGE)
        owners = (place.inode.owner, place.parent.owner)
        sticky = place.parent.mode & stat.S_ISVTX
        if sticky and not self.is_superuser and self.identity.user not in owners:
            raise errors.NotPermittedError("the directory is sticky")

    def require_emptiable(self, directory: Inode) -> None:
        """What ``rm -r`` needs of a directory on its way: nothing of an empty one."""
        if directory.entries:
            self.require(directory, READ)
        for name, inode in directory.entries.items():
            self.require_removable(Resolution(directory, name, inode))

    def walk(self, path: str, *, follow: bool = True) -> Resolution:
        """Resolve a path; its last component may be missing, the others may not."""
        pending = components(path)
        trail = [self.tree.root]
        name, inode, follows = "", self.tree.root, 0
        while pending:
            name = pending.pop()
            directory = trail[-1]
            if not directory.is_directory:
                raise errors.NotDirectoryError("not a directory", path=path)
            self.require(directory, SEARCH)
            if name == "..":
                trail = trail[:-1] or trail
                continue
            child = directory.entries.get(name)
            if child is None:
                if pending:
                    raise errors.PathNotFoundError("no such file or directory", path=path)
                return Resolution(directory, name, None)
            if child.is_symlink and (pending or follow):
                follows += 1
                if follows > limits.SYMLINK_FOLLOWS:
                    raise errors.SymlinkLoopError("too many symbolic links", path=path)
                trail = [self.tree.root] if child.target.startswith("/") else trail
                pending += components(child.target)
                continue
            trail.append(child)
        inode = trail[-1]
        return Resolution(trail[-2] if len(trail) > 1 else inode, name, inode)

    def find(self, path: str, *, follow: bool = True) -> Inode:
        """The inode of a path. Raises PathNotFoundError."""
        inode = self.walk(path, follow=follow).inode
        if inode is None:
            raise errors.PathNotFoundError("no such file or directory", path=path)
        return inode

    def find_file(self, path: str, wanted: int = 0) -> Inode:
        """A regular file with permission ``wanted``. Raises IsDirectoryError."""
        inode = self.find(path)
        if inode.is_directory:
            raise errors.IsDirectoryError("is a directory", path=path)
        self.require(inode, wanted)
        return inode

    def find_directory(self, path: str, wanted: int = 0) -> Inode:
        """A directory with permission ``wanted``. Raises NotDirectoryError."""
        inode = self.find(path)
        if not inode.is_directory:
            raise errors.NotDirectoryError("not a directory", path=path)
        self.require(inode, wanted)
        return inode

    def add(self, place: Resolution, kind: FileKind, mode: int) -> Inode:
        """Create an inode at an empty place."""
        assert place.inode is None
        self.require(place.parent, CHANGE)
        paths.check_name(place.name.encode())
        inherits = place.parent.mode & stat.S_ISGID
        group = place.parent.group if inherits else self.groups[0]
        if inherits and kind is FileKind.DIRECTORY:
            mode |= stat.S_ISGID
        default = place.parent.default if kind is not FileKind.SYMLINK else {}
        if default:
            middle = default.get(MASK, default[GROUP])
            mode &= ~0o777 | default[OWNER] << 6 | middle << 3 | default[OTHER]
        inode = Inode(next(self.tree.numbers), kind, mode, self.identity.user, group)
        if MASK in default:
            inode.named = {key: bits for key, bits in default.items() if is_named(key)}
        inode.default = dict(default) if kind is FileKind.DIRECTORY else {}
        if kind is FileKind.FILE:
            inode.replication, inode.block_size = self.tree.replication, self.tree.block_size
        place.parent.entries[place.name] = inode
        return inode


def components(path: str) -> list[str]:
    """Names of a path, the last one first."""
    return [part.decode() for part in reversed(paths.split(path.encode()))]
