"""Maps failures of external stores to memfs's errors. The classes are in :mod:`memfs.errors`, since
they travel to clients; here are the mappings from HTTP statuses and from errors of the operating
system. Invariant: no message names a secret, so messages are made of the kind of failure and the
store's public address only, never of a request's headers.
"""

from __future__ import annotations

import errno

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
    "of_os_error",
    "of_status",
]

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken")
"""S3's codes for temporary keys that are over: under status 400, not 403."""
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 509})


def transient(status: int) -> bool:
    """Whether a retry may succeed after this HTTP status."""
    return status in _TRANSIENT


def of_status(status: int, what: str, said: str = "") -> MemfsError:
    """The error for an HTTP status.

    ``what`` names the request and the store, ``said`` is the store's own error code or text (an S3
    error code, say), which must not hold a secret.
    """
    detail = f" ({status}{' ' + said if said else ''})"
    if status in (401, 403, 407):
        return StoreDeniedError(
            f"{what}: the store refuses these credentials{detail}; check them and what they permit"
        )
    if status in (404, 410):
        return ObjectMissingError(f"{what}: the store has no such object{detail}")
    if status == 412:
        return ObjectChangedError(f"{what}: the object was changed in the store{detail}")
    if status == 416:
        return ObjectChangedError(f"{what}: the object is shorter now{detail}")
    if transient(status):
        return StoreUnreachableError(f"{what}: the store fails{detail}; it was asked several times")
    if status in (405, 501):
        return StoreUnsupportedError(f"{what}: the store does not offer this{detail}")
    return InvalidArgumentError(f"{what}: the store refuses the request{detail}")


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
    return StoreUnreachableError(f"{what}: the store fails ({reason})")
