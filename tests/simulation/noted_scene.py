"""A scene whose moments are noted, and kills between every two of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from mounted_scene import Scene

from memfs.testing.simulation.external_store import StoreConditions, StoreServer
from memfs.testing.simulation.trace import Trace
from memfs.testing.simulation.virtual import run

T = TypeVar("T")
EVERY = [20, pytest.param(1, marks=pytest.mark.nightly)]
"""One of how many moments is tried."""
JOURNAL = {"journal": "/journal", "journal_blocks": True, "ack": "journal"}


class Moments:
    """When anything happened, once each, in order."""

    def __init__(self) -> None:
        self.noted: list[float] = []

    def note(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self.noted or self.noted[-1] < now:
            self.noted.append(now)


class NotingTrace(Trace):
    """Messages between hosts are moments."""

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        self._moments = moments

    def add(self, time: float, kind: str, *details: object) -> None:
        self._moments.note()
        super().add(time, kind, *details)


class NotingServer(StoreServer):
    """What the store receives, does and answers are moments."""

    moments: Moments

    def __init__(self, seed: int, conditions: StoreConditions | None) -> None:
        super().__init__(seed, conditions)
        self.looks: list[float] = []
        """When it told of an object."""

    async def carry_out(self, kind: str, work: Callable[[], T]) -> T:
        def noted() -> T:
            self.moments.note()
            if kind == "stat":
                self.looks.append(asyncio.get_running_loop().time())
            return work()

        self.moments.note()
        try:
            return await super().carry_out(kind, noted)
        finally:
            self.moments.note()


class NotedScene(Scene):
    """A scene whose moments are noted."""

    def make_bucket(self, seed: int, conditions: StoreConditions | None) -> StoreServer:
        server = NotingServer(seed, conditions)
        server.moments = self.moments = Moments()
        return server


async def kill(scene: Scene, victims: str, at: float | None) -> None:
    """At a time, the primary, a backup, all nodes, or the client on the host of that name."""
    if at is None:
        return
    cluster = scene.cluster
    await asyncio.sleep(at - asyncio.get_running_loop().time())
    primary = next((name for name, node in cluster.nodes.items() if node.role.leads), "n1")
    if victims.startswith("c"):
        cluster.host(victims).network.crash()
        return
    if victims == "all":
        killed = sorted(cluster.nodes)
        cluster.power_cut()
    else:
        others = sorted(set(cluster.nodes) - {primary})
        killed = [primary if victims == "primary" else others[0]]
        cluster.crash(killed[0])
    await asyncio.sleep(3)
    for name in killed:
        cluster.restart(name)


def at_moments(play: Callable[[float | None], Awaitable[list[float]]], every: int) -> None:
    """Play once to learn the moments, then once for one in ``every`` of them."""

    async def main(at: float | None) -> list[float]:
        return await play(at)

    moments = run(main(None))
    between = [(a + b) / 2 for a, b in itertools.pairwise(moments)]
    assert len(between) > 10
    every = min(every, len(between) // 3)
    for at in between[every // 2 :: every]:
        try:
            run(main(at))
        except AssertionError as error:
            raise AssertionError(f"killed at {at} s: {error}") from error
