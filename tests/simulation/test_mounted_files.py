"""What a mount shows of a file that is written through it, at every moment."""

from __future__ import annotations

import asyncio
import os

import pytest

from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run
from tests.support.mounted import Kernel

OLD, NEW = b"old", b"newer content"


async def mounted(seed):
    """A mount, with an open file whose content is OLD, and the file's node."""
    cluster = SimulatedCluster(seed, replication=2, conditions=Conditions(delay_max=0.03))
    await cluster.start(3)
    fs = await cluster.connect()
    await fs.write_bytes("/f", OLD)
    kernel = Kernel(fs, (await fs.stat("/")).st_ino)
    inode = (await fs.stat("/f")).st_ino
    file = kernel.mount.files.use(inode)
    kernel.mount.files.opened(file, os.O_RDWR)
    await file.stay()
    return kernel, file, kernel.mount.cluster.node(inode)


async def lease_goes_back(file):
    """Until the lease, unused for a while, is being given back with what was written."""
    while True:
        if file._writing is None:
            return
        await asyncio.sleep(0.001)


LOOKS = {
    "read": lambda kernel, file, node: file.read(0, 100),
    "stat": lambda kernel, file, node: kernel.fstat(node),
    "stat by name": lambda kernel, file, node: kernel.stat(b"f"),
    "seek": lambda kernel, file, node: file.seek(len(OLD), os.SEEK_HOLE),
}
FOUND = {"read": NEW, "stat": len(NEW), "stat by name": len(NEW), "seek": len(NEW)}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("seed", range(6))
def test_what_was_written_is_found_while_the_lease_goes_back(seed, look):
    async def main():
        kernel, file, node = await mounted(seed)
        await file.write(0, memoryview(NEW))
        await lease_goes_back(file)
        assert [await LOOKS[look](kernel, file, node) for _ in range(4)] == [FOUND[look]] * 4
        await kernel.mount.watch.close()

    run(main())


@pytest.mark.parametrize("seed", range(6))
def test_a_read_that_crosses_a_write_leaves_nothing_old_behind(seed):
    """Programs read and write through one mount at once: several reads, a write among them."""

    async def main():
        kernel, file, _ = await mounted(seed)
        new = OLD.upper()  # the end of the file makes no reader look again
        writing = asyncio.create_task(file.write(0, memoryview(new)))
        await asyncio.sleep(0)  # it asks for the lease
        reads = [asyncio.create_task(file.read(0, len(OLD))) for _ in range(3)]
        await writing
        await file.release()
        assert set(await asyncio.gather(*reads)) <= {OLD, new}
        assert [await file.read(0, len(OLD)) for _ in range(4)] == [new] * 4
        await kernel.mount.watch.close()

    run(main())
