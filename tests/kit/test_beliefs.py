"""The judge of what mounts believe: what it lets pass, and what it does not."""

from __future__ import annotations

import asyncio

import pytest

from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from tests.support.beliefs import Beliefs
from tests.support.mounted import Kernel
from tests.support.mutants import MUTANTS


async def judged(deaf):
    """How often the judge looked and a mount saw what was over, and what the judge said."""
    cluster = SimulatedCluster(1)
    await cluster.start()
    looks, said, old = [], [], []
    judge = Beliefs(lambda: looks.append(1), said.append)
    watcher, other = await cluster.connect(), await cluster.connect()
    await other.write_bytes("/f", b"")
    root, inode = (await other.stat("/")).st_ino, (await other.stat("/f")).st_ino
    kernel = Kernel(watcher, root)
    judge.mounts = lambda: [kernel]
    with judge.watching():
        for size in range(1, 6):
            for _ in range(4):  # until it may believe what it has read
                if await kernel.fstat(inode) != size - 1:
                    old.append(size)
                await asyncio.sleep(0.3)
            for node in cluster.nodes if deaf else ():
                cluster.fabric.block(node, "c1")
            await other.truncate("/f", size)
            cluster.fabric.heal()
            await asyncio.sleep(2.5)
    await kernel.mount.watch.close()
    return len(looks), len(old), said


@pytest.mark.parametrize("deaf", [False, True])
def test_who_is_told_in_time_or_not_trusted_any_more_is_right(deaf):
    looks, old, said = run(judged(deaf))
    assert looks > 0 or deaf
    assert not old and not said


@pytest.mark.parametrize(
    ("mutant", "deaf"),
    [("acks-before-word", True), ("word-is-not-given", False), ("forgets-who-watches", True)],
)
def test_who_believes_what_is_over_is_noticed(mutant, deaf):
    with MUTANTS[mutant].patch():
        assert run(judged(deaf))[-1]
