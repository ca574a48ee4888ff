"""Many small files at once: how few requests, and what single failures do."""

from __future__ import annotations

import random

import pytest

from memfs import errors, limits
from memfs.client.batches.batch_read import BlockPiece, _groups
from memfs.client.batches.batching import path_batches
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.session.reservations import FIRST_RESERVE
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.transport.connection import Answer
from memfs.types import BlockRef
from tests.unit.client.fake_cluster import FakeCluster

FILES = {f"/many/{n:04}": random.Random(n).randbytes(n * 7 % 4000) for n in range(600)}


@pytest.fixture
async def fs(cluster: FakeCluster) -> AsyncFileSystem:
    """A client, and the directory of FILES."""
    fs = cluster.connect()
    await fs.mkdir("/many")
    return fs


async def test_many_files_take_few_requests(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    assert await fs.write_many(FILES) == [len(data) for data in FILES.values()]
    cluster.asked.clear()
    await fs.write_many(list(FILES.items())[:50])
    assert cluster.asked_for == {"WriteBlocks": 1, "PutFiles": 1}
    cluster.asked.clear()
    assert await fs.read_many(list(FILES)[:50]) == list(FILES.values())[:50]
    assert cluster.asked["ReadMany"] == 1 and cluster.asked["ReadBlocks"] <= 2
    assert cluster.asked["ReadBlock"] == 0
    assert await fs.read_many(FILES) == list(FILES.values())
    assert sum(map(len, cluster.blocks.values())) == 2 * sum(map(bool, FILES.values()))


async def test_a_small_file_takes_two_round_trips(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/first", b"x")
    cluster.asked.clear()
    await fs.write_bytes("/second", b"x")
    assert cluster.asked_for == {"WriteBlocks": 1, "PutFiles": 1}
    cluster.asked.clear()
    cluster.blocks[1] or cluster.blocks[2]
    assert await fs.read_bytes("/second") == b"x"
    assert sum(cluster.asked.values()) <= 2


async def test_files_of_some_hundred_kib_are_read_in_few_requests(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    contents = {f"/many/{n}": bytes([n]) * (limits.SMALL_FILE_BYTES + n) for n in range(1, 30)}
    for path, content in contents.items():
        async with fs.open(path, "wb", block_size=limits.MIB) as file:
            await file.write(content)
    cluster.asked.clear()
    assert await fs.read_many(contents) == list(contents.values())
    assert cluster.asked["ReadMany"] == 1 and cluster.asked["ReadBlocks"] <= 2
    assert cluster.asked["ReadBlock"] == 0


@pytest.mark.parametrize(
    ("length", "count", "generation", "lend", "sizes"),
    [
        (limits.MIB, 9, 0, True, [4, 4, 1]),  # what a store has is lent by nobody
        (limits.MIB, 9, 1, False, [4, 4, 1]),
        (limits.MIB, 9, 1, True, [9]),
        (5 * limits.MIB, 2, 1, False, [1, 1]),
        (0, 300, 1, False, [256, 44]),
        (0, 0, 1, False, []),
    ],
)
def test_what_does_not_fit_one_answer_is_asked_for_by_several_requests(
    length: int, count: int, generation: int, lend: bool, sizes: list[int]
) -> None:
    pieces = [
        BlockPiece(BlockRef(n, 0, generation, 1, length, 0, (1,)), 0, length) for n in range(count)
    ]
    groups = _groups(pieces, lend)
    assert list(map(len, groups)) == sizes
    assert [piece for group in groups for piece in group] == pieces


async def test_files_too_large_for_a_batch_go_with_it(fs: AsyncFileSystem) -> None:
    large = random.Random(1).randbytes(100_000)
    await fs.write_many({"/a": b"small", "/b": large})
    assert await fs.read_many(["/a", "/b"]) == [b"small", large]


async def test_files_that_are_not_the_same_are_looked_up_only_behind_a_large_one(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    large = bytes(2 * limits.SMALL_FILE_BYTES)
    await fs.write_many([(path, b"x") for path in FILES])
    await fs.write_many([(path, b"y") for path in FILES])
    assert cluster.asked["LookupMany"] == 0
    await fs.write_many([*((path, b"z") for path in FILES), ("/large", large)])
    assert cluster.asked["LookupMany"] == 0
    await fs.write_many([("/large", large), ("/small", b"s")])
    assert cluster.asked["LookupMany"] == 1
    assert await fs.read_many([*FILES, "/large"]) == [b"z"] * len(FILES) + [large]


async def test_a_large_file_replaces_the_old_one_in_one_step(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    old, new = random.Random(1).randbytes(50_000), random.Random(2).randbytes(60_000)
    await fs.write_bytes("/f", old)
    reader = await fs.open("/f", "rb")
    cluster.asked.clear()
    await fs.write_bytes("/f", new)
    assert cluster.asked_for == {"CreateDraft": 1, "WriteBlock": 15, "PublishDraft": 1}
    assert await fs.read_bytes("/f") == new
    assert await reader.read() == old, "who has it open goes on with it"
    await reader.close()
    await fs._session.opens.verify()
    cluster.free_unlinked()
    await fs.link("/f", "/g")
    await fs.write_bytes("/g", old)
    assert await fs.read_bytes("/f") == old, "a further name shows the same file"
    await fs.remove("/f")
    await fs.remove("/g")
    assert sum(map(len, cluster.blocks.values())) == 0


async def test_who_is_refused_hears_it_before_all_is_stored(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", b"old")
    for path, error in (("/f", FileExistsError), ("/none/f", FileNotFoundError)):
        with pytest.raises(error) as caught:
            await fs.write_bytes(path, bytes(50_000), exclusive=True)
        assert caught.value.filename == path
    with pytest.raises(IsADirectoryError):
        await fs.write_bytes("/many", bytes(50_000))
    assert cluster.asked["WriteBlock"] == 0
    await fs.write_bytes("/none/f", bytes(50_000), parents=True)


async def test_one_failure_does_not_stop_the_others(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/old", b"old")
    results = await fs.write_many(
        [("/new", b"1"), ("/old", b"2"), ("/none/x", b"3")], exclusive=True, return_errors=True
    )
    assert results[0] == 1
    assert isinstance(results[1], errors.PathExistsError) and results[1].filename == "/old"
    assert isinstance(results[2], errors.PathNotFoundError)
    with pytest.raises(FileExistsError):
        await fs.write_many({"/old": b"2"}, exclusive=True)
    read = await fs.read_many(["/new", "/none"], return_errors=True)
    assert read[0] == b"1" and read[1].filename == "/none"
    with pytest.raises(FileNotFoundError):
        await fs.read_many(["/new", "/none"])
    await fs.write_many({"/p/q/r": b"deep"}, parents=True)
    assert await fs.read_bytes("/p/q/r") == b"deep"


async def test_a_replaced_file_leaves_nothing_behind(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    for text in (b"one", b"two", b""):
        await fs.write_bytes("/f", text)
        assert await fs.read_bytes("/f") == text
    assert sum(map(len, cluster.blocks.values())) == 0


async def test_corrupt_copies_in_a_batch_are_replaced(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_many(FILES)
    for number in (1, 2, 3):
        cluster.corrupt(number)
        assert await fs.read_many(FILES) == list(FILES.values())
        cluster.corrupt(number)


async def test_ids_are_reserved_ahead(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    cluster.asked.clear()
    for number in range(FIRST_RESERVE + 5):
        await fs.write_bytes(f"/f{number}", b"x")
    assert cluster.asked["ReserveInodes"] == 2


async def test_a_session_that_was_ended_reserves_anew(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/old", b"old")
    reserved = cluster.asked["ReserveInodes"]
    for write in (
        lambda: fs.write_bytes("/f", b"new"),
        lambda: fs.write_bytes("/old", b"new"),
        lambda: fs.write_bytes("/exclusive", b"new", exclusive=True),
        lambda: fs.write_many({"/f": b"new", "/old": b"new", "/g": b""}),
        lambda: fs.copy("/old", "/copy"),
    ):
        cluster.expire(fs._session.client)
        await write()
    assert cluster.asked["ReserveInodes"] > reserved
    paths = ["/f", "/old", "/exclusive", "/copy"]
    assert await fs.read_many([*paths, "/g"]) == [b"new"] * len(paths) + [b""]


class EndsSession(FakeCluster):
    """Ends a client's session once, in the middle of what it writes."""

    client = 0

    def _write(self, request: m.WriteBlock, payload: bytes) -> m.WriteBlockReply:
        if self.asked["WriteBlock"] == 3:
            self.expire(self.client)
        return super()._write(request, payload)


async def test_a_draft_that_went_with_its_session_is_written_anew() -> None:
    cluster = EndsSession()
    fs = cluster.connect()
    cluster.client, content = fs._session.client, bytes(50_000)
    assert await fs.write_bytes("/large", content) == len(content)
    assert await fs.read_bytes("/large") == content
    assert cluster.asked["PublishDraft"] == 2


async def test_what_the_primary_finds_held_by_nobody_is_stored_anew(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    refusals = [errors.UploadLostError("gone"), errors.UploadLostError("gone")]
    cluster.refuse_once[m.PutFiles] = refusals
    assert await fs.write_many({"/f": b"1", "/g": b"2"}, exclusive=True) == [1, 1]
    assert not refusals and cluster.asked["WriteBlocks"] >= 3
    assert await fs.read_many(["/f", "/g"]) == [b"1", b"2"]
    cluster.refuse_once[m.PutFiles] = [errors.UploadLostError("gone")] * 10_000
    with pytest.raises(errors.RetryableError) as caught:
        await fs.write_bytes("/h", b"3", timeout=0.1)
    assert caught.value.filename == "/h"


async def test_of_files_created_twice_in_a_batch_the_first_one_is(fs: AsyncFileSystem) -> None:
    results = await fs.write_many(
        [("/f", b"1"), ("//f", b"22"), ("/g", b"3")], exclusive=True, return_errors=True
    )
    assert results[0] == results[2] == 1 and isinstance(results[1], FileExistsError)
    assert await fs.read_bytes("/f") == b"1"


async def test_what_cannot_be_a_path_has_no_attributes(fs: AsyncFileSystem) -> None:
    found = await fs.stat_many(["/", "/" + "x" * 256, "/\udfff", "/nul\0", "/"])
    assert [each is None for each in found] == [False, True, True, True, False]


def test_paths_of_a_batch_fit_a_record() -> None:
    raws = [b"/" + b"x" * 4000] * 1000
    batches = list(path_batches(raws))
    assert [number for batch in batches for number in batch] == list(range(1000))
    for batch in batches:
        request = m.ReadFiles(tuple(raws[batch.start : batch.stop]), 0)
        assert 1 < len(records.encode(request)) < limits.RECORD_BYTES
    assert list(path_batches([b"/a"] * 5)) == [range(5)]
    assert list(path_batches([])) == []


async def test_an_older_primary_answers_with_a_record_for_each_file(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_many(FILES)
    cluster.asked.clear()
    cluster.refuse_once[m.ReadMany] = [errors.UnsupportedError("what is that?")]
    names = [*list(FILES)[:50], "/none", "/many/0007", "/many"]
    found = await fs.read_many(names, return_errors=True)
    assert cluster.asked["ReadMany"] == 1 and cluster.asked["ReadFiles"] == 1
    assert found[:50] == list(FILES.values())[:50] and found[51] == FILES["/many/0007"]
    again = await fs.read_many(names, return_errors=True)
    assert cluster.asked["ReadMany"] == 1, "it is not asked again"
    for results in (found, again):
        assert [type(results[n]) for n in (50, 52)] == [
            errors.PathNotFoundError,
            errors.IsDirectoryError,
        ]
        assert results[50].filename == "/none"
    assert await fs.read_bytes("/many/0009") == FILES["/many/0009"]


async def test_files_that_arrive_damaged_are_read_from_their_replicas(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_many(FILES)
    damaged = list(cluster.blocks[1])[::3]
    for version in damaged:
        cluster.blocks[1][version] = bytes(len(cluster.blocks[1][version]))
    assert await fs.read_many(FILES) == list(FILES.values())
    assert await fs.read_bytes("/many/0100") == FILES["/many/0100"]
    assert cluster.reports


async def test_the_same_file_several_times_in_a_batch(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_many(FILES)
    names = ["/many/0003", "/many/0004", "/many/0003", "/many/0003/x"]
    found = await fs.read_many(names, return_errors=True)
    assert found[:3] == [FILES[name] for name in names[:3]]
    assert isinstance(found[3], NotADirectoryError)


@pytest.mark.parametrize(
    "columns",
    [
        m.ReadManyReply((1,), ()),
        m.ReadManyReply((1, 1), (0, 0)),
        m.ReadManyReply((-1,), (0,)),
        m.ReadManyReply((-2,), (0,)),
        m.ReadManyReply((1,), (0,), (m.FileReply(1, ""),)),
        m.ReadManyReply((1,), (0,), (), (5, 5)),
    ],
)
async def test_columns_that_do_not_fit_one_another_are_an_error(
    fs: AsyncFileSystem, monkeypatch: pytest.MonkeyPatch, columns: m.ReadManyReply
) -> None:
    async def answer(*_args: object) -> Answer[m.ReadManyReply]:
        return Answer(columns, memoryview(b"x"), 1)

    monkeypatch.setattr(fs._session.primary, "call", answer)
    with pytest.raises(errors.ProtocolError):
        await fs.read_bytes("/f")


@pytest.mark.parametrize("way", ["read_bytes", "read_text", "read_many"])
async def test_what_fails_for_the_cluster_names_the_file(
    fs: AsyncFileSystem, cluster: FakeCluster, way: str
) -> None:
    cluster.refuse_once[m.ReadMany] = [errors.UnavailableError("nobody answers")]
    given = ["/first", "/second"] if way == "read_many" else "/first"
    with pytest.raises(errors.UnavailableError) as caught:
        await getattr(fs, way)(given)
    assert caught.value.filename == "/first"
