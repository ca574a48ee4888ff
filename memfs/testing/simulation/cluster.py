"""A whole cluster in one thread under virtual time: real nodes and clients, simulated hosts.

Owns the hosts, their processes, clocks and disks. One seed decides everything. Must not know
workloads or check results.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from memfs.client.filesystem import AsyncFileSystem
from memfs.config import NodeConfig
from memfs.errors import MemfsError
from memfs.limits import MIB
from memfs.node.assembly import build_node
from memfs.node.server import Node
from memfs.node.stores.opened import OpenStore
from memfs.paths import Endpoint
from memfs.stores.opening import open_store
from memfs.testing.in_process import connect
from memfs.testing.simulation.clients import SimulatedClient
from memfs.testing.simulation.coordinator import FakeCoordinator
from memfs.testing.simulation.disk import DELAY_SECONDS, HostDisk
from memfs.testing.simulation.network import Fabric, HostNetwork
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import Process, ProcessKilledError
from memfs.transport.environment import Environment

PORT = 10500
RESTART_SECONDS = 1.0
"""Pause before a node that could not start is started again, as by systemd."""
CAPABILITY_SECONDS = 4.0
"""Short: they expire under readers and writers, and keys roll, within a run."""
_EPOCH_NS = 1_800_000_000_000_000_000  # where simulated wall clocks begin


class HostClock:
    """The clocks of one simulated host; they may run at another rate and be set."""

    def __init__(self) -> None:
        """In step with virtual time."""
        self._loop = asyncio.get_running_loop()
        self._rate = 1.0
        self._since = 0.0
        self._boottime_ns = 0.0
        self.wall_offset_ns = 0
        """How far an operator, or NTP, has set the wall clock forward."""

    @property
    def rate(self) -> float:
        """Seconds that this host counts in a second."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        now = self._loop.time()
        self._boottime_ns += (now - self._since) * self._rate * 1e9
        self._since, self._rate = now, rate

    def monotonic(self) -> float:
        """The event loop's time."""
        return self._loop.time()

    def boottime_ns(self) -> int:
        """Nanoseconds since the start of the simulation, as this host counts them."""
        return round(self._boottime_ns + (self._loop.time() - self._since) * self._rate * 1e9)

    def wall_ns(self) -> int:
        """The wall clock of this host."""
        return _EPOCH_NS + self.boottime_ns() + self.wall_offset_ns


class Host:
    """One simulated machine: its network, clock, disk, and the process that runs on it."""

    def __init__(self, fabric: Fabric, name: str, seed: int, disk_seconds: float) -> None:
        """Made by :meth:`SimulatedCluster.host`."""
        self.name = name
        self.network: HostNetwork = fabric.host(name)
        self.clock = HostClock()
        self.disk = HostDisk(random.Random(f"disk {name} seed {seed}"), disk_seconds)
        self.starts = 0
        self._seed = seed

    @property
    def process(self) -> Process:
        """The process that runs on it now."""
        return self.network.process

    def environment(self) -> Environment:
        """For a new process: its dice differ from those of the one before."""
        self.starts += 1
        dice = random.Random(f"host {self.name} start {self.starts} seed {self._seed}")
        return Environment(self.clock, dice, self.network, self.disk)


