"""Views of many small files: the same as their contents, in as few requests."""

from __future__ import annotations

import random

import pytest

from memfs import errors, limits
from memfs.client.filesystem import AsyncFileSystem
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from tests.unit.client.fake_cluster import FakeCluster

FILES = {f"/many/{n:04}": random.Random(n).randbytes(n * 7 % 4000) for n in range(600)}


@pytest.fixture
async def fs(cluster: FakeCluster) -> AsyncFileSystem:
    """A client, and FILES."""
    fs = cluster.connect()
    await fs.mkdir("/many")
    await fs.write_many(FILES)
    return fs


async def test_views_take_as_few_requests_as_contents(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    cluster.asked.clear()
    views = await fs.map_many(list(FILES)[:50])
    assert views == list(FILES.values())[:50]
    assert all(isinstance(view, memoryview) and view.readonly for view in views)
    assert cluster.asked["ReadMany"] == 1 and cluster.asked["ReadBlocks"] <= 2
    assert cluster.asked["ReadBlock"] == 0
    assert await fs.map_many(FILES) == list(FILES.values())


async def test_files_of_all_sizes_and_failures(fs: AsyncFileSystem) -> None:
    contents = {
        f"/many/{size}": random.Random(size).randbytes(size)
        for size in (0, 1, 4096, 4097, limits.SMALL_FILE_BYTES + 1, limits.WHOLE_READ_BYTES + 1)
    }
    await fs.write_many(contents)
    names = [*contents, "/none", "/many", "/many/0001", "/many/0001", "/n\0"]
    found = await fs.map_many(names, return_errors=True)
    assert found[: len(contents)] == list(contents.values())
    none, directory, first, second, nul = found[len(contents) :]
    assert isinstance(none, FileNotFoundError) and none.filename == "/none"
    assert isinstance(directory, IsADirectoryError) and directory.filename == "/many"
    assert first == second == FILES["/many/0001"]
    assert isinstance(nul, errors.InvalidPathError)
    with pytest.raises(FileNotFoundError):
        await fs.map_many(["/many/0001", "/none"])


async def test_corrupt_copies_are_not_handed_out(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    for number in (1, 2, 3):
        cluster.corrupt(number)
        assert await fs.map_many(FILES) == list(FILES.values())
        cluster.corrupt(number)


async def test_a_node_that_is_gone(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    cluster.lose(2)
    assert await fs.map_many(FILES) == list(FILES.values())


async def test_an_older_primary(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    cluster.refuse_once[m.ReadMany] = [errors.UnsupportedError("what?") for _ in range(2)]
    names = list(FILES)[:50]
    assert await fs.map_many(names) == [FILES[name] for name in names]
    assert cluster.asked["ReadFiles"] == 1


async def test_columns_that_do_not_fit_one_another_are_an_error(
    fs: AsyncFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(*_args: object) -> Answer[m.ReadManyReply]:
        return Answer(m.ReadManyReply((1, 1), (0,)), memoryview(b"x"), 1)

    monkeypatch.setattr(fs._session.primary, "call", answer)
    with pytest.raises(errors.ProtocolError):
        await fs.map_many(["/f"])
