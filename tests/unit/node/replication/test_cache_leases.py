"""Who believes what, and what a change waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from memfs import limits
from memfs.node.replication.cache_leases import (
    LEASE_NS,
    WATCHED_ANYWAY,
    CacheLeases,
)
from memfs.protocol import messages as m
from memfs.testing.simulation.virtual import run
from memfs.types import Attributes

SECOND = 1_000_000_000
ANN, BOB = 11, 12


def attributes(inode: int) -> Attributes:
    return Attributes(inode, 0, 0o644, 1, "a", "b", 0, 0, 0, 0, 0, 0, 0, 0, 0)


class World:
    """Leases by the virtual clock."""

    def __init__(self) -> None:
        self.lease_until: int | None = None
        self.caches = CacheLeases(self.now, lambda: self.lease_until)
        self.sequences: dict[int, int] = {}

    @staticmethod
    def now() -> int:
        return round(asyncio.get_running_loop().time() * SECOND)

    async def ask(self, client: int, wait_ms: int = 0) -> m.WatchReply:
        request = m.Watch(self.sequences.get(client, 0), wait_ms)
        reply = await self.caches.watch(client, request)
        self.sequences[client] = reply.sequence
        return reply

    def reads(self, client: int, inode: int, parent: int = 1) -> None:
        self.caches.note(client, m.Lookup(b"x", base=parent), m.LookupReply(attributes(inode)))


def in_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def wrapped() -> None:
        async def main() -> None:
            await test(World())

        run(main())

    wrapped.__name__ = test.__name__
    return wrapped


@in_world
async def test_a_primary_alone_grants_no_longer_than_a_backup_that_joins_would_wait(
    world: World,
) -> None:
    world.caches = CacheLeases(world.now, lambda: None, SECOND // 10)
    assert (await world.ask(ANN)).lease_ms == 100


@in_world
async def test_the_first_answer_says_that_nothing_is_known(world: World) -> None:
    reply = await world.ask(ANN)
    assert reply == m.WatchReply(1, (), LEASE_NS // 1_000_000, True)
    assert not (await world.ask(ANN)).fresh


@in_world
async def test_that_nothing_is_known_is_said_until_it_is_heard(world: World) -> None:
    """A client that did not hear it would go on believing what it has read before."""
    for _ in range(2):  # the second time its last number is the first one of a new account
        await world.ask(ANN)
        await asyncio.sleep(2 * LEASE_NS / SECOND)
        heard = world.sequences[ANN]
        for _lost in range(3):
            assert (await world.ask(ANN)).fresh
            world.sequences[ANN] = heard
        assert (await world.ask(ANN)).fresh
        assert not (await world.ask(ANN)).fresh
        world.sequences[ANN] = 1
        await asyncio.sleep(2 * LEASE_NS / SECOND)


@in_world
async def test_a_number_that_no_answer_has_is_none(world: World) -> None:
    world.sequences[ANN] = (1 << 64) - 1
    assert (await world.ask(ANN)).fresh
    assert not (await world.ask(ANN)).fresh


@in_world
async def test_a_change_waits_until_others_have_forgotten(world: World) -> None:
    await world.ask(ANN)
    world.reads(ANN, 5)
    waiting = asyncio.ensure_future(world.ask(ANN, 1000))
    await asyncio.sleep(0)
    barrier = world.caches.change(BOB, (5,))
    assert barrier is not None
    assert (await waiting).changed == (5,)
    assert not barrier.done()
    await world.ask(ANN)
    assert barrier.done()
    assert world.caches.change(BOB, (5,)) is None, "it has not read it again"


@in_world
async def test_the_next_change_waits_for_what_was_not_confirmed_yet(world: World) -> None:
    """The first one waits for the same client: the second must not be acknowledged before it."""
    await world.ask(ANN)
    for told in (False, True):
        world.reads(ANN, 5)
        first = world.caches.change(BOB, (5,))
        if told:
            assert (await world.ask(ANN)).changed == (5,)
        second = world.caches.change(BOB, (5, 6))
        if not told:
            assert (await world.ask(ANN)).changed == (5,)
        assert first is not None and second is not None
        assert not first.done() and not second.done()
        assert (await world.ask(ANN)).changed == ()
        assert first.done() and second.done()
        assert world.caches.change(BOB, (5,)) is None


@in_world
async def test_what_was_read_again_before_it_was_confirmed_is_told_again(world: World) -> None:
    await world.ask(ANN)
    world.reads(ANN, 5)
    world.caches.change(BOB, (5,))
    assert (await world.ask(ANN)).changed == (5,)
    world.reads(ANN, 5)
    second = world.caches.change(BOB, (5,))
    assert (await world.ask(ANN)).changed == (5,)
    assert second is not None and not second.done()
    await world.ask(ANN)
    assert second.done()


@in_world
async def test_names_in_a_directory_that_was_looked_into_count(world: World) -> None:
    await world.ask(ANN)
    world.caches.note(ANN, m.Lookup(b"absent", base=7))
    assert world.caches.change(BOB, (7,)) is not None


@in_world
async def test_who_changes_something_does_not_wait_for_himself(world: World) -> None:
    await world.ask(ANN)
    world.reads(ANN, 5)
    assert world.caches.change(ANN, (5,)) is None


@in_world
async def test_who_does_not_answer_is_waited_for_as_long_as_his_lease(world: World) -> None:
    await world.ask(ANN)
    world.reads(ANN, 5)
    began = world.now()
    barrier = world.caches.change(BOB, (5,))
    assert barrier is not None
    await barrier
    assert world.now() - began == pytest.approx(LEASE_NS, rel=0.01)
    assert (await world.ask(ANN)).fresh


@in_world
async def test_a_lease_ends_within_that_of_the_primary(world: World) -> None:
    world.lease_until = world.now() + SECOND // 2
    assert (await world.ask(ANN)).lease_ms == 500
    world.lease_until = world.now() - 1
    assert (await world.ask(ANN)).lease_ms == 0


@in_world
async def test_an_answer_that_was_lost_is_given_again(world: World) -> None:
    await world.ask(ANN)
    world.reads(ANN, 5)
    barrier = world.caches.change(BOB, (5,))
    lost = world.sequences[ANN]
    assert (await world.ask(ANN)).changed == (5,)
    world.sequences[ANN] = lost
    assert (await world.ask(ANN)).changed == (5,)
    assert barrier is not None and not barrier.done()
    await world.ask(ANN)
    assert barrier.done()


@in_world
async def test_a_question_that_another_one_has_overtaken_takes_nothing(world: World) -> None:
    await world.ask(ANN)
    world.reads(ANN, 5)
    first = asyncio.ensure_future(world.ask(ANN, 1000))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(world.ask(ANN, 1000))
    await asyncio.sleep(0)
    barrier = world.caches.change(BOB, (5,))
    assert (await first).changed == ()
    assert (await second).changed == (5,)
    assert barrier is not None and not barrier.done()


@in_world
async def test_many_changes_go_into_several_answers(world: World) -> None:
    await world.ask(ANN)
    inodes = tuple(range(100, 2300))
    for inode in inodes:
        world.reads(ANN, inode)
    barrier = world.caches.change(BOB, inodes)
    told = [len((await world.ask(ANN)).changed) for _ in range(3)]
    assert told == [1000, 1000, 200]
    assert barrier is not None and not barrier.done()
    await world.ask(ANN)
    assert barrier.done()


@in_world
async def test_the_oldest_is_forgotten_when_it_is_too_much(world: World) -> None:
    await world.ask(ANN)
    for inode in range(2, limits.WATCHED_INODES + 3):
        world.reads(ANN, inode)
    assert set((await world.ask(ANN)).changed) <= {1, 2, 3}
    barrier = world.caches.change(BOB, (2,))
    assert barrier is not None and not barrier.done(), "it may not have heard that answer yet"
    await world.ask(ANN)
    assert barrier.done()
    assert world.caches.change(BOB, (2,)) is None


@in_world
async def test_on_a_full_node_a_client_forgets_as_much_as_it_reads(world: World) -> None:
    full = False
    world.caches = CacheLeases(world.now, lambda: None, remember=lambda _: not full)
    for client in (ANN, BOB):
        await world.ask(client)
        for inode in range(2, WATCHED_ANYWAY):
            world.reads(client, inode)
    full = True
    world.reads(ANN, WATCHED_ANYWAY)
    kept = {1, WATCHED_ANYWAY}
    forgets: set[int] = set()
    while changed := (await world.ask(ANN)).changed:
        forgets.update(changed)
    assert forgets == set(range(2, WATCHED_ANYWAY)) and not forgets & kept
    world.reads(BOB, WATCHED_ANYWAY)
    assert set((await world.ask(BOB)).changed) <= {2, 3}, "what is read anyway is left to it"
    full = False
    world.reads(ANN, 2)
    assert not (await world.ask(ANN)).changed


@in_world
async def test_what_clients_had_read_that_are_gone_is_forgotten(world: World) -> None:
    """Nothing of it need ever change, and each had up to 44 MiB."""
    await world.ask(ANN)
    world.reads(ANN, 5)
    await asyncio.sleep(2 * LEASE_NS / SECOND)
    assert world.caches.held()
    await world.ask(BOB)
    assert len(world.caches) == 1 and not world.caches.held()


@in_world
async def test_a_term_that_ends_in_good_order_outlives_all_leases(world: World) -> None:
    await world.ask(ANN)
    began = world.now()
    await world.caches.revoke()
    assert world.now() - began >= LEASE_NS
    assert (await world.ask(ANN)).lease_ms == 0
    world.caches.renew()
    assert (await world.ask(ANN)).lease_ms > 0


@in_world
async def test_nobody_waits_when_the_term_is_over(world: World) -> None:
    await world.ask(ANN)
    world.reads(ANN, 5)
    barrier = world.caches.change(BOB, (5,))
    world.caches.end()
    assert barrier is not None and barrier.done()


@in_world
async def test_a_command_that_comes_again_waits_for_what_it_waited_for(world: World) -> None:
    await world.ask(ANN)
    await world.ask(ANN)
    world.reads(ANN, 5)
    first = world.caches.change(BOB, (5,))
    assert first is not None and world.caches.repeated(ANN) is None
    again = world.caches.repeated(BOB)
    await asyncio.sleep(0)
    assert again is not None and not again.done()
    await world.ask(ANN)
    await world.ask(ANN)
    await again
    assert first.done() and world.caches.repeated(BOB) is None
