"""Many deadlines behind one timer of the event loop.

A timer per request would cost as much as the request's own bookkeeping. Most requests of a
connection have the same timeout, so a later one rarely ends earlier: setting and clearing a
deadline is one operation on a dict, and the timer only ever waits for the earliest one set.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from typing import Any


class Deadlines:
    """Calls ``expire(key)`` once for each key whose deadline has passed. Times are of
    ``loop.time()``."""

    __slots__ = ("_due", "_loop", "_next", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[Hashable, tuple[float, Callable[[Any], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = math.inf

    def set(self, key: Hashable, when: float, expire: Callable[[Any], None]) -> None:
        """Set or move the deadline of ``key``; ``math.inf`` never comes."""
        self._due[key] = when, expire
        if when < self._next:
            self._schedule(when)

    def clear(self, key: Hashable) -> None:
        """Forget a deadline, if there is one."""
        self._due.pop(key, None)

    def close(self) -> None:
        """Forget all of them."""
        self._due.clear()
        self._schedule(math.inf)

    def _schedule(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self._loop.call_at(when, self._fire) if when < math.inf else None

    def _fire(self) -> None:
        # The loop may fire a tick early: what it was set for counts as due.
        now = max(self._loop.time(), self._next)
        expired = [(key, expire) for key, (when, expire) in self._due.items() if when <= now]
        for key, expire in expired:
            if self._due.pop(key, None) is not None:  # an earlier one may have cleared it
                expire(key)
        self._schedule(min((when for when, _ in self._due.values()), default=math.inf))
