"""Open files stay readable when they are deleted, and the primary hears of their end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from memfs import errors, limits
from memfs.client.calls.modes import parse
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.handles.opening import open_inode
from memfs.client.session.held.opens import REPORT_SECONDS
from memfs.protocol import messages as m
from memfs.testing.simulation import virtual
from memfs.types import Identity
from tests.unit.client.fake_cluster import FakeCluster

DATA = bytes(range(256)) * 100  # several blocks
SMALL = b"small"


def in_cluster(test: Callable[[FakeCluster, AsyncFileSystem], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = FakeCluster()
        fs = cluster.connect()
        await fs.write_bytes("/large", DATA)
        await fs.write_bytes("/small", SMALL)
        await test(cluster, fs)
        cluster.namespace.check_invariants()
        await fs.close()

    virtual.run(main())


async def settled(cluster: FakeCluster) -> None:
    await asyncio.sleep(3 * REPORT_SECONDS)
    cluster.free_unlinked()


def registered(cluster: FakeCluster) -> int:
    return cluster.opens.count


REMOVALS = {
    "remove": lambda fs, path: fs.remove(path),
    "replace": lambda fs, path: fs.write_bytes(path, b"another one"),
    "rename": lambda fs, path: fs.rename("/other", path),
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=list(REMOVALS))
@pytest.mark.parametrize(("path", "data"), [("/large", DATA), ("/small", SMALL)])
def test_a_deleted_file_is_read_on(path: str, data: bytes, remove: Any) -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        other = cluster.connect()
        await other.write_bytes("/other", b"other")
        file = await fs.open(path, "rb")
        assert await file.read(3) == data[:3]
        await remove(other, path)
        await settled(cluster)
        fs._session.commits += 1  # so that its end is looked for again
        assert await file.read() == data[3:]
        assert await file.pread(10**6, 0) == data
        assert await file.pread(5, 10**6) == b""
        await file.close()
        await settled(cluster)
        assert registered(cluster) == 0 and cluster.namespace.unlinked() == []
        await other.close()

    in_cluster(test)


def test_each_opening_counts() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        files = [await fs.open("/large", "rb") for _ in range(3)]
        await fs.remove("/large")
        for file in files[:2]:
            await file.close()
        await settled(cluster)
        assert await files[2].read() == DATA
        await files[2].close()
        await files[2].close()
        await settled(cluster)
        assert cluster.namespace.unlinked() == []

    in_cluster(test)


def test_an_open_costs_one_request_and_many_closes_one() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        for _ in range(2):
            cluster.asked.clear()
            files = [await fs.open(f"/{name}", "rb") for name in ("small", "large") * 50]
            for file in files:
                await file.close()
            await settled(cluster)
            assert cluster.asked["OpenFile"] == 100 and cluster.asked["ReportOpens"] <= 2
            assert sum(cluster.asked.values()) <= 103
        assert registered(cluster) == 0

    in_cluster(test)


@pytest.mark.parametrize("after", [0, 0.05, 0.1, 0.1001])
def test_a_cancelled_open_has_nothing_open(after: float) -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        cluster.answer_seconds = 0.1
        keeps = await fs.open("/small", "rb")
        task = asyncio.ensure_future(fs.open_handle("/large", parse("rb")))
        await asyncio.wait((task,), timeout=after)
        task.cancel()
        done, _ = await asyncio.wait((task,))
        opened = [each for each in done if not each.cancelled()]
        await asyncio.sleep(2)
        assert registered(cluster) == 1 + len(opened)
        for each in opened:
            await each.result().close()
        await keeps.close()
        await asyncio.sleep(2)
        assert registered(cluster) == 0

    in_cluster(test)


def test_an_open_without_an_answer_has_nothing_open() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        cluster.unanswered.add(m.OpenFile)
        with pytest.raises(errors.DeadlineError, match="/large: no answer in time"):
            await fs.open("/large", "rb")
        assert registered(cluster) == 1
        await settled(cluster)
        assert registered(cluster) == 0

    in_cluster(test)


def test_a_refused_open_tells_nothing() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        with pytest.raises(FileNotFoundError):
            await fs.open("/none", "rb")
        await settled(cluster)
        assert cluster.asked["ReportOpens"] == 0

    in_cluster(test)


def test_dropped_files_count_as_closed() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        for drop_in_thread in (False, True):
            handles = [await fs.open_handle("/large", parse("rb"))]
            if drop_in_thread:
                thread = threading.Thread(target=handles.clear)
                thread.start()
                thread.join()
            else:
                handles.clear()
            gc.collect()
            await (await fs.open("/small", "rb")).close()  # says so as well
            await settled(cluster)
            assert registered(cluster) == 0

    in_cluster(test)


def test_a_sign_of_life_tells_what_was_dropped() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        (await fs.open_handle("/large", parse("rb"))).drop()
        await asyncio.sleep(limits.KEEPALIVE_SECONDS)
        assert registered(cluster) == 0
        cluster.asked.clear()
        await asyncio.sleep(10 * limits.KEEPALIVE_SECONDS)
        assert cluster.asked["ReportOpens"] == 0, "with nothing open there is nothing to tell"

    in_cluster(test)


def test_a_new_primary_is_told_everything() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        file = await fs.open("/large", "rb")
        await settled(cluster)
        cluster.new_primary()
        await cluster.connect().remove("/large")
        assert not cluster.opens.all_registered and registered(cluster) == 0
        cluster.view = cluster.view._replace(epoch=2, primary_since=2)
        await fs._session.views.refresh(0.0)
        assert await file.read() == DATA
        assert cluster.opens.all_registered and registered(cluster) == 1
        await file.close()
        await settled(cluster)
        assert cluster.namespace.unlinked() == []

    in_cluster(test)


def test_a_primary_that_forgot_this_client_is_told_everything() -> None:
    """It was silent for too long; what is not deleted meanwhile goes on."""

    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        file = await fs.open("/large", "rb")
        await settled(cluster)
        cluster.opens.forget(fs._session.client)
        await asyncio.sleep(limits.KEEPALIVE_SECONDS)
        assert registered(cluster) == 1
        await cluster.connect().remove("/large")
        assert await file.read() == DATA
        await file.close()

    in_cluster(test)


def test_more_than_one_message_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPENS_PER_REPORT", 4)

    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        for number in range(11):
            await fs.write_bytes(f"/f{number}", DATA)
        files = [await fs.open(f"/f{number}", "rb") for number in range(11)]
        await settled(cluster)
        cluster.new_primary()
        cluster.view = cluster.view._replace(epoch=2, primary_since=2)
        await fs._session.views.refresh(0.0)
        await settled(cluster)
        assert registered(cluster) == 11
        for file in files:
            await file.close()
        await asyncio.sleep(2)
        assert registered(cluster) == 0

    in_cluster(test)


def test_a_writer_goes_on_without_a_name() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        other = cluster.connect()
        async with fs.open("/large", "r+b") as file:
            await other.remove("/large")
            await file.write(b"12345")
            await file.flush()
            assert await file.pread(10, 0) == b"12345" + DATA[5:10]
            await file.truncate(7)
            assert await file.pread(10, 0) == b"12345" + DATA[5:7]
        assert not await fs.exists("/large")
        assert cluster.namespace.unlinked() == [] and registered(cluster) == 0
        await other.close()

    in_cluster(test)


def test_what_a_mount_needs() -> None:
    """Inodes are opened by id, kept while a lease ends, and seen without a name."""

    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        session, context = fs._session, fs._context
        handle = await open_inode(context, "inode", (await fs.stat("/large")).st_ino, parse("rb"))
        inode = handle.file.attributes.inode
        session.opens.keep(inode)
        await fs.remove("/large")
        await handle.close()
        await settled(cluster)
        found = await session.ask(m.Lookup(b"", base=inode))
        assert found.attributes.links == 0
        session.opens.close(inode)
        await settled(cluster)
        assert cluster.namespace.unlinked() == []

        lease = await session.grants.lease(m.Create(b"/made"), "", session.deadline())
        inode, generation = lease.attributes.inode, lease.attributes.generation
        session.opens.keep(inode)
        await settled(cluster)
        await session.ask(m.ReleaseLease(inode, generation))
        session.grants.ended(inode, generation)
        await fs.remove("/made")
        assert cluster.namespace.unlinked() == [inode]
        session.opens.close(inode)
        await settled(cluster)
        assert cluster.namespace.unlinked() == []

    in_cluster(test)


def test_others_have_no_use_of_a_handle() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        async with fs.open("/large", "rb") as file:
            inode = file._handle.file.attributes.inode
            await fs.remove("/large")
            other = cluster.session()
            other.identity = Identity("bob")
            with pytest.raises(errors.StaleHandleError):
                await other.ask(m.OpenFile(b"", inode, 0, 2))
            await other.close()

    in_cluster(test)
