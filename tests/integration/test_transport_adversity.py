"""Bad peers over real sockets, on asyncio and on uvloop: nobody else is hurt, little is spent."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import resource
import socket
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from memfs import errors, limits
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.transport.bounds.load import ServerLimits
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import production_environment
from memfs.transport.server import IncomingCall, Reply, Server
from memfs.transport.sink import Sink
from memfs.types import Identity

pytestmark = pytest.mark.alone

BLOCK_BYTES = 4 * limits.MIB
BLOCK = memoryview(random.Random(1).randbytes(BLOCK_BYTES))
READ = m.ReadBlock(1, 0, 1, 1, 0, BLOCK_BYTES)
WRITE = m.WriteBlock(1, 0, 1, 1, BLOCK_BYTES, 0, (1,), BLOCK_BYTES, 16)
HELLO = m.Hello(1, 1, "", m.Role.CLIENT, 77, Identity("ann"))


def frame_of(request: Any, request_id: int = 5, payload_length: int = 0) -> bytes:
    opcode = m.BY_REQUEST[type(request)].opcode
    return frames.pack_frame(
        frames.REQUEST, opcode, request_id, 0, 0, encode(request), payload_length
    )


GREETING = frame_of(HELLO, 1)
OF_A_NODE = frame_of(HELLO._replace(role=m.Role.NODE), 1)
PING = frame_of(m.Ping(), 2)


class Place:
    """Where a written block goes."""

    def __init__(self) -> None:
        self.data = bytearray(BLOCK_BYTES)
        self.total = 0
        self.lost = asyncio.Event()

    def buffers(self) -> list[memoryview]:
        return [memoryview(self.data)]

    def received(self, total: int) -> None:
        self.total = total

    def abort(self) -> None:
        self.lost.set()


class BlockNode:
    """Serves one block, stores another."""

    def __init__(self) -> None:
        self.place = Place()
        self.cancelled = 0

    def welcome(self, hello: m.Hello, connection: Connection) -> m.Welcome:
        return m.Welcome(1, "cluster", "node", 5, 1, None)

    def sink(self, call: IncomingCall[object]) -> Sink | None:
        self.place = Place()
        return self.place

    def handle(self, call: IncomingCall[object]) -> Reply | Awaitable[Reply]:
        if isinstance(call.request, m.ReadBlock):
            return Reply(m.ReadBlockReply(0), (BLOCK,))
        if isinstance(call.request, m.WriteBlock):
            return Reply(m.WriteBlockReply(self.place.total, 0))
        if isinstance(call.request, m.Lookup):
            return self.never()
        return Reply(m.Empty())

    async def never(self) -> Reply:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Reply(m.Empty())

    def denied(self, call: Any, error: Any) -> None:
        raise AssertionError("nobody asks for what is for nodes only")

    def connection_closed(self, connection: Connection) -> None:
        pass


class Node:
    """A listening server and the clients of a test."""

    def __init__(self, bounds: ServerLimits | None) -> None:
        self.environment = production_environment()
        self.service = BlockNode()
        self.server = Server(self.environment, self.service, bounds)
        self.endpoint: Endpoint
        self.open: list[Connection] = []
        self.sockets: list[socket.socket] = []

    async def start(self) -> None:
        self.endpoint = (await self.server.listen(Endpoint("127.0.0.1", 0))).endpoint

    async def dial(self) -> Connection:
        connection = await dial(self.environment, self.endpoint, HELLO, timeout=5)
        self.open.append(connection)
        return connection

    async def raw(self, *sent: bytes) -> socket.socket:
        """A socket that has sent something."""
        loop = asyncio.get_running_loop()
        raw = socket.socket()
        self.sockets.append(raw)
        raw.setblocking(False)
        await loop.sock_connect(raw, self.endpoint)
        for data in sent:
            await loop.sock_sendall(raw, data)
        return raw

    async def close(self) -> None:
        for raw in self.sockets:
            raw.close()
        for connection in self.open:
            connection.close()
            await connection.wait_closed()
        await self.server.close()


Scenario = Callable[[Node], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Runs a scenario against a node, on one of the two loops."""
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

    async def scene(scenario: Scenario, bounds: ServerLimits | None) -> None:
        node = Node(bounds)
        await node.start()
        try:
            async with asyncio.timeout(20):
                await scenario(node)
        finally:
            await node.close()

    with asyncio.Runner(loop_factory=loops[request.param]) as runner:
        yield lambda scenario, bounds=None: runner.run(scene(scenario, bounds))