class SimulatedCluster:
    """Nodes ``n1``, ``n2``, ... and clients ``c1``, ... on hosts of the same names.

    Use it inside :func:`memfs.testing.simulation.virtual.run`. ``fabric`` injects faults between
    hosts, ``coordinator`` on the way to the coordinator, which runs on a host of its own.
    """

    def __init__(
        self,
        seed: int,
        *,
        conditions: Conditions | None = None,
        disk_seconds: float = DELAY_SECONDS,
        open_store: OpenStore = open_store,
        **settings: object,
    ) -> None:
        """Args: ``seed`` of everything; ``disk_seconds``, how long work may wait for a disk;
        ``open_store`` makes the external stores of mounts; ``settings``, fields of every node's
        NodeConfig."""
        self._open_store = open_store
        self.fabric = Fabric(seed, conditions)
        self.coordinator = FakeCoordinator(
            random.Random(f"coordinator {seed}"), note=self.fabric.record
        )
        self.nodes: dict[str, Node] = {}
        """Nodes that run or are starting, by the name of their host."""
        self.hosts: dict[str, Host] = {}
        self.clients: list[SimulatedClient] = []
        self.on_start: Callable[[str, Node], None] = lambda name, node: None
        """Called with every node that is about to start."""
        self._seed = seed
        self._disk_seconds = disk_seconds
        self._settings = {"memory": 64 * MIB, "replication": 2} | settings
        self._clients = 0
        self.stopping: dict[str, None] = {}
        """Nodes that are being stopped."""
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._retiring: dict[str, asyncio.Task[None]] = {}

    def host(self, name: str) -> Host:
        """The simulated machine of that name."""
        if name not in self.hosts:
            self.hosts[name] = Host(self.fabric, name, self._seed, self._disk_seconds)
        return self.hosts[name]

    async def start(self, nodes: int = 3) -> None:
        """Form a cluster: the first node forms it and is the primary, the others join in turn."""
        for number in range(1, nodes + 1):
            await self.start_node(f"n{number}")

    # --- nodes -------------------------------------------------------------------------------

    async def start_node(self, name: str, **settings: object) -> Node:
        """Start a node on its host; returns when it has joined. ``settings`` are its own."""
        host = self.host(name)
        coordinator = self.coordinator.client(name)
        node = build_node(
            self._config(name, settings), host.environment(), coordinator, self._open_store
        )
        self.nodes[name] = node
        self.on_start(name, node)
        await host.process.perform(node.start())
        task = asyncio.create_task(self._end_retired(name, node), name=f"retirement of {name}")
        self._retiring[name] = task
        return node

    async def _end_retired(self, name: str, node: Node) -> None:
        """As the command does: a node that was decommissioned stops, and stays off."""
        await node.retired.wait()
        if self.nodes.get(name) is node:
            self.fabric.record("retired", name)
            await self.stop(name)

    def boot(self, name: str, **settings: object) -> None:
        """Start a node in the background, again and again until it runs."""
        self._starting[name] = asyncio.create_task(self._boot(name, settings), name=f"boot {name}")

    def is_starting(self, name: str) -> bool:
        """Whether :meth:`boot` has yet to succeed."""
        return name in self._starting and not self._starting[name].done()

    async def _boot(self, name: str, settings: dict[str, object]) -> None:
        while True:
            try:
                await self.start_node(name, **settings)
            except ProcessKilledError:
                return
            except MemfsError as error:
                self.fabric.record("did not start", name, type(error).__name__)
                self.host(name).network.crash()
                await asyncio.sleep(RESTART_SECONDS)
                self.host(name).network.restart()
            else:
                return

    def crash(self, name: str, *, silent: bool = False) -> None:
        """Kill what runs on a host; ``silent``: the machine, so that nothing refuses either."""
        self.host(name).network.crash(silent=silent)
        self.nodes.pop(name, None)
        self.stopping.pop(name, None)
        for tasks in (self._starting, self._retiring):
            task = tasks.pop(name, None)
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def power_cut(self, *names: str) -> None:
        """Take the power from hosts, all nodes' by default: memory and unsynced files are lost."""
        chosen = names or [name for name in self.hosts if name.startswith("n")]
        for name in chosen:
            self.hosts[name].disk.power_cut()
        for name in chosen:
            self.crash(name, silent=True)

    def restart(self, name: str, **settings: object) -> None:
        """Bring a crashed host and its node back, in the background, under a new incarnation.

        Nothing happens when somebody else was faster.
        """
        if name not in self.nodes and not self.is_starting(name):
            self.host(name).network.restart()
            self.boot(name, **settings)

    async def stop(self, name: str, *, leave: bool = True) -> None:
        """Stop a node as an operator does; its process is gone afterwards."""
        host, node = self.host(name), self.nodes[name]
        self.stopping[name] = None
        try:
            await host.process.perform(node.stop(leave=leave))
        except ProcessKilledError:
            return
        self.crash(name)

    def _config(self, name: str, given: dict[str, object]) -> NodeConfig:
        settings: dict[str, Any] = {
            "name": name,
            "host": name,
            "port": PORT,
            "insecure": True,
            "data_directory": "/data",
            "socket_directory": "",
            "monitoring_port": -1,
            "superuser": "root",
            "standard_directories": False,
            "domain": f"rack/{name}",
            "capability_seconds": CAPABILITY_SECONDS,
        }
        return NodeConfig(**(settings | self._settings | given))

    # --- clients -----------------------------------------------------------------------------

    async def connect(self, **options: object) -> AsyncFileSystem:
        """A client on a host of its own, whose code runs as whoever calls it."""
        host = self._client_host()
        return await host.process.perform(self._connect(host, options))

    def client(self, **options: object) -> SimulatedClient:
        """A client on a host of its own that may die; it connects with its first call."""
        host = self._client_host()
        client = SimulatedClient(
            host.name, lambda: host.process, lambda: self._connect(host, options)
        )
        self.clients.append(client)
        return client

    def _client_host(self) -> Host:
        self._clients += 1
        return self.host(f"c{self._clients}")

    async def _connect(self, host: Host, options: dict[str, object]) -> AsyncFileSystem:
        names = [name for name in self.hosts if name.startswith("n")]
        endpoints = tuple(Endpoint(name, PORT) for name in names)
        chosen: dict[str, Any] = {"user": "root", "groups": (), "local_descriptors": False}
        return await connect(host.environment(), endpoints, **(chosen | options))
