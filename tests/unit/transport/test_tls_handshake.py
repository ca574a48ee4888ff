"""TLS until the greeting: both ends in memory, with certificates of an authority of the test."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest

from memfs.errors import ProtocolError
from memfs.security.authority import make_authority, make_client, make_node
from memfs.security.certificate_files import AUTHORITY, NODE, client_name, write_pair
from memfs.security.tls import TlsCredentials
from memfs.testing.simulation.virtual import run
from memfs.transport.tls_handshake import TlsHandshake

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> TlsCredentials:
    return TlsCredentials(_directory(tmp_path_factory.mktemp("certs")), NODE)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> TlsCredentials:
    return TlsCredentials(_directory(tmp_path_factory.mktemp("others")), client_name("ann"))


def _directory(where: Path) -> Path:
    authority = make_authority("memfs CA", 365, NOW)
    for stem, pair in (
        (AUTHORITY, authority),
        (NODE, make_node(authority, ("node",), 30, NOW)),
        (client_name("ann"), make_client(authority, "ann", 30, NOW)),
    ):
        write_pair(where, stem, pair, where / f"{stem}.key", overwrite=True)
    return where


class Socket:
    """One end of a stream in memory."""

    def __init__(self) -> None:
        self.other: Socket
        self.protocol: Any = None
        self.sent = b""
        self.closed = False
        self._halted = False
        self._waiting = b""

    def write(self, data: Any) -> None:
        self.sent += bytes(data)
        asyncio.get_running_loop().call_soon(self.other.receive, bytes(data))

    def receive(self, data: bytes) -> None:
        self._waiting += data
        while self._waiting and not self._halted and not self.closed:
            space = self.protocol.get_buffer(-1)
            count = min(len(space), len(self._waiting))
            space[:count], self._waiting = self._waiting[:count], self._waiting[count:]
            self.protocol.buffer_updated(count)

    def pause_reading(self) -> None:
        self._halted = True

    def resume_reading(self) -> None:
        self._halted = False
        self.receive(b"")

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            loop = asyncio.get_running_loop()
            for each in (self, self.other):
                each.closed = True
                loop.call_soon(each.protocol.connection_lost, None)

    abort = close


class Above(asyncio.BufferedProtocol):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.received = b""
        self.lost: list[Exception | None] = []
        self._space = memoryview(bytearray(64))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def get_buffer(self, _hint: int) -> memoryview:
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        self.received += bytes(self._space[:nbytes])


class Pair:
    """A client and a node, whose handshake begins."""

    def __init__(self, ours: TlsCredentials, theirs: TlsCredentials, host: str = "node") -> None:
        self.sockets = Socket(), Socket()
        self.sockets[0].other, self.sockets[1].other = self.sockets[1], self.sockets[0]
        self.above = Above(), Above()
        self.ends = (
            TlsHandshake(self.above[0], ours.client, host=host),
            TlsHandshake(self.above[1], theirs.server, accepts=True),
        )
        for socket, end in zip(self.sockets, self.ends, strict=True):
            socket.protocol = end
        for socket, end in zip(reversed(self.sockets), reversed(self.ends), strict=True):
            end.connection_made(socket)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_under_tls_and_then_in_clear(node: TlsCredentials) -> None:
    async def main() -> None:
        pair = Pair(node, node)
        await asyncio.gather(*(end.verified for end in pair.ends))
        client, server = pair.above
        assert server.transport.get_extra_info("peercert")["subject"]
        client.transport.writelines([b"who I am", b"and what for"])
        await settle()
        assert server.received == b"who I amand what for"
        server.transport.write(b"greetings")
        server.transport = server.transport.release()
        await settle()
        assert client.received == b"greetings"
        assert b"greetings" not in pair.sockets[1].sent
        assert b"who I am" not in pair.sockets[0].sent
        client.transport = client.transport.release()
        client.transport.write(b"in clear")
        server.transport.write(b"this, too")
        await settle()
        assert server.received.endswith(b"in clear") and client.received.endswith(b"this, too")
        assert pair.sockets[0].sent.endswith(b"in clear")
        assert pair.sockets[1].sent.endswith(b"this, too")
        client.transport.close()
        await settle()
        assert client.lost == server.lost == [None]

    run(main())


def test_what_comes_under_tls_after_it_was_released_is_not_decrypted(node: TlsCredentials) -> None:
    async def main() -> None:
        pair = Pair(node, node)
        await asyncio.gather(*(end.verified for end in pair.ends))
        client, server = pair.above
        server.transport.release()
        client.transport.write(b"too late")
        await settle()
        assert server.received and b"too late" not in server.received

    run(main())


def test_what_is_left_of_before_it_is_released_is_refused(node: TlsCredentials) -> None:
    """Two messages in one segment, the second of which waits."""

    async def main() -> None:
        pair = Pair(node, node)
        await asyncio.gather(*(end.verified for end in pair.ends))
        client, server = pair.above
        server.buffer_updated = lambda _: server.transport.pause_reading()  # type: ignore[method-assign]
        sent = pair.sockets[0].sent
        client.transport.write(b"one")
        client.transport.write(b"two")
        records = pair.sockets[0].sent[len(sent) :]
        space = pair.ends[1].get_buffer(-1)
        space[: len(records)] = records
        pair.ends[1].buffer_updated(len(records))
        with pytest.raises(ProtocolError, match="between the handshake and its answer"):
            server.transport.release()

    run(main())


def test_who_is_not_verified_is_not_connected(
    node: TlsCredentials, stranger: TlsCredentials
) -> None:
    async def main() -> None:
        for ours, theirs in ((stranger, node), (node, stranger)):
            pair = Pair(ours, theirs)
            with pytest.raises(ssl.SSLError):
                await pair.ends[0].verified
            await settle()
            assert pair.ends[1].verified.done() and pair.ends[1].verified.exception()
            assert all(above.transport is None and not above.received for above in pair.above)

    run(main())


def test_another_host_is_not_believed(node: TlsCredentials) -> None:
    async def main() -> None:
        pair = Pair(node, node, host="other")
        with pytest.raises(ssl.SSLCertVerificationError):
            await pair.ends[0].verified
        assert pair.above[0].transport is None

    run(main())


def test_bytes_in_clear_are_no_handshake(node: TlsCredentials) -> None:
    async def main() -> None:
        socket, other = Socket(), Socket()
        socket.other, other.other = other, socket
        above = Above()
        other.protocol = Above()
        socket.protocol = end = TlsHandshake(above, node.server, accepts=True)
        end.connection_made(socket)
        socket.receive(b"MFS1" + bytes(100))
        await settle()
        assert isinstance(end.verified.exception(), ssl.SSLError)
        assert above.transport is None and socket.closed

    run(main())


def test_a_handshake_that_does_not_end(node: TlsCredentials) -> None:
    async def main() -> None:
        socket, other = Socket(), Socket()
        socket.other, other.other = other, socket
        other.protocol = Above()
        socket.protocol = end = TlsHandshake(Above(), node.server, accepts=True)
        end.connection_made(socket)
        await asyncio.sleep(60)
        assert socket.closed
        assert isinstance(end.verified.exception(), ConnectionResetError)

    run(main())
