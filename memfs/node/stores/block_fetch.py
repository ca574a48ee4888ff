"""One block on its way from a store: the part that somebody waits for comes first.

Owns the ranges in which a block is asked for. Must not know stores or the cache. Invariant: no byte
of a block is asked for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from memfs import limits
from memfs.concurrency import results
from memfs.types import Buffer

PART_BYTES: Final = 256 * limits.KIB
"""Of a store that takes 10 ms to answer and sends 100 MB/s: 2.6 ms, a block of 4 MiB 42 ms."""
FEWEST_PARTS: Final = 4
"""A block of fewer is asked for at once: a further request costs more than it saves."""

Read: TypeAlias = Callable[[int, int], Coroutine[Any, Any, Buffer]]
"""Fetches so many bytes from an offset in the block; raises when they are fewer."""


class BlockFetch:
    """The fetch of a block of ``total`` bytes for one who waits for ``length`` from ``offset``."""

    def __init__(self, total: int, offset: int, length: int) -> None:
        self._total = total
        self._start, self._stop = 0, total
        if 0 <= offset < offset + length <= total:
            start = offset - offset % PART_BYTES
            stop = min(total, -(-(offset + length) // PART_BYTES) * PART_BYTES)
            if FEWEST_PARTS * (stop - start) <= total:
                self._start, self._stop = start, stop
        self._first: asyncio.Future[Buffer] = asyncio.get_running_loop().create_future()
        self.whole: asyncio.Task[tuple[Buffer, int]]
        """All of it and its CRC32C, when it has arrived."""

    async def run(self, read: Read) -> Buffer:
        """All of the block."""
        start, stop, total = self._start, self._stop, self._total
        first = await read(start, stop - start)
        self._first.set_result(first)
        if (start, stop) == (0, total):
            return first
        rest = [(at, size) for at, size in ((0, start), (stop, total - stop)) if size]
        data = bytearray(total)
        data[start:stop] = first
        found = await results([read(at, size) for at, size in rest], len(rest))
        for (at, size), part in zip(rest, found, strict=True):
            data[at : at + size] = part
        return data

    async def part(self, offset: int, length: int) -> Buffer | None:
        """Bytes of the part that comes first as soon as it is there; None: wait for all of it."""
        if not self._start <= offset < offset + length <= self._stop or length == self._total:
            return None
        data = await asyncio.shield(self._first)
        return memoryview(data)[offset - self._start : offset - self._start + length]

    def ended(self) -> None:
        """``whole`` is over: who waits for the first part hears of an error."""
        if not self.whole.cancelled():
            error = self.whole.exception()
            if not self._first.done() and error is not None:
                self._first.set_exception(error)
                self._first.exception()  # whoever waits is told; nobody has to
        self._first.cancel()
