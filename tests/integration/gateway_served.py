"""A cluster and a gateway in a thread of their own, and a plain HTTP client for them."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from memfs.client.filesystem import AsyncFileSystem
from memfs.config import ClientConfig, GatewayConfig
from memfs.gateway.server import Gateway
from memfs.testing.in_process import Cluster

BLOCK_SIZE = 4096
GROUP_BLOCKS = 4
CALL_SECONDS = 60.0
PREFIX = "/webhdfs/v1"
JAVA = {"X-Hadoop-Accept-EZ": "true"}


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def exception(self) -> str:
        """The simple name of the exception, "": there is none."""
        return str(self.json["RemoteException"]["exception"]) if self.status >= 400 else ""

    @property
    def message(self) -> str:
        return str(self.json["RemoteException"]["message"])


class Served:
    """Three nodes with tiny blocks, and a gateway."""

    def __init__(
        self,
        *,
        new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        **settings: Any,
    ) -> None:
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.cluster = Cluster(
            nodes=3,
            replication=2,
            block_size=settings.pop("block_size", BLOCK_SIZE),
            group_blocks=settings.pop("group_blocks", GROUP_BLOCKS),
        )
        self.run(self.cluster.__aenter__())
        self.gateways: list[Gateway] = []
        self.fs: AsyncFileSystem = self.run(self.cluster.connect(user="root", groups=("root",)))
        self.gateway = self.start(**settings)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop of cluster and gateway."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    def begin(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin a coroutine on that loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def start(self, **settings: Any) -> Gateway:
        """One more gateway; the first one is ``gateway``."""
        gateway: Gateway = self.run(self._start(settings))
        self.gateways.append(gateway)
        return gateway

    async def _start(self, settings: dict[str, Any]) -> Gateway:
        client = ClientConfig(
            endpoints=self.cluster.endpoints, readahead_bytes=0, write_window_blocks=2
        )
        gateway = Gateway(GatewayConfig(**({"port": 0} | settings)), client)
        await gateway.start()
        return gateway

    @property
    def port(self) -> int:
        return self.gateway.endpoint.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, gateway: Gateway) -> None:
        self.gateways.remove(gateway)
        self.run(gateway.stop())

    def close(self) -> None:
        for gateway in list(self.gateways):
            self.stop(gateway)
        self.run(self.cluster.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    # --- requests ---------------------------------------------------------------------------

    def ask(
        self,
        method: str,
        path: str,
        op: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        user: str = "root",
        port: int = 0,
        **parameters: object,
    ) -> Answer:
        """One request for a path, redirects not followed."""
        pairs = {"op": op} | ({"user.name": user} if user else {})
        pairs |= {name.replace("_", "."): str(value) for name, value in parameters.items()}
        target = f"{PREFIX}{urllib.parse.quote(path)}?{urllib.parse.urlencode(pairs)}"
        return self.request(method, target, body, headers, port)

    def request(
        self,
        method: str,
        target: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        port: int = 0,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        try:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(method, target, body, headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, op: str, **more: Any) -> Answer:
        return self.ask("GET", path, op, **more)

    def put(
        self,
        path: str,
        op: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        return self.ask("PUT", path, op, body, headers, **more)

    def post(
        self, path: str, op: str, body: bytes | Iterator[bytes] | None = None, **more: Any
    ) -> Answer:
        return self.ask("POST", path, op, body, **more)

    def delete(self, path: str, op: str = "DELETE", **more: Any) -> Answer:
        return self.ask("DELETE", path, op, **more)

    # --- the cluster, seen natively -----------------------------------------------------------

    def write(self, path: str, data: bytes) -> None:
        self.run(self.fs.write_bytes(path, data))

    def read(self, path: str) -> bytes:
        return bytes(self.run(self.fs.read_bytes(path)))

    def exists(self, path: str) -> bool:
        return bool(self.run(self.fs.exists(path)))

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        self.run(self.fs.makedirs(path, mode, exist_ok=True))

    @contextmanager
    def raw(self) -> Iterator[socket.socket]:
        """A TCP connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            yield connection


# --- raw connections -----------------------------------------------------------------------------


def head(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and what came after them."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    first, _, rest = data.partition(b"\r\n\r\n")
    lines = first.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, rest


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One whole response with a Content-Length."""
    status, headers, body = head(connection)
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return status, headers, body


def ended(connection: socket.socket) -> bool:
    """Whether the other side ends the connection."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True
