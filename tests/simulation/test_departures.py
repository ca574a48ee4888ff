"""Simulated clusters that are nearly full, and of which several nodes leave at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs.limits import MIB
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.conditions import Conditions
from memfs.testing.simulation.virtual import run

BLOCK = 4096
SETTINGS = {
    "block_size": BLOCK,
    "group_blocks": 4,
    "memory": 3 * MIB,
    "drain_blocks": True,
    "orphan_sweep_seconds": 5,
}
BYTES = 2 * MIB
"""Of files: what stays of the cluster can hold both copies, but not where its ring wants them."""


async def form(seed, **settings):
    """Five nodes, the first with room for half of what the ring will want of it, and files."""
    dice = random.Random(seed)
    conditions = Conditions(delay_max=0.01, bytes_per_second=2e5)
    cluster = SimulatedCluster(seed, conditions=conditions, **SETTINGS | settings)
    await cluster.start_node("n1", memory=MIB)
    for name in ("n2", "n3", "n4", "n5"):
        await cluster.start_node(name)
    fs = await cluster.connect()
    content = {}
    while sum(map(len, content.values())) < BYTES:
        path, data = f"/f{len(content)}", dice.randbytes(dice.randrange(1, 6 * BLOCK))
        await fs.write_bytes(path, data)
        content[path] = data
    return cluster, fs, content


async def leave_at_once(cluster, *names):
    """Nodes are stopped; how long it took."""
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*map(cluster.stop, names))
    return asyncio.get_running_loop().time() - began


@pytest.mark.parametrize("seed", range(4))
def test_two_nodes_leave_at_once_and_the_ring_wants_more_of_another_than_it_has(seed):
    """Blocks go to whoever has room for them."""

    async def body():
        cluster, fs, content = await form(seed, drain_seconds=600)
        leaving = random.Random(seed).sample(["n2", "n3", "n4", "n5"], 2)
        assert await leave_at_once(cluster, *leaving) < 100
        for path, data in content.items():
            assert await fs.read_bytes(path) == data

    run(body())


@pytest.mark.parametrize("seed", range(4))
def test_a_departure_that_is_cut_short_has_moved_the_last_copies_first(seed):
    async def body():
        seconds = 1.0
        cluster, fs, content = await form(seed, drain_seconds=seconds)
        assert await leave_at_once(cluster, "n2", "n3") >= seconds
        for path, data in content.items():
            assert await fs.read_bytes(path) == data

    run(body())


def test_a_coordinator_that_is_away_for_a_while_does_not_end_a_departure():
    async def body():
        cluster, fs, content = await form(1, drain_seconds=600)
        cluster.coordinator.down = True
        leaving = asyncio.create_task(leave_at_once(cluster, "n2", "n3"))
        await asyncio.sleep(30)
        cluster.coordinator.heal()
        assert 30 < await leaving < 150
        for path, data in content.items():
            assert await fs.read_bytes(path) == data

    run(body())