async def ask(connection: Connection, request: Any, request_id: int, **options: Any) -> Any:
    options = {"timeout": 10, "epoch": 0} | options
    return await connection.call(request, request_id=request_id, **options)


async def until(condition: Callable[[], bool], seconds: float = 0.005) -> None:
    while not condition():  # noqa: ASYNC110  the state of a server has no event
        await asyncio.sleep(seconds)


async def bytes_until_closed(raw: socket.socket) -> bytes:
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := await asyncio.get_running_loop().sock_recv(raw, 1 << 20):
            received += data
    return bytes(received)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# --- blocks ----------------------------------------------------------------------------------


def test_blocks_travel_both_ways(play):
    async def scenario(node: Node) -> None:
        connection = await node.dial()
        room = memoryview(bytearray(BLOCK_BYTES))
        answers = await asyncio.gather(
            ask(connection, READ, 1, into=room),
            ask(connection, READ, 2),
            ask(connection, WRITE, 3, payload=(BLOCK[:1000], BLOCK[1000:])),
            ask(connection, READ, 4, into=[memoryview(bytearray(BLOCK_BYTES // 4))] * 4),
        )
        assert room == BLOCK == answers[1].payload
        assert node.service.place.data == BLOCK
        assert answers[2].record.length == BLOCK_BYTES

    play(scenario)


def test_a_stream_is_forwarded(play):
    async def scenario(node: Node) -> None:
        connection = await node.dial()
        stream = connection.stream(WRITE, BLOCK_BYTES, request_id=1, timeout=10, epoch=0)
        for at in range(0, BLOCK_BYTES, 100_000):
            stream.write(BLOCK[at : at + 100_000])
            await connection.drain()
        assert (await stream.answer).record.length == BLOCK_BYTES
        assert node.service.place.data == BLOCK

    play(scenario)


def test_unix_socket(play, tmp_path):
    path = str(tmp_path / "node.sock")

    async def scenario(node: Node) -> None:
        listener = await node.server.listen_unix(path)
        connection = await dial(node.environment, path, HELLO, timeout=5)
        assert connection.address == "a local process"
        assert (await ask(connection, READ, 1)).payload == BLOCK
        connection.close()
        listener.close()

    play(scenario)
    assert not Path(path).exists()


# --- slow peers ------------------------------------------------------------------------------


def test_a_byte_now_and_then_hurts_nobody(play, caplog):
    async def scenario(node: Node) -> None:
        lorries = [await node.raw(GREETING) for _ in range(20)]
        connection = await node.dial()

        async def drip(lorry: socket.socket) -> None:
            with contextlib.suppress(ConnectionError):
                for byte in PING * 100:
                    await asyncio.get_running_loop().sock_sendall(lorry, bytes([byte]))
                    await asyncio.sleep(0.03)

        drips = [asyncio.ensure_future(drip(lorry)) for lorry in lorries]
        for number in range(200):
            await ask(connection, m.Ping(), number)
        await asyncio.gather(*(bytes_until_closed(lorry) for lorry in lorries))
        for task in drips:
            task.cancel()
        assert not connection.closed

    play(scenario, ServerLimits(stalled_seconds=0.4))
    assert caplog.text.count("a frame did not end within 0.4 s") == 20


def test_one_who_never_reads_gets_little_and_the_others_everything(play, caplog):
    async def scenario(node: Node) -> None:
        glutton = await node.raw(GREETING, frame_of(READ) * 200)
        connection = await node.dial()
        room = memoryview(bytearray(BLOCK_BYTES))
        for number in range(50):
            await ask(connection, READ, number, into=room)
        sent = node.server.statistics().sent - 50 * BLOCK_BYTES
        assert sent < limits.WRITE_HIGH_WATER + 6 * BLOCK_BYTES
        await until(lambda: node.server.statistics().connections == 1)
        assert len(await bytes_until_closed(glutton)) < 5 * BLOCK_BYTES

    play(scenario, ServerLimits(stalled_seconds=1.0))
    assert "it read nothing in 1 s" in caplog.text


# --- broken peers ----------------------------------------------------------------------------


def test_mutated_frames_close_the_connection_and_cost_little(play, caplog):
    dice = random.Random(3)
    good = [frame_of(m.Lookup(b"/some/path")), frame_of(READ), frame_of(WRITE, 6, 1000), PING]

    def mutated() -> bytes:
        data = bytearray(dice.choice(good))
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        return bytes(data) + dice.randbytes(dice.randint(50, 2000))

    async def scenario(node: Node) -> None:
        for _ in range(60):
            await bytes_until_closed(await node.raw(GREETING, mutated()))
        logging.disable()  # a record that is kept keeps the error, and that the connection
        gc.collect()
        tracemalloc.start()  # what the process takes of the system depends on all that ran before
        try:
            for _ in range(60):
                await bytes_until_closed(await node.raw(GREETING, mutated()))
            gc.collect()
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            logging.disable(logging.NOTSET)
        assert peak < 2_000_000
        assert kept < 60 * 1000, "a connection that is closed leaves nothing"
        assert node.server.statistics().connections == 0
        assert (await ask(await node.dial(), m.Ping(), 1)).record == m.Empty()

    play(scenario)
    assert len(caplog.records) == 60
    assert all(record.message.startswith("closed the connection") for record in caplog.records)


@pytest.mark.parametrize(
    "record",
    [
        b"\xdc\x04\x00" * 20_000,
        b"\xdd\x00\x00\x04\x00" * 13_000,
        b"\x91" * limits.RECORD_BYTES,
        b"\x9f" * limits.RECORD_BYTES,
        b"\xdc\x04\x00" + b"\x91\xc0" * 30_000,
    ],
    ids=["long arrays", "longer arrays", "short arrays", "fifteens", "pairs"],
)
def test_bombs_close_the_connection_and_cost_little(play, caplog, record):
    async def scenario(node: Node) -> None:
        bomb = frames.pack_frame(frames.REQUEST, 66, 5, 0, 0, record)
        await bytes_until_closed(await node.raw(GREETING, bomb))
        tracemalloc.start()
        try:
            await bytes_until_closed(await node.raw(GREETING, bomb))
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()

    play(scenario)
    assert caplog.text.count("closed the connection") == 2


def test_an_announced_payload_takes_no_memory(play):
    async def scenario(node: Node) -> None:
        node.service.sink = lambda call: None  # type: ignore[method-assign]
        request = frame_of(WRITE, 5, limits.PAYLOAD_BYTES)
        gc.collect()
        before = resident_bytes()
        crowd = [await node.raw(GREETING, request, bytes(100)) for _ in range(20)]
        await until(lambda: node.server.statistics().bytes_in_flight == 20 * limits.PAYLOAD_BYTES)
        assert resident_bytes() - before < 4 * limits.MIB
        for raw in crowd:
            raw.close()
        await until(lambda: node.server.statistics().bytes_in_flight == 0)

    room = 21 * limits.PAYLOAD_BYTES  # else most of them were refused as they are announced
    play(scenario, ServerLimits(arriving=room, arriving_per_principal=room))


def test_a_connection_cut_in_the_midst_of_a_payload(play):
    async def scenario(node: Node) -> None:
        raw = await node.raw(GREETING, frame_of(WRITE, 5, BLOCK_BYTES), bytes(1_000_000))
        await until(lambda: node.service.place.total > 0)
        raw.close()
        await node.service.place.lost.wait()
        await until(lambda: node.server.statistics().bytes_in_flight == 0)
        assert (await ask(await node.dial(), m.Ping(), 1)).record == m.Empty()

    play(scenario)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (frames.pack_frame(frames.REPLY, 2, 99, 0, 0, b"\x90"), "request 99, which was not asked"),
        (
            frames.pack_frame(frames.REPLY, 2, 7, 0, 0, b"\x90") * 2,
            "request 7, which was not asked",
        ),
        (frames.pack_frame(frames.REPLY, 64, 7, 0, 0, b"\x90"), "request 7, which was not asked"),
    ],
    ids=["unknown", "twice", "for another message"],
)
def test_answers_to_what_was_not_asked(play, reply, reason):
    async def scenario(node: Node) -> None:
        async def misbehave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(frames.HEADER_BYTES)
            welcome = encode(m.Welcome(1, "c", "n", 1, 1, None))
            hello_id = 1 << 63
            writer.write(frames.pack_frame(frames.REPLY, 1, hello_id, 0, 0, welcome))
            await reader.readuntil(PING[frames.HEADER_BYTES :])
            writer.write(reply)
            await reader.read()
            writer.close()

        impostor = await asyncio.start_server(misbehave, "127.0.0.1", 0)
        host, port = impostor.sockets[0].getsockname()[:2]
        connection = await dial(node.environment, Endpoint(host, port), HELLO, timeout=5)
        with contextlib.suppress(errors.UnavailableError):
            await ask(connection, m.Ping(), 7)
        await connection.wait_closed()
        assert reason in connection.reason
        impostor.close()

    play(scenario)


def test_a_crowd_at_the_door(play):
    async def scenario(node: Node) -> None:
        inside = [await node.raw(OF_A_NODE) for _ in range(2)]
        await until(lambda: node.server.statistics().requests == 2)
        await node.dial()
        with pytest.raises(errors.BusyError):
            await node.dial()
        for _ in range(20):
            await node.raw()
        await until(lambda: node.server.statistics().connections == 4)
        for raw in inside:
            raw.close()
        await until(lambda: node.server.statistics().connections == 2)

    play(scenario, ServerLimits(connections=1, turned_away=3))


# --- giving up -------------------------------------------------------------------------------


def test_cancelling_in_the_midst_of_a_payload(play):
    async def scenario(node: Node) -> None:
        connection = await node.dial()
        unfinished = 0
        for number in range(10):
            room = memoryview(bytearray(BLOCK_BYTES))
            call = connection.call(READ, request_id=2 * number, timeout=10, epoch=0, into=room)
            await until(lambda room=room: room[0] != 0, seconds=0)
            call.cancel()
            before = bytes(room)
            unfinished += before != BLOCK
            assert (await ask(connection, READ, 2 * number + 1)).payload == BLOCK
            assert bytes(room) == before
        assert unfinished

    assert BLOCK[0] != 0
    play(scenario)


def test_cancelling_stops_the_node(play):
    async def scenario(node: Node) -> None:
        connection = await node.dial()
        calls = [
            connection.call(m.Lookup(b"/"), request_id=n, timeout=10, epoch=0) for n in range(100)
        ]
        await until(lambda: node.server.statistics().in_flight == 100)
        for call in calls:
            call.cancel()
        await until(lambda: node.server.statistics().in_flight == 0)
        assert node.service.cancelled == 100
        assert (await ask(connection, m.Ping(), 1)).record == m.Empty()

    play(scenario)


def test_deadlines_hold(play):
    async def scenario(node: Node) -> None:
        connection = await node.dial()
        with pytest.raises(errors.DeadlineError):
            await ask(connection, m.Lookup(b"/"), 1, timeout=0.2)
        await until(lambda: node.service.cancelled == 1)
        raw = await node.raw(GREETING, frames.pack_frame(0, 64, 9, 0, 100, encode(m.Lookup(b"/"))))
        await until(lambda: node.service.cancelled == 2)
        raw.close()

    play(scenario)


def test_a_lost_connection_stops_the_node(play):
    async def scenario(node: Node) -> None:
        raw = await node.raw(GREETING, frame_of(m.Lookup(b"/")))
        await until(lambda: node.server.statistics().in_flight == 1)
        raw.close()
        await until(lambda: node.service.cancelled == 1)
        await until(lambda: node.server.statistics().connections == 0)

    play(scenario)


# --- many ------------------------------------------------------------------------------------


def test_a_thousand_idle_connections_are_cheap(play):
    async def scenario(node: Node) -> None:
        for _ in range(20):
            await node.raw(GREETING)
        gc.collect()
        before = resident_bytes()
        for _ in range(980):
            await node.raw(GREETING)
        await until(lambda: node.server.statistics().requests == 1000)
        assert (resident_bytes() - before) / 980 < 24 * limits.KIB
        connection = await node.dial()
        for number in range(200):
            await ask(connection, m.Ping(), number)

    play(scenario)
