"""The memory for bodies: buffers for downloads, slots for uploads.

Invariant: buffers lent beyond the smallest size never exceed the limit, whatever the number of
streams or the slowness of their clients; a stream always gets the smallest one.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque

from memfs import limits
from memfs.client.reading.buffers import BufferPool

SMALLEST = 64 * limits.KIB
LARGEST = 1 * limits.MIB
COLLECTED_BYTES = 64 * limits.MIB
GROWTH = 4
"""A stream that goes on gets buffers of 64 KiB, 256 KiB, 1 MiB: most of Java's reads end early."""
_KEPT_BYTES = 32 * limits.MIB


class StreamBuffers:
    """Lends memory to streams, by size, and keeps a few warm buffers."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes of all buffers larger than the smallest."""
        self._limit = limit
        self._kept = BufferPool(_KEPT_BYTES)
        self.lent = 0
        """Bytes in the hands of streams."""

    def take(self, wanted: int) -> bytearray:
        """A buffer of ``wanted`` bytes, or of the smallest size when there is no room for it."""
        size = wanted if wanted <= SMALLEST or self.lent + wanted <= self._limit else SMALLEST
        self.lent += size
        return self._kept.take(size)

    def give(self, buffer: bytearray, *, reusable: bool = True) -> None:
        """Return a buffer; not ``reusable`` when something may still read it."""
        self.lent -= len(buffer)
        if reusable:
            self._kept.give(buffer)


class Slots:
    """How many uploads may hold unpublished bytes at a time; the others are not received.

    A slot stands for a few blocks of the usual size: an upload of larger ones takes several.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self.taken = 0

    def needed(self, block_size: int) -> int:
        """The slots of an upload whose blocks have so many bytes: all of them at most."""
        return min(self._count, -(-block_size // limits.BLOCK_BYTES_DEFAULT))

    async def acquire(self, count: int) -> None:
        """Wait for ``count`` slots, first come first served."""
        if not self._waiting and self.taken + count <= self._count:
            self.taken += count
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, count))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting = deque(each for each in self._waiting if each[0] is not turn)
                self._hand_out()
            else:
                self.release(count)
            raise

    def release(self, count: int) -> None:
        """Return so many."""
        self.taken -= count
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self.taken + self._waiting[0][1] <= self._count:
            turn, count = self._waiting.popleft()
            if not turn.done():
                self.taken += count
                turn.set_result(None)


class Wreckage:
    """What failed uploads held. Errors keep it by their tracebacks, in circles of objects that
    Python's collector does not look at for long: it sees a few objects, not their megabytes.
    """

    def __init__(self) -> None:
        self._held = 0

    def add(self, count: int) -> None:
        """An upload that held up to ``count`` bytes has failed; at times earlier ones are freed."""
        self._held += count
        if self._held >= COLLECTED_BYTES:
            self._held = 0
            gc.collect()
