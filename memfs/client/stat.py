"""What the file system says of a file, in the shapes that the standard library uses.

Owns :class:`Stat` (as ``os.stat_result``), :class:`DirEntry` (as ``os.DirEntry``) and the records
for capacity and location. Pure: knows no connection. A :class:`Stat` is a view of the
``Attributes`` that came over the wire; every field is computed only when it is read, because a
stat is answered more often than it is looked at closely.
"""

from __future__ import annotations

import functools
import grp
import math
import pwd
from collections.abc import Iterator
from typing import Any, NamedTuple, SupportsIndex, overload

from memfs import paths
from memfs.client.calls.wire import ClusterPath
from memfs.errors import AccessDeniedError, InvalidArgumentError
from memfs.limits import TIME_NS_MAX, TIME_NS_MIN
from memfs.types import Attributes, ContentSummary, DirectoryEntry, FileKind

_SECTOR = 512
NOBODY = 65534
"""Numeric id of a name that this host does not know, as the kernel shows ids of elsewhere."""


def seconds(nanoseconds: int) -> float:
    """As ``os.stat`` makes them: whole seconds are exact."""
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return whole + 1e-9 * rest


def nanoseconds(seconds: float) -> int:
    """As ``os.utime`` reads them: 1700000000.25 is exact, the rest is rounded down."""
    whole = math.floor(seconds)
    return whole * 1_000_000_000 + math.floor((seconds - whole) * 1e9)


def nearest_time_ns(nanoseconds: int) -> int:
    """A time as the cluster keeps it, as on Linux for file systems with a narrow range."""
    return max(TIME_NS_MIN, min(nanoseconds, TIME_NS_MAX))


@functools.lru_cache(maxsize=1024)
def user_number(name: str) -> int:
    """The host's number of a user's name, :data:`NOBODY` when it has none."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return int(name) if name.isascii() and name.isdigit() else NOBODY


@functools.lru_cache(maxsize=1024)
def group_number(name: str) -> int:
    """The host's number of a group's name, :data:`NOBODY` when it has none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isascii() and name.isdigit() else NOBODY


class _Stored(NamedTuple):
    """What lies in the memory of a :class:`Stat`."""

    attributes: Attributes


