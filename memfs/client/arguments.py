"""Arguments of the wrong type, refused before anything is done with them.

Most are found when the request is made (``memfs.protocol.records.check``); here are those that
would go through as something else: text as a list of its letters, a number as that many zeros.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, TypeVar

from memfs.client.wire import ClusterPath

T = TypeVar("T")


def several(paths: Iterable[T]) -> Iterable[T]:
    """What a call on many files is about, a path each. Raises TypeError for one path."""
    if isinstance(paths, str | bytes | ClusterPath) or hasattr(paths, "__fspath__"):
        raise TypeError(f"a list of paths is wanted, not one: write [{paths!r}]")
    return paths


def octets(value: Any) -> bytes:
    """Bytes of something bytes-like. Raises TypeError, also for a number."""
    return bytes(memoryview(value))


def whole(name: str, value: Any) -> int:
    """An integer; numpy's will do. Raises TypeError naming the argument."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None


def text(name: str, value: Any) -> str:
    """A string. Raises TypeError naming the argument."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    return value
