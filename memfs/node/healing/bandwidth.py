"""A limit on bytes a second, what blocks cost of it, and the rate that was reached.

Pure but for the clock and the sleep that it is given by the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from memfs.limits import KIB

WINDOW_SECONDS = 10.0
"""The present rate is measured over this time."""
BLOCK_BYTES = 128 * KIB
"""What a block costs at least while clients are served: to copy a small one is work for three
nodes, and few bytes."""
SERVED_TURNS = 20
"""Clients are served in so many turns of the primary's loop in a second, or it has time for that
work: pings of many clients, and who asks for the status, do not count."""


def cost(count: int, blocks: int, turns: int) -> int:
    """Bytes that so many ``blocks`` of ``count`` bytes count as, where clients were served in
    ``turns`` turns of the loop in a second."""
    return max(count, blocks * BLOCK_BYTES) if turns >= SERVED_TURNS else count


class Bandwidth:
    """Paces transfers: each waits until those before it are paid for."""

    def __init__(self, bytes_per_second: int, now: Callable[[], float]) -> None:
        """``bytes_per_second`` 0: no limit; ``now``: monotonic seconds."""
        self._rate = bytes_per_second
        self._now = now
        self._free_at = 0.0
        self._done: deque[tuple[float, int]] = deque()

    async def acquire(self, count: int) -> None:
        """Wait until ``count`` more bytes may be sent."""
        if not self._rate:
            return
        now = self._now()
        starts = max(now, self._free_at)
        self._free_at = starts + count / self._rate
        if starts > now:
            await asyncio.sleep(starts - now)

    def moved(self, count: int) -> None:
        """Note a transfer that succeeded."""
        self._done.append((self._now(), count))
        self._forget()

    def rate(self) -> int:
        """Bytes a second, measured over the last seconds."""
        self._forget()
        if not self._done:
            return 0
        seconds = max(1.0, self._now() - self._done[0][0])
        return round(sum(count for _, count in self._done) / seconds)

    def _forget(self) -> None:
        while self._done and self._done[0][0] < self._now() - WINDOW_SECONDS:
            self._done.popleft()
