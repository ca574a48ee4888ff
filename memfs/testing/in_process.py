"""A whole cluster in one process and one event loop: real nodes, real sockets on loopback.

Owns the nodes' life. For tests that want to look inside a node, poke at it or kill it; for what
needs real processes there is ``memfs.testing.processes``, for what needs simulated time and
faults ``memfs.testing.simulation.cluster``.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from memfs.client.connect import client_environment, encryption_keys, file_system
from memfs.client.credentials import as_proven
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.session.connecting import connect_session
from memfs.config import ClientConfig, NodeConfig
from memfs.limits import MIB
from memfs.node.assembly import build_node, node_environment
from memfs.node.server import Node
from memfs.paths import Endpoint
from memfs.transport.environment import Environment

FAST: dict[str, Any] = {
    "heartbeat_seconds": 0.1,
    "member_timeout_seconds": 2.0,
    "orphan_sweep_seconds": 1.0,
    "monitoring_port": -1,
}
"""Settings that make a test short; pass others to override them."""


class Cluster:
    """``async with Cluster(nodes=3, replication=2) as cluster: fs = await cluster.connect()``."""

    def __init__(
        self, nodes: int = 3, *, replication: int = 2, memory: int = 256 * MIB, **settings: Any
    ) -> None:
        """Args: ``memory``, limit of each node; ``settings``, further fields of NodeConfig."""
        self.nodes: list[Node] = []
        self._count = nodes
        self._settings = FAST | {"replication": replication, "memory": memory} | settings
        self._directory = ""
        self._clients: list[AsyncFileSystem] = []
        self._dead: set[int] = set()

    @property
    def url(self) -> str:
        """Of all nodes that live."""
        return "memfs://" + ",".join(str(endpoint) for endpoint in self.endpoints)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Of all nodes that live."""
        alive = (node for index, node in enumerate(self.nodes) if index not in self._dead)
        return tuple(node.endpoint for node in alive)

    async def __aenter__(self) -> Cluster:
        self._directory = tempfile.mkdtemp(prefix="memfs-test-")
        try:
            for _ in range(self._count):
                await self.start_node()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start_node(self) -> Node:
        """Start one more node; the first one keeps the coordinator and is the primary."""
        node = self._build(f"node-{len(self.nodes) + 1}")
        self.nodes.append(node)
        await node.start()
        return node

    async def restart(self, index: int, *, crash: bool = False) -> Node:
        """End a node, in good order or not, and start another one of its name."""
        if index not in self._dead:
            await self.nodes[index].stop(leave=not crash)
        name = self.nodes[index].config.name
        self.nodes[index] = self._build(name)
        self._dead.discard(index)
        await self.nodes[index].start()
        return self.nodes[index]

    def _build(self, name: str) -> Node:
        config = self._config(name)
        return build_node(config, node_environment(config))

    def _config(self, name: str) -> NodeConfig:
        data = Path(self._directory) / name
        data.mkdir(exist_ok=True)
        settings: dict[str, Any] = {
            "name": name,
            "port": 0,
            "coordinator": f"memfs://{self.nodes[0].endpoint}" if self.nodes else "embedded",
            "data_directory": str(data),
            "socket_directory": self._directory,
            "standard_directories": False,
            "domain": f"test/{name}",
        }
        return NodeConfig(**(settings | self._settings))

    async def connect(self, **options: Any) -> AsyncFileSystem:
        """A client of this cluster, closed with it. Options: fields of ClientConfig.

        With ``certificates`` among the settings of the nodes it uses the same ones.
        """
        options = {"certificates": self._settings.get("certificates", "")} | options
        machine = self.nodes[0].member.machine
        environment = client_environment(ClientConfig(**options))
        client = await connect(environment, self.endpoints, machine, **options)
        self._clients.append(client)
        return client

    async def kill(self, index: int) -> None:
        """End a node like a crash, without a word to the others."""
        self._dead.add(index)
        await self.nodes[index].stop(leave=False)

    def corrupt(self, index: int) -> int:
        """Flip one bit in the middle of every block that a node holds; how many blocks."""
        store = self.nodes[index].store
        blocks = [block for block in store.list(None, store.count) if block.length]
        for block in blocks:
            region = store._find(block.version).region
            content = bytearray(region.view(0, block.length))
            content[block.length // 2] ^= 1
            region.store(0, content)
        return len(blocks)

    async def close(self) -> None:
        """Close the clients and stop all nodes; what they hold is gone."""
        for client in self._clients:
            await client.close()
        for index in reversed(range(len(self.nodes))):
            if index not in self._dead:
                await self.kill(index)
        shutil.rmtree(self._directory, ignore_errors=True)


async def connect(
    environment: Environment, endpoints: tuple[Endpoint, ...], machine: str = "", **options: Any
) -> AsyncFileSystem:
    """A client over any environment. Options: fields of ClientConfig."""
    config = as_proven(ClientConfig(endpoints=endpoints, **options))
    keys = encryption_keys(config)
    return file_system(await connect_session(config, environment, machine), keys)
