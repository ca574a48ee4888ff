"""Simulated clusters that lose, gain and drain nodes while clients work."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs.protocol import messages as m
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run
from tests.support.placed import placed_blocks

BLOCK = 4096
SETTINGS = {
    "heartbeat_seconds": 0.5,
    "member_timeout_seconds": 2,
    "removal_seconds": 10,
    "orphan_sweep_seconds": 5,
    "block_size": BLOCK,
    "group_blocks": 4,
}


async def form(seed, nodes=5, **settings):
    cluster = SimulatedCluster(seed, conditions=Conditions(delay_max=0.01), **SETTINGS | settings)
    await cluster.start(nodes=nodes)
    return cluster


async def write_files(fs, dice, count=40):
    content = {f"/f{n}": dice.randbytes(dice.randrange(1, 6 * BLOCK)) for n in range(count)}
    for path, data in content.items():
        await fs.write_bytes(path, data)
    return content


def primary_of(cluster):
    return next(node for node in cluster.nodes.values() if node.membership.is_primary)


def check_blocks(cluster, copies):
    """Every copy that is named is there and good, there are as many as wanted, and no others."""
    primary = primary_of(cluster)
    view = primary.membership.view
    stores = {node.member.number: node.store for node in cluster.nodes.values()}
    assert {member.number for member in view.members} <= stores.keys()
    named = 0
    for ref, *_ in placed_blocks(primary.role.primary.namespace):
        assert len(ref.replicas) == copies
        named += copies
        for number in ref.replicas:
            assert stores[number].verify(ref.version) == 0
    assert sum(stores[member.number].count for member in view.members) == named
    assert not primary.healing.repairs.unbalanced


async def expect_content(fs, content):
    for path, data in content.items():
        assert await fs.read_bytes(path) == data


@pytest.mark.parametrize("seed", range(3))
def test_deletes_against_healing(seed):
    async def body():
        dice = random.Random(seed)
        cluster = await form(seed, healing_bandwidth=1 << 20)
        fs = await cluster.connect()
        content = await write_files(fs, dice)
        cluster.crash("n5", silent=bool(seed % 2))
        await asyncio.sleep(9.5)
        for path in dice.sample(sorted(content), len(content) // 2):
            await asyncio.sleep(dice.uniform(0, 0.1))  # while the removal and the copying go on
            await fs.remove(path)
            del content[path]
        await asyncio.sleep(60)
        check_blocks(cluster, 2)
        await expect_content(fs, content)

    run(body())


def test_a_pause_of_the_coordinator_moves_no_bytes():
    async def body():
        cluster = await form(1)
        fs = await cluster.connect()
        await write_files(fs, random.Random(1))
        cluster.coordinator.down = True
        await asyncio.sleep(30)
        cluster.coordinator.heal()
        await asyncio.sleep(30)
        primary = primary_of(cluster)
        assert primary.healing.copies.blocks == 0
        assert len(primary.membership.view.members) == 5
        check_blocks(cluster, 2)

    run(body())


def test_a_member_that_is_silent_for_a_while_costs_nothing():
    async def body():
        cluster = await form(2)
        fs = await cluster.connect()
        await write_files(fs, random.Random(2))
        cluster.host("n5").process.pause()
        await asyncio.sleep(8)
        cluster.host("n5").process.resume()
        await asyncio.sleep(60)
        assert primary_of(cluster).healing.copies.blocks == 0
        check_blocks(cluster, 2)

    run(body())


@pytest.mark.parametrize("seed", range(3))
def test_readers_see_no_hole_while_the_ring_changes(seed):
    async def body():
        dice = random.Random(seed)
        cluster = await form(seed, nodes=3, replication=1)
        fs = await cluster.connect()
        content = await write_files(fs, dice)
        done = asyncio.Event()

        async def read_on():
            reader = await cluster.connect()
            while not done.is_set():
                for path in dice.sample(sorted(content), 5):
                    assert await reader.read_bytes(path) == content[path]
                await asyncio.sleep(dice.uniform(0, 0.2))

        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(read_on())
            await cluster.start_node("n4")
            await asyncio.sleep(dice.uniform(0, 10))
            leaving = cluster.nodes[dice.choice(("n2", "n3"))].member.number
            await fs._session.ask(m.Decommission(leaving))
            await asyncio.sleep(40)
            done.set()
        members = primary_of(cluster).membership.view.members
        assert leaving not in [member.number for member in members]
        check_blocks(cluster, 1)

    run(body())


@pytest.mark.parametrize("seed", range(2))
def test_a_dead_writer_leaves_its_last_flush_and_nothing_else(seed):
    async def body():
        dice = random.Random(seed)
        cluster = await form(seed, nodes=3, session_timeout_seconds=5)
        writer = await cluster.connect()
        flushed = dice.randbytes(3 * BLOCK + 5)
        file = await writer.open("/log", "wb")
        await file.write(flushed)
        await file.flush()
        await file.write(dice.randbytes(5 * BLOCK))
        await asyncio.sleep(dice.uniform(0, 0.5))
        cluster.crash("c1", silent=True)
        fs = await cluster.connect()
        await asyncio.sleep(30)
        assert await fs.read_bytes("/log") == flushed
        check_blocks(cluster, 2)
        async with fs.open("/log", "ab") as again:
            await again.write(b"more")
        assert await fs.read_bytes("/log") == flushed + b"more"

    run(body())


@pytest.mark.parametrize("seed", range(27, 35))
def test_when_all_nodes_stop_none_takes_the_end_of_the_others_for_a_loss(seed, caplog):
    async def body():
        dice = random.Random(seed)
        cluster = await form(seed, nodes=3)
        fs = await cluster.connect()
        await write_files(fs, dice)
        names = list(cluster.nodes)
        with caplog.at_level("ERROR", "memfs.node"):
            await asyncio.gather(*map(cluster.stop, dice.sample(names, len(names))))

    run(body())
    assert not caplog.records


@pytest.mark.parametrize("seed", range(5))
def test_nodes_that_all_stop_do_not_pass_the_role_to_and_fro(seed):
    async def body():
        cluster = await form(seed, nodes=3, heartbeat_seconds=1.0)
        await asyncio.sleep(5)
        before = cluster.coordinator.stored.view.epoch
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*map(cluster.stop, list(cluster.nodes)))
        assert cluster.coordinator.stored.view.epoch - before <= 4
        assert asyncio.get_running_loop().time() - began < 1.0

    run(body())
