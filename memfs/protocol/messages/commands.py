"""Messages 128-191: commands of the replicated log.

Applied exactly once per (client, request id). Paths are as in ``memfs.protocol.messages.reads``.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from memfs.protocol.messages.reads import LookupReply
from memfs.protocol.messages.registry import Empty, message
from memfs.types import (
    ROOT_INODE,
    AclEntry,
    Attributes,
    BlockRef,
    BlockVersion,
    RenameMode,
    XattrMode,
)


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


class MadeReply(NamedTuple):
    """Attributes of what was made."""

    attributes: Attributes
    also_changed: tuple[Attributes, ...] = ()
    """For a path that begins at a handle: the new attributes of the directory."""


class NamesReply(NamedTuple):
    """Names were changed."""

    also_changed: tuple[Attributes, ...] = ()
    """For paths that begin at handles: the new attributes of the directories, and of what was
    moved."""


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


@message(148, command=True)
class CreateDraft(NamedTuple):
    """Begin a file without a name, leased to the caller: it goes with its lease.

    Refused where :class:`PublishDraft` of the same path would be; nothing is made there yet.
    """

    path: bytes
    exclusive: bool = False
    """Refused when it exists."""
    parents: bool = False
    replication: int = 0
    """0: that of the file at ``path``, else the cluster's default, as for the next two."""
    block_size: int = 0
    group_blocks: int = 0
    base: int = ROOT_INODE
    recover: bool = False
    """As of :class:`PublishDraft`."""

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


class FileVersion(NamedTuple):
    """A file as it was seen."""

    inode: int
    change: int


@message(149, command=True)
class PublishDraft(NamedTuple):
    """Commit a draft's last blocks and length, give it the name ``path``, end its lease: one step.

    A file of that name is replaced and hands on owner, group, mode, access list and extended
    attributes. Where the caller may not remove it, and where it has further names, it stays and its
    content changes.
    """

    inode: int
    generation: int
    path: bytes
    size: int
    blocks: tuple[BlockRef, ...] = ()
    mode: int = 0o644
    exclusive: bool = False
    parents: bool = False
    unmasked: int | None = None
    """As of :class:`Create`."""
    base: int = ROOT_INODE
    recover: bool = False
    """Replace the file even if somebody else has it open for writing: their lease ends."""
    modified_ns: int | None = None
    """None: now."""
    unchanged: tuple[FileVersion, ...] = ()
    """Files that it was made from: StaleHandleError when one of them is not what it was."""
    withdrawn: tuple[BlockRef, ...] = ()
    """As of :class:`Commit`."""

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


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
    unmasked: int | None = None
    """As of :class:`Create`."""


class PutResult(NamedTuple):
    """Outcome for one file of a :class:`PutFiles`."""

    code: int
    message: str
    attributes: Attributes | None = None
    replaced: int = 0
    """The inode that the name meant before; 0: there was none, or it is not told."""


class PutFilesReply(NamedTuple):
    """Outcomes in order."""

    results: tuple[PutResult, ...]


@message(132, command=True)
class PutFiles(NamedTuple):
    """Publish whole files; each atomically replaces what its name held (as rename would).

    A replaced file hands on its owner, group, mode, access list and extended attributes.
    """

    files: tuple[NewFile, ...]

    @staticmethod
    def reply() -> type[PutFilesReply]:
        return PutFilesReply


class ReserveReply(NamedTuple):
    """Inode ids for :class:`PutFiles`, the session's until used or expired."""

    inodes: tuple[int, ...]
    capability: bytes = b""
    """For writing them."""


