"""Locks whose descriptor is closed while the cluster is silent: they go as soon as it answers."""

from __future__ import annotations

import asyncio
import os

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from memfs.fuse.ledger import Locked, OpenDescriptor
from memfs.fuse.mount import MountSession
from memfs.fuse.mounted_tree import MountedTree
from memfs.fuse.operations.locks import unlock_closed
from memfs.fuse.options import MountOptions
from memfs.testing.simulation import virtual
from memfs.types import ROOT_INODE, LockKind
from tests.support.mounted import write
from tests.unit.client.fake_cluster import FakeCluster

OWNER = 5


class Program:
    """Has locked a file and written to it, through a mount."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.mount = MountSession(MountedTree(self.cluster.session(), ROOT_INODE), MountOptions())
        self.inode = 0

    async def begin(self) -> AsyncFileSystem:
        fs = self.cluster.connect()
        await fs.write_bytes("/f", b"before")
        self.inode = (await fs.stat("/f")).st_ino
        self.mount.ledger.open(OpenDescriptor(11, 1, self.inode))
        self.mount.ledger.lock(Locked(OWNER, LockKind.RANGE, 11, self.inode))
        await self.mount.cluster.locks.acquire(self.inode, OWNER)
        file = self.mount.files.use(self.inode)
        self.mount.files.opened(file, os.O_RDWR)
        self.mount.files.opened(file, os.O_RDWR)  # another process writes on
        await write(self.mount.kept, file, 0, b"during")
        return fs

    @property
    def held(self) -> int:
        return self.cluster.namespace.statistics().locks

    async def close(self) -> None:
        await unlock_closed(self.mount, self.inode, OWNER, LockKind.RANGE)


@pytest.mark.parametrize("ended", ["error", "cancelled"])
def test_a_lock_goes_once_its_bytes_are_published(ended: str) -> None:
    async def main() -> None:
        program = Program()
        fs = await program.begin()
        program.cluster.headless = True
        closing = asyncio.create_task(program.close())
        if ended == "cancelled":
            await asyncio.sleep(0.1)
            closing.cancel()
        with pytest.raises((errors.MemfsError, asyncio.CancelledError)):
            await closing
        locks = program.mount.cluster.locks
        assert not locks.holds(program.inode, OWNER) and program.held == 1
        again = asyncio.create_task(locks.acquire(program.inode, OWNER, wait=False))
        await asyncio.sleep(1)
        assert not again.done()  # it is not locked anew by what it had before
        assert program.mount.ledger.locked
        again.cancel()
        program.cluster.headless = False
        await asyncio.sleep(5)
        assert program.held == 0 and not program.mount.ledger.locked
        assert await fs.read_bytes("/f") == b"during"
        await program.mount.files.close()

    virtual.run(main())


def test_the_next_worker_unlocks_what_was_to_be_unlocked() -> None:
    async def main() -> None:
        program = Program()
        await program.begin()
        ledger = program.mount.ledger
        assert not ledger.left_locked
        ledger.close(11)
        (left,) = ledger.left_locked
        assert left == (program.inode, LockKind.RANGE, OWNER)
        await program.mount.go_on({})
        await asyncio.sleep(1)
        assert program.held == 0 and not ledger.locked
        await program.mount.files.close()

    virtual.run(main())
