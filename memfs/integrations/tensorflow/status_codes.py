"""Errors of memfs as TensorFlow's status codes, and the frame around every callback.

Owns the rule that no exception leaves a callback: C has nothing to do with it. An interrupt reaches
the main thread all the same.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import functools
from collections.abc import Callable
from typing import TypeVar

from memfs import errors
from memfs.integrations.tensorflow.c_interface import Code

T = TypeVar("T")

_CODES: tuple[tuple[type[BaseException], Code], ...] = (
    (KeyboardInterrupt, Code.CANCELLED),
    (FileNotFoundError, Code.NOT_FOUND),
    (FileExistsError, Code.ALREADY_EXISTS),
    (PermissionError, Code.PERMISSION_DENIED),
    (errors.OutcomeUnknownError, Code.UNKNOWN),
    (errors.DataLossError, Code.DATA_LOSS),
    (errors.NoSpaceError, Code.RESOURCE_EXHAUSTED),
    (errors.QuotaExceededError, Code.RESOURCE_EXHAUSTED),
    (errors.DeadlineError, Code.DEADLINE_EXCEEDED),
    (errors.RetryableError, Code.UNAVAILABLE),
    (errors.UnsupportedError, Code.UNIMPLEMENTED),
    (errors.InvalidArgumentError, Code.INVALID_ARGUMENT),
    (errors.InvalidPathError, Code.INVALID_ARGUMENT),
    (errors.NameTooLongError, Code.INVALID_ARGUMENT),
    (errors.RequestError, Code.FAILED_PRECONDITION),
    (MemoryError, Code.RESOURCE_EXHAUSTED),
)


class StatusError(Exception):
    """A status that is no error of memfs."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: BaseException) -> Code:
    """The status code that TensorFlow's local file system would give."""
    if isinstance(error, StatusError):
        return error.code
    if isinstance(error, OSError) and error.errno == errno.ENOTEMPTY:
        return Code.FAILED_PRECONDITION
    return next((code for kind, code in _CODES if isinstance(error, kind)), Code.INTERNAL)


class StatusWriter:
    """Sets the status objects that TensorFlow lends for a call."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """``library``: TensorFlow's, which has ``TF_SetStatus``."""
        self._set = library.TF_SetStatus
        self._set.restype = None
        self._set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]

    def guarded(self, call: Callable[..., T], failed: T) -> Callable[..., T]:
        """``call`` without its last argument, the status; ``failed`` is what it returns then."""

        @functools.wraps(call)
        def guarded(*arguments: object) -> T:
            status = arguments[-1]
            try:
                result = call(*arguments[:-1])
            except BaseException as error:
                message = str(error) or type(error).__name__
                self._set(status, code_of(error), message.encode("utf-8", "replace"))
                if isinstance(error, KeyboardInterrupt):
                    _thread.interrupt_main()
                return getattr(error, "result", failed)
            self._set(status, Code.OK, b"")
            return result

        return guarded
