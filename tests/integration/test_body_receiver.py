"""A body arrives in the memory that was given for it, or not a byte of it is handed on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from memfs.errors import ObjectChangedError, StoreDeniedError, StoreUnreachableError
from memfs.stores import body_receiver
from memfs.stores.body_receiver import HEAD_BYTES, BodyReceiver, Head
from memfs.stores.http_client import tls_context
from tests.support.certificates import Certificates

CONTENT = random.Random(1).randbytes(300_000)
HEADERS = {"host": "x", "range": "bytes=0-"}


@dataclass
class Script:
    """A server that answers each request with the next of ``replies``: pieces, sent one by one."""

    replies: list[list[bytes]] = field(default_factory=list)
    closes: bool = False
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                if not self.replies:
                    with contextlib.suppress(asyncio.CancelledError):
                        await reader.read()
                    break
                for piece in self.replies.pop(0):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                if self.closes:
                    break
        self.gone.set()


@contextlib.asynccontextmanager
async def served(
    *replies: list[bytes], closes: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Script]:
    script = Script(list(replies), closes)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    script.address = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield script


def reply(body: bytes = CONTENT, status: str = "206 Partial", extra: str = "") -> bytes:
    """A reply in one piece."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


@dataclass
class Asked:
    """One question, and what became of it."""

    into: memoryview = field(default_factory=lambda: memoryview(bytearray(len(CONTENT))))
    counts: list[int] = field(default_factory=list)
    heads: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    refused: bool = False
    nearly: asyncio.Event = field(default_factory=asyncio.Event)
    """All but one byte is there."""

    def arrived(self, count: int) -> None:
        self.counts.append(count)
        if sum(self.counts) == len(CONTENT) - 1:
            self.nearly.set()

    def accept(self, status: int, headers: Mapping[str, str]) -> None:
        assert not self.counts, "handed on before it was accepted"
        self.heads.append((status, headers))
        if self.refused:
            raise ObjectChangedError("another version")

    async def ask(self, receiver: BodyReceiver) -> Head | None:
        return await receiver.get("/k?q", HEADERS, self.into, self.accept, self.arrived)


@pytest.mark.parametrize("cuts", [(), (1,), (5, 20, 45, 200), (47,), (48, 60_000, 299_999)])
async def test_a_body_however_it_is_cut(cuts: tuple[int, ...]) -> None:
    whole = reply(extra='ETag: "x"\r\n')
    ends = [0, *cuts, len(whole)]
    async with served([whole[a:b] for a, b in itertools.pairwise(ends)]) as script:
        receiver, asked = BodyReceiver(script.address, None), Asked()
        head = await asked.ask(receiver)
        assert head is not None and (head.status, head.headers["etag"]) == (206, '"x"')
        assert asked.into == CONTENT and sum(asked.counts) == len(CONTENT)
        assert asked.heads == [(206, head.headers)]
        assert script.requests == [b"GET /k?q HTTP/1.1\r\nhost: x\r\nrange: bytes=0-\r\n\r\n"]
        receiver.close()


async def test_what_has_arrived_is_told_while_the_rest_is_on_its_way() -> None:
    whole = reply()
    async with served([whole[:100_000], whole[100_000:-1]]) as script:
        receiver, asked = BodyReceiver(script.address, None), Asked()
        task = asyncio.ensure_future(asked.ask(receiver))
        await asked.nearly.wait()
        assert asked.into[:-1] == CONTENT[:-1] and len(asked.counts) > 1 and not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await script.gone.wait()
        receiver.close()


async def test_a_connection_is_used_again_and_never_with_a_reply_left_in_it() -> None:
    late = [reply()[:1000]]
    async with served([reply()], [reply()], late, [reply()]) as script:
        receiver = BodyReceiver(script.address, None)
        for _ in range(2):
            asked = Asked()
            assert await asked.ask(receiver)
            assert asked.into == CONTENT
        assert script.connections == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await Asked().ask(receiver)
        asked = Asked()
        assert await asked.ask(receiver)
        assert asked.into == CONTENT and script.connections == 2
        receiver.close()


async def test_a_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    async with served([reply()], [reply()], closes=True) as script:
        receiver = BodyReceiver(script.address, None)
        for _ in range(2):
            asked = Asked()
            assert await asked.ask(receiver)
            assert asked.into == CONTENT
        assert script.connections == 2
        receiver.close()


