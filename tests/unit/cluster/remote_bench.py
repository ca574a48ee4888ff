"""A coordinator served over a simulated network, and clients of it on hosts of their own."""

from __future__ import annotations

import random
from typing import Any

from memfs import errors
from memfs.cluster.embedded import EmbeddedCoordinator
from memfs.cluster.remote import RemoteCoordinator
from memfs.node.membership.coordinator_service import add_coordinator_handlers
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.testing.simulation.network import Fabric
from memfs.transport.connection import Connection
from memfs.transport.environment import Environment
from memfs.transport.handlers import Handlers
from memfs.transport.server import IncomingCall, Server
from memfs.transport.sink import Sink
from memfs.types import Identity
from tests.unit.transport.loopback import LoopClock

HOST = Endpoint("host", 10500)


class FakeDisk:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def append(self, path: str, data: bytes) -> None:
        self.files[path] = self.files.get(path, b"") + data

    def replace(self, path: str, data: bytes) -> None:
        self.files[path] = data


def environment(fabric: Fabric, host: str) -> Environment:
    return Environment(LoopClock(), random.Random(host), fabric.host(host), FakeDisk())


class CoordinatorOnly:
    """A node that serves its coordinator and nothing else."""

    def __init__(self, coordinator: EmbeddedCoordinator) -> None:
        self.cluster = ""
        """Nodes that name another one are refused, when it is known."""
        handlers = Handlers()
        add_coordinator_handlers(handlers, coordinator)
        self._handlers = handlers.by_request

    def welcome(self, hello: m.Hello, connection: Connection) -> m.Welcome:
        if self.cluster and hello.cluster not in ("", self.cluster):
            raise errors.OtherClusterError(f"this is {self.cluster}")
        return m.Welcome(frames.VERSION_MAX, "", "host", 1, 0, None)

    def sink(self, call: IncomingCall[object]) -> Sink | None:
        return None

    def handle(self, call: IncomingCall[object]) -> object:
        return self._handlers[call.spec.request](call)

    def denied(self, call: Any, error: Any) -> None:
        raise AssertionError("nobody asks for what is for nodes only")

    def connection_closed(self, connection: Connection) -> None:
        pass


class RemoteBench:
    """Clients ``h1``, ``h2``, ... of the coordinator on ``host``."""

    def __init__(self) -> None:
        self.fabric = Fabric(1)
        here = environment(self.fabric, "host")
        self.coordinator = EmbeddedCoordinator(here, "log")
        self.service = CoordinatorOnly(self.coordinator)
        self._server = Server(here, self.service)
        self._count = 0

    async def client(self, cluster: str = "") -> RemoteCoordinator:
        if not self._count:
            await self._server.listen(HOST)
        self._count += 1
        hello = m.Hello(
            frames.VERSION_MIN,
            frames.VERSION_MAX,
            cluster,
            m.Role.NODE,
            self._count,
            Identity("root"),
        )
        there = environment(self.fabric, f"h{self._count}")
        return RemoteCoordinator(there, HOST, lambda: hello, 5.0)

    async def stop(self) -> None:
        await self._server.close()
