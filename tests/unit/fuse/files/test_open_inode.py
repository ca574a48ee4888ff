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
from memfs.errors import LeaseHeldError, RetryableError
from memfs.fuse.files.open_inode import OpenInode
from memfs.fuse.files.open_inodes import OpenInodes
from memfs.fuse.kept import ROOM_BYTES, KeptWrites
from memfs.protocol import messages as m
from memfs.testing.simulation import virtual
from memfs.types import Attributes
from tests.support.mounted import write
from tests.unit.client.fake_cluster import FakeCluster, Gate

DATA = b"content"
BLOCK_BYTES = 4096
"""Of the fake cluster."""
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


def test_a_file_is_written_on_while_what_is_stored_of_it_is_published() -> None:
    """What a commit names is let go of, what is stored meanwhile is not."""

    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        programs.files.opened(programs.file, os.O_RDWR)
        block = bytes(BLOCK_BYTES)
        content = b"".join(bytes([each]) + block[1:] for each in range(1, 7))

        async def next_block() -> None:
            at = next(positions)
            programs.kept.received(b"of another file")
            payload = programs.kept.received(content[at : at + BLOCK_BYTES])
            if programs.file.write_now(at, payload, lent=True):
                at_once.append(at)
            else:
                await programs.file.write(at, payload)
                payload.give_back()

        positions = iter(range(0, len(content), BLOCK_BYTES))
        at_once: list[int] = []
        await programs.file.empty()
        for _ in range(3):
            await next_block()
        await asyncio.sleep(0.01)
        gate = programs.cluster.held[m.Commit] = Gate()
        committing = asyncio.create_task(programs.file.publish_settled())
        await gate.reached.wait()
        at_once.clear()
        for _ in range(2):
            await next_block()
        assert len(at_once) == 2
        await asyncio.sleep(0.01)
        del programs.cluster.held[m.Commit]
        gate.opened.set()
        await committing
        assert await fs.read_bytes("/f") == content[: 3 * BLOCK_BYTES]
        kept = [each.offset for each in programs.kept.writes(programs.inode)]
        assert kept == [3 * BLOCK_BYTES, 4 * BLOCK_BYTES]
        await next_block()
        assert await programs.file.read(0, len(content)) == content
        await programs.file.publish()
        assert await fs.read_bytes("/f") == content
        assert not list(programs.kept.writes(programs.inode))

    with_programs(test)


def test_what_finds_no_room_is_published_before_it_is_answered() -> None:
    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        await programs.open()
        programs.kept._free.clear()
        await programs.write(0, b"room for this")
        taken = [programs.kept.received(bytes(ROOM_BYTES)) for _ in range(8)]
        assert not programs.kept.can_keep(taken[-1])
        await programs.write(5, b"none for this")
        assert await fs.read_bytes("/f") == b"room none for this"
        await programs.close()

    with_programs(test)


def test_what_cannot_be_written_again_is_told_to_who_publishes() -> None:
    """Its bytes are kept while the cluster may yet be able to."""

    async def test(programs: Programs, fs: AsyncFileSystem) -> None:
        await programs.open()
        await programs.write(0, b"kept")
        memory = programs.kept._mapped
        await programs.mounted.session.close(goodbye=False)
        programs.mounted = InodeOperations(programs.cluster.session())

        def next_worker() -> OpenInodes:
            programs.kept = KeptWrites(memory)
            observing = _observed, lambda _: None
            programs.files = OpenInodes(programs.mounted, None, *observing, programs.kept)
            return programs.files

        with pytest.raises(LeaseHeldError):  # its former worker has it until it is given up
            await next_worker().use(programs.inode).write_again()
        programs.cluster.headless = True
        with pytest.raises(RetryableError):
            await next_worker().write_again(0)
        programs.cluster.headless = False
        next_worker().opened(programs.file, os.O_RDWR)
        await programs.files.write_again(0)
        with pytest.raises(LeaseHeldError):
            await programs.file.publish()
        await programs.file.publish()
        assert not programs.kept.left and await fs.read_bytes("/f") == DATA

    with_programs(test)
