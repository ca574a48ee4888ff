"""The nouns that every layer shares: plain, immutable records without behaviour.

They are named tuples because a named tuple *is* the msgpack array that travels on the wire.
Fields are only ever appended, always with a default. Sizes are bytes, times nanoseconds since
the epoch, modes permission bits without the file type (0..0o7777).
"""

from __future__ import annotations

import enum
import stat
from typing import IO, Any, NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Contiguous bytes in memory."""
OpenedFile: TypeAlias = IO[Any]
"""What the builtin ``open`` returns: of text or bytes, as the mode says."""
Untyped: TypeAlias = Any
"""An object of a library that has no types."""
Json: TypeAlias = Any
"""A document as ``json.loads`` returns it: whoever gets one checks what it needs."""
Packed: TypeAlias = Any
"""A value as msgpack returns it, for a class that has checked it or will."""

ROOT_INODE = 1
"""Inode id of ``/``."""


class FileKind(enum.IntEnum):
    """What an inode is."""

    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2
    FIFO = 5
    CHARACTER_DEVICE = 6
    BLOCK_DEVICE = 7
    SOCKET = 8

    @property
    def type_bits(self) -> int:
        """``S_IFREG`` and its like, which ``stat`` adds to the permission bits."""
        return _TYPE_BITS[self]

    @property
    def special(self) -> bool:
        """Is it one that only a mount gives a meaning: a FIFO, a device, a socket?"""
        return self >= FileKind.FIFO


_TYPE_BITS = {
    FileKind.FILE: stat.S_IFREG,
    FileKind.DIRECTORY: stat.S_IFDIR,
    FileKind.SYMLINK: stat.S_IFLNK,
    FileKind.FIFO: stat.S_IFIFO,
    FileKind.CHARACTER_DEVICE: stat.S_IFCHR,
    FileKind.BLOCK_DEVICE: stat.S_IFBLK,
    FileKind.SOCKET: stat.S_IFSOCK,
}
KIND_OF_TYPE = {bits: kind for kind, bits in _TYPE_BITS.items()}
"""What an inode is, by the type bits of its ``st_mode`` (``stat.S_IFMT``)."""


class ObjectState(enum.IntEnum):
    """How a file or directory below a mount stands to its external store."""

    CLEAN = 1
    """The content is the store's: nodes fetch and cache it."""
    PERSISTED = 2
    """The store and the cluster have the same content."""
    DIRTY = 3
    """The store lacks the last change."""
    PERSISTING = 4
    """As DIRTY, and it is on its way to the store."""


class Residence(NamedTuple):
    """How a file below a mount stands to its store, and how much of it is in memory."""

    state: int
    """An :class:`ObjectState`; 0: it is below no mount, or is no more."""
    size: int = 0
    """Bytes of the file; 0 for a directory."""
    in_memory: int = 0
    """Of these, how many the nodes have."""

    @property
    def name(self) -> str:
        """``PERSISTED``, ``NOT_LOADED``, ``DIRTY``, ``PERSISTING``; empty: below no mount.

        ``NOT_LOADED``: the store has it, and no node has any of its bytes.
        """
        if self.state == ObjectState.CLEAN:
            return "PERSISTED" if self.in_memory or not self.size else "NOT_LOADED"
        return ObjectState(self.state).name if self.state else ""

    @property
    def percent(self) -> int:
        """Of its bytes in memory, rounded down; 100 of an empty one."""
        return self.in_memory * 100 // self.size if self.size else 100


class Identity(NamedTuple):
    """On whose behalf a request is made."""

    user: str
    groups: tuple[str, ...] = ()
    parents_group: bool = False
    """What they make gets its directory's group (HDFS); else as the cluster's rule is."""


class Attributes(NamedTuple):
    """What ``stat`` knows of an inode."""

    inode: int
    """64-bit id, never reused."""
    kind: int
    """A :class:`FileKind`."""
    mode: int
    """Permission bits, 0..0o7777."""
    links: int
    """Hard links of a file; 2 + subdirectories of a directory."""
    owner: str
    group: str
    size: int
    """Bytes of a file as of its last flush; length of a symlink's target; 0 for a directory."""
    modified_ns: int
    changed_ns: int
    accessed_ns: int
    block_size: int
    """Bytes of a block (0 for what is no file)."""
    group_blocks: int
    """Blocks of a placement group (0 for what is no file)."""
    replication: int
    """Copies wanted of each block (0 for what is no file)."""
    generation: int
    """Lease generation: grows with every writer."""
    change: int
    """Log index of the last command that changed the inode: equal means unchanged."""
    children: int = 0
    """Entries of a directory."""
    leased: bool = False
    """A writer has the file open: it is under construction."""
    acl: bool = False
    """It has an access control list: the group bits of ``mode`` are its mask."""
    device: int = 0
    """Of a device, its number as Linux has it in 32 bits (``st_rdev`` of its first 4096 minors)."""
    object_state: int = 0
    """An :class:`ObjectState`; 0: it is below no mount, or its store was never told of it."""

    @property
    def is_bare(self) -> bool:
        """Inode and kind are all that is told: who lists a directory may not search it."""
        return not self.links and not self.owner


class AclKind(enum.IntEnum):
    """Whom an entry of an access control list is about; in the order in which they are listed."""

    USER = 0
    """The owner, or the user named."""
    GROUP = 1
    """The file's group, or the group named."""
    MASK = 2
    """The most that named users and all groups get."""
    OTHER = 3


