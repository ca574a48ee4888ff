"""Mounts of external stores: what is asked and commanded of them, by clients and between nodes.

Opcodes 75-76 and 83-87 are questions, 168-176 and 178 commands; 203-204 are for nodes among
themselves.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, message
from memfs.types import ROOT_INODE, Residence


class MountMode(enum.IntEnum):
    """When the store has what is written below a mount."""

    DUAL_ASYNC = 1
    """Soon after it was acknowledged, which takes the wanted copies in the cluster."""
    DUAL_SYNC = 2
    """Before close and flush are acknowledged."""
    PROXY = 3
    """As DUAL_SYNC, and nothing is kept in the cluster's memory."""


class StoreOption(NamedTuple):
    """One option of a store; never a secret, only where one is found."""

    name: str
    value: str


class MountRecord(NamedTuple):
    """A mount and how it stands."""

    number: int
    path: bytes
    """Where it is now; empty: not reachable for the caller."""
    url: str
    mode: int
    """A :class:`MountMode`."""
    options: tuple[StoreOption, ...]
    read_only: bool
    shared: bool
    policy: str
    ttl_ms: int
    sync_ms: int
    copies: int
    generation: int
    """Grows with every change of the record."""
    dirty_files: int = 0
    """Changes that the store does not have yet, deletions included."""
    oldest_dirty_ns: int = 0
    """Time of the oldest of them; 0: none."""
    trouble: str = ""
    """Why the store could not be reached last; empty: it could."""
    quota: int = 0
    """As of :class:`Mount`."""


@message(168, command=True)
class Mount(NamedTuple):
    """Let a directory show what an external store holds; superuser.

    The directory is made, or is empty. With ``update`` it is a mount already, and what it was
    mounted with is replaced, but for the URL.
    """

    path: bytes
    url: str
    mode: int = MountMode.DUAL_ASYNC
    options: tuple[StoreOption, ...] = ()
    read_only: bool = False
    shared: bool = False
    """Others than the owner may read what is below, by mode bits of what appears there."""
    policy: str = "aged"
    ttl_ms: int = 0
    """Cached blocks that were not read for so long go; 0: when room is needed."""
    sync_ms: int = 60_000
    """What was asked of the store counts for so long; 0: for one request, -1: until told."""
    copies: int = 1
    """Nodes that cache a block."""
    update: bool = False
    quota: int = 0
    """Bytes that its cached blocks may take on all nodes together; 0: as many as fit."""

    @staticmethod
    def reply() -> type[MountRecord]:
        return MountRecord


@message(169, command=True)
class Unmount(NamedTuple):
    """Take a mount away; the store keeps what it has.

    Refused while there are changes that the store lacks, unless they are to be discarded.
    """

    path: bytes
    discard: bool = False

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class KnownObject(NamedTuple):
    """What a store said of one name of a directory."""

    name: bytes
    size: int
    modified_ns: int
    tag: bytes
    """The version; of a directory empty."""
    directory: bool = False


@message(170, command=True, peer=True)
class LearnObjects(NamedTuple):
    """A store's answer: these names are there. The primary's own."""

    mount: int
    generation: int
    directory: int
    """Inode of the directory they are in."""
    objects: tuple[KnownObject, ...]

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(171, command=True, peer=True)
class ForgetObjects(NamedTuple):
    """A store's answer: these names are not there (any more). The primary's own."""

    mount: int
    generation: int
    directory: int
    names: tuple[bytes, ...]

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class ChangeVersion(NamedTuple):
    """One state of a changed file."""

    inode: int
    version: int


@message(172, command=True, peer=True)
class BeginPersist(NamedTuple):
    """The intent to store a changed file: what ``size`` and ``crc`` say is this cluster's doing."""

    inode: int
    version: int
    size: int
    crc: int
    """CRC32C of the whole content."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(173, command=True, peer=True)
class EndPersist(NamedTuple):
    """A changed file or directory is in the store, under this tag."""

    inode: int
    version: int
    tag: bytes
    modified_ns: int
    base_only: bool = False
    """Only what the store has is told anew: the change is still to be stored."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(174, command=True, peer=True)
