"""Arguments of the wrong type, refused before anything is done with them.

Most are found when the request is made (``memfs.protocol.records.check``); here are those that
would go through as something else: text as a list of its letters, a number as that many zeros.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex, TypeVar

from memfs.client.calls.wire import ClusterPath
from memfs.errors import InvalidArgumentError

T = TypeVar("T")
OFFSET_MIN, OFFSET_MAX = -(1 << 63), (1 << 63) - 1
"""Of C's ``off_t``."""


def several(paths: Iterable[T]) -> Iterable[T]:
    """What a call on many files is about, a path each. Raises TypeError for one path."""
    if isinstance(paths, str | bytes | ClusterPath) or hasattr(paths, "__fspath__"):
        raise TypeError(f"a list of paths is wanted, not one: write [{paths!r}]")
    return paths


def octets(value: Any) -> bytes:
    """Bytes of something bytes-like. Raises TypeError, also for a number."""
    return bytes(memoryview(value))


def whole(name: str, value: object) -> int:
    """An integer; numpy's will do. Raises TypeError naming the argument."""
    if type(value) is int:
        return value
    if not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    return operator.index(value)


def position(name: str, value: object) -> int:
    """A byte of a file. Raises TypeError, OverflowError as ``lseek`` has 64 bits, and
    InvalidArgumentError for a negative one."""
    number = offset(name, value)
    if number < 0:
        raise InvalidArgumentError(f"{name} is negative: {number}")
    return number


def offset(name: str, value: object) -> int:
    """A distance in bytes. Raises TypeError, and OverflowError for what has more than 64 bits."""
    number = whole(name, value)
    if not OFFSET_MIN <= number <= OFFSET_MAX:
        raise OverflowError(f"{name} has more than 64 bits")
    return number


def number(name: str, value: object) -> float:
    """Seconds, or bytes in one. Raises TypeError, also for text, and ValueError for NaN."""
    if not isinstance(value, float | int):
        if not hasattr(value, "__float__"):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        value = float(value)
    given: float = value
    if given != given:
        raise ValueError(f"{name} is no number")
    return given


def pair(name: str, values: object) -> tuple[Any, Any]:
    """Two times. Raises TypeError as ``os.utime`` does."""
    if not isinstance(values, Sequence) or len(values) != 2:
        raise TypeError(f"{name} must be a tuple of two times, accessed and modified")
    return values[0], values[1]


def writable(buffer: Any) -> memoryview:
    """The bytes of a buffer that is to be filled. Raises TypeError for one that cannot be."""
    view = memoryview(buffer).cast("B")
    if view.readonly:
        raise TypeError(f"a writable buffer is wanted, not {type(buffer).__name__}")
    return view


def text(name: str, value: object) -> str:
    """A string. Raises TypeError naming the argument."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    return value
