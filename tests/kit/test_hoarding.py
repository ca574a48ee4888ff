"""The judge of what no file holds: what it lets pass, and what it does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from memfs.client.writing.leftovers import Leftovers
from memfs.errors import NoSpaceError
from memfs.limits import MIB
from memfs.node.blocks import BlockStore
from memfs.node.healing.discards import Discards
from memfs.testing.patches import replaced
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run
from tests.support.faults.plan import choose
from tests.support.faults.scene import Scene
from tests.support.hoarding import Hoarding
from tests.support.mutants.registry import nothing

BLOCK = 4096
SETTINGS = {"block_size": BLOCK, "memory": 4 * MIB, "orphan_sweep_seconds": 600.0}


async def judged(work):
    """What the judge says while a client works on an undisturbed cluster, and for a while after."""
    cluster = SimulatedCluster(1, **SETTINGS)
    await cluster.start()
    plan = replace(choose(1, (), ()), conditions=Conditions(), settings=SETTINGS)
    judge, said = Hoarding(Scene(cluster, plan)), []
    fs = await cluster.connect()
    working = asyncio.create_task(work(fs))
    while not working.done() or len(said) < 30:
        await asyncio.sleep(0.5)
        said.append(judge.look())
    await working
    assert None not in said, "nothing is wrong: it has to look"
    return [found for found in said if found]


async def rewrites(fs):
    async with fs.open("/f", "wb", buffering=0) as f:
        for round_ in range(40):
            await f.pwrite(bytes([round_]) * 10 * BLOCK, 0)
            if round_ % 4 == 3:
                await f.flush()
            await asyncio.sleep(0.1)


async def finds_no_room(fs):
    for number in range(8):
        with pytest.raises(NoSpaceError):
            await fs.write_bytes(f"/{number}", bytes(12 * MIB))
        await asyncio.sleep(0.5)
    f = await fs.open("/f", "wb", buffering=0)
    with pytest.raises(NoSpaceError):
        await f.write(bytes(12 * MIB))
    with pytest.raises(NoSpaceError):
        await f.close()


async def deletes(fs):
    await fs.makedirs("/d/e")
    for number in range(10):
        await fs.write_bytes(f"/d/e/{number}", bytes(5 * BLOCK))
    await fs.rmtree("/d")


@pytest.mark.parametrize("work", [rewrites, finds_no_room, deletes])
def test_what_goes_at_once_passes(work):
    assert run(judged(work)) == []


@pytest.mark.parametrize("work", [rewrites, finds_no_room])
def test_a_writer_that_keeps_its_leftovers_to_itself_is_noticed(work):
    with replaced(Leftovers, "add", nothing):
        assert run(judged(work))


@pytest.mark.parametrize("work", [rewrites, deletes])
def test_a_primary_that_leaves_discards_to_the_sweep_is_noticed(work):
    with replaced(Discards, "decide", lambda self, refs: nothing):
        assert run(judged(work))


def test_versions_that_pile_up_are_noticed_when_they_are_stored():
    async def work(fs):
        async with fs.open("/f", "wb", buffering=0) as f:
            for round_ in range(5):
                await f.pwrite(bytes([round_]) * 2 * BLOCK, 0)

    async def body():
        cluster = SimulatedCluster(1, **SETTINGS)
        await cluster.start()
        judge = Hoarding(Scene(cluster, replace(choose(1, (), ()), conditions=Conditions())))
        with judge.watching():
            await work(await cluster.connect())
        return judge.look()

    assert not run(body())
    with replaced(BlockStore, "_forget", nothing):
        assert "versions of one block" in run(body())
