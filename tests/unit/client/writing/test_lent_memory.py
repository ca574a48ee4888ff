"""Memory that a writer lends: when a write has ended, however it ended, nothing reads it any more.

The fake cluster reads a payload when a member answers, and compares it with its CRC then: a buffer
that changes while it is in flight does not go unnoticed, and ``waiting`` says what is in flight.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable

import pytest

from memfs import errors, limits
from memfs.client.filesystem import AsyncFileSystem
from memfs.protocol import messages as m
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
Break = Callable[[FakeCluster, AsyncFileSystem, "asyncio.Task[object]"], None]


def no_space(cluster: FakeCluster, fs: AsyncFileSystem, task: asyncio.Task[object]) -> None:
    cluster.full = set(cluster.blocks)


def no_node(cluster: FakeCluster, fs: AsyncFileSystem, task: asyncio.Task[object]) -> None:
    cluster.down = set(cluster.blocks)


def cancel(cluster: FakeCluster, fs: AsyncFileSystem, task: asyncio.Task[object]) -> None:
    task.cancel()


def lost_lease(cluster: FakeCluster, fs: AsyncFileSystem, task: asyncio.Task[object]) -> None:
    cluster.refuse[m.WriteBlock] = errors.LeaseLostError("a later writer was seen")


def time_over(cluster: FakeCluster, fs: AsyncFileSystem, task: asyncio.Task[object]) -> None:
    cluster.slow = dict.fromkeys(cluster.blocks, 0.001)
    cluster.refuse[m.WriteBlock] = errors.DeadlineError("no answer")


def closed_client(cluster: FakeCluster, fs: AsyncFileSystem, task: asyncio.Task[object]) -> None:
    asyncio.ensure_future(fs.close()).add_done_callback(lambda closing: closing.exception())


FAILURES: list[Break] = [no_space, no_node, cancel, lost_lease, time_over, closed_client]


@pytest.mark.parametrize("break_it", FAILURES, ids=lambda each: each.__name__)
async def test_a_buffer_is_free_when_its_write_has_failed(
    cluster: FakeCluster, fs: AsyncFileSystem, break_it: Break
) -> None:
    f = await fs.open("/f", "wb")
    await f.write(b"before")
    buffer = bytearray(20 * BLOCK)
    cluster.slow = {1: 0.004, 2: 1.0, 3: 1.0}  # so that no write is over before it is broken
    task: asyncio.Task[object] = asyncio.create_task(
        f.write(buffer, timeout=5 if break_it is cancel else 0.1)
    )
    await asyncio.sleep(0.01)
    break_it(cluster, fs, task)
    with pytest.raises((OSError, asyncio.CancelledError)):
        await task
    assert cluster.waiting <= 1, "more is in flight than the first block, which was copied"
    buffer[:] = b"x" * len(buffer)  # would be sent under the CRC of what was there
    cluster.slow, cluster.full, cluster.down = {}, set(), set()
    cluster.refuse.clear()
    try:
        await f.close()
    except OSError:
        assert break_it is not cancel
    assert b"x" not in await cluster.connect().read_bytes("/f")


async def test_a_write_that_is_cancelled_twice_lets_go_before_it_ends(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    f = await fs.open("/f", "wb")
    cluster.slow = dict.fromkeys(cluster.blocks, 0.02)
    cluster.reluctant = 0.01
    task = asyncio.create_task(f.write(bytearray(20 * BLOCK)))
    await asyncio.sleep(0.01)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.002)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cluster.waiting == 0
    cluster.reluctant = 0
    await f.close()


async def test_a_cancelled_write_adds_nothing_behind_what_was_written(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    f = await fs.open("/f", "wb")
    await f.write(b"a" * BLOCK)
    cluster.slow = {1: 0.001, 2: 0.05, 3: 0.001}
    task = asyncio.create_task(f.write(bytearray(b"b" * 30 * BLOCK)))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    await f.close()
    content = await fs.read_bytes("/f")
    assert content == b"a" * BLOCK + b"b" * (len(content) - BLOCK), "a hole in the middle"


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_written_without_waiting_is_what_is_read(
    cluster: FakeCluster, fs: AsyncFileSystem, seed: int
) -> None:
    """Pieces that are lent, copied, or waited for, in any order, beside a plain ``bytearray``.

    A buffer that was given back is filled with something else at once: would it be sent then, its
    CRC would tell.
    """
    dice = random.Random(seed)
    cluster.slow = {1: 0.001, 2: 0.002, 3: 0.001}
    expected, lent, now = bytearray(), 0, 0
    async with fs.open("/f", "w+b", buffering=0) as f:
        handle = f._handle
        for _ in range(60):
            offset = dice.choice([len(expected), len(expected), dice.randrange(6 * BLOCK)])
            length = dice.choice([1, 100, BLOCK // 4, BLOCK // 2, BLOCK - offset % BLOCK, BLOCK])
            data = dice.randbytes(length)
            expected.extend(bytes(max(0, offset + length - len(expected))))
            expected[offset : offset + length] = data
            memory = memoryview(bytearray(data))
            is_lent = dice.random() < 0.7
            back = functools.partial(memory.__setitem__, slice(None), bytes(length))
            if handle.write_now(offset, memory, back if is_lent else None):
                now, lent = now + 1, lent + is_lent
            else:
                await handle.write(offset, memory)
            if dice.random() < 0.1:
                await handle.flush()
                assert await fs.read_bytes("/f") == expected
            if dice.random() < 0.1:
                at = dice.randrange(len(expected))
                assert await handle.read(at, BLOCK) == expected[at : at + BLOCK]
            await asyncio.sleep(dice.choice([0, 0, 0.001]))
    assert await fs.read_bytes("/f") == expected
    assert now > 10 and lent > 5


async def test_nothing_is_written_at_once_where_it_has_to_be_waited_for(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    data = memoryview(bytes(BLOCK))
    async with fs.open("/f", "wb", buffering=0) as f:
        handle = f._handle
        assert not handle.write_now(1, data), "it touches two blocks"
        assert not handle.write_now(limits.FILE_BYTES_MAX, data), "no file is so large"
        cluster.slow = dict.fromkeys(cluster.blocks, 0.05)
        assert handle.write_now(0, data) and not handle.write_now(0, data), "it is on its way"
    async with fs.open("/f", "rb", buffering=0) as f:
        assert not f._handle.write_now(0, data)
    assert not handle.write_now(0, data), "it is closed"
    async with fs.open("/g", "wb", buffering=0) as f:
        cluster.full = set(cluster.blocks)
        assert f._handle.write_now(0, data)
        await asyncio.wait(f._handle.writer._flying.values())
        assert not f._handle.write_now(BLOCK, data), "whoever writes next hears of it"
        with pytest.raises(errors.NoSpaceError):
            await f._handle.write(BLOCK, data)
        cluster.full = set()
        await f._handle.discard()
