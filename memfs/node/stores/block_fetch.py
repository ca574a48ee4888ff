"""One block on its way from a store, handed on as it arrives; what somebody waits for comes first.

Owns the ranges in which a block is asked for, and their bytes until it is whole. Must not know
stores or the cache. Invariant: no byte of a block is asked for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from memfs import limits
from memfs.concurrency import Coro, run_all
from memfs.errors import UnavailableError
from memfs.types import Buffer

PART_BYTES: Final = 256 * limits.KIB
"""Of a store that takes 10 ms to answer and sends 100 MB/s: 2.6 ms, a block of 4 MiB 42 ms."""
FEWEST_PARTS: Final = 4
"""A block of fewer is asked for at once: a further request costs more than it saves."""

Take: TypeAlias = Callable[[Buffer], None]
"""Is given what has arrived, in order."""
Read: TypeAlias = Callable[[int, int, Take], Coro[None]]
"""Fetches so many bytes from an offset in the block, piece by piece; raises when they are fewer."""


class _Range:
    """Bytes of a block that one request fetches."""

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.pieces: list[Buffer] = []
        self._arrived = start
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._over: BaseException | None = None

    def take(self, piece: Buffer) -> None:
        self.pieces.append(piece)
        self._arrived += len(piece)
        assert self._arrived <= self.stop, "more than was asked for"
        waiting, self._waiting = self._waiting, []
        for end, future in waiting:
            if end > self._arrived:
                self._waiting.append((end, future))
            elif not future.done():
                future.set_result(None)

    async def until(self, end: int) -> None:
        """Return when all before ``end`` is there. Raises what became of the request."""
        if end > self._arrived:
            if self._over is not None:
                raise self._over
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((end, future))
            await future

    def end(self, why: BaseException) -> None:
        """Nothing more comes: those who still wait hear why."""
        self._over = why
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(why)

    def part(self, start: int, stop: int) -> list[Buffer]:
        """What has arrived of bytes that lie between two places in the block."""
        found: list[Buffer] = []
        at = self.start
        for piece in self.pieces:
            end = at + len(piece)
            if start < end and at < stop:
                found.append(memoryview(piece)[max(0, start - at) : stop - at])
            at = end
        return found


class BlockFetch:
    """The fetch of a block of ``total`` bytes for one who waits for ``length`` from ``offset``."""

    def __init__(self, total: int, offset: int, length: int) -> None:
        self._total = total
        start, stop = 0, total
        if 0 <= offset < offset + length <= total:
            first = offset - offset % PART_BYTES
            last = min(total, -(-(offset + length) // PART_BYTES) * PART_BYTES)
            if FEWEST_PARTS * (last - first) <= total:
                start, stop = first, last
        self._first = _Range(start, stop)
        self._rest = [_Range(a, b) for a, b in ((0, start), (stop, total)) if a < b]
        self._ranges = sorted([self._first, *self._rest], key=lambda each: each.start)
        self.owed = 0
        """Bytes that the reader who wants all of it has not asked for yet."""
        self.whole: asyncio.Task[tuple[Buffer, int]]
        """All of it and its CRC32C, when it has arrived."""

    async def run(self, read: Read) -> list[Buffer]:
        """All of the block, in pieces."""

        async def fetch(part: _Range) -> None:
            await read(part.start, part.stop - part.start, part.take)

        await fetch(self._first)
        if self._rest:
            await run_all([fetch(part) for part in self._rest], len(self._rest))
        return [piece for part in self._ranges for piece in part.pieces]

    async def part(self, offset: int, length: int) -> list[Buffer] | None:
        """Bytes of a part of it as soon as they are there; None: wait for all of it."""
        stop = offset + length
        if not 0 <= offset < stop <= self._total or length == self._total:
            return None
        found: list[Buffer] = []
        for each in self._ranges:
            if offset < each.stop and each.start < stop:
                await each.until(min(stop, each.stop))
                found += each.part(offset, stop)
        return found

    @property
    def failed(self) -> bool:
        """Whether it is over without all of its bytes."""
        return self.whole.cancelled() or self.whole.exception() is not None

    def ended(self) -> None:
        """``whole`` is over: who waits for a part hears of an error."""
        error = None if self.whole.cancelled() else self.whole.exception()
        for each in self._ranges:
            each.end(error or UnavailableError("the block is not fetched any more"))
