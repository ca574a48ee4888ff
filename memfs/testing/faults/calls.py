"""Faults inside applications: calls that are cancelled in the middle."""

from __future__ import annotations

import asyncio

from memfs.testing.faults.scene import Scene


async def cancel(scene: Scene) -> None:
    """Cancel what clients are doing, wherever they are in it."""
    for _ in range(scene.random.randint(3, 12)):
        calls = scene.cluster.host(scene.client()).process.calls
        if calls:
            scene.strike("cancelled call")
            scene.random.choice(list(calls.values())).cancel()
        await asyncio.sleep(scene.random.uniform(0.01, 0.5))
