"""Large files through a mount: written in large pieces, read out of the nodes' memory.

The oracle is a file on tmpfs with which the same is done.
"""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster

from tests.support.mounts import mounted, need_mounts, tmpfs

MIB = 1024 * 1024
SIZE = 24 * MIB + 4097


@pytest.fixture(scope="module")
def places(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path, Path]]:
    """A mount, another one, and a tmpfs."""
    need_mounts()
    with (
        mounted(cluster.url, tmp_path_factory.mktemp("here")) as here,
        mounted(cluster.url, tmp_path_factory.mktemp("there")) as there,
        tmpfs(tmp_path_factory.mktemp("oracle")) as oracle,
    ):
        yield here.root, there.root, oracle
        assert here.story() == there.story() == ""


def forget(path: Path) -> None:
    """Have the kernel drop what it holds of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_written_in_any_pieces_is_read_everywhere(
    seed: int, places: tuple[Path, Path, Path]
) -> None:
    here, there, oracle = places
    dice, name = random.Random(seed), f"large-{seed}"
    files = [(place / name).open("w+b", 0) for place in (here, oracle)]
    at = 0
    for _ in range(60):
        if dice.random() < 0.3:
            at = dice.choice([0, 4 * MIB, dice.randrange(SIZE)])
        length = dice.choice([1, 4096, 128 * 1024, MIB, MIB, 2 * MIB, 5 * MIB])
        data = dice.randbytes(min(length, SIZE - at))
        for file in files:
            assert os.pwrite(file.fileno(), data, at) == len(data)
        at = (at + len(data)) % SIZE
        if dice.random() < 0.1:
            look = dice.randrange(SIZE)
            mine, right = (os.pread(file.fileno(), 2 * MIB, look) for file in files)
            assert mine == right
        if dice.random() < 0.05:
            size = dice.randrange(SIZE)
            for file in files:
                os.ftruncate(file.fileno(), size)
    for file in files:
        file.close()
    expected = (oracle / name).read_bytes()
    for place in (here, there):
        for _ in range(3):  # checked, out of the page cache, and out of the node's memory
            assert (place / name).read_bytes() == expected
            forget(place / name)
        for _ in range(20):
            start = dice.randrange(len(expected) + 1)
            length = dice.choice([1, 4096, 200_000, MIB, 6 * MIB])
            with (place / name).open("rb", 0) as file:
                assert os.pread(file.fileno(), length, start) == expected[start : start + length]
            forget(place / name)


def test_direct_reads_and_mappings_see_the_same(places: tuple[Path, Path, Path]) -> None:
    """O_DIRECT goes around the page cache: every read is one of the node's memory."""
    here, there, _ = places
    expected = random.Random(9).randbytes(SIZE)
    (here / "direct").write_bytes(expected)
    buffer = mmap.mmap(-1, 8 * MIB)
    for path in (here / "direct", there / "direct"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
        for start in range(0, SIZE, 5 * MIB // 4096 * 4096):
            count = os.preadv(descriptor, [buffer], start)
            assert buffer[:count] == expected[start : start + len(buffer)]
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as shared:
            assert shared[:] == expected
        os.close(descriptor)
    forget(here / "direct")


def test_a_reader_of_a_replaced_file_goes_on_with_what_it_opened(
    places: tuple[Path, Path, Path],
) -> None:
    here, there, _ = places
    before, after = (random.Random(seed).randbytes(9 * MIB) for seed in (1, 2))
    (here / "one").write_bytes(before)
    with (here / "one").open("rb", 0) as reader:
        assert os.pread(reader.fileno(), MIB, 0) == before[:MIB]
        (there / "other").write_bytes(after)
        (there / "other").rename(there / "one")
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for start in range(0, len(before), MIB):
            assert os.pread(reader.fileno(), MIB, start) == before[start : start + MIB]
    assert (here / "one").read_bytes() == after
