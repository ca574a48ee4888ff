"""Whole simulated clusters: clients at work while bytes arrive late and in pieces."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from memfs.testing.model.driver import Driver
from memfs.testing.model.filesystem import Model
from memfs.testing.model.operations import RaisedError, RandomOperations, outcome, snapshot
from memfs.testing.model.tree import ModelTree
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run

BLOCK_SIZE = 4096
OPERATIONS = 40


def conditions_of(seed):
    """Calm, slow, shredded or breaking networks by turns."""
    return (
        Conditions(),
        Conditions(delay_max=0.05, bytes_per_second=1e7),
        Conditions(split_chance=0.9, window_bytes=8192),
        Conditions(reset_chance=0.005),
    )[seed % 4]


async def form(seed):
    cluster = SimulatedCluster(
        seed, conditions=conditions_of(seed), block_size=BLOCK_SIZE, group_blocks=4
    )
    await cluster.start(nodes=3)
    return cluster


async def work(client, seed, top):
    """One client in its own directory, each result compared with the model's."""
    model = Model(ModelTree(block_size=BLOCK_SIZE))
    model.mkdir(top)
    await client.fs.mkdir(top)
    workload = RandomOperations(seed, top=top, block_size=BLOCK_SIZE)
    story = []
    for _ in range(OPERATIONS):
        operation = workload.next(model)
        expected = outcome(lambda op=operation: op.on(model))
        found = await client.outcome(operation)
        story.append(f"{operation} -> {str(found)[:60]}")
        told = "\n".join([*story[-10:], f"expected {expected}"])
        assert found == expected or both_failed(found, expected), told
    return model


def both_failed(found, expected):
    """Which of several reasons is told is the conformance suite's concern."""
    return isinstance(found, RaisedError) and isinstance(expected, RaisedError)


async def simulate(seed, fault=None):
    """Two clients at once; each then sees the other's files. Returns the trace's digest.

    ``fault`` is called with the cluster some time after the beginning.
    """
    cluster = await form(seed)
    clients = [Driver(await cluster.connect()) for _ in range(2)]
    tops = [f"/client-{number}" for number in range(2)]
    jobs = [work(c, f"{seed} {top}", top) for c, top in zip(clients, tops, strict=True)]
    if fault is not None:
        when = random.Random(f"fault {seed}").uniform(0, 0.3)
        asyncio.get_running_loop().call_later(when, fault, cluster)
    models = await asyncio.gather(*jobs)
    await asyncio.sleep(5)  # deleted trees are reclaimed: link counts are exact now
    for client, top, model in zip(reversed(clients), tops, models, strict=True):
        assert await client.snapshot(top) == snapshot(model, top)
    for client in clients:
        await client.fs.close()
    for node in cluster.nodes.values():
        if node.role.namespace is not None:  # else it has yet to catch up
            node.role.namespace.check_invariants()
        node.store.check_invariants()
    return cluster.fabric.trace.digest()


@pytest.mark.parametrize("seed", range(20))
def test_two_clients(seed):
    run(simulate(seed))


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_backup_is_lost_on_the_way(seed, silent):
    run(simulate(seed, lambda cluster: cluster.crash("n3", silent=silent)))


@pytest.mark.parametrize("seed", range(4))
def test_connections_break_on_the_way(seed):
    """A command whose answer is lost is sent again and applied once."""

    def cut(cluster):
        for client in ("c1", "c2"):
            for node in ("n1", "n2", "n3"):
                cluster.fabric.cut(client, node)

    def cut_often(cluster):
        loop = asyncio.get_running_loop()
        for number in range(20):
            loop.call_later(0.03 * number, cut, cluster)

    run(simulate(seed, cut_often))


def digest(seed, hash_seed):
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": str(Path(__file__).parent),
    }
    program = f"from test_workload import *; print(run(simulate({seed})))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_seed_gives_one_trace_whatever_the_hash_seed():
    assert digest(1, "1") == digest(1, "2") != digest(4, "1")


@pytest.mark.parametrize("silent", [False, True])
def test_without_a_backup_reads_go_on(silent):
    async def main():
        cluster = await form(seed=8)
        client = await cluster.connect()
        content = {f"/file-{number}": bytes([number]) * 10_000 for number in range(20)}
        for path, data in content.items():
            await client.write_bytes(path, data)
        cluster.crash("n2", silent=silent)
        for path, data in content.items():
            assert await client.read_bytes(path) == data

    run(main())
