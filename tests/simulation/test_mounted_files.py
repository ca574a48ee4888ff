"""What a mount shows of a file that is written through it, at every moment."""

from __future__ import annotations

import asyncio
import os
import stat

import pytest

from memfs.fuse.kernel.protocol import (
    CREATE_IN,
    ENTRY_OUT,
    RENAME_IN,
    ROOT_ID,
    SETATTR_IN,
    CreateIn,
    InHeader,
    SetAttr,
    SetattrIn,
)
from memfs.fuse.operations import attributes, content, names
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run
from tests.support.mounted import Kernel, write

OLD, NEW = b"old", b"newer content"


async def mounted(seed, delay_max=0.03):
    """A mount, with an open file whose content is OLD, and the file's node."""
    cluster = SimulatedCluster(seed, replication=2, conditions=Conditions(delay_max=delay_max))
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
        await write(kernel.mount.kept, file, 0, NEW)
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
        writing = asyncio.create_task(write(kernel.mount.kept, file, 0, new))
        await asyncio.sleep(0)  # it asks for the lease
        reads = [asyncio.create_task(file.read(0, len(OLD))) for _ in range(3)]
        await writing
        await file.release()
        assert set(await asyncio.gather(*reads)) <= {OLD, new}
        assert [await file.read(0, len(OLD)) for _ in range(4)] == [new] * 4
        await kernel.mount.watch.close()

    run(main())


def header(node):
    return InHeader(0, 0, 0, node, 0, 0, 0, 0)


async def created(kernel, name=b"made"):
    """An open file that the mount has just made, and its node."""
    asked = CreateIn(os.O_RDWR | os.O_CREAT, stat.S_IFREG | 0o600, 0, 0)
    body = CREATE_IN.pack(*asked) + name + b"\0"
    entry = (await content.create(kernel.mount, header(ROOT_ID), body))[0]
    node = ENTRY_OUT.unpack(entry).nodeid
    return kernel.mount.files.get(kernel.mount.cluster.inode(node)), node


async def chmod(kernel, node, mode):
    asked = SetattrIn(**dict.fromkeys(SetattrIn._fields, 0))._replace(
        valid=int(SetAttr.MODE), mode=mode
    )
    await attributes.change(kernel.mount, header(node), SETATTR_IN.pack(*asked))


ENDS = {
    "close": lambda file: file.release(),
    "fsync": lambda file: file.publish(),
    "truncate to the same length": lambda file: file.truncate(0),
    "empty what is empty": lambda file: file.empty(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_a_mode_that_was_set_beside_the_lease_is_the_mode_afterwards(end):
    async def main():
        kernel, *_ = await mounted(1)
        file, node = await created(kernel)
        await chmod(kernel, node, 0o644)
        said = await end(file)
        recalled = kernel.mount.known.attributes(file.inode)
        found, _ = await kernel.mount.attributes(file.inode)
        assert {each.mode for each in (said, found, recalled) if each is not None} == {0o644}
        await kernel.mount.watch.close()

    run(main())


async def unlink(kernel):
    await names.unlink(kernel.mount, header(ROOT_ID), b"made\0")


async def replace(kernel):
    body = RENAME_IN.pack(ROOT_ID) + b"f\0made\0"
    await names.rename(kernel.mount, header(ROOT_ID), body)


@pytest.mark.parametrize("known", [True, False], ids=["known", "forgotten"])
@pytest.mark.parametrize("remove", [unlink, replace])
def test_a_file_that_loses_its_name_as_soon_as_it_is_made_stays_open(remove, known):
    """What is open is reported a moment later; the lease that keeps it till then may end first."""

    async def main():
        kernel, *_ = await mounted(1, delay_max=0.001)
        file, node = await created(kernel)
        await write(kernel.mount.kept, file, 0, NEW)
        if not known:
            kernel.mount.known.forget_all()
        await remove(kernel)
        await file.release()
        assert await kernel.fstat(node) == len(NEW)
        assert await file.read(0, 100) == NEW
        await kernel.mount.watch.close()

    run(main())
