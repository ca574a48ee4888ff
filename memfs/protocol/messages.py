"""Every message of the protocol: a request beside its reply, declared once.

A message is a named tuple (its fields are the msgpack array, in order) registered under an opcode
that is never reused. The decorator says how it is carried: over the ``bulk`` connection or the
``control`` one; as a ``command``, which the primary puts into the replicated log; only between
nodes (``peer``). Types are those of ``memfs.types``; every ``path`` is UTF-8 bytes relative to the
directory inode ``base`` (``ROOT_INODE`` for absolute paths), and empty for ``base`` itself.

Opcodes: 1-31 session, 32-63 cluster, 64-127 namespace reads, 128-191 namespace commands,
192-223 blocks, 224-255 coordinator.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from memfs.types import (
    ROOT_INODE,
    Attributes,
    BlockRef,
    ContentSummary,
    DirectoryEntry,
    Identity,
    Member,
    NodeUsage,
    View,
)

C = TypeVar("C", bound=type)


class Lane(enum.Enum):
    """Which connection of a pair carries a message: control never queues behind bulk."""

    CONTROL = "control"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Spec:
    """How one request is carried and answered."""

    opcode: int
    request: type[Any]
    reply: type[Any]
    lane: Lane
    command: bool
    peer: bool


BY_OPCODE: dict[int, Spec] = {}
BY_REQUEST: dict[type, Spec] = {}


def message(
    opcode: int,
    reply: type[Any],
    *,
    lane: Lane = Lane.CONTROL,
    command: bool = False,
    peer: bool = False,
) -> Callable[[C], C]:
    """Register a request class under ``opcode`` with the class of its reply."""

    def register(cls: C) -> C:
        assert opcode not in BY_OPCODE, f"opcode {opcode} is used twice"
        spec = Spec(opcode, cls, reply, lane, command, peer)
        BY_OPCODE[opcode] = BY_REQUEST[cls] = spec
        return cls

    return register


class Empty(NamedTuple):
    """A reply that says nothing but "done"."""


class ErrorReply(NamedTuple):
    """The answer to any request that failed."""

    code: int
    """``memfs.errors`` code."""
    message: str
    path: str = ""


# --- session ---------------------------------------------------------------------------------


class Role(enum.IntEnum):
    """What a connection is for; a node accepts ``peer`` messages from nodes only."""

    CLIENT = 0
    NODE = 1


class Welcome(NamedTuple):
    """Answer to the handshake: who the node is and what it knows."""

    version: int
    cluster: str
    name: str
    incarnation: int
    member: int
    """Its member number, 0 while it has not joined."""
    view: View | None
    machine: str = ""


@message(1, Welcome)
class Hello(NamedTuple):
    """The first frame of every connection."""

    version_min: int
    version_max: int
    cluster: str
    """Empty: any cluster."""
    role: int
    client: int
    """Random 63-bit id of the client process: the owner of its leases and of deduplication."""
    identity: Identity
    lane: str = "control"
    member: int = 0
    """A node's member number; it must be of the view."""
    incarnation: int = 0
    authentication: bytes = b""


@message(2, Empty)
class Ping(NamedTuple):
    """Proof of life; also keeps the client's session and its leases."""


@message(3, Empty)
class Cancel(NamedTuple):
    """Stop working on a request of this connection. It is not answered; the request may be."""

    request_id: int


@message(4, Empty)
class Goodbye(NamedTuple):
    """The client ends its session: its leases are released at once."""


# --- cluster ---------------------------------------------------------------------------------


class ViewReply(NamedTuple):
    """The newest view a node knows."""

    view: View


@message(32, ViewReply)
class GetView(NamedTuple):
    """Ask any node for its view."""


class NodeStatus(NamedTuple):
    """One member as the primary sees it."""

    member: Member
    usage: NodeUsage
    alive: bool
    in_sync: bool
    heartbeat_ms: int
    """Milliseconds since its last heartbeat."""


class StatusReply(NamedTuple):
    """What ``memfs cluster status`` shows."""

    view: View
    log_index: int
    committed: int
    nodes: tuple[NodeStatus, ...]
    files: int
    directories: int
    bytes: int
    sessions: int
    reclaiming: int
    """Inodes of deleted trees still to be freed."""


