"""Commands on the content of files: create, lease, commit, concatenate."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.reads import LookupReply
from memfs.protocol.messages.registry import message
from memfs.types import ROOT_INODE, Attributes, BlockRef


class FileVersion(NamedTuple):
    """A file as it was seen."""

    inode: int
    change: int


class LeaseReply(NamedTuple):
    """A writer's lease, and the file's last block for appends."""

    attributes: Attributes
    """Its ``generation`` is the lease's."""
    last: BlockRef | None = None
    most: int = -1
    """Bytes up to which the quotas above let the file grow, as they are now; -1: there is none."""
    capability: bytes = b""
    """For writing, and for reading where the caller may."""
    also_changed: tuple[Attributes, ...] = ()
    """As in :class:`MadeReply`."""


@message(128, command=True)
class Create(NamedTuple):
    """Create a file, or open an existing one emptied, under a lease of the caller."""

    path: bytes
    mode: int = 0o644
    exclusive: bool = False
    """Fail if it exists."""
    parents: bool = False
    """Create missing directories, mode 0o755."""
    replication: int = 0
    """0: the cluster's default; likewise the next two."""
    block_size: int = 0
    group_blocks: int = 0
    base: int = ROOT_INODE
    unmasked: int | None = None
    """Mode before any umask, which counts where the directory has a default ACL; None: mode."""
    holder: str = ""
    """What runs where, for whoever finds the file held."""
    owner: str = ""
    """The owner, where the superuser creates it for another user; likewise ``group``."""
    group: str = ""

    @staticmethod
    def reply() -> type[LeaseReply]:
        return LeaseReply


@message(150, command=True)
class CreateUnnamed(NamedTuple):
    """Create a file without a name, under a lease of the caller, as O_TMPFILE does.

    It goes when nobody has it open any more, unless MakeLink has given it a name.
    """

    path: bytes
    """The directory as if in which it is made."""
    base: int = ROOT_INODE
    linkable: bool = True
    """MakeLink may name it."""
    mode: int = 0o600
    unmasked: int | None = None
    """As of :class:`Create`, and so are the others."""
    replication: int = 0
    block_size: int = 0
    group_blocks: int = 0
    holder: str = ""
    owner: str = ""
    group: str = ""

    @staticmethod
    def reply() -> type[LeaseReply]:
        return LeaseReply


@message(129, command=True)
class AcquireLease(NamedTuple):
    """Open an existing file for writing. ``steal`` first ends another writer's lease."""

    path: bytes
    steal: bool = False
    base: int = ROOT_INODE
    holder: str = ""
    """What runs where, for whoever finds the file held."""

    @staticmethod
    def reply() -> type[LeaseReply]:
        return LeaseReply


@message(130, command=True)
class ReleaseLease(NamedTuple):
    """Give a lease back; what was not committed is forgotten."""

    inode: int
    generation: int
    withdrawn: tuple[BlockRef, ...] = ()
    """As of :class:`Commit`."""

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


@message(131, command=True)
class Commit(NamedTuple):
    """Publish blocks and length of a leased file: flush, close, truncate, append in one.

    ``blocks`` replace those of the same index; blocks wholly beyond ``size`` are dropped. A block
    that straddles ``size`` must have been replaced by one that does not.
    """

    inode: int
    generation: int
    size: int
    blocks: tuple[BlockRef, ...] = ()
    release: bool = False
    modified_ns: int | None = None
    """None: now."""
    withdrawn: tuple[BlockRef, ...] = ()
    """Versions of the lease that were stored and will not be published: nodes forget them."""

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


@message(143, command=True)
class Concat(NamedTuple):
    """Move the blocks of ``sources`` to the end of ``path`` and remove them (HDFS concat).

    Same block size everywhere; each file but the last must end on a block boundary.
    """

    path: bytes
    sources: tuple[bytes, ...]
    copied: tuple[FileVersion, ...] = ()
    """The caller, who has ``path`` leased, has copied these versions of the sources: only
    remove them, all or none. StaleHandleError when one of them is not what it was."""

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply
