"""What the file system says of a file, in the shapes that the standard library uses.

Owns :class:`Stat` (as ``os.stat_result``), :class:`DirEntry` (as ``os.DirEntry``) and the records
for capacity and location. Pure: knows no connection. A :class:`Stat` is a view of the
``Attributes`` that came over the wire; every field is computed only when it is read, because a
stat is answered more often than it is looked at closely.
"""

from __future__ import annotations

import stat as _stat
from typing import NamedTuple

from memfs import paths
from memfs.types import Attributes, FileKind

_TYPE_BITS = {
    FileKind.FILE: _stat.S_IFREG,
    FileKind.DIRECTORY: _stat.S_IFDIR,
    FileKind.SYMLINK: _stat.S_IFLNK,
}
_NANOSECONDS = 1e-9
_SECTOR = 512


class Stat:
    """Result of ``stat``: the ``st_*`` fields of the standard library, and what memfs adds.

    ``attributes`` holds the record as it travelled; two results are equal when those are.
    """

    __slots__ = ("attributes",)

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes

    @property
    def st_mode(self) -> int:
        """Type and permission bits, as ``stat.S_ISDIR`` and friends take them."""
        attributes = self.attributes
        return attributes.mode | _TYPE_BITS[FileKind(attributes.kind)]

    @property
    def st_ino(self) -> int:
        """Inode id: 64 bits, never used again."""
        return self.attributes.inode

    @property
    def st_dev(self) -> int:
        """Always 0: one cluster is one device."""
        return 0

    @property
    def st_nlink(self) -> int:
        """Hard links."""
        return self.attributes.links

    @property
    def st_size(self) -> int:
        """Bytes, as of the last flush of whoever writes it."""
        return self.attributes.size

    @property
    def st_blksize(self) -> int:
        """Bytes of a block, 0 for what is no file."""
        return self.attributes.block_size

    @property
    def st_blocks(self) -> int:
        """Units of 512 bytes, one copy counted."""
        return -(-self.attributes.size // _SECTOR)

    @property
    def st_mtime_ns(self) -> int:
        """Last change of the content, nanoseconds since the epoch."""
        return self.attributes.modified_ns

    @property
    def st_ctime_ns(self) -> int:
        """Last change of content or attributes, nanoseconds since the epoch."""
        return self.attributes.changed_ns

    @property
    def st_atime_ns(self) -> int:
        """Access time: as set by ``utime``, reads do not move it."""
        return self.attributes.accessed_ns

    @property
    def st_mtime(self) -> float:
        """Seconds, see :attr:`st_mtime_ns`."""
        return self.attributes.modified_ns * _NANOSECONDS

    @property
    def st_ctime(self) -> float:
        """Seconds, see :attr:`st_ctime_ns`."""
        return self.attributes.changed_ns * _NANOSECONDS

    @property
    def st_atime(self) -> float:
        """Seconds, see :attr:`st_atime_ns`."""
        return self.attributes.accessed_ns * _NANOSECONDS

    @property
    def owner(self) -> str:
        """Name of the owner (there are no numeric ids)."""
        return self.attributes.owner

    @property
    def group(self) -> str:
        """Name of the group."""
        return self.attributes.group

    @property
    def kind(self) -> FileKind:
        """File, directory or symlink."""
        return FileKind(self.attributes.kind)

    @property
    def replication(self) -> int:
        """Copies wanted of each block."""
        return self.attributes.replication

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self.attributes.block_size

    @property
    def group_blocks(self) -> int:
        """Blocks of a placement group."""
        return self.attributes.group_blocks

    @property
    def children(self) -> int:
        """Entries of a directory."""
        return self.attributes.children

    @property
    def change(self) -> int:
        """Grows with every change of the inode: equal means unchanged."""
        return self.attributes.change

    @property
    def leased(self) -> bool:
        """A writer has it open."""
        return self.attributes.leased

    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.attributes.kind == FileKind.DIRECTORY

    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.attributes.kind == FileKind.FILE

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link (``lstat`` only)."""
        return self.attributes.kind == FileKind.SYMLINK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stat) and self.attributes == other.attributes

    def __hash__(self) -> int:
        return hash(self.attributes)

    def __repr__(self) -> str:
        return (
            f"Stat(st_mode={self.st_mode:#o}, st_size={self.st_size}, "
            f"owner={self.owner!r}, group={self.group!r}, st_ino={self.st_ino:#x})"
        )


class DirEntry:
    """One entry of ``scandir``: name, path and the attributes that came with the listing.

    As ``os.DirEntry``, but nothing here costs another request: a listing carries the attributes.
    They are the entry's own, so those of a symlink describe the link.
    """

    __slots__ = ("_stat", "name", "path")

    def __init__(self, directory: str, name: str, attributes: Attributes) -> None:
        self.name = name
        self.path = paths.join(directory, name)
        self._stat = Stat(attributes)

    def stat(self) -> Stat:
        """Attributes of the entry itself (as ``lstat``)."""
        return self._stat

    def inode(self) -> int:
        """Inode id."""
        return self._stat.st_ino

    def is_dir(self) -> bool:
        """Whether the entry itself is a directory (a symlink to one is none)."""
        return self._stat.is_dir()

    def is_file(self) -> bool:
        """Whether the entry itself is a regular file."""
        return self._stat.is_file()

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self._stat.is_symlink()

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"


class StatVfs(NamedTuple):
    """Result of ``statvfs``: bytes over the live nodes, replicas counted, and counts of inodes."""

    f_bsize: int
    """Default bytes of a block."""
    f_frsize: int
    """Unit of ``f_blocks``, ``f_bfree`` and ``f_bavail``, bytes."""
    f_blocks: int
    f_bfree: int
    f_bavail: int
    f_files: int
    f_namemax: int
    capacity: int
    """Bytes that all nodes may hold."""
    used: int
    """Bytes that they hold."""
    files: int
    directories: int
    replication: int
    """Copies of a new file unless it says otherwise."""


class Usage(NamedTuple):
    """Result of ``du``: totals of a subtree, which the namespace keeps up to date."""

    length: int
    """Bytes of the files, hard links counted once."""
    files: int
    directories: int
    space: int
    """Bytes times wanted replicas."""


class BlockLocation(NamedTuple):
    """One block of a file and the nodes that hold a copy."""

    block: int
    """Its number in the file."""
    offset: int
    """First byte of the file in it."""
    length: int
    nodes: tuple[str, ...]
    """Names of the nodes."""
    hosts: tuple[str, ...]
    """Their addresses, in the same order."""
    members: tuple[int, ...]
    """Their member numbers, in the same order."""
    crc: int
    """CRC32C of the block's stored bytes."""