@message(33, StatusReply)
class GetStatus(NamedTuple):
    """Ask the primary for the cluster's state."""


@message(34, ViewReply, peer=True)
class Join(NamedTuple):
    """A node asks the primary to become a member (its ``number`` is 0)."""

    member: Member


@message(35, ViewReply, peer=True)
class Heartbeat(NamedTuple):
    """A member tells the primary that it lives and how full it is."""

    usage: NodeUsage


@message(36, Empty, peer=True)
class Leave(NamedTuple):
    """A member asks the primary to be taken out of the view."""

    member: int


class ReplicateReply(NamedTuple):
    """How far a backup has applied the log."""

    applied: int
    digest: int


@message(37, ReplicateReply, peer=True)
class Replicate(NamedTuple):
    """Log entries for a backup, packed in the payload (``memfs.node.log``)."""

    first: int
    """Index of the first entry."""
    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs
    committed: int


@message(38, ReplicateReply, lane=Lane.BULK, peer=True)
class InstallSnapshot(NamedTuple):
    """One piece of a namespace snapshot; the payload holds its bytes."""

    snapshot: int
    """Log index that the snapshot includes."""
    offset: int
    last: bool


@message(39, Empty, peer=True)
class NewView(NamedTuple):
    """The primary tells a member of a new view."""

    view: View


# --- namespace: reads ------------------------------------------------------------------------


class LookupReply(NamedTuple):
    """Attributes of one inode."""

    attributes: Attributes


@message(64, LookupReply)
class Lookup(NamedTuple):
    """stat (``follow``) or lstat."""

    path: bytes
    follow: bool = True
    base: int = ROOT_INODE


class BlocksReply(NamedTuple):
    """A page of a file's block map: refs of blocks ``first``, ``first + 1``, ..."""

    attributes: Attributes
    first: int
    blocks: tuple[BlockRef, ...]


@message(65, BlocksReply)
class GetBlocks(NamedTuple):
    """Open for reading: needs read permission. At most ``limits.BLOCKS_PER_RECORD`` come back."""

    path: bytes
    first: int = 0
    count: int = 700  # type: ignore[assignment]
    base: int = ROOT_INODE


class FileReply(NamedTuple):
    """One file of a :class:`ReadFiles`: an error, or attributes with either data or blocks."""

    code: int
    """0, or the error's code."""
    message: str
    attributes: Attributes | None = None
    length: int = -1
    """Bytes of this file in the payload (its parts follow one another), -1: fetch the blocks."""
    crc: int = 0
    blocks: tuple[BlockRef, ...] = ()


class ReadFilesReply(NamedTuple):
    """Answers in the order of the paths; may be fewer: ask again for the rest."""

    files: tuple[FileReply, ...]


@message(66, ReadFilesReply, lane=Lane.BULK)
class ReadFiles(NamedTuple):
    """Many small files at once; what the primary holds itself comes in the payload."""

    paths: tuple[bytes, ...]
    inline: int
    """Largest file to send inline, bytes."""


class ListReply(NamedTuple):
    """A page of a directory, ordered by name's bytes."""

    entries: tuple[DirectoryEntry, ...]
    remaining: int
    """Entries after this page."""


@message(67, ListReply)
class List(NamedTuple):
    """List a directory (or a file: one entry with an empty name) after a name."""

    path: bytes
    after: bytes = b""
    limit: int = 1000
    base: int = ROOT_INODE


class ReadLinkReply(NamedTuple):
    """The text of a symlink."""

    target: bytes


@message(68, ReadLinkReply)
class ReadLink(NamedTuple):
    """readlink."""

    path: bytes
    base: int = ROOT_INODE


class Xattr(NamedTuple):
    """One extended attribute."""

    name: str
    value: bytes


class XattrsReply(NamedTuple):
    """Extended attributes, ordered by name."""

    xattrs: tuple[Xattr, ...]


@message(69, XattrsReply)
class GetXattrs(NamedTuple):
    """All extended attributes, or those named (a missing one is an error)."""

    path: bytes
    names: tuple[str, ...] = ()
    follow: bool = True
    base: int = ROOT_INODE


