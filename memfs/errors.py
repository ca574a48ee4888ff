"""The one error tree: whose fault it is, whether a retry helps, and what to do.

::

    MemfsError
    ├── ClusterError                 the cluster's fault
    │   ├── RetryableError           ... a retry, perhaps elsewhere, may succeed
    │   │   ├── UnavailableError     no primary, no replica, connection refused
    │   │   ├── NotPrimaryError      asked a node that is not the primary of this epoch
    │   │   ├── StaleEpochError      the sender's epoch is behind the receiver's
    │   │   ├── BusyError            a queue or a byte budget is full
    │   │   ├── BlockNotFoundError   this node does not hold that block version
    │   │   ├── CorruptBlockError    a copy fails its checksum
    │   │   ├── UploadLostError      what was stored to be published is gone: store it anew
    │   │   ├── CapabilityError      a node wants a capability of the primary's: ask for one
    │   │   └── DeadlineError        the time budget ended before the request was carried out
    │   ├── OutcomeUnknownError      sent, never answered: it may or may not have happened
    │   ├── NoSpaceError             no node has room (ENOSPC)
    │   ├── DataLossError            every replica of a block is gone or corrupt (EIO)
    │   ├── IntegrityError           sealed or signed content is not what its writer wrote (EIO)
    │   └── StoreUnreachableError    an external store does not answer (ConnectionError)
    ├── RequestError                 the caller's fault
    │   ├── PathNotFoundError        (FileNotFoundError)
    │   │   └── ObjectMissingError   ... an external store has no such object any more
    │   ├── PathExistsError          (FileExistsError)
    │   ├── NotDirectoryError        (NotADirectoryError)
    │   ├── IsDirectoryError         (IsADirectoryError)
    │   ├── DirectoryNotEmptyError   (OSError ENOTEMPTY)
    │   ├── AccessDeniedError        (PermissionError EACCES)
    │   ├── NotPermittedError        (PermissionError EPERM)
    │   ├── InvalidArgumentError     (ValueError, OSError EINVAL)
    │   │   ├── TreeTooLargeError    a tree is too large to be looked at in one step
    │   │   ├── AttributeTooLargeError  an extended attribute has more than 64 KiB (OSError E2BIG)
    │   │   └── UnmovableError       the root, ``.`` and ``..`` stay where they are (OSError EBUSY)
    │   ├── InvalidPathError         (ValueError, OSError EINVAL)
    │   ├── NameTooLongError         (OSError ENAMETOOLONG)
    │   ├── SymlinkLoopError         (OSError ELOOP)
    │   ├── TooManyLinksError        (OSError EMLINK)
    │   ├── NoAttributeError         (OSError ENODATA)
    │   ├── LeaseHeldError           another writer holds the file (OSError EBUSY)
    │   ├── LeaseLostError           the writer's lease generation is over (OSError ESTALE)
    │   ├── FileTooLargeError        (OSError EFBIG)
    │   ├── StaleHandleError         the inode behind a handle is gone (OSError ESTALE)
    │   ├── UnsupportedError         a known request that this node does not offer (OSError ENOTSUP)
    │   │   └── StoreUnsupportedError ... that an external store of this kind cannot do
    │   ├── StoreDeniedError         an external store refuses the credentials (EACCES)
    │   ├── StoreMissingError        the bucket that is mounted does not exist (OSError ENXIO)
    │   ├── ObjectChangedError       an object was replaced while it was read (OSError ESTALE)
    │   ├── StoreConflictError       an object was changed behind the cluster's back (ESTALE)
    │   ├── QuotaExceededError       (OSError EDQUOT)
    │   │   ├── NameQuotaError       ... of a directory's names
    │   │   └── SpaceQuotaError      ... of a directory's bytes, replicas counted
    │   ├── InvalidTokenError        a delegation token is forged, over or unknown (EACCES)
    │   ├── OtherClusterError        the nodes are of another cluster than this client (ESTALE)
    │   ├── WouldBlockError          a file lock of somebody else is in the way (BlockingIOError)
    │   ├── LockDeadlockError        who holds the lock waits for the caller's (OSError EDEADLK)
    │   ├── NoLocksError             too many file locks are held (OSError ENOLCK)
    │   ├── MountBusyError           a mount has what keeps it from being changed (OSError EBUSY)
    │   ├── ReadOnlyMountError       the mount of an external store is read-only (OSError EROFS)
    │   ├── CrossMountError          it cannot be renamed, only copied and deleted (OSError EXDEV)
    │   ├── LocksLostError           the session ended that held this client's locks (EIO)
    │   └── ConfigError              a setting, flag or file is wrong
    └── InternalError                our fault, or a peer that breaks the protocol
        └── ProtocolError            bytes that are not the protocol: the connection is closed

A leaf exists only where some code reacts differently to it. Codes travel on the wire and are
never reused: 1-99 cluster, 100-199 request, 200-299 internal.
"""

