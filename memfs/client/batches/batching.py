"""How many files share a request, and whose error is whose.

Must not know what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from memfs import limits
from memfs.client.calls.wire import WirePath
from memfs.errors import MemfsError

PATHS_BYTES = limits.RECORD_BYTES - 4 * limits.KIB
PARALLEL = 8
"""Batches, or files too large for one, that travel at once."""

R = TypeVar("R")


def named(result: R, path: WirePath) -> R:
    """``result``; if it is an error, ``path`` becomes its ``filename``."""
    if isinstance(result, MemfsError):
        result.filename = path.given
    return result


def path_batches(raws: Sequence[bytes], most: int = limits.FILES_PER_BATCH) -> Iterator[range]:
    """Cut wire paths into batches: ranges of indexes whose paths fit one record."""
    count = len(raws)
    if 0 < count <= most and sum(map(len, raws)) + 3 * count <= PATHS_BYTES:
        yield range(count)
        return
    start, size = 0, 0
    for number, raw in enumerate(raws):
        if number - start == most or size + len(raw) + 3 > PATHS_BYTES:
            yield range(start, number)
            start, size = number, 0
        size += len(raw) + 3
    if start < count:
        yield range(start, count)
