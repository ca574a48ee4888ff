"""A gateway over the fake cluster, asked with the bytes of HTTP and without sockets."""

from __future__ import annotations

import asyncio
from typing import Any

from memfs.config import ClientConfig, GatewayConfig
from memfs.gateway.http.connection import HttpServer
from memfs.gateway.server import Gateway
from tests.unit.client.fake_cluster import FakeCluster, FakeSession

ADDRESS = ("127.0.0.1", 9870)


class MemoryTransport(asyncio.Transport):
    """Keeps what is sent."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({"sockname": ADDRESS, "peername": ("127.0.0.1", 50_000)})
        self.sent = bytearray()
        self.came = asyncio.Event()
        """Something was sent, or the connection is over."""
        self._protocol = protocol
        self._closing = False

    def write(self, data: Any) -> None:
        self.sent += data
        self.came.set()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.came.set()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class HttpExchange:
    """One request on a connection of its own."""

    def __init__(self, server: HttpServer) -> None:
        self._connection = server()
        self.transport = MemoryTransport(self._connection)
        self._connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self._connection.data_received(data)

    async def answer(self) -> tuple[int, str]:
        """Status and the rest, once the request is over."""
        while not self.transport.is_closing():
            self.transport.came.clear()
            await self.transport.came.wait()
        head, _, body = bytes(self.transport.sent).partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), f"{head.decode()}\n{body.decode(errors='replace')}"


class FakeGateway:
    """A gateway whose users' sessions are of a fake cluster."""

    def __init__(self, cluster: FakeCluster, timeout: float) -> None:
        self.open_seconds = 0.0
        """How long a session takes to be opened."""

        async def open_session(config: ClientConfig) -> FakeSession:
            await asyncio.sleep(self.open_seconds)
            return FakeSession(cluster, config)

        config = GatewayConfig(default_user="root", system_groups=False, find_peers=False)
        client = ClientConfig(timeout_seconds=timeout)
        self.gateway = Gateway(config, client, opener=open_session)
        self._server = HttpServer(self.gateway.serve, connections=100, head_seconds=30)

    def begin(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: str = "",
        length: int = -1,
        version: str = "1.1",
    ) -> HttpExchange:
        """Send a request; ``length``: of its body, if that does not come at once."""
        length = len(body) if length < 0 else length
        sized = f"Content-Length: {length}\r\n" if length or method in ("PUT", "POST") else ""
        head = f"{method} /webhdfs/v1{target} HTTP/{version}\r\nHost: 127.0.0.1:9870\r\n{sized}"
        exchange = HttpExchange(self._server)
        exchange.send(f"{head}{headers}Connection: close\r\n\r\n".encode() + body)
        return exchange

    async def ask(
        self, method: str, target: str, body: bytes = b"", headers: str = ""
    ) -> tuple[int, str]:
        """Status and answer of a request."""
        return await self.begin(method, target, body, headers).answer()