from __future__ import annotations

import errno as _errno
from typing import ClassVar


class MemfsError(OSError):
    """Root of every error that memfs raises on purpose.

    ``code`` is the stable number on the wire; ``retryable`` says that the request was not
    carried out and may be sent again. ``str()`` is one line that says what to do.
    """

    code: ClassVar[int] = 0
    retryable: ClassVar[bool] = False
    posix: ClassVar[int] = _errno.EIO

    def __init__(self, message: str = "", *, path: str | None = None) -> None:
        """Args: ``message``, one line; ``path``, the path concerned (becomes ``filename``)."""
        super().__init__(self.posix, message or type(self).__name__, path)

    @property
    def message(self) -> str:
        """The text without errno and path."""
        return str(self.strerror)

    def __str__(self) -> str:
        return f"{self.filename}: {self.message}" if self.filename else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.filename)


def _rebuild(cls: type[MemfsError], message: str, path: str | None) -> MemfsError:
    return cls(message, path=path)


# --- the cluster's fault ---------------------------------------------------------------------


class ClusterError(MemfsError):
    """The cluster could not do it; the request itself was fine."""


class RetryableError(ClusterError):
    """Nothing was changed; trying again (elsewhere, later) may work."""

    retryable = True
    posix = _errno.EAGAIN


class UnavailableError(RetryableError, ConnectionError):
    """Nobody who could answer is reachable."""

    code = 1
    posix = _errno.EHOSTUNREACH


class NotPrimaryError(RetryableError):
    """The node is not the primary of the namespace."""

    code = 2


class StaleEpochError(RetryableError):
    """The receiver has seen a higher epoch than the message carries."""

    code = 3


class BusyError(RetryableError):
    """A bounded queue, connection count or byte budget is full."""

    code = 4


class BlockNotFoundError(RetryableError):
    """The node does not hold the block version that was named."""

    code = 5


class CorruptBlockError(RetryableError):
    """The node's copy of a block does not match its CRC32C."""

    code = 6
    posix = _errno.EIO


class UploadLostError(RetryableError):
    """What was stored for a file is gone before the file was published: store it anew."""

    code = 8


class CapabilityError(RetryableError):
    """A node wants a capability of the primary's for a block, another one than came, or a newer."""

    code = 9
    posix = _errno.EACCES


class DeadlineError(RetryableError, TimeoutError):
    """The time budget ended before the request was carried out."""

    code = 7
    posix = _errno.ETIMEDOUT


class OutcomeUnknownError(ClusterError, TimeoutError):
    """Sent and not answered: it may have taken effect or not. Look before retrying."""

    code = 20
    posix = _errno.ETIMEDOUT


class NoSpaceError(ClusterError):
    """The memory limit of the nodes concerned is reached; nothing was written."""

    code = 21
    posix = _errno.ENOSPC


