"""Maps failures of external stores to memfs's errors. The classes are in :mod:`memfs.errors`, since
they travel to clients; here are the mappings from HTTP statuses and from errors of the operating
system, and the one table of what a retry may help. Invariant: no message names a secret, so
messages are made of the kind of failure and the store's public address only, never of a request's
headers.
"""

from __future__ import annotations

import errno
from typing import Final

from memfs.errors import (
    DirectoryNotEmptyError,
    InvalidArgumentError,
    IsDirectoryError,
    MemfsError,
    NotDirectoryError,
    ObjectChangedError,
    ObjectMissingError,
    StoreConflictError,
    StoreDeniedError,
    StoreMissingError,
    StoreUnreachableError,
    StoreUnsupportedError,
)

__all__ = [
    "EXPIRED",
    "DirectoryNotEmptyError",
    "InvalidArgumentError",
    "ObjectChangedError",
    "ObjectMissingError",
    "StoreConflictError",
    "StoreDeniedError",
    "StoreMissingError",
    "StoreUnreachableError",
    "StoreUnsupportedError",
    "leads_nowhere",
    "of_os_error",
    "of_status",
    "retried",
]

EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}
)
"""S3's codes for temporary keys that are over: under status 400, not 403."""
_ARCHIVED: Final = frozenset({"InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"})
"""S3's and Azure's codes, under 403 and 409, for an object that is in an archive."""
_WRONG_CLOCK: Final = "RequestTimeTooSkewed"
_RETRIED_STATUSES: Final = frozenset({408, 425, 429, *range(500, 600)} - {501, 505})
"""Timeouts, "too many", and failures of the server; all else stays as it is: 501 and 505 say that
it will never do that."""
_RETRIED_CODES: Final = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
    }
)
"""S3's codes that say so too, some of them under another status: 200, 400 or 409."""
_RETRIED_ERRNOS: Final = frozenset(
    {
        None,  # of a library's own class
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ESHUTDOWN,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ETXTBSY,
    }
)
"""What the network, the other side or a lack of something causes; negative ones are of name
look-ups."""


def retried(status: int, code: str = "") -> bool:
    """Whether a retry may succeed after this HTTP status, or the store's own error code."""
    return status in _RETRIED_STATUSES or code in _RETRIED_CODES


def of_status(status: int, what: str, said: str = "") -> MemfsError:
    """The error for an HTTP status.

    ``what`` names the request and the store, ``said`` is the store's own error code or text (an S3
    error code, say), which must not hold a secret. A retry may help after StoreUnreachableError
    alone.
    """
    detail = f" ({status}{' ' + said if said else ''})"
    if said in EXPIRED:
        return StoreDeniedError(f"{what}: the credentials have expired{detail}")
    if said in _ARCHIVED:
        return StoreUnsupportedError(
            f"{what}: the object is archived: restore it in the store first{detail}"
        )
    if said == _WRONG_CLOCK:
        return StoreDeniedError(f"{what}: the clock of the node is wrong{detail}")
    if retried(status, said):
        return StoreUnreachableError(f"{what}: the store fails for now{detail}")
    if status in (401, 403, 407):
        return StoreDeniedError(
            f"{what}: the store refuses these credentials{detail}; check them and what they permit"
        )
    if status in (404, 410):
        return ObjectMissingError(f"{what}: the store has no such object{detail}")
    if status in (409, 412):
        return ObjectChangedError(f"{what}: the object was changed in the store{detail}")
    if status == 416:
        return ObjectChangedError(f"{what}: the object is shorter now{detail}")
    if status in (405, 501, 505):
        return StoreUnsupportedError(f"{what}: the store does not offer this{detail}")
    return InvalidArgumentError(f"{what}: the store refuses the request{detail}")


def leads_nowhere(error: OSError) -> bool:
    """Whether a name has nothing behind it: also a symbolic link to nothing, or to itself."""
    return isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP


def of_os_error(error: OSError, what: str) -> MemfsError:
    """The error for an OSError of the operating system or of a library."""
    if isinstance(error, MemfsError):
        return error
    reason = error.strerror or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return ObjectMissingError(f"{what}: the store has no such object")
    if isinstance(error, PermissionError):
        return StoreDeniedError(f"{what}: the store refuses it ({reason}); check what is permitted")
    if error.errno == errno.ENOTEMPTY:
        return DirectoryNotEmptyError(f"{what}: the directory has entries in the store")
    if isinstance(error, IsADirectoryError):
        return IsDirectoryError(f"{what}: it is a directory in the store")
    if isinstance(error, NotADirectoryError):
        return NotDirectoryError(f"{what}: a part of it is no directory in the store")
    if error.errno in (errno.ENOTSUP, errno.ENOSYS, errno.EROFS, errno.EXDEV):
        return StoreUnsupportedError(f"{what}: the store does not offer this ({reason})")
    if error.errno in _RETRIED_ERRNOS or (error.errno or 0) < 0:
        return StoreUnreachableError(f"{what}: the store fails ({reason})")
    return InvalidArgumentError(f"{what}: the store refuses it ({reason})")
