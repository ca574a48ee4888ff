"""The blocking file system over a cluster without transport."""

from __future__ import annotations

from memfs.client import filesystem as aio
from memfs.client.blocking.filesystem import FileSystem
from memfs.config import ClientConfig

from ..fake_cluster import FakeCluster


class OnFake(FileSystem):
    """Its calls go through the background loop to a :class:`FakeCluster`."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        super().__init__(ClientConfig(user="root", groups=("supergroup",)))

    async def _open_core(self) -> aio.AsyncFileSystem:
        return self._cluster.connect()
