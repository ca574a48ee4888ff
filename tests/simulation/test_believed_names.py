"""Names that a mount's kernel believes while others change them: who waits, and how long."""

from __future__ import annotations

import asyncio

import pytest

from memfs.fuse.believed_names import BELIEVED_SECONDS, LATE_SECONDS
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from tests.support.mounted import Kernel

SHORT_SECONDS = 0.2
"""A few messages: nothing that anybody waits for on purpose."""


async def scene(seed):
    """A kernel that believes what /old and /new mean, and another client."""
    cluster = SimulatedCluster(seed, replication=2)
    await cluster.start(3)
    watcher, other = await cluster.connect(), await cluster.connect()
    await other.write_bytes("/old", b"four")
    kernel = Kernel(watcher, (await other.stat("/")).st_ino)
    while not kernel.believed:
        assert await kernel.stat(b"old") == 4
        assert await kernel.stat(b"new") is None
        await asyncio.sleep(0.05)
    return kernel, other


CHANGES = {
    "rename": (lambda fs: fs.rename("/old", "/new"), {b"old": None, b"new": 4}),
    "remove": (lambda fs: fs.remove("/old"), {b"old": None, b"new": None}),
    "create": (lambda fs: fs.write_bytes("/new", b"made"), {b"old": 4, b"new": 4}),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", CHANGES)
def test_who_looks_waits_and_nobody_else(kind, seed):
    async def main():
        kernel, other = await scene(seed)
        loop = asyncio.get_running_loop()
        change, expected = CHANGES[kind]
        assert [await kernel.stat(b"old"), await kernel.stat(b"new")] == [4, None]
        began = loop.time()
        await change(other)
        assert loop.time() - began < SHORT_SECONDS
        for _ in range(3):
            assert {name: await kernel.stat(name) for name in expected} == expected
        assert loop.time() - began < BELIEVED_SECONDS + LATE_SECONDS + SHORT_SECONDS
        for number in range(10):  # others work here: nobody waits any more
            began = loop.time()
            await other.write_bytes(f"/{number}", b"12345")
            assert await kernel.stat(b"%d" % number) == 5
            assert loop.time() - began < SHORT_SECONDS
        await kernel.mount.watch.close()

    run(main())
