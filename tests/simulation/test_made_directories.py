"""A directory that a mount has made is known to be empty, until somebody changes that."""

from __future__ import annotations

import asyncio
import stat

import pytest

from memfs.fuse.kernel.protocol import ENTRY_OUT, MKDIR_IN, ROOT_ID, InHeader, Opcode
from memfs.fuse.known import ABSENT
from memfs.fuse.operations import names
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from tests.support.mounted import Kernel


async def begun(seed):
    """A mount whose kernel believes names, and another client of the cluster."""
    cluster = SimulatedCluster(seed, replication=2)
    await cluster.start(3)
    maker, other = await cluster.connect(), await cluster.connect()
    kernel = Kernel(maker, (await other.stat("/")).st_ino)
    while not kernel.believed:
        await kernel.stat(b"made")
        await asyncio.sleep(0.05)
    return kernel, other


async def made(kernel):
    """A new directory's inode."""
    header = InHeader(0, Opcode.MKDIR, 0, ROOT_ID, 0, 0, 0, 0)
    body = MKDIR_IN.pack(stat.S_IFDIR | 0o755, 0) + b"made\0"
    (entry,) = await names.make_directory(kernel.mount, header, body)
    return ENTRY_OUT.unpack(entry).nodeid


@pytest.mark.parametrize("seed", range(4))
def test_no_name_in_it_has_to_be_asked_for(seed):
    async def main():
        kernel, other = await begun(seed)
        inode = await made(kernel)
        assert kernel.mount.recall_name(inode, b"name") == ABSENT
        assert kernel.mount.known.listing(inode) == ([], [])
        await other.write_bytes("/made/name", b"1")
        assert kernel.mount.recall_name(inode, b"name") is None
        await kernel.mount.watch.close()

    run(main())


@pytest.mark.parametrize("seed", range(8))
def test_what_another_puts_there_at_once_is_found(seed):
    """Word of it may come before the answer that the directory is made."""

    async def main():
        kernel, other = await begun(seed)
        making = asyncio.create_task(made(kernel))
        found = False
        while not found:
            found = await other.exists("/made")
        await other.write_bytes("/made/name", b"1")
        inode = await making
        assert kernel.mount.recall_name(inode, b"name") != ABSENT
        assert (await kernel.mount.look_up(inode, b"name"))[0].size == 1
        await kernel.mount.watch.close()

    run(main())
