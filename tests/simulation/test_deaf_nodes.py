"""A node to which nothing comes through: files are written beside it, by whoever learned of it."""

from __future__ import annotations

import asyncio

import pytest

from memfs.limits import KIB, MIB
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run

FIRST_SECONDS = 15.0
"""Until the primary's successor serves and a chain without the node was found."""
LATER_SECONDS = 1.0
"""No attempt at the node is among these: it alone would take two seconds."""


@pytest.mark.parametrize("clients_too", [False, True])
@pytest.mark.parametrize("deaf", ["n1", "n3"])
@pytest.mark.parametrize(("nodes", "copies"), [(3, 2), (4, 2), (5, 3)])
def test_files_are_written_beside_a_deaf_node(nodes, copies, deaf, clients_too):
    async def main():
        settings = {"block_size": 256 * KIB, "group_blocks": 1, "replication": copies}
        cluster = SimulatedCluster(1, lease_seconds=3.0, **settings)
        await cluster.start(nodes)
        await asyncio.sleep(10)
        fs = await cluster.connect()
        await fs.mkdir("/d")
        for name in cluster.nodes:
            if name != deaf:
                cluster.fabric.block(name, deaf)
        if clients_too:
            cluster.fabric.block("c1", deaf)
        content = bytes(3 * MIB)
        first, *later = [await took(fs.write_bytes(f"/d/{at}", content)) for at in range(6)]
        small = await took(fs.write_many([(f"/d/s{at}", b"small") for at in range(50)]))
        assert all([await fs.read_bytes(f"/d/{at}") == content for at in range(6)])
        return first, max(later), small

    first, later, small = run(main())
    assert first <= FIRST_SECONDS
    assert later <= LATER_SECONDS
    assert small <= LATER_SECONDS


async def took(call):
    """Virtual seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await call
    return loop.time() - began
