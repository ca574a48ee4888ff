"""Work that is cancelled in the middle: what applications call, and what nodes serve."""

from __future__ import annotations

import asyncio

from memfs.transport.accepted import Accepted
from memfs.transport.service import IncomingCall
from tests.support.faults.scene import Scene

LOOKS = 200
"""For requests under way: most take a few milliseconds."""


async def cancel(scene: Scene) -> None:
    """Cancel what clients are doing, wherever they are in it."""
    for _ in range(scene.random.randint(3, 12)):
        name = scene.client() if scene.random.random() < 0.5 else await _who_opens(scene)
        calls = scene.cluster.host(name).process.calls
        if calls:
            scene.strike("cancelled call")
            scene.random.choice(list(calls.values())).cancel()
        await asyncio.sleep(scene.random.uniform(0.01, 0.5))


async def _who_opens(scene: Scene) -> str:
    """A client that waits for a lease, some while after it asked; any after a long look."""
    for _ in range(LOOKS):
        clients = [each for each in scene.cluster.clients if each.session]
        asking = [each.name for each in clients if each.session and each.session.grants.asking]
        if asking:
            await asyncio.sleep(scene.random.uniform(0, 0.004))
            return scene.random.choice(asking)
        await asyncio.sleep(0.002)
    return scene.client()


async def cancel_served(scene: Scene) -> None:
    """Requests are cancelled in the nodes that serve them, or lose their connection there."""
    wanted = scene.random.randint(3, 12)
    for _ in range(LOOKS):
        served = _served(scene)
        if served:
            connection, call = scene.random.choice(served)
            scene.strike("cancelled request", type(call.request).__name__)
            if scene.random.random() < 0.5:
                connection.abort("cut by a fault")
            else:
                connection._served[call].cancel()
            wanted -= 1
        if not wanted:
            return
        await asyncio.sleep(scene.random.uniform(0.0002, 0.05))


def _served(scene: Scene) -> list[tuple[Accepted, IncomingCall[object]]]:
    """What nodes are working on at this moment."""
    nodes = [scene.cluster.nodes[name] for name in scene.running]
    return [
        (connection, call)
        for node in nodes
        for connection in node.parts.server._connections
        for call in connection._served
    ]