class Stat(tuple[int, ...]):
    """Result of ``stat``: the ``st_*`` fields of the standard library, and what memfs adds.

    A tuple of the ten numbers of an ``os.stat_result`` to whoever indexes, unpacks or compares it
    (``stat.ST_SIZE``); as there, two results are equal when those numbers are, which know whole
    seconds only (:attr:`change` tells versions apart). They are made when they are asked for:
    stored is ``attributes`` alone, the record as it travelled.
    """

    __slots__ = ()
    __match_args__ = (
        *("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size"),
        *("st_atime", "st_mtime", "st_ctime"),
    )

    attributes: Attributes = _Stored.attributes
    """The record as it travelled."""

    def __new__(cls, attributes: Attributes) -> Stat:
        return tuple.__new__(cls, (attributes,))

    def __reduce__(self) -> tuple[object, ...]:
        return Stat, (self.attributes,)

    @property
    def st_mode(self) -> int:
        """Type and permission bits, as ``stat.S_ISDIR`` and friends take them."""
        attributes = self.attributes
        return attributes.mode | FileKind(attributes.kind).type_bits

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
    def st_rdev(self) -> int:
        """Number of a device, else 0; ``os.major`` and ``os.minor`` take it apart."""
        return self.attributes.device

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
        return seconds(self.attributes.modified_ns)

    @property
    def st_ctime(self) -> float:
        """Seconds, see :attr:`st_ctime_ns`."""
        return seconds(self.attributes.changed_ns)

    @property
    def st_atime(self) -> float:
        """Seconds, see :attr:`st_atime_ns`."""
        return seconds(self.attributes.accessed_ns)

    @property
    def st_uid(self) -> int:
        """The owner's number on this host, 65534 where it does not know the name."""
        return user_number(self.attributes.owner)

    @property
    def st_gid(self) -> int:
        """The group's number on this host, 65534 where it does not know the name."""
        return group_number(self.attributes.group)

    @property
    def owner(self) -> str:
        """Name of the owner: what the cluster knows people by."""
        return self.attributes.owner

    @property
    def group(self) -> str:
        """Name of the group."""
        return self.attributes.group

    @property
    def kind(self) -> FileKind:
        """File, directory, symlink, or special file."""
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

    def _numbers(self) -> tuple[int, ...]:
        times = (self.st_atime_ns, self.st_mtime_ns, self.st_ctime_ns)
        return (
            *(self.st_mode, self.st_ino, self.st_dev, self.st_nlink),
            *(self.st_uid, self.st_gid, self.st_size),
            *(each // 1_000_000_000 for each in times),
        )

    # --- a tuple's own methods would see what is stored -----------------------------------------

    def __len__(self) -> int:
        return 10

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[int, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> int | tuple[int, ...]:
        return self._numbers()[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers())

    def __contains__(self, number: object) -> bool:
        return number in self._numbers()

    def index(self, number: int, *bounds: SupportsIndex) -> int:
        """Where ``number`` comes first. Raises ValueError."""
        return self._numbers().index(number, *bounds)

    def count(self, number: int) -> int:
        """How often ``number`` is there."""
        return self._numbers().count(number)

    def __add__(self, other: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self) + other

    def __radd__(self, other: tuple[Any, ...]) -> tuple[Any, ...]:
        return other + self._numbers()

    def __mul__(self, times: SupportsIndex) -> tuple[int, ...]:
        return self._numbers() * times

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and self._numbers() == _plain(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: tuple[int, ...]) -> bool:
        return self._numbers() < _plain(other)

    def __le__(self, other: tuple[int, ...]) -> bool:
        return self._numbers() <= _plain(other)

    def __gt__(self, other: tuple[int, ...]) -> bool:
        return self._numbers() > _plain(other)

    def __ge__(self, other: tuple[int, ...]) -> bool:
        return self._numbers() >= _plain(other)

    def __hash__(self) -> int:
        return hash(self._numbers())

    def __repr__(self) -> str:
        return (
            f"Stat(st_mode={self.st_mode:#o}, st_size={self.st_size}, "
            f"owner={self.owner!r}, group={self.group!r}, st_ino={self.st_ino:#x})"
        )


def _plain(other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(other) if isinstance(other, Stat) else other


def known(stat: Stat, path: str) -> Stat:
    """``stat`` of a listed entry; AccessDeniedError when its attributes were not told."""
    if stat.attributes.is_bare:
        raise AccessDeniedError("no search permission on the directory that lists it", path=path)
    return stat


class DirEntry(ClusterPath):
    """One entry of a listing: name, path and the attributes that came with it.

    As ``os.DirEntry``, but nothing here costs another request. The attributes are the entry's own:
    those of a symlink describe the link, and what it leads to must be asked for. Who may read the
    directory and not search it learns names, kinds and inodes, no more.
    """

    __slots__ = ("_stat", "name", "path")

    def __init__(self, directory: str, name: str, attributes: Attributes) -> None:
        self.name = name
        self.path = paths.join(directory, name)
        self._stat = Stat(attributes)

    def stat(self, *, follow_symlinks: bool = False) -> Stat:
        """Attributes of the entry itself (as ``lstat``).

        Raises InvalidArgumentError when a symlink is to be followed, which takes a request, and
        AccessDeniedError when the directory may be read and not searched.
        """
        return known(self._listed(follow_symlinks), self.path)

    @property
    def listed(self) -> Stat:
        """What the listing told, be it no more than kind and inode."""
        return self._stat

    def _listed(self, follow_symlinks: bool) -> Stat:
        if follow_symlinks and self._stat.is_symlink():
            raise InvalidArgumentError("what a symlink leads to: ask fs.stat()", path=self.path)
        return self._stat

    def inode(self) -> int:
        """Inode id."""
        return self._stat.st_ino

    def is_dir(self, *, follow_symlinks: bool = False) -> bool:
        """Whether the entry itself is a directory (a symlink to one is none)."""
        return self._listed(follow_symlinks).is_dir()

    def is_file(self, *, follow_symlinks: bool = False) -> bool:
        """Whether the entry itself is a regular file."""
        return self._listed(follow_symlinks).is_file()

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self._stat.is_symlink()

    def is_junction(self) -> bool:
        """Always false."""
        return False

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


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


class DirectoryPage(NamedTuple):
    """Part of a listing, ordered by the bytes of the names."""

    entries: tuple[DirectoryEntry, ...]
    """A file lists itself, under an empty name."""
    remaining: int
    """Entries behind the last one."""
    names: tuple[bytes, ...] = ()
    """In place of ``entries``, where nothing but names was asked for."""


class Usage(NamedTuple):
    """Result of ``du``: totals of a subtree, which the namespace keeps up to date."""

    length: int
    """Bytes of the files, hard links counted once."""
    files: int
    directories: int
    space: int
    """Bytes times wanted replicas."""


class TreeSummary(NamedTuple):
    """Totals of a subtree, and the quotas of its top; -1: no quota."""

    totals: ContentSummary
    names_quota: int
    space_quota: int
    """Bytes, replicas counted."""


class BlockLocation(NamedTuple):
    """One block of a file and the nodes that hold a copy; or a hole, however long."""

    block: int
    """Its number in the file; a hole's first."""
    offset: int
    """First byte of the file in it."""
    length: int
    """Bytes of the file in it."""
    nodes: tuple[str, ...]
    """Names of the nodes."""
    hosts: tuple[str, ...]
    """Their addresses, in the same order."""
    members: tuple[int, ...]
    """Their member numbers, in the same order."""
    crc: int
    """CRC32C of the block's stored bytes."""
    hole: bool = False
    """Nothing is stored: it reads as zeros."""