async def test_a_version_that_is_not_wanted_is_not_handed_on() -> None:
    async with served([reply()], [reply()]) as script:
        receiver, asked = BodyReceiver(script.address, None), Asked(refused=True)
        with pytest.raises(ObjectChangedError):
            await asked.ask(receiver)
        assert not asked.counts and asked.into == bytes(len(CONTENT))
        asked.refused = False
        assert await asked.ask(receiver)
        assert asked.into == CONTENT and script.connections == 2
        receiver.close()


async def test_an_error_comes_with_its_text() -> None:
    async with served([reply(b"<Error/>", "404 Not Found")], [reply()]) as script:
        receiver, asked = BodyReceiver(script.address, None), Asked()
        head = await asked.ask(receiver)
        assert head is not None and (head.status, bytes(head.body)) == (404, b"<Error/>")
        assert not asked.heads and not asked.counts
        assert await asked.ask(receiver)
        assert script.connections == 1
        receiver.close()


@pytest.mark.parametrize(
    "unusual",
    [
        b"HTTP/1.1 206 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 206 x\r\n\r\nabc",
        b"HTTP/1.0 206 x\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 206 x\r\nContent-Length: -3\r\n\r\nabc",
        b"HTTP/1.1 206 x\r\nContent-Length: 3\r\n\r\nabc",
        b"220 smtp\r\n\r\n",
        b"HTTP/1.1 500 x\r\nContent-Length: %d\r\n\r\n" % (HEAD_BYTES + 1),
        b"x" * HEAD_BYTES,
    ],
)
async def test_what_is_not_plain_is_left_to_others(unusual: bytes) -> None:
    async with served([unusual], [reply()]) as script:
        receiver, asked = BodyReceiver(script.address, None), Asked()
        assert await asked.ask(receiver) is None
        assert not asked.counts
        assert await asked.ask(receiver)
        assert asked.into == CONTENT and script.connections == 2
        receiver.close()


@pytest.mark.parametrize(
    "wrong",
    [b"", reply()[:40], reply()[:-1], b"HTTP/1.1 100 x\r\nContent-Length: 0\r\n\r\n"],
)
async def test_a_reply_that_breaks_off_is_an_error(wrong: bytes) -> None:
    async with served([wrong], closes=True) as script:
        receiver, asked = BodyReceiver(script.address, None), Asked()
        with pytest.raises(StoreUnreachableError):
            await asked.ask(receiver)
        assert sum(asked.counts) < len(CONTENT)


@pytest.mark.parametrize("more", [[reply() + b"more"], [reply(), b"more"], [reply(b"") + b"more"]])
async def test_what_comes_behind_a_reply_is_no_part_of_the_next(more: list[bytes]) -> None:
    async with served(more, [reply()]) as script:
        receiver = BodyReceiver(script.address, None)
        with contextlib.suppress(StoreUnreachableError):
            await Asked().ask(receiver)
        await asyncio.sleep(0.05)
        asked = Asked()
        assert await asked.ask(receiver)
        assert asked.into == CONTENT and script.connections == 2
        receiver.close()


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_receiver, "IDLE_SECONDS", 0.1)
    async with served() as script:
        receiver = BodyReceiver(script.address, None)
        with pytest.raises(StoreUnreachableError, match="does not answer"):
            await Asked().ask(receiver)
        await script.gone.wait()
        receiver.close()


async def test_nobody_there() -> None:
    async with served() as script:
        address = script.address
    with pytest.raises(StoreUnreachableError, match="cannot be reached"):
        await Asked().ask(BodyReceiver(address, None))


async def test_over_tls_from_whom_is_trusted_alone(tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.server_certificate, files.server_key)
    async with served([reply()], [reply()], [reply()], tls=server) as script:
        for tls, connections in (
            (tls_context(str(files.authority), True), 1),
            (tls_context("", False), 2),
        ):
            receiver, asked = BodyReceiver(script.address, tls), Asked()
            assert await asked.ask(receiver)
            assert asked.into == CONTENT and script.connections == connections
            receiver.close()
        with pytest.raises(StoreDeniedError, match="its certificate is refused"):
            await Asked().ask(BodyReceiver(script.address, tls_context("", True)))
