"""A node's worth of journal on a simulated disk."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

from memfs.testing.simulation.disk import HostDisk
from memfs.transport.environment import Environment


class LoopClock:
    """The event loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ns(self) -> int:
        return int(self.monotonic() * 1e9)

    boottime_ns = wall_ns


def environment(disk: HostDisk, seed: int = 0) -> Environment:
    return Environment(LoopClock(), random.Random(seed), cast(Any, None), disk)
