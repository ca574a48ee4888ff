"""A client and a node over simulated streams: no sockets, virtual time, one seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

from memfs.errors import MemfsError
from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.testing.simulation.network import Fabric
from memfs.testing.simulation.network_conditions import Conditions
from memfs.transport.bounds.load import ServerLimits
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.transport.server import IncomingCall, Reply, Server
from memfs.transport.sink import Sink
from memfs.types import Identity

NODE = Endpoint("node", 10500)
BLOCK = m.WriteBlock(1, 0, 1, 1, 0, 0, (1,), 4096, 16)
READ = m.ReadBlock(1, 0, 1, 1, 0, 0)


class LoopClock:
    """The virtual loop's time for every purpose."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def boottime_ns(self) -> int:
        return int(self.monotonic() * 1e9)

    def wall_ns(self) -> int:
        return self.boottime_ns()


class NoDisk:
    """Nothing in the transport touches a disk."""

    def read(self, path: str) -> bytes | None:
        raise AssertionError(path)

    def append(self, path: str, data: bytes) -> None:
        raise AssertionError(path)

    def replace(self, path: str, data: bytes) -> None:
        raise AssertionError(path)


class MemorySink:
    """Keeps a payload in pieces of ``piece`` bytes; fails after ``fails_at`` bytes."""

    def __init__(self, length: int, piece: int = 1000, fails_at: int | None = None) -> None:
        self.data = bytearray(length)
        self.totals: list[int] = []
        self.lost = False
        self._piece = piece
        self._fails_at = fails_at

    def buffers(self) -> list[memoryview]:
        view = memoryview(self.data)
        return [view[at : at + self._piece] for at in range(0, len(view), self._piece)]

    def received(self, total: int) -> None:
        self.totals.append(total)
        if self._fails_at is not None and total >= self._fails_at:
            raise MemfsError("the sink is full")

    def abort(self) -> None:
        self.lost = True


class FakeService:
    """Answers as told: ``answers`` maps a request class to a function of the call."""

    def __init__(self) -> None:
        self.answers: dict[type, Callable[[IncomingCall[object]], Reply | Awaitable[Reply]]] = {
            m.Ping: lambda call: Reply(m.Empty())
        }
        self.sinks: Callable[[IncomingCall[object]], Sink | None] = lambda call: None
        self.refusal: Exception | None = None
        self.admitted: list[Connection] = []
        self.gone: list[Connection] = []
        self.calls: list[IncomingCall[object]] = []
        self.denials: list[MemfsError] = []
        self.incarnation = 5

    def welcome(self, hello: m.Hello, connection: Connection) -> m.Welcome:
        if self.refusal is not None:
            raise self.refusal
        self.admitted.append(connection)
        return m.Welcome(0, "cluster", "node", self.incarnation, 3, None)

    def sink(self, call: IncomingCall[object]) -> Sink | None:
        return self.sinks(call)

    def handle(self, call: IncomingCall[object]) -> Reply | Awaitable[Reply]:
        self.calls.append(call)
        return self.answers[type(call.request)](call)

    def denied(self, call: IncomingCall[object], error: MemfsError) -> None:
        self.denials.append(error)

    def connection_closed(self, connection: Connection) -> None:
        self.gone.append(connection)


class World:
    """A fabric with a listening node and the environment of a client."""

    def __init__(self, conditions: Conditions | None = None, seed: int = 1) -> None:
        self.fabric = Fabric(seed, conditions)
        self.service = FakeService()
        self.client = self.environment("client")
        self.server: Server

    def environment(self, host: str) -> Environment:
        return Environment(LoopClock(), random.Random(7), self.fabric.host(host), NoDisk())

    async def listen(self, bounds: ServerLimits | None = None) -> None:
        self.server = Server(self.environment("node"), self.service, bounds)
        await self.server.listen(NODE)

    async def dial(self, **changes: Any) -> Connection:
        return await dial(self.client, NODE, hello(**changes), timeout=5)


@contextlib.asynccontextmanager
async def connected(conditions: Conditions | None = None, bounds: ServerLimits | None = None):
    """A world, and one connection to its node."""
    world = World(conditions)
    await world.listen(bounds)
    connection = await world.dial(role=m.Role.NODE)
    yield world, connection
    connection.close()
    await world.server.close()


def hello(**changes: Any) -> m.Hello:
    return m.Hello(1, 1, "", m.Role.CLIENT, 77, Identity("ann"))._replace(**changes)


async def ask(connection: Connection, request: Any, number: int = 1, **options: Any) -> Any:
    """The reply record to a request."""
    options = {"timeout": 10.0, "epoch": 4} | options
    return (await connection.call(request, request_id=number, **options)).record


async def settle(seconds: float = 1.0) -> None:
    """Let everything that is under way arrive."""
    await asyncio.sleep(seconds)
