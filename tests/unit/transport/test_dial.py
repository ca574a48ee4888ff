"""Dialling that is cancelled at any moment leaves no socket open."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.testing.simulation.virtual import run
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.types import Identity
from tests.unit.transport.loopback import LoopClock, NoDisk

HELLO = m.Hello(1, 1, "", m.Role.CLIENT, 1, Identity("ann"), "control")


class Socket:
    """A transport that only knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    abort = close

    def write(self, data: Any) -> None:
        assert not self.closed

    def set_write_buffer_limits(self, **_limits: int) -> None:
        pass

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return "there", 10500


class Network:
    """Connects after a while; whoever asked may be gone by then."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []

    async def connect(self, factory: Any, endpoint: Endpoint) -> Any:
        made = asyncio.get_running_loop().create_future()
        protocol = factory()

        def connected() -> None:
            self.sockets.append(Socket())
            protocol.connection_made(self.sockets[-1])
            if not made.done():
                made.set_result(None)

        asyncio.get_running_loop().call_later(1, connected)
        await made
        return protocol

    async def connect_unix(self, factory: Any, path: str) -> Any:
        return await self.connect(factory, Endpoint(path, 0))


@pytest.mark.parametrize("where", [Endpoint("there", 10500), "/there.sock"])
@pytest.mark.parametrize("after", [0.5, "in the same step", 1.5])
def test_a_cancelled_dial_closes_what_it_made(where: Any, after: Any) -> None:
    async def main() -> None:
        network = Network()
        environment = Environment(LoopClock(), random.Random(1), network, NoDisk())  # type: ignore[arg-type]
        dialling = asyncio.ensure_future(dial(environment, where, HELLO, timeout=10))
        loop = asyncio.get_running_loop()
        if after == "in the same step":
            await asyncio.sleep(0)
            loop.call_later(1, dialling.cancel)
        else:
            loop.call_later(after, dialling.cancel)
        await asyncio.wait((dialling,))
        assert dialling.cancelled()
        await asyncio.sleep(2)
        assert len(network.sockets) == 1 and network.sockets[0].closed

    run(main())
