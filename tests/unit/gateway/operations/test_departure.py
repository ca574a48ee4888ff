"""What a connection asked of the cluster ends with it (an upload that came whole is stored)."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.client.fake_cluster import FakeCluster, Gate
from tests.unit.gateway.on_fake import FakeGateway

BLOCK = 4096
TURNS = 1000
"""Turns of the loop after which what has not ended will not end."""


async def settled(cluster: FakeCluster, waiting: bool) -> bool:
    """Whether members come to be asked, or to be asked no more."""
    for _ in range(TURNS):
        if bool(cluster.waiting) is waiting:
            return True
        await asyncio.sleep(0)
    return False


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/f?op=OPEN"),
        ("GET", "/f?op=OPEN&length=100"),
        ("GET", "/f?op=GETFILECHECKSUM"),
        ("POST", "/f?op=CONCAT&sources=/g"),
    ],
)
async def test_nothing_goes_on_for_who_has_left(method: str, target: str) -> None:
    cluster = FakeCluster()
    fs = cluster.connect()
    await fs.write_many({"/f": bytes(100 * BLOCK + 7), "/g": bytes(9 * BLOCK)})
    gateway = FakeGateway(cluster, timeout=30)
    cluster.gate = Gate()
    exchange = gateway.begin(method, target)
    assert await settled(cluster, True), "nothing was asked of the nodes"
    exchange.transport.close()
    assert await settled(cluster, False)
    assert not await settled(cluster, True), "it went on"