class SummaryReply(NamedTuple):
    """Totals of a subtree."""

    summary: ContentSummary


@message(70, SummaryReply)
class Summarise(NamedTuple):
    """du: O(1) whatever the size of the tree."""

    path: bytes
    base: int = ROOT_INODE


@message(71, Empty)
class Access(NamedTuple):
    """access(2): may the caller read (4), write (2), execute (1)?"""

    path: bytes
    mask: int
    base: int = ROOT_INODE


class FileSystemReply(NamedTuple):
    """statfs: bytes over the live nodes, and counts of the namespace."""

    capacity: int
    used: int
    files: int
    directories: int
    replication: int
    """Copies of a new file unless it says otherwise."""
    block_size: int
    group_blocks: int


@message(72, FileSystemReply)
class StatFileSystem(NamedTuple):
    """statfs."""


class LookupManyReply(NamedTuple):
    """Answers in order: attributes, or None where the path does not exist or may not be seen."""

    attributes: tuple[Attributes | None, ...]


@message(73, LookupManyReply)
class LookupMany(NamedTuple):
    """stat of up to ``limits.FILES_PER_BATCH`` paths."""

    paths: tuple[bytes, ...]
    follow: bool = True


# --- namespace: commands ---------------------------------------------------------------------
# Applied through the replicated log, exactly once per (client, request id).


class LeaseReply(NamedTuple):
    """A writer's lease, and the file's last block for appends."""

    attributes: Attributes
    """Its ``generation`` is the lease's."""
    last: BlockRef | None = None


@message(128, LeaseReply, command=True)
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


@message(129, LeaseReply, command=True)
class AcquireLease(NamedTuple):
    """Open an existing file for writing. ``steal`` first ends another writer's lease."""

    path: bytes
    steal: bool = False
    base: int = ROOT_INODE


@message(130, LookupReply, command=True)
class ReleaseLease(NamedTuple):
    """Give a lease back; what was not committed is forgotten."""

    inode: int
    generation: int


@message(131, LookupReply, command=True)
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


class NewFile(NamedTuple):
    """A small file, its blocks written already under a reserved inode."""

    path: bytes
    inode: int
    size: int
    blocks: tuple[BlockRef, ...]
    mode: int = 0o644
    exclusive: bool = False
    parents: bool = False
    replication: int = 0
    block_size: int = 0
    group_blocks: int = 0


class PutResult(NamedTuple):
    """Outcome for one file of a :class:`PutFiles`."""

    code: int
    message: str
    attributes: Attributes | None = None


class PutFilesReply(NamedTuple):
    """Outcomes in order."""

    results: tuple[PutResult, ...]


@message(132, PutFilesReply, command=True)
class PutFiles(NamedTuple):
    """Publish whole files; each atomically replaces what its name held (as rename would).

    A replaced file hands on its owner, group, mode and extended attributes.
    """

    files: tuple[NewFile, ...]


class ReserveReply(NamedTuple):
    """Inode ids for :class:`PutFiles`, the session's until used or expired."""

    inodes: tuple[int, ...]


@message(133, ReserveReply, command=True)
class ReserveInodes(NamedTuple):
    """Reserve up to ``limits.INODES_PER_RESERVATION`` inode ids."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs


@message(134, LookupReply, command=True)
class MakeDirectory(NamedTuple):
    """mkdir; with ``parents`` mkdir -p (an existing directory is then no error)."""

    path: bytes
    mode: int = 0o755
    parents: bool = False
    base: int = ROOT_INODE


class RenameMode(enum.IntEnum):
    """What rename does when the target exists."""

    REPLACE = 0
    """POSIX: replaces a file, or an empty directory by a directory."""
    KEEP = 1
    """Fails with PathExistsError (RENAME_NOREPLACE)."""
    EXCHANGE = 2
    """Swaps the two atomically (RENAME_EXCHANGE)."""


@message(135, Empty, command=True)
class Rename(NamedTuple):
    """rename; one atomic step whatever the size of the tree."""

    source: bytes
    target: bytes
    mode: int = RenameMode.REPLACE
    source_base: int = ROOT_INODE
    target_base: int = ROOT_INODE


@message(136, Empty, command=True)
class Unlink(NamedTuple):
    """Remove a name of a file or symlink."""

    path: bytes
    base: int = ROOT_INODE


@message(137, Empty, command=True)
class RemoveDirectory(NamedTuple):
    """rmdir; with ``recursive`` the whole tree, O(1) for the caller."""

    path: bytes
    recursive: bool = False
    base: int = ROOT_INODE


@message(138, LookupReply, command=True)
class SetAttributes(NamedTuple):
    """chmod, chown, utimens, setrep; None leaves a field alone."""

    path: bytes
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    modified_ns: int | None = None
    accessed_ns: int | None = None
    replication: int | None = None
    now: bool = False
    """Set both times to the primary's time (``touch``): needs write permission only."""
    follow: bool = True
    base: int = ROOT_INODE


