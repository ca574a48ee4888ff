"""Reading on the same host: through the node's own memory, valid beyond the file's life."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

import memfs
from memfs import aio
from memfs.testing.processes import Processes

MIB = 1 << 20
DATA = random.Random(4).randbytes(20 * MIB + 12_345)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=1, replication=1, memory="512MiB") as cluster:
        yield cluster


@pytest.fixture
def fs(cluster: Processes) -> Iterator[memfs.FileSystem]:
    with memfs.connect(cluster.url) as fs:
        fs.write_bytes("/f", DATA)
        yield fs
        fs.remove("/f")


def descriptors() -> list[str]:
    """Descriptors of this process that are shared memory."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if "memfd:" in target:
            found.append(target)
    return found


def test_a_view_is_the_nodes_memory(fs: memfs.FileSystem) -> None:
    view = fs.map("/f")
    assert view.readonly and len(view) == len(DATA)
    assert "memfd:memfs" in Path("/proc/self/maps").read_text()
    array = numpy.frombuffer(view, dtype=numpy.uint8)
    assert numpy.array_equal(array, numpy.frombuffer(DATA, dtype=numpy.uint8))
    with pytest.raises(TypeError):
        view[0] = 1


def test_a_view_outlives_the_file_and_the_client(cluster: Processes) -> None:
    with memfs.connect(cluster.url) as fs:
        fs.write_bytes("/gone", DATA)
        view = fs.map("/gone")
        fs.remove("/gone")
        fs.write_bytes("/other", DATA[::-1])
        fs.remove("/other")
    assert view == DATA


def test_a_view_shows_one_moment(fs: memfs.FileSystem) -> None:
    view = fs.map("/f")
    with fs.open("/f", "r+b") as f:
        f.write(b"changed")
    assert view == DATA
    assert fs.map("/f")[:7] == b"changed"
    with fs.open("/f", "ab") as f:
        f.write(b"more")
    assert fs.map("/f")[-4:] == b"more"


def test_what_cannot_be_mapped_is_copied(fs: memfs.FileSystem) -> None:
    fs.write_bytes("/small", b"abc")
    assert fs.map("/small") == b"abc"
    fs.write_bytes("/empty", b"")
    assert fs.map("/empty") == b""
    with fs.open("/sparse", "wb") as f:
        f.seek(9 * MIB)
        f.write(DATA[: 3 * MIB])
    assert fs.map("/sparse") == bytes(9 * MIB) + DATA[: 3 * MIB]
    with fs.open("/large", "wb", block_size=MIB, group_blocks=4) as f:
        f.write(DATA)
    assert fs.map("/large") == DATA
    with fs.open("/large", "rb") as f:
        assert f.raw.view() == DATA


@pytest.mark.parametrize("size", [1, 4096, 100_000, MIB, 9 * MIB, 32 * MIB])
def test_reads_of_any_size(fs: memfs.FileSystem, size: int) -> None:
    dice = random.Random(size)
    with fs.open("/f", "rb", buffering=0) as f:
        for _ in range(30):
            at = dice.randrange(len(DATA))
            f.seek(at)
            buffer = bytearray(size)
            got = f.readinto(buffer)
            assert got == min(size, len(DATA) - at)
            assert buffer[:got] == DATA[at : at + got]


def test_a_first_read_of_any_size_is_right(cluster: Processes, fs: memfs.FileSystem) -> None:
    for size in (100_000, MIB, 5 * MIB, len(DATA), 2 * len(DATA)):
        with memfs.connect(cluster.url) as other, other.open("/f", "rb", buffering=0) as f:
            buffer, found = bytearray(size), bytearray()
            while got := f.readinto(buffer):
                found += buffer[:got]
            assert found == DATA
            assert f.pread(MIB, 3) == DATA[3 : MIB + 3]
            assert f.pread_into(memoryview(buffer)[:MIB], len(DATA) - 5) == 5


def test_without_shared_memory(cluster: Processes, fs: memfs.FileSystem) -> None:
    gc.collect()
    with memfs.connect(cluster.url, local_descriptors=False) as far:
        before = len(descriptors())
        assert far.map("/f") == DATA
        assert far.read_bytes("/f") == DATA
        assert len(descriptors()) <= before


def test_descriptors_are_given_back(cluster: Processes) -> None:
    with memfs.connect(cluster.url) as fs:
        for number in range(10):
            fs.write_bytes(f"/d{number}", DATA[: 2 * MIB])
            assert fs.map(f"/d{number}") == DATA[: 2 * MIB]
            fs.remove(f"/d{number}")
        assert descriptors()
    gc.collect()
    assert not descriptors()


async def test_the_asynchronous_client_does_the_same(cluster: Processes) -> None:
    async with aio.connect(cluster.url) as fs:
        await fs.write_bytes("/a", DATA)
        view = await fs.map("/a")
        async with fs.open("/a", "rb") as f:
            assert await f.view() == DATA
            assert await f.read() == DATA
        await fs.remove("/a")
        assert view == DATA
