"""A small cluster under virtual time with a bucket mounted into it, for tests of stores."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from in_virtual_time import WHOLE

from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import MemfsError, StoreUnreachableError
from memfs.stores.interface import Store
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.external_store import StoreConditions, StoreServer
from memfs.transport.environment import Environment

T = TypeVar("T")
BLOCK = 64 << 10
PATIENCE_SECONDS = 600


class Scene:
    """A cluster of three nodes, its bucket mounted at /x, and a client."""

    def __init__(
        self, seed: int, conditions: StoreConditions | None = None, **settings: object
    ) -> None:
        self.bucket = self.make_bucket(seed, conditions)
        self.dice = random.Random(f"stores {seed}")
        self.cluster = SimulatedCluster(
            seed,
            open_store=self._open,
            conditions=WHOLE,
            **{"min_in_sync": 1, "block_size": BLOCK, "group_blocks": 4} | settings,
        )

    def make_bucket(self, seed: int, conditions: StoreConditions | None) -> StoreServer:
        """The store's side."""
        return StoreServer(seed, conditions)

    def _open(self, url: str, options: Mapping[str, str], environment: Environment) -> Store:
        return self.bucket.connect()

    async def start(self, nodes: int = 3, **how: object) -> AsyncFileSystem:
        """Mounted, whatever the store thinks of it."""
        await self.cluster.start(nodes)
        fs = await self.cluster.connect()
        await insist(lambda: fs.mount("/x", "fake://bucket", **how))  # type: ignore[arg-type]
        return fs

    async def settled(self, fs: AsyncFileSystem) -> None:
        """Until the store lacks nothing."""
        for _ in range(PATIENCE_SECONDS):
            with contextlib.suppress(MemfsError):
                (mount,) = await fs.mounts()
                if not mount.dirty_files:
                    return
            await asyncio.sleep(1)
        raise AssertionError(f"never stored: {await fs.mounts()}")


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Do it again while the store fails."""
    for _ in range(100):
        try:
            return await act()
        except StoreUnreachableError:
            await asyncio.sleep(0.1)
    raise AssertionError("the store never answered")