class AclEntry(NamedTuple):
    """One entry of an access control list (POSIX.1e)."""

    kind: int
    """An :class:`AclKind`."""
    name: str
    """Of the user or group; empty: the owner, the file's group."""
    permission: int
    """Of read 4, write 2 and execute 1."""
    default: bool = False
    """For what is made in the directory, not for the directory itself."""


class RenameMode(enum.IntEnum):
    """What rename does when the target exists."""

    REPLACE = 0
    """POSIX: replaces a file, or an empty directory by a directory."""
    KEEP = 1
    """Fails with PathExistsError (RENAME_NOREPLACE)."""
    EXCHANGE = 2
    """Swaps the two atomically (RENAME_EXCHANGE)."""


class XattrMode(enum.IntEnum):
    """setxattr flags."""

    SET = 0
    CREATE = 1
    REPLACE = 2


LOCK_END = (1 << 63) - 1
"""As the last byte of a locked range: whatever may follow (``OFFSET_MAX`` of Linux)."""


class LockKind(enum.IntEnum):
    """Locks of one kind do not meet those of the other."""

    RANGE = 0
    """Of bytes, owned by a process or what it calls so (fcntl); they are split and merged."""
    WHOLE = 1
    """Of the whole file, owned by an open file (flock)."""


class BlockVersion(NamedTuple):
    """The identity of a block version."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int


class BlockRef(NamedTuple):
    """One immutable block version and where its copies are.

    ``(inode, index, generation, sequence)`` is the version's identity. ``length`` may be shorter
    than the block: the rest reads as zeros. A hole has ``length`` 0 and no replicas.
    """

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    length: int
    crc: int
    """CRC32C of the ``length`` bytes."""
    replicas: tuple[int, ...]
    """Member numbers of the nodes that hold it."""

    @property
    def version(self) -> BlockVersion:
        """Which version it is."""
        return BlockVersion(*self[:4])


WholeBlock: TypeAlias = tuple[int, int, int, int, int, tuple[int, ...]]
"""inode, generation, sequence, length, CRC and replicas of block 0, where it is all of a file: a
plain tuple, since batches have hundreds. Length 0: the file is empty; -1: it is no such file."""


class DirectoryEntry(NamedTuple):
    """One name of a directory, with the attributes of what it names."""

    name: bytes
    attributes: Attributes


class ContentSummary(NamedTuple):
    """Totals of a subtree, the directory itself included. Kept incrementally: O(1) to read."""

    length: int
    """Bytes of the files, hard links counted once."""
    files: int
    """Files and symlinks."""
    directories: int
    space: int
    """Bytes times wanted replicas."""


class Member(NamedTuple):
    """One incarnation of a node: a restarted node is a new member with a new number.

    One that holds what it held (it was taken for dead, or has a journal) comes back under its own.
    """

    number: int
    """Assigned at join, never reused; block replicas are lists of these."""
    name: str
    incarnation: int
    """Random 63-bit id drawn at process start."""
    host: str
    """Address that clients and other nodes connect to."""
    port: int
    socket: str = ""
    """Path of the unix socket for clients on the same host (``PATH.fd`` passes descriptors);
    empty: none."""
    machine: str = ""
    """Identifies the host (boot id): a client with the same one tries ``socket``."""
    weight: int = 100
    """Share of the ring relative to the others, 0 (holds nothing new) to 10,000."""
    domain: str = ""
    """Failure domain ``rack/host``: copies of a block lie in different ones where possible."""
    monitoring_port: int = 0
    leaving: bool = False
    """Being decommissioned: it gets nothing new, whatever its weight, and goes when it is empty."""


class View(NamedTuple):
    """The one record of the cluster's configuration, changed only by compare-and-swap."""

    cluster: str
    """Id of the cluster, random, fixed when it was formed."""
    epoch: int
    """Grows by one with every change."""
    primary: int
    """Member number of the namespace's primary."""
    in_sync: tuple[int, ...]
    """Member numbers that hold every acknowledged namespace command, the primary included."""
    members: tuple[Member, ...]
    """Ring members, ordered by number."""
    next_number: int = 1
    """The member number that the next join gets."""
    primary_since: int = 1
    """Epoch in which this primary took over: messages of an earlier one are a former primary's."""
    min_in_sync: int = 1
    """Commands are acknowledged only while so many members are in sync (MinInSync)."""
    journaled: bool = False
    """Acknowledged means on the disks of all who hold it (``ack = journal``)."""


class NodeUsage(NamedTuple):
    """What a node says of itself with each heartbeat."""

    member: int
    used: int
    """Bytes charged against ``limit``, reservations included."""
    limit: int
    blocks: int
    """Block versions held."""
    applied: int = 0
    """Namespace log index applied."""
    digest: int = 0
    """Rolling digest of the namespace at ``applied``."""
    trouble: str = ""
    """What hinders it, in words; empty: nothing."""
    overhead: int = 0
    """Bytes of ``used`` that are not blocks' own: records, index, namespace, buffers."""
    spare: int = 0
    """Bytes of what was deleted that are kept for what comes."""
    resident: int = 0
    """Bytes that the process and its shared memory take, as the kernel says; 0: not known."""
    container: int = 0
    """Bytes that its container holds and cannot give back."""
    container_limit: int = 0
    """Bytes that its container may hold; 0: not bounded."""
    cached: int = 0
    """Bytes of ``used`` that external stores have too: they give way to anything else."""