@message(139, LookupReply, command=True)
class MakeSymlink(NamedTuple):
    """symlink: ``target`` is stored as it is."""

    path: bytes
    target: bytes
    parents: bool = False
    base: int = ROOT_INODE


@message(140, LookupReply, command=True)
class MakeLink(NamedTuple):
    """link: a further name for a file."""

    source: bytes
    path: bytes
    source_base: int = ROOT_INODE
    base: int = ROOT_INODE


class XattrMode(enum.IntEnum):
    """setxattr flags."""

    SET = 0
    CREATE = 1
    REPLACE = 2


@message(141, Empty, command=True)
class SetXattr(NamedTuple):
    """setxattr. Names start with ``user.``, or with ``trusted.`` for the superuser."""

    path: bytes
    name: str
    value: bytes
    mode: int = XattrMode.SET
    follow: bool = True
    base: int = ROOT_INODE


@message(142, Empty, command=True)
class RemoveXattr(NamedTuple):
    """removexattr."""

    path: bytes
    name: str
    follow: bool = True
    base: int = ROOT_INODE


@message(143, LookupReply, command=True)
class Concat(NamedTuple):
    """Move the blocks of ``sources`` to the end of ``path`` and remove them (HDFS concat).

    Same block size everywhere; each file but the last must end on a block boundary.
    """

    path: bytes
    sources: tuple[bytes, ...]


@message(144, Empty, command=True, peer=True)
class ExpireSession(NamedTuple):
    """A client is gone: release its leases at the last flushed length, free its reservations."""

    client: int


@message(145, Empty, command=True, peer=True)
class Reclaim(NamedTuple):
    """Free up to ``count`` inodes of deleted trees."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs


@message(146, Empty, command=True, peer=True)
class SetReplicas(NamedTuple):
    """Replace the replica list of one block version, if it is still the current one."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    replicas: tuple[int, ...]


# --- blocks ----------------------------------------------------------------------------------


class Extent(NamedTuple):
    """A changed range of a derived block; its bytes lie in the payload, in order."""

    offset: int
    length: int


class WriteBlockReply(NamedTuple):
    """What every node of the chain now holds."""

    length: int
    crc: int


@message(192, WriteBlockReply, lane=Lane.BULK)
class WriteBlock(NamedTuple):
    """Store a block version on each node of ``chain``; forwarded while it still arrives.

    Whole: no ``base_generation``, payload = the block, ``crc`` its CRC32C. Derived: from version
    (``base_generation``, ``base_sequence``), which every node of the chain must hold: ``length``
    bytes, of which ``extents`` come from the payload, others from the base (zeros past its end).
    ``crc`` is then the payload's.
    """

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    length: int
    crc: int
    chain: tuple[int, ...]
    """Member numbers still to store it, the receiver first."""
    block_size: int
    group_blocks: int
    base_generation: int = -1
    base_sequence: int = -1
    extents: tuple[Extent, ...] = ()


