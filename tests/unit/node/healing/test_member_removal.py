"""When a silent member is taken for gone."""

from __future__ import annotations

from typing import Any, cast

from memfs import errors
from memfs.node.healing.member_removal import Removal
from memfs.node.healing.peers import Peers

from .fakes import FakeMembership, FakePeers


class World:
    """A primary among others of whom some answer pings; a look happens when it is told to."""

    def __init__(self, members: int, answering: tuple[int, ...] = ()) -> None:
        self.membership = FakeMembership(*range(1, members + 1))
        self.answering = answering
        self.gone: list[int] = []
        peers = FakePeers(self.answer)
        self.removal = Removal(
            self.membership.real, cast(Peers, peers), self.remove, 10.0, lambda: 2
        )

    def answer(self, number: int, request: Any) -> None:
        if number not in self.answering:
            raise errors.UnavailableError("silence")

    async def remove(self, number: int) -> None:
        self.membership.remove(number)
        self.gone.append(number)

    async def look_at(self, now: float, heard: tuple[int, ...] = ()) -> list[int]:
        self.membership.now = now
        self.membership.lives.update(dict.fromkeys(heard, now))
        await self.removal._look()
        return self.gone


async def test_a_silent_member_goes_after_its_time() -> None:
    world = World(3)
    assert await world.look_at(9.9, heard=(2,)) == []
    assert await world.look_at(10.0, heard=(2,)) == [3]
    assert world.removal.removed == 1


async def test_a_member_that_answers_stays() -> None:
    world = World(3, answering=(3,))
    assert await world.look_at(100, heard=(2,)) == []


async def test_a_cluster_of_two_can_lose_one() -> None:
    assert await World(2).look_at(11) == [2]


async def test_when_most_are_silent_no_more_than_half_go_at_once() -> None:
    world = World(5)
    assert len(await world.look_at(11)) == 2
    assert len(await world.look_at(12)) == 2
    assert len(await world.look_at(21.5)) == 3


async def test_the_primary_that_slept_itself_removes_nobody() -> None:
    world = World(5, answering=(2, 3, 4, 5))
    assert await world.look_at(1000) == []


async def test_another_primary_removes_nobody() -> None:
    world = World(3)
    world.membership.latest = world.membership.view._replace(primary=2)
    world.membership.now = 100
    await world.removal._remove_silent(3, 10.0)
    assert world.gone == []


def ended(world: World, *numbers: int) -> World:
    """Their processes have ended: connections broke, and their hosts refuse new ones."""
    world.membership.out_of_reach = world.membership.ended = frozenset(numbers)
    return world


async def test_a_member_whose_process_ended_goes_at_once() -> None:
    world = ended(World(3), 3)
    assert await world.look_at(0.5) == [3]


async def test_who_is_only_out_of_reach_is_waited_for() -> None:
    world = World(3)
    world.membership.out_of_reach = frozenset({3})
    assert await world.look_at(4.0) == []


async def test_who_answers_has_not_ended() -> None:
    assert await ended(World(3, answering=(3,)), 3).look_at(0.5) == []


async def test_what_a_journal_brings_back_is_waited_for() -> None:
    world = ended(World(3), 3)
    world.membership.is_journaled = True
    assert await world.look_at(4.0) == []
    assert await world.look_at(10.0, heard=(2,)) == [3]


async def test_where_the_others_are_too_few_for_the_copies_it_is_waited_for() -> None:
    world = ended(World(3), 2, 3)
    assert await world.look_at(0.5) == [2]
    assert await world.look_at(9.0) == [2]


async def test_of_many_that_ended_half_go_at_once() -> None:
    world = ended(World(7), 3, 4, 5, 6, 7)
    assert await world.look_at(0.5) == [3, 4, 5]
