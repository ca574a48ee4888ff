"""Faults of the network: partitions of every shape, lost replies, resets, slowness, loss."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from tests.support.faults.scene import Scene

Pair = tuple[str, str]


async def partition(scene: Scene) -> None:
    """Hosts fall into two sets that do not reach each other; clients are on either side."""
    names = scene.cluster.fabric.names
    left = {name for name in names if scene.random.random() < 0.5}
    pairs = [(a, b) for a in names for b in names if (a in left) != (b in left)]
    primary = scene.primary_name()
    with scene.suffering(*(n for n in names if (n in left) != (primary in left))):
        async with blocked(scene, "partition", pairs, " ".join(sorted(left))):
            await asyncio.sleep(scene.seconds(0.2, 4.0))


async def isolate(scene: Scene) -> None:
    """One node loses the other nodes, perhaps the coordinator, perhaps its clients."""
    name = scene.node()
    if not name:
        return
    with_clients, with_coordinator = scene.random.random() < 0.4, scene.random.random() < 0.5
    others = [other for other in scene.cluster.fabric.names if other[0] == "n" or with_clients]
    pairs = [pair for other in others for pair in ((name, other), (other, name)) if other != name]
    faults = scene.cluster.coordinator.faults(name)
    with scene.suffering(name):
        faults.cut_requests = faults.cut_requests or with_coordinator
        async with blocked(scene, "isolate", pairs, name, with_clients, with_coordinator):
            await asyncio.sleep(scene.seconds(0.3, 4.0))
        faults.cut_requests = False


async def lonely_primary(scene: Scene) -> None:
    """The primary loses nodes and coordinator for longer than its lease, but not its clients."""
    name = scene.primary_name()
    if not name:
        return
    others = [other for other in scene.cluster.fabric.names if other[0] == "n" and other != name]
    pairs = [pair for other in others for pair in ((name, other), (other, name))]
    faults = scene.cluster.coordinator.faults(name)
    with scene.suffering(name):
        faults.cut_requests = faults.cut_replies = True
        async with blocked(scene, "lonely primary", pairs, name):
            await asyncio.sleep(scene.seconds(1.2, 4.0))
        faults.cut_requests = faults.cut_replies = False


async def one_way(scene: Scene) -> None:
    """What one node sends reaches nobody, or some; what others send reaches it."""
    name = scene.node()
    if not name:
        return
    others = [other for other in scene.cluster.fabric.names if other != name]
    chosen = [other for other in others if scene.random.random() < 0.7]
    outward = scene.random.random() < 0.5
    pairs = [(name, other) if outward else (other, name) for other in chosen]
    with scene.suffering(name):
        async with blocked(scene, "one way", pairs, name, "out" if outward else "in"):
            await asyncio.sleep(scene.seconds(0.2, 3.0))


async def one_link(scene: Scene) -> None:
    """Two nodes do not reach each other; everybody else reaches both."""
    first, second = scene.node(), scene.node()
    if first and second and first != second:
        async with blocked(scene, "one link", [(first, second), (second, first)], first, second):
            await asyncio.sleep(scene.seconds(0.2, 3.0))


async def deaf_client(scene: Scene) -> None:
    """What nodes send to some clients is lost or late; what these send arrives.

    Who watches what he has read is not told that it changes.
    """
    names = sorted(client.name for client in scene.cluster.clients)
    chosen = scene.random.sample(names, scene.random.randint(1, len(names)))
    nodes = [name for name in scene.cluster.fabric.names if name[0] == "n"]
    pairs = [(node, client) for node in nodes for client in chosen]
    times, lost = scene.random.choice(((1, False), (1, True), (4, True)))
    for _ in range(times):
        async with blocked(scene, "deaf client", pairs, *chosen):
            await asyncio.sleep(scene.seconds(0.2, 4.0) / times**2)
            for pair in pairs if lost else ():
                scene.cluster.fabric.cut(*pair)
        await asyncio.sleep(scene.seconds(0.05, 0.5))


async def lost_replies(scene: Scene) -> None:
    """Requests arrive and are carried out; the connection breaks before the answers come."""
    name = scene.node()
    if not name:
        return
    asking = [other for other in scene.cluster.fabric.names if other != name]
    chosen = scene.random.sample(asking, scene.random.randint(1, len(asking)))
    async with blocked(scene, "lost replies", [(name, other) for other in chosen], name):
        await asyncio.sleep(scene.random.uniform(0.01, 0.5))
        for other in chosen:
            scene.cluster.fabric.cut(name, other)


async def resets(scene: Scene) -> None:
    """Connections break, many times, between any two hosts."""
    scene.strike("resets")
    for _ in range(scene.random.randint(3, 15)):
        first, second = scene.random.sample(scene.cluster.fabric.names, 2)
        scene.cluster.fabric.cut(first, second)
        await asyncio.sleep(scene.random.uniform(0.01, 0.5))


async def flapping(scene: Scene) -> None:
    """A link comes and goes."""
    first, second = scene.random.sample(scene.cluster.fabric.names, 2)
    pairs = [(first, second), (second, first)]
    with scene.suffering(first, second):
        for _ in range(scene.random.randint(2, 5)):
            async with blocked(scene, "flapping", pairs, first, second):
                await asyncio.sleep(scene.seconds(0.05, 1.0))
            await asyncio.sleep(scene.seconds(0.05, 1.0))


async def slow_host(scene: Scene) -> None:
    """Everything to and from one host takes long."""
    name, seconds = scene.node() or scene.client(), scene.random.choice((0.02, 0.1, 0.5))
    scene.strike("slow host", name, seconds)
    scene.cluster.fabric.slow(name, seconds)
    await asyncio.sleep(scene.seconds(0.5, 3.0))
    scene.cluster.fabric.slow(name, 0)


async def loss(scene: Scene) -> None:
    """Segments are lost everywhere and sent again, later and later."""
    fabric = scene.cluster.fabric
    scene.strike("loss")
    fabric.conditions = replace(fabric.conditions, loss_chance=scene.random.choice((0.02, 0.1)))
    await asyncio.sleep(scene.seconds(0.5, 3.0))
    fabric.conditions = scene.plan.conditions


@contextlib.asynccontextmanager
async def blocked(
    scene: Scene, kind: str, pairs: Iterable[Pair], *details: object
) -> AsyncIterator[None]:
    """Ways that are blocked meanwhile; afterwards some connections are found to be broken."""
    pairs, fabric = list(pairs), scene.cluster.fabric
    scene.strike(kind, *details)
    for pair in pairs:
        fabric.block(*pair)
    try:
        yield
    finally:
        broken = scene.random.random() < 0.3
        for pair in pairs:
            if broken:
                fabric.cut(*pair)
            fabric.unblock(*pair)
