"""Messages 128-191: commands of the replicated log.

Applied exactly once per (client, request id). Paths are as in ``memfs.protocol.messages.reads``.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from memfs.protocol.messages.reads import LookupReply
from memfs.protocol.messages.registry import Empty, message
from memfs.types import ROOT_INODE, AclEntry, Attributes, BlockRef


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
    unmasked: int | None = None
    """Mode before any umask, which counts where the directory has a default ACL; None: mode."""


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
    unmasked: int | None = None
    """As of :class:`Create`."""


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

    A replaced file hands on its owner, group, mode, access list and extended attributes.
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
    unmasked: int | None = None
    """As of :class:`Create`."""


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
    inode: int = 0
    """Only if that is what it names (0: whatever it is), otherwise StaleHandleError."""
    generation: int = 0
    """... and nobody was granted a later lease (0: whoever was)."""


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


@message(147, Empty, command=True)
class ReleaseInodes(NamedTuple):
    """Give reserved inode ids back: what was written under them can never become a file.

    Ids that are not reserved by the session (any more), say since they were published, are left.
    """

    inodes: tuple[int, ...]


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


@message(152, LookupReply, command=True)
class ChangeAcl(NamedTuple):
    """setfacl, as HDFS: a mask that is not given is computed anew when entries change."""

    path: bytes
    change: int
    """An :class:`AclChange`."""
    entries: tuple[AclEntry, ...] = ()
    base: int = ROOT_INODE


@message(153, Empty, command=True)
class SetQuota(NamedTuple):
    """Limit what may lie below a directory; superuser. None leaves a quota alone, -1 clears it."""

    path: bytes
    names: int | None = None
    """Names, the directory's own included."""
    space: int | None = None
    """Bytes times wanted replicas."""
    base: int = ROOT_INODE


class TokenReply(NamedTuple):
    """A new delegation token, in Hadoop's encoding (``memfs.delegation``)."""

    identifier: bytes
    password: bytes
    expires_ms: int
    """Milliseconds since the epoch, unless it is renewed."""

    def __repr__(self) -> str:
        return f"TokenReply({self.identifier!r}, expires_ms={self.expires_ms})"


@message(154, TokenReply, command=True)
class IssueToken(NamedTuple):
    """Get a delegation token that speaks for the caller; the superuser may get one for others."""

    renewer: str
    """Who may prolong it; empty: nobody."""
    owner: str = ""
    """Empty: the caller."""
    real_user: str = ""
    """Who asked for it on the owner's behalf, as far as the superuser knows."""


class RenewTokenReply(NamedTuple):
    """The token's new end."""

    expires_ms: int


@message(155, RenewTokenReply, command=True)
class RenewToken(NamedTuple):
    """Prolong a delegation token: its renewer."""

    identifier: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"RenewToken({self.identifier!r})"


@message(156, Empty, command=True)
class CancelToken(NamedTuple):
    """End a delegation token: its owner, its renewer or the superuser."""

    identifier: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"CancelToken({self.identifier!r})"


@message(157, Empty, command=True, peer=True)
class AddTokenKey(NamedTuple):
    """Make delegation tokens with a new master key from now on, under these terms."""

    material: bytes
    """Random bytes of the primary."""
    renew_ms: int
    lifetime_ms: int

    def __repr__(self) -> str:
        return f"AddTokenKey(renew_ms={self.renew_ms}, lifetime_ms={self.lifetime_ms})"
