"""A cluster that wants proof, and what attackers bring along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memfs import machine
from memfs.testing.in_process import Cluster
from tests.attack.certificates import Authority

SUPERUSER = machine.login_name()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The one that the cluster believes."""
    return Authority(tmp_path / "certificates")


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[Cluster]:
    """Two nodes that want proof, without unix sockets."""
    settings = {"certificates": str(authority.node()), "proxy_users": ("gateway",)}
    async with Cluster(2, memory=64 << 20, socket_directory="", **settings) as cluster:
        async with asyncio.timeout(30):
            await in_sync(cluster)
        yield cluster


async def in_sync(cluster: Cluster) -> None:
    """Until the nodes have met: what follows is between them and the attacker."""
    for node in cluster.nodes:
        while len(node.membership.view.in_sync) < len(cluster.nodes):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