class SmallBlock(NamedTuple):
    """One whole block of a :class:`WriteBlocks`."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    length: int
    crc: int


@message(193, Empty, lane=Lane.BULK)
class WriteBlocks(NamedTuple):
    """Store many small whole blocks, their bytes one after the other in the payload. All or none."""

    blocks: tuple[SmallBlock, ...]
    chain: tuple[int, ...]


class ReadBlockReply(NamedTuple):
    """The payload holds the range."""

    crc: int
    """CRC32C of the payload, computed from chunks that were checked."""


@message(194, ReadBlockReply, lane=Lane.BULK)
class ReadBlock(NamedTuple):
    """A range of a block version. A whole block is sent unchecked: the reader knows its CRC."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    offset: int
    length: int


class BlockRange(NamedTuple):
    """One range of a :class:`ReadBlocks`."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    offset: int
    length: int


class RangeResult(NamedTuple):
    """Outcome of one range: an error code, or its length in the payload."""

    code: int
    length: int
    crc: int


class ReadBlocksReply(NamedTuple):
    """Outcomes in order; may be fewer than asked when the payload is full."""

    results: tuple[RangeResult, ...]


@message(195, ReadBlocksReply, lane=Lane.BULK)
class ReadBlocks(NamedTuple):
    """Many small ranges in one request."""

    ranges: tuple[BlockRange, ...]


class BlockVersion(NamedTuple):
    """The identity of a block version."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int


@message(196, Empty, peer=True)
class DiscardBlocks(NamedTuple):
    """Forget block versions; unknown ones are no error."""

    versions: tuple[BlockVersion, ...]


class StoredBlock(NamedTuple):
    """A block version that a node holds."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    length: int
    crc: int


class ListBlocksReply(NamedTuple):
    """A page, ordered by (inode, index, generation, sequence)."""

    blocks: tuple[StoredBlock, ...]
    more: bool


@message(197, ListBlocksReply)
class ListBlocks(NamedTuple):
    """What a node holds after ``after`` (fsck, orphan sweep); superuser or nodes."""

    after: BlockVersion | None = None
    limit: int = 1000


@message(198, Empty)
class ReportCorrupt(NamedTuple):
    """Tell the primary that a member's copy failed its checksum; it verifies and drops it."""

    block: BlockVersion
    member: int


class VerifyBlocksReply(NamedTuple):
    """Per version: 0, or the code of BlockNotFoundError or CorruptBlockError."""

    codes: tuple[int, ...]


@message(199, VerifyBlocksReply)
class VerifyBlocks(NamedTuple):
    """Re-read copies against their CRCs."""

    versions: tuple[BlockVersion, ...]


class Segment(NamedTuple):
    """Where a block version lies in the descriptor passed beside the reply."""

    descriptor: int
    """Index into the descriptors of this reply, -1: not in shared memory, read it otherwise."""
    offset: int
    length: int


class DescriptorsReply(NamedTuple):
    """One segment per version asked for."""

    segments: tuple[Segment, ...]


@message(200, DescriptorsReply)
class GetDescriptors(NamedTuple):
    """Descriptors of block versions, over the node's unix socket only (SCM_RIGHTS)."""

    versions: tuple[BlockVersion, ...]


# --- coordinator (the embedded one, served by the node that hosts it) ------------------------


class RegisterReply(NamedTuple):
    """The time to live granted, milliseconds."""

    ttl_ms: int


@message(224, RegisterReply, peer=True)
class CoordinatorRegister(NamedTuple):
    """Put or refresh the leased record of a node."""

    member: Member
    ttl_ms: int


class CoordinatorViewReply(NamedTuple):
    """The view record and its revision (0 and None before the cluster is formed)."""

    revision: int
    view: View | None


@message(225, CoordinatorViewReply, peer=True)
class CoordinatorReadView(NamedTuple):
    """Linearizable read of the view record."""


class CoordinatorSwapReply(NamedTuple):
    """Whether the swap was made, and what is current now."""

    swapped: bool
    revision: int
    view: View | None


@message(226, CoordinatorSwapReply, peer=True)
class CoordinatorSwapView(NamedTuple):
    """Replace the view if its revision is still ``expected``."""

    expected: int
    view: View


class CoordinatorMembersReply(NamedTuple):
    """Nodes whose lease has not run out."""

    members: tuple[Member, ...]


@message(227, CoordinatorMembersReply, peer=True)
class CoordinatorMembers(NamedTuple):
    """List the live nodes."""
