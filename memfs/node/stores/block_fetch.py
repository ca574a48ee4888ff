"""One block on its way from a store, handed on as it arrives; what somebody waits for comes first.

Owns the ranges in which a block is asked for, and their bytes until it is whole. Must not know
stores or the cache. Invariant: no byte of a block is asked for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from memfs import limits
from memfs.checksum import combine, crc32c
from memfs.concurrency import Coro, run_all
from memfs.errors import InvalidArgumentError, StoreUnreachableError, UnavailableError
from memfs.limits import CHUNK_BYTES

PART_BYTES: Final = 256 * limits.KIB
"""Of a store that takes 10 ms to answer and sends 100 MB/s: 2.6 ms, a block of 4 MiB 42 ms."""
FEWEST_PARTS: Final = 4
"""A block of fewer is asked for at once: a further request costs more than it saves."""

Arrived: TypeAlias = Callable[[int], None]
"""Is told how many more bytes are there, in order."""
Read: TypeAlias = Callable[[int, memoryview, Arrived], Coro[None]]
"""Fetches bytes from an offset in the block into memory; raises when they do not all come."""


class _Range:
    """Bytes of a block that one request fetches."""

    def __init__(self, start: int, stop: int) -> None:
        """``start`` is where a chunk begins."""
        self.start = start
        self.stop = stop
        self._arrived = start
        self._checked = start
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._over: BaseException | None = None

    def take(self, count: int, memory: memoryview, crcs: list[int]) -> None:
        """``count`` more bytes are in the block's ``memory``: compute the checksums of their chunks
        while they are in the processor's cache, and wake those who wait for them."""
        self._arrived += count
        assert self._arrived <= self.stop, "more than was asked for"
        while self._checked < self._arrived:
            end = min(self._checked + CHUNK_BYTES, self.stop)
            if end > self._arrived:
                break
            crcs[self._checked // CHUNK_BYTES] = crc32c(memory[self._checked : end])
            self._checked = end
        if not self._waiting:
            return
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

    @property
    def left(self) -> int:
        """Bytes that have not arrived."""
        return self.stop - self._arrived


class BlockFetch:
    """The fetch of a block into ``memory``, which is as long as it is, for one who waits for
    ``length`` bytes from ``offset``."""

    def __init__(self, memory: memoryview, offset: int, length: int) -> None:
        self.memory = memory
        self.crcs = [0] * -(-len(memory) // CHUNK_BYTES)
        """CRC32C of each of its chunks that has arrived."""
        start, stop = 0, (total := len(memory))
        if 0 <= offset < offset + length <= total:
            first = offset - offset % PART_BYTES
            last = min(total, -(-(offset + length) // PART_BYTES) * PART_BYTES)
            if FEWEST_PARTS * (last - first) <= total:
                start, stop = first, last
        self._first = _Range(start, stop)
        before = [_Range(0, start)] if start else []
        behind = [_Range(stop, total)] if stop < total else []
        self._rest = [*before, *behind]
        self._ranges = [*before, self._first, *behind]
        self._waiting: list[asyncio.Future[None]] = []
        self.owed = 0
        """Bytes that the reader who wants all of it has not asked for yet."""
        self.task: asyncio.Task[None]
        """Is over when all has arrived and was kept, or not."""

    async def run(self, read: Read) -> None:
        """Have all of it in memory. Raises StoreUnreachableError when it did not all come."""
        await self._fetch(read, self._first)
        if self._rest:
            await run_all([self._fetch(read, part) for part in self._rest], len(self._rest))
        if any(part.left for part in self._ranges):
            raise StoreUnreachableError("the store sent less than was asked for: try again")

    async def _fetch(self, read: Read, part: _Range) -> None:
        memory, crcs = self.memory, self.crcs

        def arrived(count: int) -> None:
            part.take(count, memory, crcs)

        await read(part.start, memory[part.start : part.stop], arrived)

    async def part(self, offset: int, length: int) -> memoryview:
        """Bytes of it as soon as they are there; all of it, or none, when it was kept, too: who
        has read a block, or had it loaded, finds it in the cache.

        Raises InvalidArgumentError, or what became of the requests.
        """
        stop = offset + length
        if offset < 0 or length < 0 or stop > len(self.memory):
            raise InvalidArgumentError(
                f"bytes {offset} to {stop} of a block of {len(self.memory)} bytes"
            )
        if length in (0, len(self.memory)):
            await self._over()
            return self.memory[offset:stop]
        for each in self._ranges:
            if offset < each.stop and each.start < stop:
                await each.until(min(stop, each.stop))
        return self.memory[offset:stop]

    async def _over(self) -> None:
        """Return when ``task`` is over. Raises what became of it."""
        if not self.task.done():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        if (error := self._failure()) is not None:
            raise error

    def _failure(self) -> BaseException | None:
        if self.task.cancelled():
            return UnavailableError("the block is not fetched any more")
        return self.task.exception()

    def crc(self, offset: int, length: int) -> int:
        """CRC32C of bytes of it that are there."""
        stop = offset + length
        if offset % CHUNK_BYTES or (stop % CHUNK_BYTES and stop != len(self.memory)):
            return crc32c(self.memory[offset:stop])
        first, crc = offset // CHUNK_BYTES, 0
        for each in self.crcs[first : first + -(-length // CHUNK_BYTES)]:
            crc = combine(crc, each, min(length, CHUNK_BYTES)) if crc else each
            length -= CHUNK_BYTES
        return crc

    @property
    def failed(self) -> bool:
        """Whether it is over without all of its bytes."""
        return self._failure() is not None

    def ended(self) -> None:
        """``task`` is over: who waits hears of it."""
        error = self._failure()
        for each in self._ranges:
            if error is not None and each.left:
                each.end(error)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
