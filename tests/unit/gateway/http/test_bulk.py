"""The rest of a body, received past the parser: what comes when, and what is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from memfs.gateway.http.bulk import Bulk
from memfs.testing.simulation import virtual


class FakeConnection:
    """The protocol that a :class:`Bulk` stands in for, and its transport, and the body's reader."""

    def __init__(self) -> None:
        self.transport = self
        self.protocol: object = self
        self.reading = True
        self.closing = False
        self.last = False
        self.ended = False
        self.lost: list[Exception | None] = []

    def close(self) -> None:
        self.last = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def feed_eof(self) -> None:
        self.ended = True

    def arrive(self, data: bytes) -> bytes:
        """Bytes at the socket: those that are not read, because nobody wants them, come back."""
        while data and self.reading and isinstance(self.protocol, Bulk):
            room = self.protocol.get_buffer(-1)
            part = data[: len(room)]
            room[: len(part)] = part
            data = data[len(part) :]
            self.protocol.buffer_updated(len(part))
        return data


Story = Callable[[FakeConnection, Bulk], Awaitable[None]]


def play(story: Story, left: int = 100) -> FakeConnection:
    connection = FakeConnection()

    async def main() -> None:
        await story(connection, Bulk(connection, connection, left))  # type: ignore[arg-type]

    virtual.run(main())
    return connection


async def soon(connection: FakeConnection, data: bytes, seconds: float = 0.1) -> None:
    await asyncio.sleep(seconds)
    assert connection.arrive(data) == b""


def test_it_fills_what_it_is_given_and_no_more() -> None:
    async def story(connection: FakeConnection, bulk: Bulk) -> None:
        assert connection.arrive(b"early") == b"early", "nobody waits for it"
        buffer = bytearray(60)
        coming = asyncio.gather(bulk.fill(memoryview(buffer), 9), soon(connection, b"a" * 60))
        assert bytes((await coming)[0]) == bytes(buffer) == b"a" * 60
        assert connection.arrive(b"b") == b"b" and bulk.left == 40
        filled = asyncio.create_task(bulk.fill(memoryview(buffer), 9))
        await asyncio.sleep(0.1)
        assert connection.arrive(b"b" * 40 + b"GET /") == b"GET /"
        assert bytes(await filled) == b"b" * 40

    connection = play(story)
    assert connection.ended and connection.last and connection.protocol is connection


def test_it_returns_the_less_that_came_in_time() -> None:
    async def story(connection: FakeConnection, bulk: Bulk) -> None:
        buffer = memoryview(bytearray(60))
        coming = asyncio.gather(bulk.fill(buffer, 1), soon(connection, b"abc", 0.9))
        assert bytes((await coming)[0]) == b"abc"
        with pytest.raises(TimeoutError):
            await bulk.fill(buffer, 1)
        coming = asyncio.gather(bulk.first(50, 60), soon(connection, b"d", 59))
        assert bytes((await coming)[0]) == b"d"
        assert bulk.left == 96 and not connection.reading

    assert not play(story).ended


def test_a_sender_that_leaves_is_an_error() -> None:
    async def story(connection: FakeConnection, bulk: Bulk) -> None:
        filling = asyncio.create_task(bulk.fill(memoryview(bytearray(60)), 9))
        await soon(connection, b"abc")
        bulk.connection_lost(None)
        with pytest.raises(ConnectionResetError):
            await filling
        connection.closing = True
        with pytest.raises(ConnectionResetError):
            await bulk.first(1, 9)
        bulk.discard()
        assert not connection.reading

    connection = play(story)
    assert connection.lost == [None] and not connection.ended


def test_what_nobody_wants_comes_and_goes() -> None:
    async def story(connection: FakeConnection, bulk: Bulk) -> None:
        bulk.discard()
        assert connection.arrive(bytes(700_000)) == b"" and not connection.ended
        assert connection.arrive(bytes(300_000) + b"GET /") == b"GET /"

    assert play(story, 1_000_000).ended
