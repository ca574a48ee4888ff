"""A cluster in this process that is damaged, filled up and shot at: what its clients see."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from memfs import limits
from memfs.errors import ClusterError, DataLossError, MemfsError, NoSpaceError
from memfs.limits import KIB, MIB
from tests.simulation.in_virtual_time import Cluster, simulated

BLOCK = 64 * KIB
random_bytes = random.Random(1).randbytes


def now():
    return asyncio.get_running_loop().time()


async def eventually(condition, seconds=10.0):
    """Poll until ``condition()`` holds."""
    deadline = now() + seconds
    while not condition():
        assert now() < deadline, "it never came true"
        await asyncio.sleep(0.02)


def used(cluster):
    return sum(node.store.used for node in cluster.nodes)


async def write_files(fs, count=30, size=3 * BLOCK + 7):
    """Small and large files; their content by path."""
    content = {f"/file-{number}": random_bytes(size) for number in range(count)}
    content |= {f"/small-{number}": random_bytes(100 + number) for number in range(count)}
    for path, data in content.items():
        await fs.write_bytes(path, data)
    return content


@pytest.mark.parametrize("log_entries", [2, 1000])
@simulated
async def test_long_attributes_pass_from_primary_to_primary(monkeypatch, log_entries):
    """Their values are payloads on the way in and out, and part of the log and of snapshots."""
    monkeypatch.setattr(limits, "LOG_ENTRIES_KEPT", log_entries)
    values = {f"user.{number}": random_bytes(65_536) for number in range(8)}
    async with Cluster(nodes=1, replication=1, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        await fs.write_bytes("/file", b"")
        for name, value in list(values.items())[:5]:
            await fs.setxattr("/file", name, value)
        second = await cluster.start_node()
        await eventually(lambda: second.member.number in cluster.nodes[0].membership.view.in_sync)
        for name, value in list(values.items())[5:]:
            await fs.setxattr("/file", name, value)
        await cluster.nodes[0].role.hand_over()
        await eventually(lambda: second.role.leads)
        assert await fs.getxattrs("/file") == values
        await fs.setxattr("/file", "user.0", b"short")
        assert await fs.getxattrs("/file") == values | {"user.0": b"short"}


@pytest.mark.parametrize("damaged", [0, 1])
@simulated
async def test_a_corrupt_copy_is_never_returned(damaged):
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs)
        assert cluster.corrupt(damaged) > 10
        for path, data in content.items():
            assert await fs.read_bytes(path) == data
        assert await fs.read_many(content) == list(content.values())


@simulated
async def test_a_corrupt_copy_is_reported_and_replaced():
    async with Cluster(nodes=2, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        data = random_bytes(3 * BLOCK)
        await fs.write_bytes("/file", data)
        cluster.corrupt(1)
        for _ in range(30):
            assert await fs.read_bytes("/file") == data
        store = cluster.nodes[1].store
        held = [block.version for block in store.list(None, 9)]
        await eventually(lambda: not any(map(store.verify, held)))


@simulated
async def test_when_every_copy_is_corrupt_reading_fails():
    async with Cluster(nodes=2, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect(timeout_seconds=3)
        await fs.write_bytes("/file", random_bytes(BLOCK))
        await fs.write_bytes("/other", b"fine")
        cluster.corrupt(0)
        cluster.corrupt(1)
        with pytest.raises((DataLossError, ClusterError)):
            await fs.read_bytes("/file")
        await fs.write_bytes("/new", b"still working")
        assert await fs.read_bytes("/new") == b"still working"


@simulated
async def test_reads_go_on_without_a_backup():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs)
        await cluster.kill(2)
        for path, data in content.items():
            assert await fs.read_bytes(path) == data
        fresh = await cluster.connect()
        assert await fresh.read_many(content) == list(content.values())


@simulated
async def test_a_file_being_read_goes_on_when_its_node_dies():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect(readahead_bytes=0)
        data = random_bytes(40 * BLOCK)
        await fs.write_bytes("/file", data)
        async with fs.open("/file", "rb") as file:
            assert await file.read(10 * BLOCK) == data[: 10 * BLOCK]
            await cluster.kill(1)
            assert await file.read() == data[10 * BLOCK :]


@simulated
async def test_writes_go_on_without_a_backup():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        await fs.write_bytes("/before", b"x")
        await cluster.kill(2)
        content = await write_files(fs, count=5)
        for path, data in content.items():
            assert await fs.read_bytes(path) == data


@simulated
async def test_a_writer_survives_the_death_of_a_node_in_its_chain():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        data = random_bytes(30 * BLOCK)
        async with fs.open("/file", "wb") as file:
            await file.write(data[: 10 * BLOCK])
            await file.flush()
            await cluster.kill(1)
            await file.write(data[10 * BLOCK :])
        assert await fs.read_bytes("/file") == data


@simulated
async def test_without_the_primary_everything_fails_clearly_and_in_time():
    async with Cluster(nodes=3, replication=2) as cluster:
        fs = await cluster.connect(timeout_seconds=2)
        await fs.write_bytes("/file", b"content")
        await cluster.kill(0)
        cluster.simulated.coordinator.down = True  # nobody takes over
        for call in (fs.stat("/file"), fs.mkdir("/d"), fs.write_bytes("/new", b"x")):
            began = now()
            with pytest.raises(ClusterError) as caught:
                await call
            assert now() - began < 4
            assert str(caught.value)


@simulated
async def test_a_full_cluster_says_so_and_loses_nothing():
    async with Cluster(nodes=2, replication=2, memory=8 * MIB, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        kept = random_bytes(3 * MIB)
        await fs.write_bytes("/kept", kept)
        with pytest.raises(NoSpaceError) as caught:
            await fs.write_bytes("/huge", bytes(16 * MIB))
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError):
            await fs.write_many({f"/small-{number}": bytes(60_000) for number in range(300)})
        assert await fs.read_bytes("/kept") == kept
        for entry in await fs.scandir("/"):
            if entry.name != "kept":
                await fs.remove(entry.path)
        await eventually(lambda: all(node.store.used < 4 * MIB for node in cluster.nodes))
        await fs.write_bytes("/again", kept)
        assert await fs.read_bytes("/again") == kept


@simulated
async def test_an_append_that_does_not_fit_keeps_what_was_flushed():
    async with Cluster(nodes=1, replication=1, memory=2 * MIB, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        record = random_bytes(10_000)
        written = 0
        with pytest.raises(OSError) as caught:
            async with fs.open("/log", "ab") as log:
                for _ in range(1000):
                    await log.write(record)
                    await log.flush()
                    written += 1
        assert caught.value.errno == errno.ENOSPC
        assert written > 100
        assert await fs.read_bytes("/log") == record * written


@simulated
async def test_space_comes_back_when_a_tree_is_removed():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        files = {f"/tree/{number % 50}/{number}": bytes(200) for number in range(3000)}
        await fs.write_many(files, parents=True)
        await fs.write_bytes("/tree/big", bytes(100 * BLOCK))
        assert used(cluster) > 2 * 100 * BLOCK
        assert (await fs.du("/")).files == 3001
        began = now()
        await fs.rmtree("/tree")
        assert now() - began < 0.5
        assert not await fs.exists("/tree")
        assert (await fs.du("/"))[:3] == (0, 0, 1)
        await eventually(lambda: used(cluster) == 0)
        await asyncio.sleep(0.3)  # the next heartbeats
        assert (await fs.statvfs()).used == 0


@simulated
async def test_overwriting_and_truncating_give_space_back():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        for _ in range(20):
            await fs.write_bytes("/file", random_bytes(10 * BLOCK))
        await fs.truncate("/file", BLOCK // 2)
        await eventually(lambda: used(cluster) <= 2 * (BLOCK + 4096))
        await fs.remove("/file")
        await eventually(lambda: used(cluster) == 0)


@simulated
async def test_who_has_a_deleted_file_open_reads_it_to_its_end():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect(readahead_bytes=0, timeout_seconds=2)
        data = random_bytes(40 * BLOCK)
        await fs.write_bytes("/file", data)
        async with fs.open("/file", "rb") as file:
            assert await file.read(BLOCK) == data[:BLOCK]
            await fs.remove("/file")
            await fs.write_bytes("/other", bytes(40 * BLOCK))
            assert await file.read() == data[BLOCK:]
        await fs.remove("/other")
        await eventually(lambda: used(cluster) == 0, 15)


@simulated
async def test_what_a_vanished_writer_left_is_swept():
    async with Cluster(nodes=3, session_timeout_seconds=1, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        other = await cluster.connect()
        file = await other.open("/file", "wb")
        await file.write(random_bytes(8 * BLOCK))
        await file.flush()
        await file.write(random_bytes(8 * BLOCK))
        await other._session.routing.close()  # it neither says goodbye nor pings any more
        await eventually(lambda: cluster.nodes[0].role.namespace.statistics().leases == 0, 15)
        assert (await fs.stat("/file")).st_size == 8 * BLOCK
        await fs.remove("/file")
        await eventually(lambda: used(cluster) == 0, 15)
        with pytest.raises(MemfsError, match="/file"):  # what was not published is named
            await other.close()


@simulated
async def test_many_clients_at_once():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        clients = [await cluster.connect() for _ in range(8)]

        async def work(number, fs):
            for step in range(15):
                path = f"/client-{number}-{step}"
                data = random_bytes(1000 * step + number)
                await fs.write_bytes(path, data)
                other = clients[(number + step) % len(clients)]
                assert await other.read_bytes(path) == data
                await fs.rename(path, path + ".done")

        await asyncio.gather(*(work(number, fs) for number, fs in enumerate(clients)))
        names = await clients[0].listdir("/")
        assert len(names) == 8 * 15
        assert all(name.endswith(".done") for name in names)


@simulated
async def test_readers_see_one_version_or_the_other_while_a_file_is_rewritten():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        writer, reader = await cluster.connect(), await cluster.connect()
        await writer.write_bytes("/file", bytes([0]) * 20_000)
        stop = asyncio.Event()

        async def rewrite():
            for number in range(1, 100):
                await writer.write_bytes("/file", bytes([number]) * (20_000 + number))
            stop.set()

        async def read():
            seen = 0
            while not stop.is_set():
                data = await reader.read_bytes("/file")
                assert data == bytes([data[0]]) * (20_000 + data[0])
                assert data[0] >= seen, "an older version came back"
                seen = data[0]

        await asyncio.gather(rewrite(), read())


@simulated
async def test_only_one_of_many_wins_an_exclusive_creation():
    async with Cluster(nodes=3, replication=2) as cluster:
        clients = [await cluster.connect() for _ in range(6)]

        async def claim(number, fs):
            try:
                await fs.write_bytes("/prize", b"%d" % number, exclusive=True)
            except FileExistsError:
                return None
            return number

        winners = await asyncio.gather(*(claim(n, fs) for n, fs in enumerate(clients)))
        (winner,) = (number for number in winners if number is not None)
        assert await clients[0].read_bytes("/prize") == b"%d" % winner


@simulated
async def test_renames_to_one_name_leave_exactly_one():
    async with Cluster(nodes=3, replication=2) as cluster:
        clients = [await cluster.connect() for _ in range(4)]
        for number, fs in enumerate(clients):
            await fs.write_bytes(f"/from-{number}", b"%d" % number * 50)
        await asyncio.gather(
            *(fs.rename(f"/from-{number}", "/target") for number, fs in enumerate(clients))
        )
        assert await clients[0].listdir("/") == ["target"]
        assert len(await clients[0].read_bytes("/target")) == 50


@simulated
async def test_cancelled_calls_leave_the_client_and_the_cluster_whole():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect()
        data = random_bytes(20 * BLOCK)
        await fs.write_bytes("/file", data)
        for delay in range(12):
            for call in (fs.read_bytes("/file"), fs.write_bytes(f"/new-{delay}", data)):
                task = asyncio.ensure_future(call)
                await asyncio.sleep(delay / 1000)
                task.cancel()
                try:
                    await task
                except (asyncio.CancelledError, MemfsError):
                    pass
        assert await fs.read_bytes("/file") == data
        for name in await fs.listdir("/"):
            await fs.remove("/" + name)
        await eventually(lambda: used(cluster) == 0, 20)
