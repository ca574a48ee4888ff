"""Handshakes that wait for somebody to check a proof, and challenges before them."""

from __future__ import annotations

import asyncio

import pytest

from memfs import errors
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.testing.simulation.virtual import run
from memfs.transport.bounds.load import ServerLimits
from memfs.transport.connection import Connection

from .loopback import World, settle
from .test_server import HELLO, PING, raw_client

ASK = frames.pack_frame(frames.REQUEST, 5, 1, 0, 0, encode(m.GetChallenge()))


class Checked:
    """A welcome that takes its time; it may be refused."""

    def __init__(self, world: World, error: errors.MemfsError | None = None) -> None:
        self.go = asyncio.Event()
        self.cancelled = False
        self._plain = world.service.welcome
        self._error = error
        world.service.welcome = self._welcome  # type: ignore[method-assign, assignment]
        world.service.challenge = self._challenge

    async def _welcome(self, said: m.Hello, connection: Connection) -> m.Welcome:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self._error is not None:
            raise self._error
        return self._plain(said, connection)

    def _challenge(self, connection: Connection) -> m.Challenge:
        connection.challenge = b"asked"
        return m.Challenge(bytes(32), "")


def test_nothing_is_read_before_the_proof_is_checked() -> None:
    async def main() -> None:
        world = World()
        await world.listen()
        checked = Checked(world)
        client = await raw_client(world, ASK, HELLO, PING)
        (challenge,) = _opcodes(client.received)
        assert challenge == 5
        checked.go.set()
        await settle()
        assert _opcodes(client.received) == [5, 1, 2]
        assert not client.lost

    run(main())


def test_a_refusal_ends_the_connection() -> None:
    async def main() -> None:
        world = World()
        await world.listen()
        checked = Checked(world, errors.AccessDeniedError("forged"))
        checked.go.set()
        with pytest.raises(errors.AccessDeniedError, match="forged"):
            await world.dial()
        await settle()
        assert world.server.statistics().connections == 0
        assert world.service.gone == []

    run(main())


def test_a_proof_that_nobody_checks_in_time() -> None:
    async def main() -> None:
        world = World()
        await world.listen(ServerLimits(handshake_seconds=5))
        checked = Checked(world)
        client = await raw_client(world, HELLO)
        await settle(5)
        assert client.lost and checked.cancelled
        assert world.service.gone == []

    run(main())


def test_who_is_admitted_and_gone_is_counted_off() -> None:
    async def main() -> None:
        world = World()
        await world.listen()
        checked = Checked(world)
        await raw_client(world, HELLO)
        checked.go.set()
        await asyncio.sleep(0)  # the check is done, what follows it is not
        (accepted,) = world.server._connections
        accepted.abort("gone")
        await settle()
        assert world.service.gone == [accepted]

    run(main())


@pytest.mark.parametrize("sent", [(ASK, ASK), (HELLO, ASK)])
def test_a_challenge_is_asked_for_once_and_first(sent: tuple[bytes, ...]) -> None:
    async def main() -> None:
        world = World()
        await world.listen()
        Checked(world).go.set()
        client = await raw_client(world, *sent)
        assert client.lost

    run(main())


def _opcodes(received: bytearray) -> list[int]:
    found, at = [], 0
    while at < len(received):
        header = frames.unpack_header(memoryview(received), at)
        found.append(header.opcode)
        at += frames.HEADER_BYTES + header.record_length
    return found
