"""Simulated clusters that are nearly full, and of which several nodes leave at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs.cluster import view as rules
from memfs.limits import MIB
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
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


TAKEN_FOR_DEAD = {
    "block_size": BLOCK,
    "removal_seconds": 6.0,
    "orphan_sweep_seconds": 2.0,
    "lease_seconds": 1.0,
}


async def eventually(condition):
    """Look until ``condition()`` holds."""
    for _ in range(300):
        if condition():
            return
        await asyncio.sleep(0.2)
    raise AssertionError("it never came true")


async def taken_for_dead(cluster, name):
    """Nothing reaches a node, and nothing comes from it, until it is no member any more."""
    others = [each for each in cluster.fabric.names if each != name]
    for other in others:
        cluster.fabric.block(name, other)
        cluster.fabric.block(other, name)
    number = cluster.nodes[name].membership.number
    primary = cluster.nodes["n1"].membership
    await eventually(lambda: rules.member(primary.view, number) is None)


def test_a_node_that_was_taken_for_dead_brings_back_what_only_it_has():
    async def body():
        cluster = SimulatedCluster(1, **TAKEN_FOR_DEAD)
        await cluster.start(4)
        fs = await cluster.connect()
        content = {f"/f{n}": random.Random(n).randbytes(3 * BLOCK) for n in range(20)}
        for path, data in content.items():
            await fs.write_bytes(path, data)
        away = asyncio.create_task(taken_for_dead(cluster, "n4"))
        await asyncio.sleep(2.0)
        cluster.crash("n3")
        cluster.restart("n3")
        await away
        node = cluster.nodes["n4"]
        cluster.fabric.heal()
        for path, data in content.items():
            assert await fs.read_bytes(path) == data
        assert node.membership.number == 4
        namespace = cluster.nodes["n1"].role.primary.namespace

        def is_named(version):
            ref = namespace.block(version)
            return ref is not None and 4 in ref.replicas

        # What has copies enough elsewhere goes.
        await eventually(lambda: all(is_named(each.version) for each in node.store.list(None, 999)))

    run(body())


def test_a_node_that_was_taken_for_dead_and_replaced_is_a_new_member():
    async def body():
        cluster = SimulatedCluster(1, **TAKEN_FOR_DEAD)
        await cluster.start(4)
        fs = await cluster.connect()
        await fs.write_bytes("/f", bytes(9 * BLOCK))
        await taken_for_dead(cluster, "n4")
        node, number = cluster.nodes["n4"], cluster.nodes["n4"].membership.number
        primary = cluster.nodes["n1"].role
        another = node.member._replace(number=0, incarnation=99, host="n5")
        await primary.in_sync.change(lambda view: rules.join(view, another))
        cluster.fabric.heal()
        await eventually(lambda: node.membership.number not in (0, number))
        await eventually(lambda: node.store.count == 0)
        assert await fs.read_bytes("/f") == bytes(9 * BLOCK)

    run(body())
