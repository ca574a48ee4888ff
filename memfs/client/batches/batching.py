"""How many files share a request, whose error is whose, and how far a call of many requests came.

Must not know what is asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

from memfs import limits
from memfs.client.calls.wire import WirePath
from memfs.errors import MemfsError, OutcomeUnknownError, RetryableError

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


class Course:
    """How far a call of many commands has come: what the error says that ends it."""

    def __init__(self, names: int) -> None:
        """``names``: of the whole call."""
        self.done = 0
        """Names with which everything is as the caller wanted."""
        self.refused = 0
        self._names = names
        self._unknown = 0
        """Names in commands that were sent, and not answered so far."""

    @contextlib.contextmanager
    def asking(self, count: int) -> Iterator[None]:
        """A command about ``count`` names is asked inside."""
        self._unknown += count
        try:
            yield
        except MemfsError as error:
            if not isinstance(error, OutcomeUnknownError):
                self._unknown -= count  # it was certainly not carried out
            raise
        self._unknown -= count

    def ended_by(self, error: MemfsError) -> MemfsError:
        """What the call raises that ``error`` of one of its commands has ended."""
        left = self._names - self.done - self.refused - self._unknown
        if self._names in (left, self._unknown):
            return error  # nothing is known of any of them that it does not say
        unknown = isinstance(error, RetryableError) and self._unknown
        told = (
            f"of {self._names} names {self.done} are done, {self.refused} refused, "
            f"{self._unknown} sent and not answered, {left} untouched; then: {error.message}"
        )
        return (OutcomeUnknownError if unknown else type(error))(told, path=error.filename)
