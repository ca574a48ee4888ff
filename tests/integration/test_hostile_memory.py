"""What clients can make a full node's process hold: it stays within its limit and 64 MiB.

Real nodes, filled with blocks first; memory is looked at from outside. Others are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import memfs
from memfs.errors import NoSpaceError
from memfs.limits import KIB, MIB
from memfs.paths import Endpoint, parse_url
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.testing.processes import Processes
from memfs.transport.dial import dial
from memfs.transport.environment import production_environment
from memfs.types import Identity
from tests.support.held_memory import resident
from tests.support.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.alone

LIMIT = 192 * MIB
SLACK = 64 * MIB
MALLORY = Identity("mallory", ("mallory",))


@pytest.fixture
def full() -> Iterator[Processes]:
    """A node whose blocks have all there is."""
    with (
        Processes(1, memory=f"{LIMIT // MIB}MiB", replication=1) as cluster,
        memfs.connect(cluster.url) as fs,
    ):
        fs.mkdir("/open", mode=0o777)
        fs.chmod("/open", 0o1777)
        fill(fs)
        yield cluster


def fill(fs: memfs.FileSystem) -> None:
    """Until there is no room for a block."""
    with pytest.raises(NoSpaceError):
        for number in range(LIMIT // MIB):
            fs.write_bytes(f"/full-{number}", bytes(MIB))


def within(cluster: Processes) -> bool:
    """Whether the node holds what it may, and answers another client."""
    (node,) = cluster.nodes
    with memfs.connect(cluster.url) as fs:
        fs.stat("/", timeout=20)
    return resident(node.pid) <= LIMIT + SLACK


def packed(request: object, number: int, payload_length: int = 0) -> bytes:
    opcode = m.BY_REQUEST[type(request)].opcode
    return frames.pack_frame(frames.REQUEST, opcode, number, 0, 0, encode(request), payload_length)


def stranger(where: Endpoint, number: int) -> socket.socket:
    """A greeted connection of one of many clients."""
    raw = socket.create_connection(where, 20)
    raw.sendall(packed(m.Hello(1, 1, "", m.Role.CLIENT, 1000 + number, MALLORY), 1))
    assert raw.recv(16)
    return raw


LONG = frames.pack_frame(
    frames.REQUEST, m.BY_REQUEST[m.Lookup].opcode, 2, 0, 0, bytes(64 * KIB - 1)
)
"""A record as long as there may be."""
VALUE = packed(m.SetXattr(b"/open", "user.a", b""), 2, 64 * KIB) + bytes(64 * KIB)
HUGE = packed(m.SetXattr(b"/open", "user.a", b""), 2, 64 * MIB) + bytes(64 * MIB)


@pytest.mark.parametrize(("frame", "count"), [(LONG, 1_000), (VALUE, 1_000), (HUGE, 8)])
def test_requests_that_stop_in_the_midst(full: Processes, frame: bytes, count: int) -> None:
    """They held 64 KiB each, for a minute; and a payload that no command takes 64 MiB."""
    (where,) = parse_url(full.nodes[0].url).endpoints
    with contextlib.ExitStack() as stack:
        for number in range(count):
            raw = stack.enter_context(stranger(where, number))
            raw.sendall(frame[:-1])
        assert within(full)
    assert within(full)


def refused(cluster: Processes, requests: Iterator[tuple[object, bytes]]) -> int:
    """Send commands of one client until the node says that there is no space; how many it took."""

    async def send() -> int:
        (where,) = parse_url(cluster.nodes[0].url).endpoints
        hello = m.Hello(1, 1, "", m.Role.CLIENT, 7, MALLORY)
        connection = await dial(production_environment(), where, hello, timeout=20)
        taken = 0
        try:
            for number, (request, value) in enumerate(requests, 2):
                payload = (value,) if value else ()
                await connection.call(request, payload, request_id=number, timeout=60, epoch=0)
                taken = number
        except NoSpaceError:
            return taken
        finally:
            connection.close()
        raise AssertionError(f"{taken} were taken, and more would have been")

    return asyncio.run(send())


def values() -> Iterator[tuple[object, bytes]]:
    for number in range(6_000):
        path = b"/open/%d" % (number // 15)
        if number % 15 == 0:
            yield m.MakeDirectory(path), b""
        yield m.SetXattr(path, f"user.{number % 15}", b""), bytes(64 * KIB)


def names() -> Iterator[tuple[object, bytes]]:
    for number in range(60_000):
        yield m.MakeDirectory(b"/open/%0200d" % number), b""


def links() -> Iterator[tuple[object, bytes]]:
    for number in range(60_000):
        yield m.MakeSymlink(b"/open/%d" % number, b"/%0*d" % (4_000, number)), b""


@pytest.mark.parametrize("requests", [values, names, links])
def test_names_and_attributes_find_no_room(
    full: Processes, requests: Callable[[], Iterator[tuple[object, bytes]]]
) -> None:
    """They were taken until the machine had no memory left. What frees is taken."""
    assert refused(full, requests()) > 0
    assert within(full)
    with memfs.connect(full.url) as fs:
        fs.rmtree("/open")
        for number in range(20):
            fs.remove(f"/full-{number}")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fs.mkdir("/again")
                break
            except NoSpaceError:
                assert time.monotonic() < deadline
                time.sleep(0.5)
    assert within(full)


FILES = 60_000
WATCHERS = 12


async def read_and_watch(
    where: Endpoint, number: int, watching: asyncio.Semaphore, end: asyncio.Event
) -> None:
    """Cache all of a directory, and keep that, and open every file of it, until the end."""
    hello = m.Hello(1, 1, "", m.Role.CLIENT, 5000 + number, MALLORY)
    connection = await dial(production_environment(), where, hello, timeout=20)
    requests = itertools.count(2)

    async def call(request: object) -> Any:
        answer = await connection.call(request, (), request_id=next(requests), timeout=60, epoch=0)
        return answer.record

    sequence, name = 0, b""
    try:
        while not end.is_set():
            sequence = (await call(m.Watch(sequence, 0))).sequence
            found = (await call(m.List(b"/read", name))).entries
            opened = tuple(entry.attributes.inode for entry in found)
            await call(m.ReportOpens((), (), opened, next(requests)))
            if not found:
                watching.release()
            name = found[-1].name if found else b""
    finally:
        connection.close()


def test_what_clients_cache_and_have_open_is_remembered_within_bounds() -> None:
    """It had 44 MiB for each of them, and 50 MiB; requests that stop in the midst beside them."""

    async def attack(where: Endpoint, cluster: Processes) -> None:
        watching, end = asyncio.Semaphore(0), asyncio.Event()
        clients = [
            asyncio.create_task(read_and_watch(where, number, watching, end))
            for number in range(WATCHERS)
        ]
        for _ in clients:
            await asyncio.wait_for(watching.acquire(), PATIENCE_SECONDS)
        good = await asyncio.to_thread(within, cluster)
        end.set()
        await asyncio.gather(*clients)
        assert good

    with (
        Processes(1, memory=f"{LIMIT // MIB}MiB", replication=1) as cluster,
        memfs.connect(cluster.url) as fs,
        contextlib.ExitStack() as stack,
    ):
        fs.mkdir("/read")
        fs.write_many({f"/read/{number}": b"" for number in range(FILES)})
        fill(fs)
        (where,) = parse_url(cluster.nodes[0].url).endpoints
        for number in range(200):
            stack.enter_context(stranger(where, number)).sendall(LONG[:-1])
        asyncio.run(attack(where, cluster))
