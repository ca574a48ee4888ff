"""Faults of the coordinator and of the way to it."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.faults.scene import Scene


async def coordinator_down(scene: Scene) -> None:
    """It refuses everybody."""
    scene.strike("coordinator down")
    scene.cluster.coordinator.down = True
    await asyncio.sleep(scene.seconds(0.2, 4.0))
    scene.cluster.coordinator.down = False


async def coordinator_slow(scene: Scene) -> None:
    """Requests and answers take up to half a lease time."""
    await _all(scene, "coordinator slow", delay_max=scene.plan.lease_seconds / 2)


async def coordinator_loses_requests(scene: Scene) -> None:
    """Some requests never arrive."""
    await _all(scene, "coordinator loses requests", lose_request=0.4)


async def coordinator_loses_replies(scene: Scene) -> None:
    """Requests are carried out, and nobody is told."""
    await _all(scene, "coordinator loses replies", lose_reply=0.6)


async def coordinator_late(scene: Scene) -> None:
    """Requests are carried out long after they were given up."""
    await _all(scene, "coordinator late", late_request=0.5, late_seconds=5.0)


async def coordinator_forgets(scene: Scene) -> None:
    """Changes wake nobody."""
    await _all(scene, "coordinator forgets", lose_hint=0.7)


async def coordinator_cut(scene: Scene) -> None:
    """One node loses it, in one direction or both; everybody else reaches both."""
    name = scene.node()
    if name:
        switches = scene.random.choice(
            ({"cut_requests": True}, {"cut_replies": True}, {"down": True})
        )
        scene.strike("coordinator cut", name, *switches)
        await _meanwhile(scene, [name], switches)


async def _all(scene: Scene, kind: str, **switches: Any) -> None:
    scene.strike(kind)
    await _meanwhile(scene, scene.running, switches)


async def _meanwhile(scene: Scene, names: list[str], switches: dict[str, Any]) -> None:
    coordinator = scene.cluster.coordinator
    before = [{key: getattr(coordinator.faults(name), key) for key in switches} for name in names]
    for name in names:
        vars(coordinator.faults(name)).update(switches)
    await asyncio.sleep(scene.seconds(0.3, 4.0))
    for name, old in zip(names, before, strict=True):
        vars(coordinator.faults(name)).update(old)
