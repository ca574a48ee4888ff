"""Which errno a program gets for an error of the cluster. Pure."""

from __future__ import annotations

import errno

from memfs.errors import (
    InternalError,
    InvalidPathError,
    LeaseLostError,
    MemfsError,
    OutcomeUnknownError,
    RetryableError,
)

_IO = (RetryableError, OutcomeUnknownError, InternalError, LeaseLostError)
"""What no program expects of a file system: the cluster did not answer in time, or took the file
from its writer."""


def errno_of(error: BaseException) -> int:
    """The errno; EIO for what is no error of the system at all."""
    if isinstance(error, _IO):
        return errno.EIO
    if isinstance(error, InvalidPathError):
        return errno.EILSEQ  # names are UTF-8
    if isinstance(error, MemfsError):
        return error.posix if error.errno is None else error.errno
    if isinstance(error, InterruptedError):
        return errno.EINTR
    if isinstance(error, OSError) and error.errno:
        return error.errno
    return errno.EIO