class SetAside(NamedTuple):
    """A file whose object was changed by others is in the store under another name: keep both."""

    inode: int
    version: int
    name: bytes
    tag: bytes

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(175, command=True, peer=True)
class BuryObject(NamedTuple):
    """What was deleted here is gone from the store too."""

    mount: int
    key: bytes
    version: int

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(176, command=True, peer=True)
class EvictFiles(NamedTuple):
    """Give up the cluster's copies of files that the store has; others are left alone."""

    files: tuple[ChangeVersion, ...]
    """With the ``change`` of each inode: what has changed since stays."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class MountsReply(NamedTuple):
    """All mounts, or one page of them, ordered by number."""

    mounts: tuple[MountRecord, ...]
    more: bool = False


@message(75)
class ListMounts(NamedTuple):
    """What is mounted where. URLs and options hold no secrets."""

    after: int = 0
    fresh: bool = False
    """Ask the stores of the page before, if that was not done a moment ago: the answer may wait."""

    @staticmethod
    def reply() -> type[MountsReply]:
        return MountsReply


class ObjectVersion(NamedTuple):
    """One content of a file that a store has."""

    inode: int
    sequence: int


class ObjectPlace(NamedTuple):
    """Where a node finds the content."""

    code: int
    """0, or an error code: it is not the file's content (any more)."""
    mount: int = 0
    generation: int = 0
    key: str = ""
    tag: bytes = b""
    size: int = 0
    block_size: int = 0
    group_blocks: int = 0
    pinned_until_ns: int | None = None
    """Its blocks stay until then, 0: for ever; None: they are not pinned."""


class ObjectPlaces(NamedTuple):
    """Answers in order; may be fewer than asked."""

    places: tuple[ObjectPlace, ...]


@message(76, peer=True)
class DescribeObjects(NamedTuple):
    """What a node that was asked for blocks must know to fetch them."""

    objects: tuple[ObjectVersion, ...]

    @staticmethod
    def reply() -> type[ObjectPlaces]:
        return ObjectPlaces


@message(203, peer=True)
class TellObjects(NamedTuple):
    """The primary's word on files of which the receiver may have cached blocks."""

    inodes: tuple[int, ...]
    drop: bool = False
    """Forget the blocks."""
    pinned_until_ns: int | None = None
    """As of :class:`ObjectPlace`."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class CachedReply(NamedTuple):
    """Bytes that a node has of each, in the order of the request."""

    sizes: tuple[int, ...]


@message(204, peer=True)
class CountCached(NamedTuple):
    """How much of what stores have the receiver holds in its cache."""

    objects: tuple[ObjectVersion, ...]

    @staticmethod
    def reply() -> type[CachedReply]:
        return CachedReply


class ResidenceReply(NamedTuple):
    """In the order of the request."""

    files: tuple[Residence, ...]


@message(86)
class GetResidence(NamedTuple):
    """How much of files below mounts is in memory, of those that the caller can reach.

    At most ``limits.OBJECTS_PER_QUESTION``.
    """

    inodes: tuple[int, ...]

    @staticmethod
    def reply() -> type[ResidenceReply]:
        return ResidenceReply


class StoreReport(NamedTuple):
    """What came of a request for a whole tree."""

    files: int
    failed: int = 0
    reason: str = ""
    """Why the first of them failed."""
    size: int = 0
    """Bytes of the files."""


@message(83)
class SyncMetadata(NamedTuple):
    """Ask the store anew about all that is known below a path."""

    path: bytes
    base: int = ROOT_INODE
    recursive: bool = True

    @staticmethod
    def reply() -> type[StoreReport]:
        return StoreReport


@message(84)
class PersistFiles(NamedTuple):
    """Return when the store has what was changed below a path."""

    path: bytes
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[StoreReport]:
        return StoreReport


@message(85)
class FreeFiles(NamedTuple):
    """Give up the memory of what the store has too, below a path."""

    path: bytes
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[StoreReport]:
        return StoreReport


@message(178, command=True)
class Pin(NamedTuple):
    """Keep what is in memory of a file, or of all below a directory, for a time."""

    path: bytes
    ttl_ms: int = 0
    """0: until it is unpinned."""
    unpin: bool = False
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[Empty]:
        return Empty
