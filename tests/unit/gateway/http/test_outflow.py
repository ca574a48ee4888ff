"""What OPEN sends of a file that others change: one content, or a body that is cut off."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable

import pytest

from memfs.client.filesystem import AsyncFileSystem
from tests.unit.client.fake_cluster import FakeCluster
from tests.unit.gateway.on_fake import FakeGateway

BLOCK = 1 << 20
DATA = random.Random(5).randbytes(BLOCK * 3 // 4)
Change = Callable[[AsyncFileSystem, int], Awaitable[object]]


async def append(fs: AsyncFileSystem, turn: int) -> None:
    async with fs.open("/f", "ab") as file:
        await file.write(b"more" * 100)


async def write_beyond(fs: AsyncFileSystem, turn: int) -> None:
    async with fs.open("/f", "r+b") as file:
        await file.seek(len(DATA) + 50 * turn)
        await file.write(b"far")


async def set_times(fs: AsyncFileSystem, turn: int) -> None:
    await fs.utime("/f", ns=(turn, turn))


async def overwrite_the_beginning(fs: AsyncFileSystem, turn: int) -> None:
    async with fs.open("/f", "r+b") as file:
        await file.write(b"new" + turn.to_bytes(4, "big"))


async def cut(fs: AsyncFileSystem, turn: int) -> None:
    await fs.truncate("/f", 1000 + turn)


async def write_anew(fs: AsyncFileSystem, turn: int) -> None:
    async with fs.open("/f", "wb") as file:
        await file.write(DATA[::-1])


async def sent(fs: AsyncFileSystem, gateway: FakeGateway, change: Change) -> tuple[bytes, int]:
    """The body of an OPEN while ``change`` goes on, and the length it promised."""
    exchange = gateway.begin("GET", "/f?op=OPEN")
    await exchange.transport.came.wait()
    turn = 0
    while not exchange.transport.is_closing():
        turn += 1
        await change(fs, turn)
        await asyncio.sleep(0)
        assert turn < 5000, "it has no end"
    head, _, body = bytes(exchange.transport.sent).partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: ([0-9]+)", head)
    assert found
    return body, int(found[1])


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(block_size=BLOCK)


@pytest.fixture
async def gateway(cluster: FakeCluster) -> FakeGateway:
    return FakeGateway(cluster, timeout=30)


@pytest.mark.parametrize("change", [append, write_beyond, set_times])
async def test_a_file_that_grows_is_sent_as_it_began(
    cluster: FakeCluster, gateway: FakeGateway, change: Change
) -> None:
    fs = cluster.connect()
    await fs.write_bytes("/f", DATA)
    assert await sent(fs, gateway, change) == (DATA, len(DATA))


async def test_a_hole_that_something_is_appended_to(
    cluster: FakeCluster, gateway: FakeGateway
) -> None:
    fs = cluster.connect()
    await fs.touch("/f")
    await fs.truncate("/f", len(DATA))
    assert await sent(fs, gateway, append) == (bytes(len(DATA)), len(DATA))


@pytest.mark.parametrize("change", [overwrite_the_beginning, cut, write_anew])
async def test_another_content_cuts_the_body_off(
    cluster: FakeCluster, gateway: FakeGateway, change: Change
) -> None:
    fs = cluster.connect()
    await fs.write_bytes("/f", DATA)
    body, length = await sent(fs, gateway, change)
    assert len(body) < length == len(DATA)
