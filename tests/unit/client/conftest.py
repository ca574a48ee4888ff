"""A cluster without transport, and a client of it."""

from __future__ import annotations

import pytest

from memfs.client.filesystem import AsyncFileSystem
from tests.unit.client.fake_cluster import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes, two copies, blocks of 4 KiB in groups of 4."""
    return FakeCluster()


@pytest.fixture
async def fs(cluster: FakeCluster) -> AsyncFileSystem:
    """A client."""
    return cluster.connect()
