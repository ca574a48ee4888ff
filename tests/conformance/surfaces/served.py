"""A cluster in a thread of its own, shared by all surfaces that need one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

from memfs.testing.in_process import Cluster

BLOCK_SIZE = 4096
GROUP_BLOCKS = 4
CALL_SECONDS = 60.0


class Served:
    """Started when it is first asked for something."""

    def __init__(self, **settings: Any) -> None:
        """``settings``: further ones of the nodes."""
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """Three nodes, two replicas, tiny blocks."""
        if self._cluster is None:
            self._cluster = Cluster(
                nodes=3,
                replication=2,
                block_size=BLOCK_SIZE,
                group_blocks=GROUP_BLOCKS,
                **self._settings,
            )
            self.run(self._cluster.__aenter__())
        return self._cluster

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the cluster's loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    def settle(self) -> None:
        """Until what was deleted is reclaimed."""
        primary = self.cluster.nodes[0].role
        while primary.namespace.reclaiming:
            time.sleep(0.005)

    def close(self) -> None:
        """Stop the cluster and its thread."""
        if self._cluster is not None:
            self.run(self._cluster.close())
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_SECONDS)
            self._loop.close()
