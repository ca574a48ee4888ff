"""Faults of the disks that journals lie on, and the loss of power everywhere."""

from __future__ import annotations

import asyncio

from memfs.testing.simulation.disk import HostDisk
from tests.support.faults.scene import Scene


async def total_power_cut(scene: Scene) -> None:
    """Every node loses power at once and comes back in its own time, up to three times.

    Only where all that was acknowledged is on the disks (``ack = journal``).
    """
    view, names = scene.view, [name for name in scene.cluster.hosts if name[0] == "n"]
    if view is None or not view.journaled:
        return
    for _ in range(scene.random.randint(1, 3)):
        scene.strike("total power cut", *names)
        scene.cluster.power_cut()
        scene.random.shuffle(names)
        for name in names:
            await asyncio.sleep(scene.seconds(0.05, 0.5))
            scene.cluster.restart(name)
        await asyncio.sleep(scene.seconds(1.0, 3.0))


async def full_disks(scene: Scene) -> None:
    """Some disks have no room for a while."""
    disks = _some(scene, "full disk")
    for disk in disks:
        disk.capacity = disk.used + scene.random.randrange(30_000)
    await asyncio.sleep(scene.seconds(0.2, 3.0))
    for disk in disks:
        disk.capacity = None


async def failing_syncs(scene: Scene) -> None:
    """Disks fail to sync now and then, and what they should have saved may be lost."""
    for _ in range(scene.random.randint(1, 6)):
        for disk in _some(scene, "failing sync"):
            disk.failing_syncs = scene.random.randint(1, 2)
        await asyncio.sleep(scene.random.uniform(0.01, 0.5))


async def failing_writes(scene: Scene) -> None:
    """Disks refuse to write for a while."""
    disks = _some(scene, "failing writes")
    for disk in disks:
        disk.failing_writes = True
    await asyncio.sleep(scene.seconds(0.1, 2.0))
    for disk in disks:
        disk.failing_writes = False


def _some(scene: Scene, kind: str) -> list[HostDisk]:
    """The disk of one node, of some, or of all."""
    names = scene.running
    chosen = scene.random.sample(names, scene.random.randint(min(1, len(names)), len(names)))
    if chosen:
        scene.strike(kind, *chosen)
    return [scene.cluster.host(name).disk for name in chosen]
