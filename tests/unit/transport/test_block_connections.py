"""Connections for blocks alone: where a member offers them, and what is served on them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from memfs import errors
from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.testing.simulation.network import SimulatedTransport
from memfs.testing.simulation.virtual import run
from memfs.transport.pool import Pool
from memfs.transport.server import Reply, Server
from memfs.types import Member

from .loopback import NODE, READ, World, ask, hello

MEMBER = Member(3, "node", 5, "node", 10500)
BLOCKS = Endpoint("node", 10600)


@pytest.fixture(autouse=True)
def released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated streams are in clear from the start."""
    monkeypatch.setattr(SimulatedTransport, "release", lambda self: self, raising=False)


async def offering(*, offers: bool = True) -> tuple[World, Pool]:
    world = World()
    node, client = (
        replace(world.environment(host), blocks=world.fabric.host(host))
        for host in ("node", "client")
    )
    world.server = Server(node, world.service)
    if offers:
        await world.server.listen_for_blocks(BLOCKS)
    await world.server.listen(NODE)
    world.service.answers[m.ReadBlock] = lambda call: Reply(m.ReadBlockReply(0), (b"block",))
    return world, Pool(client, lambda lane: hello(lane=lane))


def lanes(world: World) -> list[str]:
    return [one.peer.lane for one in world.service.admitted]


def test_blocks_have_connections_of_their_own() -> None:
    async def main() -> None:
        world, pool = await offering()
        connections = await asyncio.gather(*(pool.blocks(MEMBER) for _ in range(3)))
        assert len(set(connections)) == 1
        assert await pool.blocks(MEMBER) is connections[0]
        assert await pool.bulk(MEMBER) is not connections[0]
        assert lanes(world) == ["bulk", "blocks"]
        async with pool.exclusive(MEMBER) as stream:
            assert stream.peer.lane == "blocks" and stream is not connections[0]
        async with pool.exclusive(MEMBER) as again:
            assert again is stream
        await pool.close()
        assert connections[0].closed and stream.closed

    run(main())


def test_any_greeting_says_where() -> None:
    async def main() -> None:
        world, pool = await offering()
        await pool.control(MEMBER)
        await pool.blocks(MEMBER)
        assert lanes(world) == ["control", "blocks"]

    run(main())


def test_nothing_but_blocks_is_served() -> None:
    async def main() -> None:
        world, pool = await offering()
        connection = await pool.blocks(MEMBER)
        assert isinstance(await ask(connection, READ, 1), m.ReadBlockReply)
        assert await ask(connection, m.Ping(), 2) == m.Empty()
        for number, request in enumerate((m.GetView(), m.Goodbye(), m.ReadMany((), 1)), 3):
            with pytest.raises(errors.NotPermittedError, match="not for a connection in clear"):
                await ask(connection, request, number)
        assert len(world.service.denials) == 3
        assert {type(call.request) for call in world.service.calls} == {m.ReadBlock, m.Ping}

    run(main())


def test_members_ask_for_no_more_there() -> None:
    """Who takes such a connection over has blocks of it, and not the cluster."""

    async def main() -> None:
        world, pool = await offering()
        pool = Pool(pool._environment, lambda lane: hello(lane=lane, role=m.Role.NODE, member=2))
        connection = await pool.blocks(MEMBER)
        with pytest.raises(errors.NotPermittedError, match="not for a connection in clear"):
            await ask(connection, m.GetCapabilityKeys())
        assert lanes(world) == ["bulk", "blocks"]

    run(main())


@pytest.mark.parametrize("offers", [True, False])
def test_who_has_no_tls_or_is_offered_nothing(offers: bool) -> None:
    async def main() -> None:
        world, pool = await offering(offers=offers)
        if offers:
            pool = Pool(world.client, lambda lane: hello(lane=lane))
        assert await pool.blocks(MEMBER) is await pool.bulk(MEMBER)
        async with pool.exclusive(MEMBER) as stream:
            assert stream.peer.lane == "bulk"
        assert lanes(world) == ["bulk", "bulk"]

    run(main())


def test_a_port_that_is_not_reached_is_done_without() -> None:
    """It says nothing of the member, whose other port answers."""

    async def main() -> None:
        world, pool = await offering()
        await pool.control(MEMBER)
        listeners = world.fabric.host("node").listeners
        shut = listeners.pop(BLOCKS.port)
        assert await pool.blocks(MEMBER) is await pool.bulk(MEMBER)
        async with pool.exclusive(MEMBER) as stream:
            assert stream.peer.lane == "bulk"
        assert not pool.has_ended(MEMBER) and pool.trouble(MEMBER) == ""
        listeners[BLOCKS.port] = shut
        world.fabric.cut("client", "node")
        await asyncio.sleep(1)
        await pool.control(MEMBER)
        assert (await pool.blocks(MEMBER)).peer.lane == "blocks"

    run(main())


def test_another_incarnation_is_asked_anew() -> None:
    async def main() -> None:
        world, pool = await offering()
        await pool.blocks(MEMBER)
        pool.retain([])
        world.service.incarnation = 6
        await pool.blocks(MEMBER._replace(number=4, incarnation=6))
        assert lanes(world) == ["bulk", "blocks"] * 2

    run(main())
