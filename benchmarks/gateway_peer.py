"""A gateway as a process for benchmarks, and the plainest HTTP client that can drive it.

The client knows just enough of HTTP to keep a connection busy: what is measured is the gateway.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

PREFIX = "/webhdfs/v1"
READY = b"memfs gateway ready: webhdfs://127.0.0.1:"


class Running(NamedTuple):
    """A gateway that serves."""

    port: int
    pid: int

    def memory(self) -> int:
        """Bytes of its own memory now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not tell RssAnon")


@contextmanager
def gateway(url: str) -> Iterator[Running]:
    """Run a gateway of the cluster at ``url``."""
    command = [sys.executable, "-m", "memfs.cli", "gateway", f"--url={url}", "--port=0"]
    process = subprocess.Popen([*command, "--log-level=warning"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith(READY), line
        yield Running(int(line[len(READY) :].rstrip(b"/\n")), process.pid)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def head(method: str, path: str, query: str) -> bytes:
    """A request without a body."""
    target = f"{PREFIX}{path}?user.name=root&{query}"
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def answered(port: int, requests: Sequence[bytes], connections: int) -> None:
    """Send every request over kept connections, each waiting for its answer."""

    async def drive(share: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in share:
            writer.write(request)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            at = answer.index(b"content-length: ") + 16
            await reader.readexactly(int(answer[at : answer.index(b"\r", at)]))
        writer.close()
        await writer.wait_closed()

    shares = [requests[number::connections] for number in range(connections)]
    await asyncio.gather(*map(drive, shares))


def read_a_little(port: int, path: str, offset: int, size: int) -> None:
    """As Java seeks: a new connection, everything from ``offset`` asked for, little of it read."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head("GET", path, f"op=OPEN&offset={offset}"))
        received = b""
        while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < size:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError(f"the answer ended early: {received[:500]!r}")
            received += piece


@contextmanager
def idle_readers(port: int, path: str, count: int) -> Iterator[None]:
    """So many clients that ask for a whole file, wait for its first bytes and take no more."""
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(head("GET", path, "op=OPEN"))
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        yield


def curl(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """A running ``curl``."""
    return subprocess.Popen(["curl", "--silent", "--fail", "--output", "/dev/null", *arguments])


def url_of(port: int, path: str, query: str) -> str:
    """What curl is told."""
    return f"http://127.0.0.1:{port}{PREFIX}{path}?user.name=root&{query}"
