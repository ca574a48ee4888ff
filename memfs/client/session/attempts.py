"""Attempts at one piece of work: the pauses between them, and the error that ends them.

Owns the backoff, exponential with jitter. Must not know what is attempted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random

from memfs.client.calls.deadline import seconds_left
from memfs.client.session.silence import Silence
from memfs.errors import MemfsError

log = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.02
BACKOFF_SECONDS_MAX = 0.25  # a new primary is there within the lease time: be back soon after


def backoff(dice: Random, failed: int, longest: float) -> float:
    """Seconds after so many failed attempts: exponential, with jitter, never above ``longest``."""
    return min(longest, BACKOFF_SECONDS * 2.0 ** min(failed, 16)) * dice.uniform(0.5, 1.0)


class Attempts:
    """Counts what failed until ``deadline``."""

    def __init__(
        self,
        dice: Random,
        silence: Silence,
        refresh: Callable[[float], Awaitable[None]],
        deadline: float,
        longest: float = BACKOFF_SECONDS_MAX,
    ) -> None:
        """``refresh`` looks for a newer view; ``longest`` pause, in seconds."""
        self._failed = 0
        self._dice = dice
        self._silence = silence
        self._refresh = refresh
        self._deadline = deadline
        self._longest = longest

    def end_by(self, deadline: float) -> None:
        """Make none after ``deadline``."""
        self._deadline = deadline

    def failed(self, error: MemfsError) -> float:
        """One attempt failed: seconds to wait before the next.

        Raises when the deadline leaves no room for another: ``error``, or that no node answers.
        """
        self._failed += 1
        seconds = backoff(self._dice, self._failed, self._longest)
        left = seconds_left(self._deadline)
        if left is not None and left <= seconds:
            raise self._silence.end(error) from None
        log.debug("attempt %d failed, again in %.0f ms: %s", self._failed, seconds * 1000, error)
        return seconds

    async def pause(self, error: MemfsError) -> None:
        """As :meth:`failed`, and wait."""
        await asyncio.sleep(self.failed(error))

    async def retry(self, error: MemfsError) -> None:
        """As :meth:`pause`, and look for a newer view: the next attempt may go elsewhere."""
        await self.pause(error)
        await self._refresh(self._deadline)
