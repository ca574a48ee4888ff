"""What befalls the primary in the middle of a scene, for tests that are played with each of it."""

from __future__ import annotations

import asyncio

from memfs.testing.simulation.cluster import SimulatedCluster


async def nothing(cluster: SimulatedCluster) -> None:
    """The same without an event."""


async def failover(cluster: SimulatedCluster) -> None:
    """The primary ends and starts again, empty; another one takes over."""
    name = next(name for name, node in cluster.nodes.items() if node.role.leads)
    cluster.crash(name)
    await asyncio.sleep(0.2)
    cluster.restart(name)
