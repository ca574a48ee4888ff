"""An append whose last block is out of reach for a moment: its flush waits, within its budget."""

from __future__ import annotations

import asyncio

import pytest

from memfs.errors import MemfsError
from memfs.limits import KIB
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run

BLOCK = 64 * KIB
HEAD, TAIL = b"h" * (BLOCK + 1000), b"t" * 500


async def append_beside(away: float, timeout: float) -> None:
    """All copies of the last block are out of the client's reach for ``away`` seconds."""
    cluster = SimulatedCluster(11, block_size=BLOCK, group_blocks=1, replication=2)
    await cluster.start(5)
    fs = await cluster.connect()
    for number in range(40):  # until the primary has none of them: it is to be heard
        path = f"/{number}"
        await fs.write_bytes(path, HEAD)
        last = (await fs.block_locations(path))[-1]
        holders = set(last.nodes)
        if "n1" not in holders:
            break
    other = await cluster.connect()  # without a cache of what the first one has stored
    file = await other.open(path, "ab")
    await file.write(TAIL)
    for name in holders:
        cluster.fabric.block("c2", name)
        cluster.fabric.block(name, "c2")
    healing = asyncio.get_running_loop().call_later(away, cluster.fabric.heal)
    try:
        await file.flush(timeout=timeout)
    finally:
        healing.cancel()
        cluster.fabric.heal()
    await file.close()
    assert await fs.read_bytes(path) == HEAD + TAIL


@pytest.mark.parametrize("away", [0.5, 3.0, 12.0])
def test_a_flush_waits_for_the_last_block(away):
    run(append_beside(away, 30.0))


def test_it_waits_no_longer_than_its_budget():
    with pytest.raises((MemfsError, TimeoutError)):
        run(append_beside(60.0, 2.0))
