"""Retries of requests to a store: exponential backoff with jitter, within one time budget. Owns the
decision whether a retry may help. The caller's own ``asyncio.timeout`` ends a wait like anything
else; :func:`answered_within` ends it with what the store said. Invariant: only
:class:`StoreUnreachableError` is retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Final, TypeVar

from memfs.errors import StoreUnreachableError

T = TypeVar("T")

FIRST_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 5.0
"""Longest pause: each node asks a store that answers 503 every 2.5 s on average."""


TIMEOUT_SECONDS: Final = 20.0
"""Time for one request with all its retries, unless the mount's option ``timeout`` is set. Shorter
than what a client's call has (30 s), which ends with what the store said then."""

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


class _Failures:
    """Of one request: its own, and those of retries within its retries."""

    def __init__(self) -> None:
        self.count = 0


_failures: ContextVar[_Failures | None] = ContextVar("failures", default=None)


@contextlib.contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """Requests that are made in here end after so many seconds, whatever their store's budget."""
    token = _ends_at.set(asyncio.get_running_loop().time() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


class Retry:
    """Retries until ``budget`` seconds are over; one attempt has ``attempt`` seconds at most."""

    def __init__(self, dice: random.Random, budget: float, attempt: float | None = None) -> None:
        self.budget = budget
        self._attempt = budget if attempt is None else attempt
        self._dice = dice

    async def run(self, attempt: Callable[[], Awaitable[T]], what: str) -> T:
        """The result of ``attempt``. Raises its error, or after the budget StoreUnreachableError,
        which says what the store answered last, and how often it was asked.

        ``attempt`` may retry on its own: the outermost retry says how often, of all together."""
        outer = _failures.get()
        failures = outer or _Failures()
        token = _failures.set(failures)
        try:
            return await self._run(attempt, what, failures, says_how_often=outer is None)
        finally:
            _failures.reset(token)

    async def _run(
        self,
        attempt: Callable[[], Awaitable[T]],
        what: str,
        failures: _Failures,
        *,
        says_how_often: bool,
    ) -> T:
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = min(began + self.budget, _ends_at.get())
        longest = FIRST_SECONDS
        error: StoreUnreachableError | None = None
        while True:
            cut, before = False, failures.count
            timeout = asyncio.timeout_at(min(deadline, loop.time() + self._attempt))
            try:
                async with timeout:
                    try:
                        return await attempt()
                    except BaseException:
                        if failures.count == before:  # no retry inside has counted it
                            failures.count += 1
                        raise
            except TimeoutError:
                if not timeout.expired():
                    raise
                if error is None or loop.time() < deadline:
                    error = StoreUnreachableError(f"{what}: the store did not answer in time")
                else:  # the budget cut this try short: the one before it says more
                    cut = True
            except StoreUnreachableError as failure:
                error = failure
            pause = longest * self._dice.uniform(0.5, 1.0)
            if loop.time() + pause >= deadline:
                if failures.count == 1 or not says_how_often:
                    raise error
                asked = f"asked {failures.count} times in {loop.time() - began:.0f} s"
                silent = ", the last time without an answer" if cut else ""
                raise StoreUnreachableError(f"{error.message}; {asked}{silent}") from None
            await asyncio.sleep(pause)
            longest = min(LONGEST_SECONDS, longest * 2)