@message(133, command=True)
class ReserveInodes(NamedTuple):
    """Reserve up to ``limits.INODES_PER_RESERVATION`` inode ids."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs

    @staticmethod
    def reply() -> type[ReserveReply]:
        return ReserveReply


@message(134, command=True)
class MakeDirectory(NamedTuple):
    """mkdir; with ``parents`` mkdir -p (an existing directory is then no error)."""

    path: bytes
    mode: int = 0o755
    parents: bool = False
    base: int = ROOT_INODE
    unmasked: int | None = None
    """As of :class:`Create`."""
    owner: str = ""
    """As of :class:`Create`, likewise the next."""
    group: str = ""

    @staticmethod
    def reply() -> type[MadeReply]:
        return MadeReply


@message(135, command=True)
class Rename(NamedTuple):
    """rename; one atomic step whatever the size of the tree."""

    source: bytes
    target: bytes
    mode: int = RenameMode.REPLACE
    source_base: int = ROOT_INODE
    target_base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[NamesReply]:
        return NamesReply


@message(136, command=True)
class Unlink(NamedTuple):
    """Remove a name of a file or symlink."""

    path: bytes
    base: int = ROOT_INODE
    inode: int = 0
    """Only if that is what it names (0: whatever it is), otherwise StaleHandleError."""
    generation: int = 0
    """... and nobody was granted a later lease (0: whoever was)."""

    @staticmethod
    def reply() -> type[NamesReply]:
        return NamesReply


class UnlinkResult(NamedTuple):
    """Outcome for one name of an :class:`UnlinkMany`."""

    code: int
    message: str


class UnlinkManyReply(NamedTuple):
    """Outcomes in order."""

    results: tuple[UnlinkResult, ...]


@message(179, command=True)
class UnlinkMany(NamedTuple):
    """Remove names of files and symlinks, each by itself: ``limits.FILES_PER_COMMAND`` at most."""

    paths: tuple[bytes, ...]

    @staticmethod
    def reply() -> type[UnlinkManyReply]:
        return UnlinkManyReply


@message(137, command=True)
class RemoveDirectory(NamedTuple):
    """rmdir; with ``recursive`` the whole tree, O(1) for the caller."""

    path: bytes
    recursive: bool = False
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[NamesReply]:
        return NamesReply


@message(138, command=True)
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
    by_writers: bool = False
    """Times may be set by whoever may write the file, as in HDFS, and not by its owner only."""
    modified_now: bool = False
    """Set this time to the primary's (UTIME_NOW of one time only), likewise the next."""
    accessed_now: bool = False

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


@message(139, command=True)
class MakeSymlink(NamedTuple):
    """symlink: ``target`` is stored as it is."""

    path: bytes
    target: bytes
    parents: bool = False
    base: int = ROOT_INODE
    owner: str = ""
    """As of :class:`Create`, likewise the next."""
    group: str = ""

    @staticmethod
    def reply() -> type[MadeReply]:
        return MadeReply


@message(166, command=True)
class MakeNode(NamedTuple):
    """mknod of a FIFO or socket, or for superusers of a device: a name that only mounts can use."""

    path: bytes
    kind: int
    """A :class:`FileKind` that is special."""
    mode: int = 0o644
    device: int = 0
    """As of :class:`Attributes`; 0 for what is no device."""
    base: int = ROOT_INODE
    unmasked: int | None = None
    """As of :class:`Create`, likewise the next two."""
    owner: str = ""
    group: str = ""

    @staticmethod
    def reply() -> type[MadeReply]:
        return MadeReply


@message(140, command=True)
class MakeLink(NamedTuple):
    """link: a further name for a file."""

    source: bytes
    path: bytes
    source_base: int = ROOT_INODE
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[MadeReply]:
        return MadeReply


@message(141, command=True)
class SetXattr(NamedTuple):
    """setxattr. Names start with ``user.``, or with ``trusted.`` for the superuser.

    A value that is too long for the record is the payload.
    """

    path: bytes
    name: str
    value: bytes
    mode: int = XattrMode.SET
    follow: bool = True
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(142, command=True)
class RemoveXattr(NamedTuple):
    """removexattr."""

    path: bytes
    name: str
    follow: bool = True
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


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


