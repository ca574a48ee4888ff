"""Asking a store again: growing waits with dice in them, within one budget of time.

Owns the decision whether another try may help. The caller's own ``asyncio.timeout`` ends a wait
like anything else. Invariant: what is not :class:`StoreUnreachableError` is never tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from memfs.errors import StoreUnreachableError

T = TypeVar("T")

FIRST_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 5.0
"""A store that says 503 is asked by each node every 2.5 s on average, not more."""


TIMEOUT_SECONDS: Final = 30.0
"""Of one request with all its tries, unless the mount's option ``timeout`` says otherwise."""


class Retry:
    """Tries again until ``budget`` seconds are over; one try has ``attempt`` seconds at most."""

    def __init__(self, dice: random.Random, budget: float, attempt: float | None = None) -> None:
        self.budget = budget
        self._attempt = budget if attempt is None else attempt
        self._dice = dice

    async def run(self, attempt: Callable[[], Awaitable[T]], what: str) -> T:
        """What ``attempt`` returns. Raises its error, or StoreUnreachableError after the budget."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.budget
        longest = FIRST_SECONDS
        error: StoreUnreachableError | None = None
        while True:
            timeout = asyncio.timeout_at(min(deadline, loop.time() + self._attempt))
            try:
                async with timeout:
                    return await attempt()
            except TimeoutError:
                if not timeout.expired():
                    raise
                if error is None or loop.time() < deadline:
                    error = StoreUnreachableError(f"{what}: the store did not answer in time")
                # else the budget cut this try short: the one before it says more
            except StoreUnreachableError as failure:
                error = failure
            pause = longest * self._dice.uniform(0.5, 1.0)
            if loop.time() + pause >= deadline:
                raise error
            await asyncio.sleep(pause)
            longest = min(LONGEST_SECONDS, longest * 2)
