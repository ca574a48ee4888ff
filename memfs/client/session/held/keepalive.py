"""Signs of life: while a client holds something, its session at the primary is kept.

Owns the count of holds and the task that pings. Must not know what is held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from memfs import limits
from memfs.client.session.primary_requests import PrimaryRequests
from memfs.errors import MemfsError
from memfs.protocol import messages as m
from memfs.transport.environment import Clock

log = logging.getLogger(__name__)

PING_SECONDS: Final = limits.KEEPALIVE_SECONDS / 3


class Keepalive:
    """Keeps one session alive: heartbeats while it holds leases, locks or reservations."""

    def __init__(self, primary: PrimaryRequests, clock: Clock) -> None:
        self.task: asyncio.Task[None] | None = None
        """Pings as long as there is something to hold."""
        self.followers: list[Callable[[], Awaitable[None]]] = []
        """Called after each answered ping: to verify what is held."""
        self._primary = primary
        self._clock = clock
        self._holds = 0
        self._answered_ns = 0
        self._lapsed_ns = -1

    def hold(self) -> None:
        """A lease, a reservation or a lock is held from now on: keep the session alive."""
        self._holds += 1
        if self.task is None or self.task.done():
            self._answered_ns = self._clock.boottime_ns()
            self.task = asyncio.create_task(self._ping())

    def unhold(self) -> None:
        """Undo one :meth:`hold`."""
        assert self._holds > 0, "more holds given up than taken"
        self._holds -= 1

    def silence(self) -> float:
        """Seconds since the primary last answered a sign of life, suspended time included."""
        return (self._clock.boottime_ns() - self._answered_ns) * 1e-9

    def lapsed(self, since_ns: int) -> bool:
        """Was it silent for so long since ``since_ns`` (boottime) that leases may have ended?"""
        return self.silence() > limits.KEEPALIVE_SECONDS or self._lapsed_ns >= since_ns

    def _answered(self) -> None:
        now_ns = self._clock.boottime_ns()
        if self.silence() > limits.KEEPALIVE_SECONDS:
            self._lapsed_ns = now_ns
        self._answered_ns = now_ns

    async def _ping(self) -> None:
        answered = True
        while self._holds:
            await asyncio.sleep(PING_SECONDS)
            if self._holds:
                try:
                    await self._primary.ask(m.Ping(), deadline=self._primary.deadline(PING_SECONDS))
                    self._answered()
                    answered = True
                    for verify in self.followers:
                        await verify()
                except MemfsError as error:
                    level = logging.WARNING if answered else logging.DEBUG  # once is enough
                    log.log(level, "the cluster does not answer this client: %s", error)
                    answered = False
