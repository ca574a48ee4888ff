"""What lies in memory that nodes lend to clients of their host: never wrong, and it outlives them.

The same without descriptors, under virtual time, is in tests/simulation/test_cluster_faults.py.
"""

from __future__ import annotations

import asyncio
import gc
import os

import numpy
import pytest

from memfs.limits import KIB, MIB
from memfs.node.block_service.service import IncomingBlock
from memfs.testing.in_process import Cluster

BLOCK = 64 * KIB


def where(view):
    """The address of its first byte."""
    return numpy.frombuffer(view, numpy.uint8).ctypes.data


async def write_files(fs, count=30, size=3 * BLOCK + 7):
    """Small and large files; their content by path."""
    content = {f"/file-{number}": os.urandom(size) for number in range(count)}
    content |= {f"/small-{number}": os.urandom(100 + number) for number in range(count)}
    for path, data in content.items():
        await fs.write_bytes(path, data)
    return content


@pytest.mark.parametrize("damaged", [0, 1])
async def test_a_corrupt_copy_read_through_descriptors_is_never_returned(damaged):
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        content = await write_files(fs)
        assert cluster.corrupt(damaged) > 10
        for path, data in content.items():
            assert await fs.read_bytes(path) == data
        assert await fs.read_many(content) == list(content.values())


@pytest.mark.parametrize("damaged", [0, 1])
async def test_a_corrupt_copy_in_lent_memory_is_never_returned(damaged):
    async with Cluster(nodes=2, replication=2) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        data = os.urandom(9 << 20)
        await fs.write_bytes("/file", data)
        assert cluster.corrupt(damaged) == 3
        for _ in range(10):
            assert await fs.read_bytes("/file") == data
        fresh = await cluster.connect(local_descriptors=True)
        async with fresh.open("/file", "rb", buffering=0) as file:
            for start, length in ((5_000_000, 100), (5, 9 << 20), (0, 4 << 20), (8 << 20, 70_000)):
                await file.seek(start)
                assert await file.read(length) == data[start : start + length]


@pytest.mark.parametrize("damaged", [0, 1])
async def test_a_corrupt_copy_in_lent_memory_never_gets_onto_the_disk(damaged, tmp_path):
    async with Cluster(nodes=2, replication=2) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        data = os.urandom(70 << 20)
        await fs.write_bytes("/file", data)
        assert cluster.corrupt(damaged) == 18
        for name in ("first", "second"):
            await fs.get("/file", tmp_path / name)
            assert (tmp_path / name).read_bytes() == data