class DataLossError(ClusterError):
    """No live replica of a block remains."""

    code = 22
    posix = _errno.EIO


class IntegrityError(ClusterError):
    """Sealed or signed content is not what its writer wrote, or another key made it."""

    code = 24
    posix = _errno.EIO


class StoreUnreachableError(ClusterError, ConnectionError):
    """An external store did not answer, or only with failures, however often it was asked."""

    code = 23
    posix = _errno.EHOSTUNREACH


# --- the caller's fault ----------------------------------------------------------------------


class RequestError(MemfsError):
    """The request cannot succeed as it stands."""


class PathNotFoundError(RequestError, FileNotFoundError):
    """A component of the path does not exist."""

    code = 100
    posix = _errno.ENOENT


class PathExistsError(RequestError, FileExistsError):
    """The name is taken."""

    code = 101
    posix = _errno.EEXIST


class NotDirectoryError(RequestError, NotADirectoryError):
    """A component used as a directory is none."""

    code = 102
    posix = _errno.ENOTDIR


class IsDirectoryError(RequestError, IsADirectoryError):
    """The operation needs a file and the path is a directory."""

    code = 103
    posix = _errno.EISDIR


class DirectoryNotEmptyError(RequestError):
    """The directory has entries."""

    code = 104
    posix = _errno.ENOTEMPTY


class AccessDeniedError(RequestError, PermissionError):
    """The mode bits deny it (EACCES)."""

    code = 105
    posix = _errno.EACCES


class NotPermittedError(RequestError, PermissionError):
    """Only the owner or the superuser may do it (EPERM)."""

    code = 106
    posix = _errno.EPERM


class InvalidArgumentError(RequestError, ValueError):
    """An argument is out of range or does not fit the others."""

    code = 107
    posix = _errno.EINVAL


class TreeTooLargeError(InvalidArgumentError):
    """Permission for a whole tree would take too long to look up: go by its parts."""

    code = 140


class AttributeTooLargeError(InvalidArgumentError):
    """The value of an extended attribute has more than 65,536 bytes; as setxattr(2)."""

    code = 142
    posix = _errno.E2BIG


class UnmovableError(InvalidArgumentError):
    """The root, ``.`` and ``..`` cannot be renamed, and the root not be removed."""

    code = 141
    posix = _errno.EBUSY


class InvalidPathError(RequestError, ValueError):
    """The path holds NUL, is not UTF-8, or is otherwise no path."""

    code = 108
    posix = _errno.EINVAL


class NameTooLongError(RequestError):
    """A name has more than 255 bytes, or the path more than 4096."""

    code = 109
    posix = _errno.ENAMETOOLONG


class SymlinkLoopError(RequestError):
    """Too many symbolic links were met."""

    code = 110
    posix = _errno.ELOOP


class TooManyLinksError(RequestError):
    """The link count would overflow its limit."""

    code = 111
    posix = _errno.EMLINK


class NoAttributeError(RequestError):
    """The extended attribute does not exist."""

    code = 113  # 112 was given once and is not given again
    posix = _errno.ENODATA


class LeaseHeldError(RequestError):
    """Another writer has the file open. Wait for it, or recover its lease."""

    code = 114
    posix = _errno.EBUSY


class LeaseLostError(RequestError):
    """This writer's lease is over: another writer may have the file. Open it again."""

    code = 115
    posix = _errno.ESTALE


class FileTooLargeError(RequestError):
    """The file would exceed the largest possible size."""

    code = 116
    posix = _errno.EFBIG


class StaleHandleError(RequestError):
    """The file behind an open handle was deleted."""

    code = 117
    posix = _errno.ESTALE


class UnsupportedError(RequestError):
    """The node knows the request and does not offer it, or does not know it."""

    code = 118
    posix = _errno.ENOTSUP


class ConfigError(RequestError, ValueError):
    """One or several settings are wrong; the message lists all of them."""

    code = 119
    posix = _errno.EINVAL


