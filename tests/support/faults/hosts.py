"""Faults of hosts: crashes, power cuts, pauses, blocked loops, clocks; of clients' hosts too."""

from __future__ import annotations

import asyncio

from tests.support.faults.scene import Scene

RATES = (0.8, 1.25)
"""Clocks of two hosts differ by less than 1 / 0.6, the share of a promise that a lease lasts."""


async def crash(scene: Scene) -> None:
    """Kill -9: memory is lost, peers see resets; it comes back as a new incarnation."""
    await _lose(scene, "crash", silent=False)


async def power_cut(scene: Scene) -> None:
    """The machine is gone: peers see nothing at all."""
    await _lose(scene, "power cut", silent=True)


async def quick_restarts(scene: Scene) -> None:
    """The same node dies several times, back faster than anybody notices."""
    name = scene.node()
    for _ in range(scene.random.randint(2, 3)):
        if name in scene.running and scene.may_lose(name):
            scene.strike("quick restarts", name)
            scene.cluster.crash(name)
            await asyncio.sleep(scene.seconds(0.02, 0.3))
            scene.cluster.restart(name)
        await asyncio.sleep(scene.seconds(0.5, 2.0))


async def _lose(scene: Scene, kind: str, *, silent: bool) -> None:
    name = scene.node()
    if name and scene.may_lose(name):
        scene.strike(kind, name)
        if silent:
            scene.cluster.power_cut(name)
        else:
            scene.cluster.crash(name)
        await asyncio.sleep(scene.seconds(0.05, 5.0))
        scene.cluster.restart(name)


async def pause(scene: Scene) -> None:
    """SIGSTOP: sockets stay, nothing runs; afterwards all that fell due runs at once."""
    name = scene.node()
    if name:
        await _pause(scene, "pause", name, scene.seconds(0.1, 3.0))


async def blocked_loop(scene: Scene) -> None:
    """Something takes the event loop for itself again and again."""
    name = scene.node()
    for _ in range(scene.random.randint(2, 5)):
        if name in scene.running:
            await _pause(scene, "blocked loop", name, scene.seconds(0.05, 0.5))
        await asyncio.sleep(scene.seconds(0.02, 0.3))


async def _pause(scene: Scene, kind: str, name: str, seconds: float) -> None:
    process = scene.cluster.host(name).process
    if process.paused or not process.alive:
        return
    scene.strike(kind, name, round(seconds, 3))
    process.pause()
    try:
        with scene.suffering(name):
            await asyncio.sleep(seconds)
    finally:
        process.resume()


async def drift(scene: Scene) -> None:
    """A host's clocks run fast or slow from now on."""
    name = scene.node() or scene.client()
    rate = scene.random.choice((*RATES, round(scene.random.uniform(*RATES), 3)))
    scene.strike("clock drift", name, rate)
    scene.cluster.host(name).clock.rate = rate


async def wall_clock(scene: Scene) -> None:
    """Somebody sets a host's wall clock, forward or back."""
    name = scene.node() or scene.client()
    seconds = scene.random.choice((-3600, -5, 5, 3600))
    scene.strike("wall clock set", name, seconds)
    scene.cluster.host(name).clock.wall_offset_ns += seconds * 10**9


async def client_crash(scene: Scene) -> None:
    """An application dies in the middle of whatever it does, and is started again."""
    network = scene.cluster.host(scene.client()).network
    scene.strike("client crash", network.name)
    network.crash(silent=scene.random.random() < 0.5)
    await asyncio.sleep(scene.seconds(0.05, 1.0))
    if not network.process.alive:  # else it crashed twice, and was started again meanwhile
        network.restart()


async def client_pause(scene: Scene) -> None:
    """An application stops for a while and goes on with what it believes to hold."""
    await _pause(scene, "client pause", scene.client(), scene.seconds(0.2, 5.0))
