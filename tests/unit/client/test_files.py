"""Asynchronous files over a cluster without transport: modes, positions, what travels."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import random

import pytest

from memfs import errors, limits
from memfs.client.aiofiles import AsyncFile
from memfs.client.blocking.files import RawFile
from memfs.client.filesystem import AsyncFileSystem
from memfs.protocol import messages as m
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096


def pattern(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7, 40 * BLOCK])
async def test_a_written_file_reads_back(fs: AsyncFileSystem, size: int) -> None:
    data = pattern(size)
    async with fs.open("/f", "wb") as f:
        assert await f.write(data) == size
    assert (await fs.stat("/f")).st_size == size
    assert await fs.read_bytes("/f") == data
    async with fs.open("/f", "rb") as f:
        assert await f.read() == data
        assert await f.read() == b""


async def test_every_block_has_two_copies(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    await fs.write_bytes("/f", pattern(10 * BLOCK))
    locations = await fs.block_locations("/f")
    assert len(locations) == 10
    assert all(len(set(location.nodes)) == 2 for location in locations)
    groups = [location.members for location in locations]
    assert groups[:4] == [groups[0]] * 4, "a group lies together"
    assert sum(map(len, cluster.blocks.values())) == 20


async def test_writes_of_any_size_and_place(fs: AsyncFileSystem) -> None:
    dice = random.Random(3)
    expected = bytearray()
    async with fs.open("/f", "w+b") as f:
        for _ in range(200):
            offset = dice.randrange(6 * BLOCK)
            data = dice.randbytes(dice.choice([1, 17, 900, BLOCK, 3 * BLOCK]))
            await f.seek(offset)
            await f.write(data)
            expected.extend(bytes(max(0, offset + len(data) - len(expected))))
            expected[offset : offset + len(data)] = data
            action = dice.random()
            if action < 0.1:
                await f.flush()
            elif action < 0.2:
                size = dice.randrange(7 * BLOCK)
                await f.truncate(size)
                del expected[size:]
                expected.extend(bytes(size - len(expected)))
            elif action < 0.4:
                at = dice.randrange(6 * BLOCK)
                await f.seek(at)
                assert await f.read(BLOCK) == bytes(expected[at : at + BLOCK])
    assert await fs.read_bytes("/f") == bytes(expected)


async def test_an_append_sends_only_what_is_new(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    await fs.write_bytes("/log", pattern(3 * BLOCK + 100))
    cluster.payload_bytes = 0
    async with fs.open("/log", "ab") as f:
        assert f.tell() == 3 * BLOCK + 100
        for _ in range(3):
            await f.write(b"x" * 200)
            await f.flush()
    assert cluster.payload_bytes == 600
    assert (await fs.read_bytes("/log"))[-600:] == b"x" * 600


async def test_a_random_write_sends_only_the_changed_bytes(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    data = bytearray(pattern(4 * BLOCK))
    await fs.write_bytes("/f", data)
    cluster.payload_bytes = 0
    async with fs.open("/f", "r+b") as f:
        for at in (10, 500, BLOCK + 5):
            await f.seek(at)
            await f.write(b"abc")
            data[at : at + 3] = b"abc"
        assert await f.pread(2 * BLOCK, 0) == data[: 2 * BLOCK]
    assert cluster.payload_bytes == 9
    assert await fs.read_bytes("/f") == data


async def test_a_hole_reads_as_zeros(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    async with fs.open("/f", "wb") as f:
        await f.seek(10 * BLOCK + 5)
        await f.write(b"end")
    assert cluster.asked["WriteBlock"] == 1
    assert await fs.read_bytes("/f") == bytes(10 * BLOCK + 5) + b"end"


async def test_nothing_is_visible_before_a_flush(fs: AsyncFileSystem) -> None:
    async with fs.open("/f", "wb") as f:
        await f.write(pattern(3 * BLOCK))
        assert (await fs.stat("/f")).st_size == 0
        await f.flush()
        assert await fs.read_bytes("/f") == pattern(3 * BLOCK)


async def test_closing_takes_one_command(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    async with fs.open("/f", "wb") as f:
        await f.write(b"small")
    assert cluster.asked_for == {"Create": 1, "WriteBlock": 1, "Commit": 1}


async def test_the_caller_may_reuse_its_buffer(fs: AsyncFileSystem) -> None:
    buffer = bytearray(8 * BLOCK)
    async with fs.open("/f", "wb") as f:
        for value in range(5):
            for size in (100, BLOCK, 8 * BLOCK):
                buffer[:size] = bytes([value]) * size
                await f.write(memoryview(buffer)[:size])
                buffer[:size] = b"\xff" * size
    data = await fs.read_bytes("/f")
    assert b"\xff" not in data and len(data) == 5 * (100 + 9 * BLOCK)


async def test_one_writer_at_a_time(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    async with fs.open("/f", "wb") as f:
        await f.write(b"1")
        with pytest.raises(errors.LeaseHeldError) as caught:
            await fs.open("/f", "ab")
        assert caught.value.filename == "/f"
        other = cluster.connect()
        await other.recover_lease("/f")
        with pytest.raises(errors.LeaseLostError):
            await f.flush()
        with pytest.raises(errors.LeaseLostError):
            await f.close()
    assert await fs.read_bytes("/f") == b""


async def test_a_failed_close_gives_the_lease_back(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    f = await fs.open("/f", "wb", timeout=0.1)
    cluster.full.update(cluster.blocks)
    await f.write(b"lost")
    with pytest.raises(errors.NoSpaceError):
        await f.close()
    cluster.full.clear()
    assert await fs.write_bytes("/f", b"free again") == 10
    assert f.closed


async def test_deleted_while_open(fs: AsyncFileSystem) -> None:
    f = await fs.open("/f", "wb")
    await fs.remove("/f")
    await f.close()
    f = await fs.open("/f", "wb")
    await f.write(b"x")
    await fs.remove("/f")
    await f.close()
    assert not await fs.exists("/f")


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("rb", FileNotFoundError),
        ("r+b", FileNotFoundError),
        ("q", ValueError),
        ("rt+w", ValueError),
    ],
)
async def test_open_refuses_as_the_builtin_does(
    fs: AsyncFileSystem, mode: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        await fs.open("/none", mode)
    if isinstance(caught.value, OSError):
        assert caught.value.filename == "/none"


async def test_modes(fs: AsyncFileSystem) -> None:
    async with fs.open("/f", "xb") as f:
        assert f.writable() and not f.readable()
        with pytest.raises(io.UnsupportedOperation):
            await f.read()
        await f.write(b"abc")
    with pytest.raises(FileExistsError):
        await fs.open("/f", "x")
    async with fs.open("/f", "a+b") as f:
        await f.seek(0)
        await f.write(b"def")
        await f.seek(0)
        assert await f.read() == b"abcdef"
    async with fs.open("/f", "rb") as f:
        with pytest.raises(io.UnsupportedOperation):
            await f.write(b"")
        assert await f.seek(-2, os.SEEK_END) == 4
        assert await f.read(1) == b"e"
        with pytest.raises(OSError, match="negative"):
            await f.seek(-9, os.SEEK_CUR)
    with pytest.raises(ValueError, match="closed"):
        f.tell()
    with pytest.raises(IsADirectoryError):
        await fs.open("/", "rb")


async def test_lines_and_text(fs: AsyncFileSystem) -> None:
    text = "first\nsecond äöü\r\nthird"
    async with fs.open("/t", "w", newline="") as f:
        await f.write(text)
    async with fs.open("/t") as f:
        assert [line async for line in f] == ["first\n", "second äöü\n", "third"]
    async with fs.open("/t", newline="") as f:
        assert await f.readlines() == ["first\n", "second äöü\r\n", "third"]
    async with fs.open("/t", "rb") as f:
        assert await f.readline() == b"first\n"
        assert await f.readline(3) == b"sec"
        assert await f.read(4) == b"ond "
    async with fs.open("/u", "w", encoding="utf-16") as f:
        await f.write("a")
        await f.write("b")
    async with fs.open("/u", "a", encoding="utf-16") as f:
        await f.write("c")
    assert await fs.read_text("/u", "utf-16") == "abc"
    assert await fs.write_text("/v", "x\ny") == 3


async def test_a_reader_sees_what_this_client_appends(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/f", b"one")
    reader = await fs.open("/f", "rb")
    assert await reader.read() == b"one"
    async with fs.open("/f", "ab") as writer:
        await writer.write(b"two")
        await writer.flush()
        assert await reader.read() == b"two"
        await writer.write(b"three")
    assert await reader.read() == b"three"
    await reader.close()


async def test_a_reader_goes_on_when_the_file_is_overwritten(fs: AsyncFileSystem) -> None:
    old, new = pattern(6 * BLOCK, 1), pattern(6 * BLOCK, 2)
    async with fs.open("/f", "wb") as f:
        await f.write(old)
    reader = await fs.open("/f", "rb")
    async with fs.open("/f", "r+b") as f:
        await f.write(new)
    assert await reader.read() == new
    await reader.close()


async def test_what_was_written_before_a_cancelled_write_is_kept(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    data = pattern(10 * BLOCK)
    f = await fs.open("/f", "wb")
    done = 0
    for delay in (0.0, 0.01, 0.02, 0.0):
        cluster.slow = dict.fromkeys(cluster.blocks, 0.03)
        await f.write(bytearray(data[done : done + 100]))
        done += 100
        task = asyncio.create_task(f.write(bytearray(5 * BLOCK)))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait((task,))
        await f.seek(done)
    cluster.slow.clear()
    await f.close()
    assert (await fs.read_bytes("/f"))[:done] == data[:done]


async def test_cancelling_a_write_leaves_a_usable_lease(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    cluster.slow = dict.fromkeys(cluster.blocks, 0.05)
    f = await fs.open("/f", "wb")
    task = asyncio.create_task(f.write(bytearray(20 * BLOCK)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    cluster.slow.clear()
    await f.close()
    assert await fs.write_bytes("/f", b"x") == 1


async def test_closing_the_file_system_publishes_what_is_open(cluster: FakeCluster) -> None:
    other = cluster.connect()
    fs = cluster.connect()
    f = await fs.open("/f", "wb")
    await f.write(b"buffered")
    t = await fs.open("/t", "w")
    await t.write("text")
    await fs.close()
    assert await other.read_bytes("/f") == b"buffered"
    assert await other.read_text("/t") == "text"
    await f.close()
    assert not cluster.namespace.sessions


async def test_closing_the_file_system_says_what_could_not_be_published(
    cluster: FakeCluster,
) -> None:
    fs = cluster.connect()
    f = await fs.open("/f", "wb")
    await f.write(b"x" * 100)
    cluster.full = set(cluster.blocks)
    with pytest.raises(errors.NoSpaceError):
        await fs.close()
    with pytest.raises((errors.MemfsError, ValueError)):
        await f.write(bytearray(5 * BLOCK))


async def test_a_draft_is_given_up_when_the_file_system_is_closed(cluster: FakeCluster) -> None:
    fs = cluster.connect()
    with pytest.raises(errors.MemfsError):
        async with fs.replacing("/f") as draft:
            await draft.write(None, memoryview(b"x"))
            await fs.close()
    assert not await cluster.connect().exists("/f")


@pytest.mark.parametrize("name", ["pread", "pread_into"])
def test_positional_reads_take_their_arguments_in_the_order_of_os(name: str) -> None:
    """``os.pread(descriptor, length, offset)``: on asynchronous and on blocking files."""
    for kind in (AsyncFile, RawFile):
        names = list(inspect.signature(getattr(kind, name)).parameters)
        assert names[2] == "offset", kind
    assert list(inspect.signature(AsyncFile.pwrite).parameters)[1:3] == ["data", "offset"]


async def test_a_truncation_that_was_not_answered_may_have_happened(
    fs: AsyncFileSystem, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fs.write_bytes("/f", b"12345")
    answers = iter([errors.OutcomeUnknownError("no answer"), errors.DeadlineError("no time left")])
    persist = fs._session.primary._persist

    async def unanswered(request: object, *rest: object, **options: object) -> object:
        found = await persist(request, *rest, **options)  # type: ignore[arg-type]
        if isinstance(request, m.Commit) and (error := next(answers, None)):
            raise error
        return found

    monkeypatch.setattr(fs._session.primary, "_persist", unanswered)
    with pytest.raises(errors.OutcomeUnknownError):
        await fs.truncate("/f", 2)
    assert (await fs.stat("/f")).st_size == 2


async def test_a_hole_is_one_location(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    """The largest file there is: as few requests and entries as there are pieces."""
    blocks = limits.BLOCKS_PER_FILE
    async with fs.open("/f", "wb") as f:
        await f.write(pattern(2 * BLOCK))
        await f.seek(blocks // 2 * BLOCK)
        await f.write(b"middle")
        await f.truncate(blocks * BLOCK - 1)
    cluster.asked.clear()
    found = await fs.block_locations("/f")
    middle = blocks // 2
    assert [(each.block, each.offset // BLOCK, each.hole) for each in found] == [
        *((0, 0, False), (1, 1, False), (2, 2, True)),
        *((middle, middle, False), (middle + 1, middle + 1, True)),
    ]
    assert [each.length for each in found[2:]] == [
        *((middle - 2) * BLOCK, BLOCK),
        (blocks - middle - 1) * BLOCK - 1,
    ]
    assert all(bool(each.nodes) != each.hole for each in found)
    assert cluster.asked.total() < 10
    part = await fs.block_locations("/f", 10 * BLOCK + 1, 3 * BLOCK)
    assert [(each.block, each.length // BLOCK, each.hole) for each in part] == [(10, 4, True)]
