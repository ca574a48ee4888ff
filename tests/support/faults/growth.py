"""Membership changes on purpose: joins, leaves, planned restarts."""

from __future__ import annotations

import asyncio
import contextlib

from memfs.errors import MemfsError
from memfs.protocol import messages as m
from memfs.testing.simulation.clients import perform
from tests.support.faults.scene import Scene

NODES_MAX = 8
DEPARTURE_SECONDS = 30.0


async def join(scene: Scene) -> None:
    """A new node, heavier or lighter than the others."""
    number = sum(name[0] == "n" for name in scene.cluster.hosts) + 1
    if number <= NODES_MAX:
        scene.strike("join", f"n{number}")
        scene.cluster.boot(f"n{number}", weight=scene.random.choice((50, 100, 200)))


async def leave(scene: Scene) -> None:
    """A node says goodbye, with what it holds, and comes back later."""
    await _stop(scene, "leave")


async def decommission(scene: Scene) -> None:
    """A node's blocks are moved away, then it stops; it comes back as a new one."""
    name, cluster = scene.node(), scene.cluster
    if not name or name == scene.primary_name():
        return
    node = cluster.nodes[name]
    scene.strike("decommission", name)
    # It may be refused: no primary, no room. It may be done, too, and the answer be lost.
    with contextlib.suppress(MemfsError):
        process, fs = await scene.operator.connected()
        request = m.Decommission(node.membership.number, fewer_copies=True)
        await perform(process, fs._session.ask(request))
    for _ in range(round(DEPARTURE_SECONDS)):
        await asyncio.sleep(1.0)
        if name not in cluster.nodes:
            break
    await asyncio.sleep(scene.seconds())
    cluster.restart(name)


async def rolling_restart(scene: Scene) -> None:
    """Each node in turn, as an upgrade does."""
    for name in list(scene.running):
        await _stop(scene, "planned restart", name, scene.seconds(0.05, 0.5))
        await asyncio.sleep(scene.seconds(1.0, 3.0))


async def _stop(scene: Scene, kind: str, name: str = "", seconds: float = 0.0) -> None:
    name, cluster = name or scene.node(), scene.cluster
    if name not in scene.running or not scene.may_lose(name) or not scene.has_spare_members:
        return
    scene.strike(kind, name)
    with scene.suffering(name):
        await cluster.stop(name)
        await asyncio.sleep(seconds or scene.seconds(0.1, 3.0))
    cluster.restart(name)
