"""Requests of clients get a part of each turn of the loop: by connection, and all together."""

from __future__ import annotations

import asyncio

from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.testing.simulation.virtual import run
from memfs.transport.bounds.load import ServerLimits
from memfs.transport.bounds.turns import Turns
from memfs.transport.server import Reply

from ..loopback import World, ask, settle
from ..test_server import HELLO, raw_client

PINGS = b"".join(
    frames.pack_frame(frames.REQUEST, 2, number, 0, 0, encode(m.Ping())) for number in range(2, 302)
)


class Order:
    """Notes in which turn whose request was served."""

    def __init__(self, world: World) -> None:
        self.served: list[tuple[int, str, int]] = []
        self._turns = world.server.load.turns
        world.service.answers[m.Ping] = self.note

    def note(self, call: object) -> Reply:
        peer = call.connection.peer  # type: ignore[attr-defined]
        self.served.append((self._turns.number, peer.address, peer.role))
        return Reply(m.Empty())


def most_of_one_turn(order: Order, role: int) -> int:
    turns = [(turn, address) for turn, address, of in order.served if of == role]
    return max(map(turns.count, turns), default=0)


def test_a_flood_is_served_in_shares_and_completely():
    async def main():
        world = World()
        await world.listen(ServerLimits(frames_per_turn=10))
        flood = await raw_client(world, HELLO)
        order = Order(world)
        flood.transport.write(PINGS)
        await settle()
        assert len(order.served) == 300
        assert most_of_one_turn(order, m.Role.CLIENT) == 10
        assert world.server.statistics().deferred > 20

    run(main())


def test_another_client_does_not_wait_for_the_end_of_a_flood():
    async def main():
        world = World()
        await world.listen(ServerLimits(frames_per_turn=10))
        floods = [await raw_client(world, HELLO) for _ in range(3)]
        quiet = await world.dial()
        order = Order(world)
        for flood in floods:
            flood.transport.write(PINGS)
        await ask(quiet, m.Ping())
        await settle()
        (place,) = [
            at for at, (_, who, _) in enumerate(order.served) if who not in addresses(floods)
        ]
        assert len(order.served) == 901 and place < 900 - 100
        quiet.close()

    run(main())


def test_what_takes_longer_than_its_share_is_served_alone_in_a_turn():
    async def main():
        world = World()
        await world.listen(ServerLimits(share_seconds=0))
        flood = await raw_client(world, HELLO)
        order = Order(world)
        flood.transport.write(PINGS)
        await settle()
        assert len(order.served) == 300
        assert most_of_one_turn(order, m.Role.CLIENT) == 1

    run(main())


def addresses(clients) -> set[str]:
    names = [client.transport.get_extra_info("sockname") for client in clients]
    return {f"{name[0]}:{name[1]}" for name in names}


def test_nodes_do_not_wait():
    async def main():
        world = World()
        await world.listen(ServerLimits(frames_per_turn=10, turn_seconds=0))
        node = await world.dial(role=m.Role.NODE)
        order = Order(world)
        answers = [
            node.call(m.Ping(), request_id=number, timeout=9, epoch=0) for number in range(2, 90)
        ]
        await asyncio.gather(*answers)
        assert len(order.served) == len(answers)
        assert world.server.load.turns.deferred == 0
        node.close()

    run(main())


class Line:
    """Connections that note when they are served; each takes a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.served: list[str] = []


class One:
    def __init__(self, line: Line, name: str) -> None:
        self.line, self.name = line, name

    def take_turn(self) -> None:
        self.line.now += 1
        self.line.served.append(self.name)


def test_time_ends_a_turn_and_the_order_is_that_of_coming():
    async def main():
        line = Line()
        turns = Turns(lambda: line.now, 64, 2.0, 2.0)
        assert not turns.is_over()
        line.now += 2
        assert turns.is_over()
        for name in "abcde":
            turns.wait(One(line, name))
        seen = []
        for _ in range(4):
            await asyncio.sleep(0)
            seen.append("".join(line.served))
        assert seen == ["ab", "abcd", "abcde", "abcde"]
        assert not turns.is_over()

    run(main())


def test_a_connection_that_closes_while_it_waits_is_let_go():
    async def main():
        world = World()
        await world.listen(ServerLimits(frames_per_turn=10))
        flood = await raw_client(world, HELLO)
        flood.transport.write(PINGS)
        await asyncio.sleep(0)
        flood.transport.abort()
        await settle()
        assert world.server.statistics().connections == 0

    run(main())


async def test_turns_in_a_second_are_those_of_late() -> None:
    now = 0.0
    turns = Turns(lambda: now, 10, 0.01, 0.001)

    async def served(count: int, seconds: float) -> None:
        nonlocal now
        for _ in range(count):
            turns.is_over()
            await asyncio.sleep(0)
            now += seconds / count

    assert turns.in_a_second() == 0
    await served(30, 3.0)
    assert 8 <= turns.in_a_second() <= 12
    await served(300, 3.0)
    assert 90 <= turns.in_a_second() <= 110
    now += 1000
    assert turns.in_a_second() == 0
    await served(1, 0.1)
    assert turns.in_a_second() == 0
    await served(4, 4.0)
    assert turns.in_a_second() <= 2
