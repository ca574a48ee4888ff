"""The test kit's cluster in one process, on simulated hosts under virtual time: nothing waits.

Owns the translation between the two; a test is written as for ``memfs.testing.in_process``.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from memfs.client.filesystem import AsyncFileSystem
from memfs.limits import MIB
from memfs.node.server import Node
from memfs.testing import in_process
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run

WHOLE = Conditions(split_chance=0.0)
"""Nothing is cut: these tests move megabytes, and what is cut small takes long to simulate."""


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test under virtual time."""

    @functools.wraps(test)
    def in_virtual_time(**given: Any) -> None:
        async def main() -> None:
            await test(**given)

        run(main())

    return in_virtual_time


class Cluster(in_process.Cluster):
    """``async with Cluster(nodes=3, replication=2) as cluster: fs = await cluster.connect()``."""

    def __init__(
        self, nodes: int = 3, *, replication: int = 2, memory: int = 256 * MIB, **settings: Any
    ) -> None:
        super().__init__(nodes, replication=replication, memory=memory, **settings)
        self.simulated = SimulatedCluster(1, conditions=WHOLE, **self._settings)

    async def start_node(self) -> Node:
        """Start one more node; the first one is the primary."""
        node = await self.simulated.start_node(self._host(len(self.nodes)))
        self.nodes.append(node)
        return node

    async def connect(self, **options: Any) -> AsyncFileSystem:
        """A client on a host of its own; there are no descriptors between hosts."""
        client = await self.simulated.connect(**options)
        self._clients.append(client)
        return client

    async def kill(self, index: int) -> None:
        """End a node as a crash does."""
        self._dead.add(index)
        self.simulated.crash(self._host(index))

    async def stop(self, index: int) -> None:
        """Stop a node as an operator does."""
        self._dead.add(index)
        await self.simulated.stop(self._host(index))

    @staticmethod
    def _host(index: int) -> str:
        return f"n{index + 1}"
