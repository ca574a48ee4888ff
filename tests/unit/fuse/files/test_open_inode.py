"""Files that are open through a mount stay for as long as they are, whoever deletes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest

from memfs.client.filesystem import AsyncFileSystem
from memfs.client.inodes import InodeOperations
from memfs.client.session.held.opens import REPORT_SECONDS
from memfs.fuse.files.open_inode import OpenInode
from memfs.fuse.files.open_inodes import OpenInodes
from memfs.fuse.kept import KeptWrites
from memfs.testing.simulation import virtual
from memfs.types import Attributes
from tests.support.mounted import write
from tests.unit.client.fake_cluster import FakeCluster

DATA = b"content"
SETTLED_SECONDS = 60.0
"""Pings have told what was closed."""


class _Said:
    """What the answer to a command says, of no use here."""

    found: Attributes | None = None


@contextlib.contextmanager
def _observed(inode: int) -> Iterator[_Said]:
    yield _Said()


class Programs:
    """What has one file open through a mount."""

    def __init__(self, cluster: FakeCluster, inode: int) -> None:
        self.cluster = cluster
        self.mounted = InodeOperations(cluster.session())
        self.kept = KeptWrites.alone()
        self.files = OpenInodes(self.mounted, None, _observed, lambda _: None, self.kept)
        self.inode = inode

    @property
    def file(self) -> OpenInode:
        return self.files.use(self.inode)

    async def open(self) -> None:
        """As the mount does for a program that reads and writes."""
        file = self.file
        self.files.opened(file, os.O_RDWR)
        try:
            await file.stay()
        except BaseException:
            await self.files.give_up(self.inode, os.O_RDWR)
            raise

    async def write(self, offset: int, data: bytes) -> None:
        """As the mount does when nothing is written at once."""
        await write(self.kept, self.file, offset, data)

    async def close(self) -> None:
        """The last descriptor of one program."""
        file = self.files.released(self.inode, os.O_RDWR)
        if file is not None:
            await self.files.put_down(file)

    async def lasts(self, fs: AsyncFileSystem) -> None:
        """Another client deletes the file: it is read on, and goes when it is closed."""
        await fs.remove("/f")
        await asyncio.sleep(3 * REPORT_SECONDS)
        self.cluster.free_unlinked()
        assert await self.file.read(0, 100) == DATA
        while len(self.files):
            await self.close()
        await asyncio.sleep(SETTLED_SECONDS)
        self.cluster.free_unlinked()
        assert self.cluster.namespace.unlinked() == [] and self.cluster.opens.count == 0


def with_programs(test: Callable[[Programs, AsyncFileSystem], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = FakeCluster()
        fs = cluster.connect()
        await fs.write_bytes("/f", DATA)
        programs = Programs(cluster, (await fs.stat("/f")).st_ino)
        await test(programs, fs)
        cluster.namespace.check_invariants()
        await programs.files.close()
        await programs.mounted.session.close()
        await fs.close()

    virtual.run(main())


@pytest.mark.parametrize("killed", [False, True])
def test_who_opens_it_meanwhile_has_it_open_too(killed: bool) -> None:
    """The second open returns once the cluster keeps the file, whatever becomes of the first."""

    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        programs.cluster.ask_seconds = 0.01
        first = asyncio.create_task(programs.open())
        await asyncio.sleep(0)
        if killed:
            asyncio.get_running_loop().call_later(0.005, first.cancel)
        await programs.open()
        programs.cluster.ask_seconds = 0.0
        await programs.lasts(fs)
        await asyncio.wait((first,))
        assert first.cancelled() == killed

    with_programs(test)


def test_a_file_that_is_opened_while_it_is_closed_stays() -> None:
    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        await programs.open()
        await programs.write(0, DATA)
        programs.cluster.answer_seconds = 0.01
        closing = asyncio.create_task(programs.close())
        await asyncio.sleep(0.001)
        opening = asyncio.create_task(programs.open())
        await asyncio.gather(closing, opening)
        await programs.lasts(fs)

    with_programs(test)


ENDS = {
    "stat": lambda file: file.publish_for_stat(),
    "release": lambda file: file.release(),
    "close of one of two": lambda file: file.release_at_last(),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_cluster_keeps_it_when_the_lease_that_kept_it_ends(end: str) -> None:
    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        file = programs.file
        programs.files.opened(file, os.O_RDWR)
        await file.empty()
        await file.stay()
        assert programs.cluster.opens.count == 0
        await programs.open()
        await programs.write(0, DATA)
        await ENDS[end](file)
        await programs.lasts(fs)

    with_programs(test)


def test_who_makes_a_file_and_closes_it_tells_nothing() -> None:
    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        await programs.open()
        await programs.close()
        await asyncio.sleep(SETTLED_SECONDS)
        programs.cluster.asked.clear()
        file = programs.file
        programs.files.opened(file, os.O_RDWR)
        await file.empty()
        await file.stay()
        await programs.write(0, DATA)
        await file.release_at_last()
        assert not programs.cluster.asked["ReportOpens"]
        await programs.close()

    with_programs(test)


def test_a_descriptor_that_was_duplicated_writes_on_when_another_is_closed() -> None:
    """The kernel tells of each close alike: the lease goes with the first, and stays later."""

    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        await programs.open()
        file, cluster = programs.file, programs.cluster
        await programs.write(0, b"one")
        await file.release_at_last()
        assert not file.leased and await fs.read_bytes("/f") == b"onetent"
        await programs.write(3, b"two")
        await file.release_at_last()
        assert file.leased and await fs.read_bytes("/f") == b"onetwot"
        cluster.asked.clear()
        await programs.write(6, b"three")
        await file.release_at_last()
        assert cluster.asked_for == {"WriteBlock": 1, "Commit": 1}
        await programs.close()
        assert not file.leased and await fs.read_bytes("/f") == b"onetwothree"

    with_programs(test)


def test_another_open_of_a_file_that_is_read_meanwhile_begins_anew() -> None:
    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        await programs.open()  # keeps the entry
        programs.file.writers -= 1  # ... and only reads
        for content in (b"first..", b"second."):
            programs.files.opened(programs.file, os.O_RDWR)
            await programs.write(0, content)
            await programs.file.release_at_last()
            assert not programs.file.leased and await fs.read_bytes("/f") == content
            await programs.close()

    with_programs(test)