@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("size", [1000, 64 * KIB, 100_000, MIB, 3 * MIB])
async def test_parts_of_a_corrupt_copy_in_lent_memory_are_never_returned(damaged, size):
    async with Cluster(nodes=2, replication=2) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        data = os.urandom((9 << 20) + 4321)
        await fs.write_bytes("/file", data)
        assert cluster.corrupt(damaged) == 3
        fresh = await cluster.connect(local_descriptors=True)
        async with fresh.open("/file", "rb", buffering=0) as file:
            for start in range(0, len(data), max(size, len(data) // 40)):
                await file.seek(start)
                assert await file.read(size) == data[start : start + size]


async def test_files_with_holes_and_short_blocks_get_onto_the_disk_as_they_are(tmp_path):
    async with Cluster(nodes=2, replication=1, block_size=BLOCK) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        data = bytearray(os.urandom(40 * BLOCK + 17))
        async with fs.open("/file", "wb", buffering=0) as file:
            await file.write(data)
            await file.truncate(60 * BLOCK + 5)
            await file.seek(70 * BLOCK + 3)
            await file.write(b"end")
            await file.punch_hole(3 * BLOCK, 5 * BLOCK)
        data[3 * BLOCK : 8 * BLOCK] = bytes(5 * BLOCK)
        data += bytes(70 * BLOCK + 3 - len(data)) + b"end"
        await fs.get("/file", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == data
        assert (tmp_path / "file").stat().st_blocks * 512 < 40 * BLOCK


async def test_who_reads_on_asks_for_ever_more_descriptors_at_once():
    asked = []
    async with Cluster(nodes=1, replication=1, block_size=BLOCK) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        data = os.urandom(1600 * BLOCK)
        async with fs.open("/file", "wb", group_blocks=16) as file:
            await file.write(data)
        local = fs._context.local
        fetch = local.fetch_async

        async def counted(member, versions):
            asked.append(len(versions))
            await fetch(member, versions)

        local.fetch_async = counted
        async with fs.open("/file", "rb", buffering=0) as file:
            await file.seek(800 * BLOCK)
            assert await file.read(BLOCK) == data[800 * BLOCK : 801 * BLOCK]
            await file.seek(0)
            assert await file.read() == data
        assert asked[0] == 16, "who may not go on gets one group"
        assert sum(asked) < 1700
        assert len(asked) < 20, str(asked)


async def test_mapped_bytes_outlive_the_file_and_its_node():
    async with Cluster(nodes=2, replication=2) as cluster:
        fs = await cluster.connect()
        data = os.urandom(5 * MIB)
        await fs.write_bytes("/file", data)
        view = await fs.map("/file")
        await fs.remove("/file")
        await fs.write_bytes("/other", bytes(20 * MIB))
        assert bytes(view) == data
        await cluster.kill(1)
        await cluster.kill(0)
        assert bytes(view) == data


async def test_small_files_come_out_of_segments_that_nodes_lend():
    async with Cluster(nodes=1, replication=1) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        other = await cluster.connect(local_descriptors=False)
        content = {f"/f{number}": os.urandom(number * 37) for number in range(200)}
        content |= {
            "/large": os.urandom(200 * KIB),
            "/chunks": os.urandom(100_000),
        }
        await fs.write_many(content)
        for _ in range(2):
            assert await fs.read_many(content) == list(content.values())
            assert await other.read_many(content) == list(content.values())
        assert fs._context.local._small, "segments are mapped"
        assert not other._context.local._small
        for round in range(3):  # what was lent is closed, and what is new comes out of new segments
            await fs.remove_many(list(content)[::2])
            for path in list(content)[::2]:
                content[path] = os.urandom(len(content[path]) + round)
            await other.write_many({path: content[path] for path in list(content)[::2]})
            assert await fs.read_many(content) == list(content.values())
            found = await fs.read_many([*content, "/none"], return_errors=True)
            assert found[:-1] == list(content.values()) and isinstance(found[-1], FileNotFoundError)


async def test_views_of_small_files_are_the_memory_of_their_nodes():
    async with Cluster(nodes=3, replication=1) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        other = await cluster.connect(local_descriptors=False)
        content = {f"/f{number}": os.urandom(number * 37) for number in range(1, 200)}
        content |= {"/chunks": os.urandom(100_000), "/empty": b"", "/large": os.urandom(9 * MIB)}
        await fs.write_many(content)
        views = await fs.map_many(content)
        assert views == list(content.values()) and all(view.readonly for view in views)
        assert await other.map_many(content) == list(content.values())
        lent = [where(view) for view in views if len(view) < MIB and view]
        segments = fs._context.local._small._young.items()
        assert len({lender for (lender, _), _ in segments}) == 3
        held = [(where(segment), where(segment) + len(segment)) for _, segment in segments]
        assert all(any(start <= at < end for start, end in held) for at in lent)
        await fs.remove_many(content)
        for _ in range(3):
            await fs.write_many({path: bytes(len(data)) for path, data in content.items()})
            await fs.remove_many(content)
        assert views == list(content.values()), "they are of one moment"
        await fs.close()
        assert views == list(content.values()), "and outlive who made them"


@pytest.mark.parametrize("damaged", [0, 1])
async def test_a_corrupt_copy_is_never_seen_in_a_view(damaged):
    async with Cluster(nodes=3, replication=2, block_size=BLOCK) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        content = await write_files(fs)
        assert cluster.corrupt(damaged) > 10
        assert await fs.map_many(content) == list(content.values())


async def test_a_client_whose_node_lends_nothing_reads_through_the_socket():
    async with Cluster(nodes=1, replication=1) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        content = {f"/f{number}": os.urandom(number * 37) for number in range(100)}
        await fs.write_many(content)
        (member,) = fs._session.known.members.values()
        os.unlink(member.socket + ".fd")
        assert await fs.read_many(content) == list(content.values())
        assert await fs.map_many(content) == list(content.values())
        assert await fs.read_bytes("/f7") == content["/f7"]
        assert not fs._context.local._small


async def test_small_files_of_several_nodes_come_out_of_the_segments_of_each():
    async with Cluster(nodes=3, replication=1) as cluster:
        fs = await cluster.connect(local_descriptors=True)
        content = {f"/f{number}": os.urandom(number * 37) for number in range(200)}
        await fs.write_many(content)
        assert await fs.read_many(content) == list(content.values())
        assert len({lender for lender, _ in fs._context.local._small._young}) == 3
        await fs.remove_many(list(content)[::3])
        for path in list(content)[::3]:
            content[path] = os.urandom(99)
        await fs.write_many({path: content[path] for path in list(content)[::3]})
        assert await fs.read_many(content) == list(content.values())


@pytest.mark.parametrize("together", [False, True])
async def test_a_small_block_passed_on_is_held_by_nothing_once_it_is_stored(together):
    async with Cluster(nodes=2, replication=2) as cluster:
        fs = await cluster.connect()
        gc.collect()
        gc.disable()
        try:
            content = {f"/{number}": os.urandom(5000 + number) for number in range(40)}
            if together:
                await fs.write_many(content)
            else:
                for path, data in content.items():
                    await fs.write_bytes(path, data)
            await asyncio.sleep(0.1)
            assert not [each for each in gc.get_objects() if isinstance(each, IncomingBlock)]
        finally:
            gc.enable()