@message(144, command=True, peer=True)
class ExpireSession(NamedTuple):
    """A client is gone: release its leases at the last flushed length, free its reservations."""

    client: int

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(145, command=True, peer=True)
class Reclaim(NamedTuple):
    """Free up to ``count`` inodes of deleted trees."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(146, command=True, peer=True)
class SetReplicas(NamedTuple):
    """Replace the replica list of one block version, if it is still the current one.

    What :class:`SetManyReplicas` does for many; journals may hold it.
    """

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    replicas: tuple[int, ...]

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(177, command=True, peer=True)
class SetManyReplicas(NamedTuple):
    """Replace the replica lists of block versions, of those that are current."""

    versions: tuple[BlockVersion, ...]
    replicas: tuple[tuple[int, ...], ...]
    """Of each version its own."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(147, command=True)
class ReleaseInodes(NamedTuple):
    """Give reserved inode ids back: what was written under them can never become a file.

    Ids that are not reserved by the session (any more), say since they were published, are left.
    """

    inodes: tuple[int, ...]
    withdrawn: tuple[BlockRef, ...] = ()
    """What was written under them, as far as the caller knows: nodes forget it."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class AclChange(enum.IntEnum):
    """What :class:`ChangeAcl` does with the entries given."""

    SET = 0
    """They replace those of their scope (access or default); none: as REMOVE_ALL."""
    MODIFY = 1
    """They are added, or replace those about the same."""
    REMOVE = 2
    """Those about the same are removed, whatever their permissions."""
    REMOVE_DEFAULT = 3
    """The default list is removed."""
    REMOVE_ALL = 4
    """All but what the mode bits say is removed."""


@message(152, command=True)
class ChangeAcl(NamedTuple):
    """setfacl, as HDFS: a mask that is not given is computed anew when entries change."""

    path: bytes
    change: int
    """An :class:`AclChange`."""
    entries: tuple[AclEntry, ...] = ()
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


@message(153, command=True)
class SetQuota(NamedTuple):
    """Limit what may lie below a directory; superuser. None leaves a quota alone, -1 clears it."""

    path: bytes
    names: int | None = None
    """Names, the directory's own included."""
    space: int | None = None
    """Bytes times wanted replicas."""
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class TokenReply(NamedTuple):
    """A new delegation token, in Hadoop's encoding (``memfs.security.delegation_tokens``)."""

    identifier: bytes
    password: bytes
    expires_ms: int
    """Milliseconds since the epoch, unless it is renewed."""

    def __repr__(self) -> str:
        return f"TokenReply({self.identifier!r}, expires_ms={self.expires_ms})"


@message(154, command=True)
class IssueToken(NamedTuple):
    """Get a delegation token that speaks for the caller; the superuser may get one for others."""

    renewer: str
    """Who may prolong it; empty: nobody."""
    owner: str = ""
    """Empty: the caller."""
    real_user: str = ""
    """Who asked for it on the owner's behalf, as far as the superuser knows."""

    @staticmethod
    def reply() -> type[TokenReply]:
        return TokenReply


class RenewTokenReply(NamedTuple):
    """The token's new end."""

    expires_ms: int


@message(155, command=True)
class RenewToken(NamedTuple):
    """Prolong a delegation token: its renewer."""

    identifier: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"RenewToken({self.identifier!r})"

    @staticmethod
    def reply() -> type[RenewTokenReply]:
        return RenewTokenReply


@message(156, command=True)
class CancelToken(NamedTuple):
    """End a delegation token: its owner, its renewer or the superuser."""

    identifier: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"CancelToken({self.identifier!r})"

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(157, command=True, peer=True)
class AddTokenKey(NamedTuple):
    """Make delegation tokens with a new master key from now on, under these terms."""

    material: bytes
    """Random bytes of the primary."""
    renew_ms: int
    lifetime_ms: int

    def __repr__(self) -> str:
        return f"AddTokenKey(renew_ms={self.renew_ms}, lifetime_ms={self.lifetime_ms})"

    @staticmethod
    def reply() -> type[Empty]:
        return Empty
