"""The oracle: a POSIX file system in plain Python objects, too simple to be wrong.

Owns the meaning of every operation: what it changes, who may do it, which error it raises. Knows
no cluster, no blocks, no leases. Method names and arguments are those of ``memfs.client``.
Invariant: an operation that raises has changed nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from memfs import errors, limits, paths
from memfs.testing.model.access import AccessModel
from memfs.testing.model.file import open_model_file
from memfs.testing.model.tree import CHANGE, READ, WRITE, Inode, Resolution, components
from memfs.types import ContentSummary, FileKind, Identity, OpenedFile


class Model(AccessModel):
    """The file system, with the operations of the client."""

    def as_user(self, user: str, groups: tuple[str, ...] = ()) -> Model:
        """The same tree seen by somebody else."""
        return Model(self.tree, Identity(user, groups))

    def open(
        self,
        path: str,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> OpenedFile:
        """A file object like the builtin's. What is written is seen by all at once."""
        return open_model_file(
            lambda kind: self._to_open(path, kind), mode, buffering, encoding, errors, newline
        )

    def _to_open(self, path: str, kind: str) -> Inode:
        """Find or create what is opened."""
        wanted = READ * ("r" in kind or "+" in kind) | WRITE * (kind != "r")
        if kind[0] in "wx":
            return self.create(path, exclusive=kind[0] == "x")
        if kind[0] == "a" and self.walk(path).inode is None:
            return self.create(path)
        return self.find_file(path, wanted)

    # --- whole files -------------------------------------------------------------------------

    def create(self, path: str, *, exclusive: bool = False, mode: int | None = None) -> Inode:
        """Open for writing: an existing file is emptied, a missing one created."""
        place = self.walk(path, follow=not exclusive)
        if place.inode is None:
            anything = 0o666 if place.parent.default else 0o644
            return self.add(place, FileKind.FILE, anything if mode is None else mode)
        if exclusive:
            raise errors.PathExistsError("exists already", path=path)
        inode = self.find_file(path, WRITE)
        inode.data.clear()
        self.written(inode)
        return inode

    def read_bytes(self, path: str) -> bytes:
        """All bytes of a file."""
        return bytes(self.find_file(path, READ).data)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Make ``data`` the content of a new or an existing file."""
        self.create(path).data[:] = data

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file, creating it."""
        inode = self.walk(path).inode
        if inode is None:
            inode = self.create(path)
        self.find_file(path, WRITE).data.extend(data)
        self.written(inode)

    def write_at(self, path: str, offset: int, data: bytes) -> None:
        """Overwrite inside an existing file; a gap before ``offset`` becomes zeros."""
        inode = self.find_file(path, READ | WRITE)
        if data:
            if offset > len(inode.data):
                inode.data.extend(bytes(offset - len(inode.data)))
            inode.data[offset : offset + len(data)] = data
        self.written(inode)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file, or extend it with zeros."""
        if size < 0:
            raise errors.InvalidArgumentError("a size is not negative", path=path)
        inode = self.find_file(path, WRITE)
        del inode.data[size:]
        inode.data.extend(bytes(size - len(inode.data)))
        self.written(inode)

    def concat(self, path: str, sources: list[str]) -> None:
        """Move the content of ``sources`` to the end of ``path`` and remove them."""
        target = self.find_file(path, WRITE)
        places = [self.walk(source, follow=False) for source in sources]
        inodes = [self.find_file(source, READ) for source in sources]
        if target in inodes or len(set(map(id, inodes))) < len(inodes):
            raise errors.InvalidArgumentError("a source occurs twice", path=path)
        if any(len(part.data) % target.block_size for part in [target, *inodes[:-1]]):
            raise errors.InvalidArgumentError("ends inside a block", path=path)
        for place in places:
            self.require_removable(place)
        for place, inode in zip(places, inodes, strict=True):
            target.data.extend(inode.data)
            del place.parent.entries[place.name]

    def written(self, inode: Inode) -> None:
        """What a change of content does to the mode: set-id bits vanish."""
        if not self.is_superuser:
            inode.mode = _without_set_id(inode.mode)

    # --- attributes --------------------------------------------------------------------------

    def stat(self, path: str) -> Inode:
        """The inode, symlinks followed."""
        return self.find(path)

    def lstat(self, path: str) -> Inode:
        """The inode itself."""
        return self.find(path, follow=False)

    def exists(self, path: str) -> bool:
        """Whether stat would succeed."""
        try:
            return self.find(path) is not None
        except (errors.PathNotFoundError, errors.NotDirectoryError, errors.SymlinkLoopError):
            return False

    def chmod(self, path: str, mode: int) -> None:
        """Set the permission bits."""
        inode = self.find(path)
        self.require_owner(inode)
        if not self.is_superuser and inode.group not in self.groups:
            mode &= ~stat.S_ISGID
        inode.mode = mode

    def chown(self, path: str, owner: str | None = None, group: str | None = None) -> None:
        """Superuser: any; owner: to one of the own groups."""
        inode = self.find(path)
        self.require_owner(inode)
        if not self.is_superuser:
            if owner not in (None, inode.owner):
                raise errors.NotPermittedError("only the superuser gives files away", path=path)
            if group not in (None, inode.group, *self.groups):
                raise errors.NotPermittedError("not one of your groups", path=path)
        inode.owner, inode.group = owner or inode.owner, group or inode.group
        if inode.is_file:
            inode.mode = _without_set_id(inode.mode)

    def utime(self, path: str, modified_ns: int, accessed_ns: int) -> None:
        """Set both times."""
        inode = self.find(path)
        self.require_owner(inode)
        inode.modified_ns, inode.accessed_ns = modified_ns, accessed_ns

    def getxattr(self, path: str, name: str) -> bytes:
        """Value of an extended attribute."""
        inode = self.find(path)
        self.require(inode, READ)
        if name not in inode.xattrs:
            raise errors.NoAttributeError(f"no attribute {name}", path=path)
        return inode.xattrs[name]

    def listxattr(self, path: str) -> list[str]:
        """Names of the extended attributes, in order."""
        return sorted(self.find(path).xattrs)

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        """Set an extended attribute."""
        inode = self.find(path)
        self.require(inode, WRITE)
        inode.xattrs[name] = bytes(value)

    def removexattr(self, path: str, name: str) -> None:
        """Remove an extended attribute."""
        inode = self.find(path)
        self.require(inode, WRITE)
        if inode.xattrs.pop(name, None) is None:
            raise errors.NoAttributeError(f"no attribute {name}", path=path)

    # --- directories -------------------------------------------------------------------------

    def mkdir(self, path: str, mode: int | None = None) -> None:
        """Create a directory; what a default list grants, or ``mode``, by default 0o755."""
        place = self.walk(path, follow=False)
        if place.inode is not None:
            raise errors.PathExistsError("exists already", path=path)
        anything = 0o777 if place.parent.default else 0o755
        self.add(place, FileKind.DIRECTORY, anything if mode is None else mode)

    def makedirs(self, path: str, mode: int | None = None) -> None:
        """Create a directory and those above it; existing ones are fine."""
        names = components(path)[::-1]
        prefixes = ["/" + "/".join(names[: depth + 1]) for depth in range(len(names))]
        missing = [prefix for prefix in prefixes if not self.exists(prefix)]
        for prefix in missing:
            self.mkdir(prefix, mode)
        self.find_directory(path)

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, ordered by their bytes."""
        return sorted(self.find_directory(path, READ).entries, key=str.encode)

    def walk_tree(self, path: str = "/") -> Iterator[tuple[str, Inode]]:
        """Every path below ``path`` with its inode, depth first."""
        for name, inode in sorted(self.find_directory(path).entries.items()):
            below = paths.join(path, name)
            yield below, inode
            if inode.is_directory:
                yield from self.walk_tree(below)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        place = self._removal(path)
        assert place.inode is not None
        if not place.inode.is_directory:
            raise errors.NotDirectoryError("not a directory", path=path)
        if place.inode.entries:
            raise errors.DirectoryNotEmptyError("not empty", path=path)
        del place.parent.entries[place.name]

    def rmtree(self, path: str) -> None:
        """Remove a directory and all below it."""
        place = self._removal(path)
        assert place.inode is not None
        if not place.inode.is_directory:
            raise errors.NotDirectoryError("not a directory", path=path)
        for directory in (place.inode, *place.inode.below()):
            self.require_emptiable(directory)
        for inode in place.inode.below():
            inode.names -= 1
        del place.parent.entries[place.name]

    def du(self, path: str = "/") -> ContentSummary:
        """Totals of a subtree, itself included; hard links count once."""
        top = self.find(path)
        inodes = {id(inode): inode for inode in [top, *top.below()]}.values()
        files = [inode for inode in inodes if inode.is_file]
        return ContentSummary(
            sum(len(file.data) for file in files),
            sum(not inode.is_directory for inode in inodes),
            sum(inode.is_directory for inode in inodes),
            sum(len(file.data) * file.replication for file in files),
        )

    # --- names -------------------------------------------------------------------------------

    def remove(self, path: str) -> None:
        """Remove a name of a file or symlink."""
        place = self._removal(path)
        assert place.inode is not None
        if place.inode.is_directory:
            raise errors.IsDirectoryError("is a directory", path=path)
        del place.parent.entries[place.name]
        place.inode.names -= 1

    def symlink(self, target: str, path: str, *, replace: bool = False) -> None:
        """Create a symbolic link at ``path``; with ``replace`` as a rename over it would."""
        if not target:
            raise errors.PathNotFoundError("the text is empty", path=path)
        if len(target.encode()) > limits.SYMLINK_BYTES:
            raise errors.NameTooLongError("the text is too long", path=path)
        place = self._place_of_link(path, replace)
        if place.inode is not None:
            self._make_way(place)
            place = self.walk(path, follow=False)
        self.add(place, FileKind.SYMLINK, 0o777).target = target

    def readlink(self, path: str) -> str:
        """The text of a symbolic link."""
        inode = self.find(path, follow=False)
        if not inode.is_symlink:
            raise errors.InvalidArgumentError("no symbolic link", path=path)
        return inode.target

    def link(self, source: str, path: str, *, replace: bool = False) -> None:
        """Give a file a further name; with ``replace`` as a rename over it would."""
        inode = self.find(source, follow=False)
        place = self._place_of_link(path, replace)
        if place.inode is inode:
            return
        self.require(place.parent, CHANGE)
        if inode.is_directory:
            raise errors.NotPermittedError("a directory has one name", path=source)
        paths.check_name(place.name.encode())
        if place.inode is not None:
            self._make_way(place)
        place.parent.entries[place.name] = inode
        inode.names += 1

    def _place_of_link(self, path: str, replace: bool) -> Resolution:
        place = self.walk(path, follow=False)
        if place.inode is not None and not replace:
            raise errors.PathExistsError("exists already", path=path)
        return place

    def _make_way(self, place: Resolution) -> None:
        """Take a name away for a link of the same name."""
        assert place.inode is not None
        self.require_removable(place)
        if place.inode.is_directory:
            raise errors.IsDirectoryError("is a directory", path=place.name)
        del place.parent.entries[place.name]
        place.inode.names -= 1

    def rename(self, source: str, target: str, *, overwrite: bool = True) -> None:
        """Move a name; with ``overwrite`` onto a file, a directory onto an empty one."""
        new = self.walk(target, follow=False)
        old = self._removal(source)
        assert old.inode is not None
        if not overwrite and new.inode is not None:
            raise errors.PathExistsError("exists already", path=target)
        self._check_no_cycle(old.inode, new.parent)
        self.require(new.parent, CHANGE)
        if new.inode is old.inode:
            return
        if new.inode is not None:
            self._check_replaceable(old, new)
            new.inode.names -= 1
        paths.check_name(new.name.encode())
        del old.parent.entries[old.name]
        new.parent.entries[new.name] = old.inode

    def exchange(self, first: str, second: str) -> None:
        """Swap two names atomically."""
        one, two = self._removal(first), self._removal(second)
        assert one.inode is not None and two.inode is not None
        self._check_no_cycle(one.inode, two.parent)
        self._check_no_cycle(two.inode, one.parent)
        one.parent.entries[one.name] = two.inode
        two.parent.entries[two.name] = one.inode

    def _removal(self, path: str) -> Resolution:
        place = self.walk(path, follow=False)
        if place.inode is None:
            raise errors.PathNotFoundError("no such file or directory", path=path)
        if place.inode is self.tree.root:
            raise errors.InvalidArgumentError("the root stays", path=path)
        self.require_removable(place)
        return place

    def _check_no_cycle(self, moved: Inode, into: Inode) -> None:
        if moved is into or any(inode is into for inode in moved.below()):
            raise errors.InvalidArgumentError("a directory cannot move into itself")

    def _check_replaceable(self, old: Resolution, new: Resolution) -> None:
        assert old.inode is not None and new.inode is not None
        if any(inode is old.parent for inode in [new.inode, *new.inode.below()]):
            raise errors.DirectoryNotEmptyError("not empty", path=new.name)
        if new.inode.is_directory and not old.inode.is_directory:
            raise errors.IsDirectoryError("is a directory", path=new.name)
        if old.inode.is_directory and not new.inode.is_directory:
            raise errors.NotDirectoryError("not a directory", path=new.name)
        if new.inode.entries:
            raise errors.DirectoryNotEmptyError("not empty", path=new.name)
        self.require_removable(new)


def _without_set_id(mode: int) -> int:
    return mode & ~stat.S_ISUID & (~stat.S_ISGID if mode & stat.S_IXGRP else -1)
