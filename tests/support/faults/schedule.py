"""When faults strike, and how all of them end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from tests.support.faults import calls, coordination, decay, disks, growth, hosts, links
from tests.support.faults.scene import Scene

FAULTS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    injector.__name__: injector
    for injector in (
        hosts.crash,
        hosts.power_cut,
        hosts.quick_restarts,
        hosts.pause,
        hosts.blocked_loop,
        hosts.drift,
        hosts.wall_clock,
        hosts.client_crash,
        hosts.client_pause,
        links.partition,
        links.isolate,
        links.lonely_primary,
        links.one_way,
        links.one_link,
        links.lost_replies,
        links.resets,
        links.flapping,
        links.slow_host,
        links.loss,
        coordination.coordinator_down,
        coordination.coordinator_slow,
        coordination.coordinator_loses_requests,
        coordination.coordinator_loses_replies,
        coordination.coordinator_late,
        coordination.coordinator_forgets,
        coordination.coordinator_cut,
        growth.join,
        growth.leave,
        growth.decommission,
        growth.rolling_restart,
        calls.cancel,
        calls.cancel_served,
        decay.bit_rot,
    )
}
"""Every kind of fault by its name, but for those of disks."""

DISK_FAULTS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    injector.__name__: injector
    for injector in (
        disks.total_power_cut,
        disks.full_disks,
        disks.failing_syncs,
        disks.failing_writes,
    )
}
"""Kinds that only nodes with a journal notice."""

WATCHER_FAULTS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    injector.__name__: injector for injector in (links.deaf_client,)
}
"""Kinds that only clients notice who believe what they have read."""

_INJECTORS = {**FAULTS, **DISK_FAULTS, **WATCHER_FAULTS}

STRIKES_AT_ONCE = 3


class Schedule:
    """Strikes at random times, several faults at once at most :data:`STRIKES_AT_ONCE`."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._strikes: dict[asyncio.Task[None], None] = {}

    async def run(self, until: float) -> None:
        """Strike until virtual time ``until``."""
        scene, loop = self._scene, asyncio.get_running_loop()
        while scene.plan.faults:
            wait = scene.random.expovariate(1 / scene.plan.pause_seconds)
            if loop.time() + wait >= until:
                break
            await asyncio.sleep(wait)
            if len(self._strikes) < STRIKES_AT_ONCE:
                kind = scene.random.choice(scene.plan.faults)
                strike = loop.create_task(_strike(_INJECTORS[kind], scene), name=kind)
                self._strikes[strike] = None
                strike.add_done_callback(lambda done: self._strikes.pop(done, None))
        await asyncio.sleep(max(0.0, until - loop.time()))

    async def heal(self) -> None:
        """End every fault: all links, hosts, clocks, calls and the coordinator are well again."""
        strikes = list(self._strikes)
        for strike in strikes:
            strike.cancel()
        await asyncio.gather(*strikes, return_exceptions=True)
        scene, cluster = self._scene, self._scene.cluster
        scene.afflicted.clear()
        well = replace(scene.plan.conditions, reset_chance=0.0, loss_chance=0.0)
        cluster.fabric.conditions = well
        cluster.fabric.heal()
        cluster.coordinator.heal()
        for name in list(cluster.stopping):
            cluster.crash(name)
        for host in list(cluster.hosts.values()):
            host.disk.heal()
            host.clock.wall_offset_ns = 0
            if host.process.paused:
                host.process.resume()
            if host.name[0] == "n":
                cluster.restart(host.name)
            elif not host.process.alive and host.name[0] == "c":
                host.network.restart()
        for strike in strikes:
            if not strike.cancelled() and strike.exception() is not None:
                raise AssertionError(f"the injector {strike.get_name()} failed") from (
                    strike.exception()
                )


async def _strike(injector: Callable[[Scene], Awaitable[None]], scene: Scene) -> None:
    with scene.under_way(injector.__name__):
        await injector(scene)
