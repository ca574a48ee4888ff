"""A whole cluster in one thread under virtual time: real nodes and clients, simulated hosts.

Owns the hosts, what runs on each, and the clocks and disks that they see. One seed decides
everything. Knows no workload and judges nothing.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from memfs.client.filesystem import FileSystem
from memfs.config import NodeConfig
from memfs.limits import MIB
from memfs.node.server import Node
from memfs.paths import Endpoint
from memfs.testing.cluster import connect
from memfs.testing.network import Conditions, Fabric, HostNetwork
from memfs.testing.virtual import Process
from memfs.transport.environment import Environment

PORT = 10500
_EPOCH_NS = 1_800_000_000_000_000_000  # where simulated wall clocks begin


class HostClock:
    """The clocks of one simulated host; they may run at another rate and be set off."""

    def __init__(self) -> None:
        """In step with virtual time."""
        self._loop = asyncio.get_running_loop()
        self.rate = 1.0
        self.offset_ns = 0

    def monotonic(self) -> float:
        """The event loop's time."""
        return self._loop.time()

    def boottime_ns(self) -> int:
        """Nanoseconds since the start of the simulation, as this host counts them."""
        return round(self.monotonic() * self.rate * 1e9) + self.offset_ns

    def wall_ns(self) -> int:
        """What people read on this host's clock."""
        return _EPOCH_NS + self.boottime_ns()


class HostDisk:
    """The files of one simulated host; they survive its crashes."""

    def __init__(self) -> None:
        """Empty."""
        self.files: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        """The whole file, None when there is none."""
        return self.files.get(path)

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file."""
        self.files[path] = self.files.get(path, b"") + bytes(data)

    def replace(self, path: str, data: bytes) -> None:
        """Put ``data`` in the place of a file."""
        self.files[path] = bytes(data)


class Host:
    """One simulated machine: its network, clock, disk, and the process that runs on it."""

    def __init__(self, fabric: Fabric, name: str, seed: int) -> None:
        """Made by :meth:`SimulatedCluster.host`."""
        self.name = name
        self.network: HostNetwork = fabric.host(name)
        self.clock = HostClock()
        self.disk = HostDisk()
        self.starts = 0
        self._seed = seed

    @property
    def process(self) -> Process:
        """What runs on it now."""
        return self.network.process

    def environment(self) -> Environment:
        """For a new process: its dice differ from those of the one before."""
        self.starts += 1
        dice = random.Random(f"host {self.name} start {self.starts} seed {self._seed}")
        return Environment(self.clock, dice, self.network, self.disk)


class SimulatedCluster:
    """Nodes ``n1``, ``n2``, ... and clients ``c1``, ... on hosts of the same names.

    Use it inside :func:`memfs.testing.virtual.run`. ``fabric`` injects faults between hosts.
    """

    def __init__(self, seed: int, *, conditions: Conditions | None = None, **settings: Any) -> None:
        """Args: ``seed`` of everything; ``settings``, fields of every node's NodeConfig."""
        self.fabric = Fabric(seed, conditions)
        self.nodes: dict[str, Node] = {}
        self.hosts: dict[str, Host] = {}
        self._seed = seed
        self._settings = {"memory": 64 * MIB, "replication": 2} | settings
        self._clients = 0

    def host(self, name: str) -> Host:
        """The simulated machine of that name."""
        if name not in self.hosts:
            self.hosts[name] = Host(self.fabric, name, self._seed)
        return self.hosts[name]

    async def start(self, nodes: int = 3) -> None:
        """Form a cluster: the first node keeps the coordinator and is the primary."""
        for number in range(1, nodes + 1):
            await self.start_node(f"n{number}")

    async def start_node(self, name: str) -> Node:
        """Start a node on its host; returns when it has joined."""
        host = self.host(name)
        node = Node(self._config(name), host.environment())
        await host.process.spawn(node.start())
        self.nodes[name] = node
        return node

    def _config(self, name: str) -> NodeConfig:
        settings: dict[str, Any] = {
            "name": name,
            "host": name,
            "port": PORT,
            "insecure": True,
            "coordinator": f"memfs://n1:{PORT}" if self.nodes else "embedded",
            "data_directory": "/data",
            "socket_directory": "",
            "monitoring_port": -1,
            "superuser": "root",
            "domain": f"rack/{name}",
        }
        return NodeConfig(**(settings | self._settings))

    async def connect(self, **options: Any) -> FileSystem:
        """A client on a host of its own."""
        self._clients += 1
        host = self.host(f"c{self._clients}")
        endpoints = tuple(Endpoint(name, PORT) for name in self.nodes)
        chosen: dict[str, Any] = {"user": "root", "groups": (), "local_descriptors": False}
        client = connect(host.environment(), endpoints, **(chosen | options))
        return await host.process.spawn(client)

    def crash(self, name: str, *, silent: bool = False) -> None:
        """Kill what runs on a host; ``silent``: the machine, so that nothing refuses either."""
        self.host(name).network.crash(silent=silent)
        self.nodes.pop(name, None)
