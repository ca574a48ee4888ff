"""The memory for bodies: buffers for downloads, slots for uploads.

Invariant: buffers lent beyond the smallest size never exceed the limit, whatever the number of
streams or the slowness of their clients; a stream always gets the smallest one.
"""

from __future__ import annotations

import asyncio

from memfs import limits
from memfs.client.reading.buffers import BufferPool

SMALLEST = 64 * limits.KIB
LARGEST = 1 * limits.MIB
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
    """How many uploads may hold unpublished bytes at a time; the others are not received."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._count = count
        self.taken = 0

    async def acquire(self) -> None:
        """Wait for a slot, first come first served."""
        await self._free.acquire()
        self.taken += 1

    def release(self) -> None:
        """Return one."""
        self.taken -= 1
        self._free.release()
