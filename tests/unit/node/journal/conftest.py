"""A node's worth of journal on a simulated disk."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

from memfs.testing.simulation.disk import HostDisk
from memfs.transport.environment import Environment


class LoopClock:
    """The event loop's time, in whatever thread it is asked for."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def monotonic(self) -> float:
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def wall_ns(self) -> int:
        return int(self.monotonic() * 1e9)

    boottime_ns = wall_ns


def environment(disk: HostDisk, seed: int = 0) -> Environment:
    return Environment(LoopClock(), random.Random(seed), cast(Any, None), disk)
