"""One user's clients ask for everything and read, send and publish nothing: others go on.

Real nodes and real sockets; what a node keeps for the hostile user is looked at from outside, in
the memory of its process, and through a client of somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import memfs
from memfs import errors
from memfs.checksum import crc32c
from memfs.limits import MIB
from memfs.paths import Endpoint, parse_url
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.testing.processes import Place, Processes
from memfs.transport.dial import dial
from memfs.transport.environment import production_environment
from memfs.types import Identity
from tests.support.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.alone

NAMES = 3_000
"""Of a directory whose listing takes 300 KB."""
MEMORY = 256 * MIB
RESIDENT_MOST = 160 * MIB
"""More than a node of this kind has with 64 MiB of answers; sixty connections took 400 MiB."""
LOOKS = 10
"""... without growth: all that was asked for, and is not held back, has been answered."""
SIZES = (64, 64, 64, 32, 16, 8, 4, 2, 1, 1)
"""MiB of the uploads: together what the node has, whatever is there already."""
MALLORY = Identity("mallory", ("mallory",))
ENVIRONMENT = production_environment()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=2, replication=2, memory="256MiB", flags=["--min-in-sync=1"]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def fs(cluster: Processes) -> Iterator[memfs.FileSystem]:
    with memfs.connect(cluster.url) as fs:
        fs.mkdir("/large")
        fs.write_many([(f"/large/{'x' * 60}{number}", b"") for number in range(NAMES)])
        yield fs


def hello() -> m.Hello:
    return m.Hello(1, 1, "", m.Role.CLIENT, 666, MALLORY)


def frame(request: object, number: int, payload_length: int = 0) -> bytes:
    opcode = m.BY_REQUEST[type(request)].opcode
    return frames.pack_frame(frames.REQUEST, opcode, number, 0, 0, encode(request), payload_length)


def endpoint_of(cluster: Processes) -> Endpoint:
    (endpoint,) = parse_url(cluster.nodes[0].url).endpoints
    return endpoint


def greeted(where: Endpoint, by: m.Hello | None = None, source: str = "") -> socket.socket:
    raw = socket.create_connection(where, 10, (source, 0) if source else None)
    raw.sendall(frame(by or hello(), 1))
    assert raw.recv(16)
    return raw


def resident(cluster: Processes) -> int:
    """Bytes of private memory of a node's process."""
    status = Path(f"/proc/{cluster.nodes[0].pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def still_serves(fs: memfs.FileSystem, name: str) -> None:
    fs.write_bytes(f"/{name}", bytes(2 * MIB), timeout=20)
    assert fs.read_bytes(f"/{name}", timeout=20) == bytes(2 * MIB)
    fs.remove(f"/{name}")


def test_listings_that_nobody_reads(cluster: Processes, fs: memfs.FileSystem) -> None:
    asked = b"".join(frame(m.List(b"/large", b"", 1000), number) for number in range(2, 402))
    before = resident(cluster)
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            raw = stack.enter_context(greeted(endpoint_of(cluster)))
            raw.settimeout(1)
            with contextlib.suppress(TimeoutError, ConnectionError):
                raw.sendall(asked)
        most = grew = 0
        while grew < LOOKS:  # until it grows no more
            still_serves(fs, "beside listings")
            now = resident(cluster) - before
            grew, most = (0, now) if now > most + MIB else (grew + 1, most)
            assert most < RESIDENT_MOST
            time.sleep(0.1)


class Limited(Processes):
    """A node that may open 400 files: that many connections a test can make."""

    def place(self, name: str) -> Place:
        return super().place(name)._replace(command=("sh", "-c", 'ulimit -n 400 && exec "$@"', "-"))


def test_all_the_connections_there_are() -> None:
    """The node says what is too much; whoever comes later, of another user and place, gets in."""

    async def crowd(node: Processes) -> str:
        taken, refused = [], ""
        try:
            while not refused:
                try:
                    taken.append(await dial(ENVIRONMENT, endpoint_of(node), hello(), timeout=10))
                except errors.BusyError as error:
                    refused = str(error)
            await asyncio.to_thread(serves_another, node)
            assert all(not connection.closed for connection in taken)
            return refused
        finally:
            for connection in taken:
                connection.close()

    def serves_another(node: Processes) -> None:
        other = hello()._replace(identity=Identity("bob"))
        with greeted(endpoint_of(node), other, "127.0.0.2") as raw:
            raw.sendall(frame(m.MakeDirectory(b"/tmp/beside a crowd"), 2))
            welcome_and_answer = b""
            while welcome_and_answer.count(b"beside a crowd") == 0:
                raw.sendall(frame(m.List(b"/tmp"), 3))
                welcome_and_answer += raw.recv(4096)

    with Limited(nodes=1, replication=1, memory="64MiB") as node:
        refused = asyncio.run(crowd(node))
    assert refused.startswith("mallory has ") and "are allowed" in refused


def reserved(cluster: Processes, count: int) -> m.ReserveReply:
    """Inodes that this client may write blocks of, as anybody is given them."""

    async def ask() -> m.ReserveReply:
        connection = await dial(ENVIRONMENT, endpoint_of(cluster), hello(), timeout=10)
        request = m.ReserveInodes(count)
        found = await connection.call(request, request_id=count, timeout=20, epoch=0)
        connection.close()
        reply: m.ReserveReply = found.record
        return reply

    return asyncio.run(ask())


def test_uploads_of_one_byte(cluster: Processes, fs: memfs.FileSystem) -> None:
    """Five of them kept 320 MiB for a minute: more than the node has."""
    mine = reserved(cluster, len(SIZES))
    with contextlib.ExitStack() as stack:
        for inode, size in zip(mine.inodes, SIZES, strict=True):
            raw = stack.enter_context(greeted(endpoint_of(cluster)))
            whole = m.WriteBlock(
                *(inode, 0, 1, 1, size * MIB, 0, (1,), 64 * MIB, 1), capability=mine.capability
            )
            raw.sendall(frame(whole, 2, size * MIB) + b"x")
        still_serves(fs, "beside uploads")


def test_blocks_of_no_file(cluster: Processes, fs: memfs.FileSystem) -> None:
    """They filled a node in four seconds."""
    data = bytes(4 * MIB)
    crc = crc32c(data)
    mine = reserved(cluster, 2 * MEMORY // len(data))

    async def fill() -> list[str]:
        environment, (endpoint,) = (
            production_environment(),
            parse_url(cluster.nodes[0].url).endpoints,
        )
        connection = await dial(environment, endpoint, hello(), timeout=10)
        said = []
        for number, inode in enumerate(mine.inodes):
            block = m.WriteBlock(
                *(inode, 0, 1, 1, len(data), crc, (1,), 4 * MIB, 1), capability=mine.capability
            )
            try:
                await connection.call(block, (data,), request_id=number + 2, timeout=20, epoch=0)
            except errors.MemfsError as error:
                said.append(str(error))
        connection.close()
        return said

    said = asyncio.run(fill())
    assert said and all("bytes that no file has" in each for each in said)
    assert "mallory at 127.0.0.1" in said[0]
    still_serves(fs, "beside orphans")


FLOOD = """
import socket, sys, threading
raw = socket.create_connection((sys.argv[1], int(sys.argv[2])))
hello, pings = bytes.fromhex(sys.argv[3]), bytes.fromhex(sys.argv[4])
raw.sendall(hello)
def read():
    while raw.recv(1 << 20):
        pass
threading.Thread(target=read, daemon=True).start()
print("floods", flush=True)
while True:
    raw.sendall(pings)
"""
"""One connection that asks as fast as it can and reads all answers."""


def test_pings_at_full_speed() -> None:
    """One such connection had backups take over: leases and heartbeats waited behind it."""
    pings = b"".join(frame(m.Ping(), number) for number in range(2, 1000))
    flags = ["--lease-seconds=2s", "--min-in-sync=2"]
    with (
        Processes(nodes=3, replication=2, memory="128MiB", flags=flags) as cluster,
        memfs.connect(cluster.url) as fs,
    ):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len((before := fs.cluster_status().view).in_sync) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        where = [str(part) for part in endpoint_of(cluster)]
        flood = subprocess.Popen(
            [sys.executable, "-c", FLOOD, *where, frame(hello(), 1).hex(), pings.hex()],
            stdout=subprocess.PIPE,
        )
        try:
            assert flood.stdout is not None and flood.stdout.readline() == b"floods\n"
            for number in range(40):
                still_serves(fs, f"beside pings {number}")
            assert flood.poll() is None, "it was served to the end"
        finally:
            flood.kill()
            flood.wait()
            flood.stdout.close()
        after = fs.cluster_status().view
        assert (after.primary, after.primary_since) == (before.primary, before.primary_since)
        assert after.in_sync == before.in_sync