class QuotaExceededError(RequestError):
    """A directory's quota leaves no room; nothing was changed."""

    posix = _errno.EDQUOT


class NameQuotaError(QuotaExceededError):
    """The names below a directory would be more than its quota."""

    code = 120


class SpaceQuotaError(QuotaExceededError):
    """The bytes below a directory, times their replicas, would be more than its quota."""

    code = 121


class InvalidTokenError(RequestError, PermissionError):
    """The delegation token is unknown, expired, cancelled or forged."""

    code = 122
    posix = _errno.EACCES


class OtherClusterError(RequestError):
    """Where this client's cluster was is another one, begun anew: what it has open is gone."""

    code = 123
    posix = _errno.ESTALE


class WouldBlockError(RequestError, BlockingIOError):
    """Somebody else holds a lock that excludes this one."""

    code = 124
    posix = _errno.EAGAIN


class LockDeadlockError(RequestError):
    """To wait for this lock would be to wait for ever: its holder waits for the caller."""

    code = 125
    posix = _errno.EDEADLK


class NoLocksError(RequestError):
    """A bound on locks, or on those who wait for them, is reached."""

    code = 126
    posix = _errno.ENOLCK


class LocksLostError(RequestError):
    """The cluster heard nothing of this client for too long: others may have what it locked."""

    code = 127
    posix = _errno.EIO


# --- the caller's, at an external store -------------------------------------------------------


class MountBusyError(RequestError):
    """Something is mounted there, or what is below a mount keeps it from being taken away."""

    code = 133
    posix = _errno.EBUSY


class ReadOnlyMountError(RequestError):
    """What is below a mount of an external store may be read only."""

    code = 134
    posix = _errno.EROFS


class CrossMountError(RequestError):
    """A store has it, or another store is to have it: copy it and delete it, as mv does."""

    code = 135
    posix = _errno.EXDEV


class StoreDeniedError(RequestError, PermissionError):
    """An external store refuses the mount's credentials: wrong, expired, or without the right."""

    code = 128
    posix = _errno.EACCES


class StoreMissingError(RequestError):
    """The bucket or container that is mounted does not exist in the external store, or no more."""

    code = 136
    posix = _errno.ENXIO  # not ENOENT: its objects are not known to be gone


class ObjectMissingError(PathNotFoundError):
    """An external store has no such object, or no more."""

    code = 129
    posix = _errno.ENOENT


class ObjectChangedError(RequestError):
    """An external store holds another version of the object than the one being read."""

    code = 130
    posix = _errno.ESTALE


class StoreConflictError(RequestError):
    """An object in an external store is not the one that was to be replaced: keep both."""

    code = 131
    posix = _errno.ESTALE


class StoreUnsupportedError(UnsupportedError):
    """A store of this kind cannot do it; the message says what it can."""

    code = 132
    posix = _errno.ENOTSUP


# --- our fault -------------------------------------------------------------------------------


class InternalError(MemfsError):
    """A bug in memfs. Please report it with the logs of the node."""

    code = 200


class ProtocolError(InternalError):
    """The peer sent bytes that are not the protocol; the connection is closed."""

    code = 201
    posix = _errno.EPROTO


def _leaves(cls: type[MemfsError]) -> dict[int, type[MemfsError]]:
    found = {cls.code: cls} if cls.code else {}
    for child in cls.__subclasses__():
        for code, leaf in _leaves(child).items():
            assert found.setdefault(code, leaf) is leaf, f"error code {code} is used twice"
    return found


BY_CODE = _leaves(MemfsError)


def from_wire(code: int, message: str, path: str | None = None) -> MemfsError:
    """Rebuild the error that a peer sent; an unknown code becomes :class:`InternalError`."""
    cls = BY_CODE.get(code)
    if cls is None:
        return InternalError(f"{message} (unknown error code {code})", path=path)
    return cls(message, path=path)
