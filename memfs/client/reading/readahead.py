"""Readahead of one open file: what is fetched before it is asked for.

Owns the decision (how far ahead) and the segments in flight. A reader that jumps gets nothing
ahead; one that goes on gets a window that doubles up to the configured bytes. Invariants:
segments are contiguous and ascending, each within one block; what was fetched of a version that
this handle has replaced since is not given out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from memfs import limits
from memfs.client.reading.buffers import BufferPool
from memfs.types import BlockRef

FIRST_WINDOW = 128 * limits.KIB

Fetch = Callable[[int, memoryview], Awaitable[BlockRef]]
"""Fill a buffer from an offset of the file, within one block; returns the version it is of."""
Replaced = Callable[[int, BlockRef], Awaitable[bool]]
"""Whether a version is no longer the one at an offset of the file."""


class Fetched:
    """A range being fetched, or fetched, into a buffer of its own."""

    __slots__ = ("buffer", "end", "start", "task", "view")

    def __init__(self, start: int, buffer: bytearray, length: int, fetch: Fetch) -> None:
        self.start = start
        self.end = start + length
        self.buffer = buffer
        self.view = memoryview(buffer)[:length]
        self.task = asyncio.ensure_future(fetch(start, self.view))


class Readahead:
    """The window of one sequential reader. Not for concurrent use."""

    def __init__(
        self,
        fetch: Fetch,
        replaced: Replaced,
        buffers: BufferPool,
        block_size: int,
        limit: int,
    ) -> None:
        """``limit``: most bytes ahead, 0 for none."""
        self._fetch = fetch
        self._replaced = replaced
        self._buffers = buffers
        self._block_size = block_size
        self._limit = limit
        self._segments: deque[Fetched] = deque()
        self.window = 0
        """Bytes wanted ahead."""
        self.position = 0
        """Where a sequential reader would go on."""

    @property
    def empty(self) -> bool:
        """Whether nothing is fetched or being fetched."""
        return not self._segments

    def follows(self, offset: int) -> bool:
        """Whether a read at ``offset`` continues the last one or hits what is ahead."""
        last = self._segments[-1].end if self._segments else self.position
        return self.position <= offset <= last

    def extend(self, size: int, asked: int) -> None:
        """After a sequential read of ``asked`` bytes: widen the window and fetch up to it."""
        doubled = max(FIRST_WINDOW, 2 * self.window, 2 * asked)
        self.window = min(self._limit, doubled)
        begin = self._segments[-1].end if self._segments else self.position
        target = min(size, self.position + self.window)
        if begin - self.position > self.window // 2 and begin < size:
            return
        while begin < target:
            room = self._block_size - begin % self._block_size
            whole = room if self.window >= self._block_size else min(room, target - begin)
            length = min(whole, size - begin)
            buffer = self._buffers.take(length if length < FIRST_WINDOW else self._block_size)
            self._segments.append(Fetched(begin, buffer, length, self._fetch))
            begin += length

    async def copy_into(self, offset: int, into: memoryview) -> int:
        """Copy what is ahead at ``offset`` into ``into``; 0 when nothing is.

        A failed fetch is dropped silently: the direct read that follows says what is wrong.
        """
        self._drop_before(offset)
        if not self._segments or self._segments[0].start > offset:
            return 0
        segment = self._segments[0]
        await asyncio.wait((segment.task,))
        failed = segment.task.cancelled() or segment.task.exception() is not None
        if failed or await self._replaced(segment.start, segment.task.result()):
            await self.clear()
            return 0
        begin = offset - segment.start
        length = min(len(into), segment.end - offset)
        into[:length] = segment.view[begin : begin + length]
        return length

    def advance(self, position: int) -> None:
        """The reader has consumed everything before ``position``."""
        self.position = position
        self._drop_before(position)

    def _drop_before(self, offset: int) -> None:
        while self._segments and self._segments[0].end <= offset:
            segment = self._segments.popleft()
            if segment.task.done():
                if not segment.task.cancelled():
                    segment.task.exception()  # what nobody reads need not be reported
                segment.view.release()
                self._buffers.give(segment.buffer)
            else:
                segment.task.cancel()

    async def clear(self) -> None:
        """Forget everything ahead and start over; waits until no fetch runs."""
        segments, self._segments = self._segments, deque()
        self.window = 0
        running = [segment.task for segment in segments if not segment.task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for segment in segments:
            if not segment.task.cancelled():
                segment.task.exception()
