"""Shared connections to members: one dial at a time, the right incarnation, backoff, streams."""

from __future__ import annotations

import asyncio

import pytest

from memfs import errors
from memfs.protocol import messages as m
from memfs.testing.simulation.virtual import run
from memfs.transport.pool import SPARE_CONNECTIONS, Pool
from memfs.transport.server import Reply
from memfs.types import Member

from .loopback import BLOCK, World, ask, hello

MEMBER = Member(3, "node", 5, "node", 10500)


async def pooled() -> tuple[World, Pool]:
    world = World()
    await world.listen()
    return world, Pool(world.client, lambda lane: hello(lane=lane))


def test_a_connection_is_shared_and_dialled_once():
    async def main():
        world, pool = await pooled()
        connections = await asyncio.gather(*(pool.control(MEMBER) for _ in range(5)))
        assert len(set(connections)) == 1
        assert await pool.control(MEMBER) is connections[0]
        bulk = await pool.bulk(MEMBER)
        assert bulk is not connections[0]
        assert [one.peer.lane for one in world.service.admitted] == ["control", "bulk"]
        assert await ask(bulk, m.Ping(), pool.next_request_id()) == m.Empty()
        await pool.close()
        assert bulk.closed
        with pytest.raises(errors.UnavailableError, match="pool"):
            await pool.control(MEMBER)

    run(main())


def test_a_lost_connection_is_replaced():
    async def main():
        world, pool = await pooled()
        first = await pool.control(MEMBER)
        world.fabric.cut("client", "node")
        await first.wait_closed()
        second = await pool.control(MEMBER)
        assert await ask(second, m.Ping()) == m.Empty()

    run(main())


def test_a_new_member_number_is_told_to_everybody():
    """A node that joined anew is not the one that its peers' connections were opened by."""

    async def main():
        world = World()
        await world.listen()
        number = 0
        pool = Pool(world.client, lambda lane: hello(lane=lane)._replace(member=number))
        before = await pool.control(MEMBER)
        async with pool.exclusive(MEMBER) as stream:
            number = 7
            after = await pool.control(MEMBER)
            assert not stream.closed, "what is under way goes on"
        assert after is not before and before.closed and stream.closed
        async with pool.exclusive(MEMBER) as other:
            assert other is not stream
        assert [one.peer.member for one in world.service.admitted] == [0, 0, 7, 7]
        assert await pool.control(MEMBER) is after
        await pool.close()

    run(main())


def test_one_who_gives_up_does_not_stop_the_others():
    async def main():
        _, pool = await pooled()
        impatient = asyncio.ensure_future(pool.control(MEMBER))
        patient = asyncio.ensure_future(pool.control(MEMBER))
        await asyncio.sleep(0)
        impatient.cancel()
        assert not (await patient).closed

    run(main())


def test_another_incarnation_is_not_the_member():
    async def main():
        world, pool = await pooled()
        world.service.incarnation = 6
        with pytest.raises(errors.UnavailableError, match="node at node:10500 was restarted"):
            await pool.control(MEMBER)
        restarted = await pool.control(MEMBER._replace(number=4, incarnation=6))
        assert not restarted.closed

    run(main())


def test_after_a_failure_it_fails_fast_for_a_while():
    async def main():
        world, pool = await pooled()
        listeners = dict(world.fabric.host("node").listeners)
        world.fabric.host("node").listeners.clear()
        with pytest.raises(errors.UnavailableError, match="cannot connect"):
            await pool.control(MEMBER)
        started = asyncio.get_running_loop().time()
        with pytest.raises(errors.UnavailableError, match="node is not reachable: cannot connect"):
            await pool.bulk(MEMBER)
        assert asyncio.get_running_loop().time() == started
        assert pool.trouble(MEMBER).startswith("node has not been reachable for 0.0 s: cannot")
        world.fabric.host("node").listeners.update(listeners)
        await asyncio.sleep(0.1)
        assert not (await pool.control(MEMBER)).closed
        assert pool.trouble(MEMBER) == ""

    run(main())


def test_backoff_is_bounded():
    async def main():
        world, pool = await pooled()
        listeners = dict(world.fabric.host("node").listeners)
        world.fabric.host("node").listeners.clear()
        for _ in range(20):
            with pytest.raises(errors.UnavailableError):
                await pool.control(MEMBER)
            await asyncio.sleep(1)
        assert "has not been reachable for 20 s: " in pool.trouble(MEMBER)
        world.fabric.host("node").listeners.update(listeners)
        await asyncio.sleep(2)
        assert not (await pool.control(MEMBER)).closed

    run(main())


def test_streams_have_connections_of_their_own_that_are_kept():
    async def main():
        world, pool = await pooled()
        world.service.answers[m.WriteBlock] = lambda call: Reply(m.WriteBlockReply(1, 1))
        async with pool.exclusive(MEMBER) as first, pool.exclusive(MEMBER) as second:
            assert first is not second
        async with pool.exclusive(MEMBER) as again:
            assert again in (first, second)
            stream = again.stream(BLOCK, 10, request_id=1, timeout=5, epoch=1)
            stream.write(memoryview(bytes(10)))
            await stream.answer
        assert not again.closed
        async with pool.exclusive(MEMBER) as unclean:
            unclean.stream(BLOCK, 10, request_id=1, timeout=5, epoch=1)
            unclean.abort("left in the midst")
        assert unclean.closed
        await pool.close()
        assert first.closed
        assert second.closed

    run(main())


def test_only_a_few_spare_connections_are_kept():
    async def main():
        _, pool = await pooled()
        count = SPARE_CONNECTIONS + 2
        holding, release = asyncio.Barrier(count + 1), asyncio.Event()
        connections = []

        async def hold():
            async with pool.exclusive(MEMBER) as connection:
                connections.append(connection)
                await holding.wait()
                await release.wait()

        tasks = [asyncio.ensure_future(hold()) for _ in range(count)]
        await holding.wait()
        release.set()
        await asyncio.gather(*tasks)
        assert sum(connection.closed for connection in connections) == 2

    run(main())


def test_closing_stops_dials():
    async def main():
        world, pool = await pooled()
        world.fabric.isolate("node")
        waiting = asyncio.ensure_future(pool.control(MEMBER))
        await asyncio.sleep(1)
        await pool.close()
        with pytest.raises(errors.UnavailableError, match="pool"):
            await waiting

    run(main())


def test_a_stream_that_is_being_dialled_when_the_pool_closes():
    async def main():
        _, pool = await pooled()

        async def stream():
            async with pool.exclusive(MEMBER):
                raise AssertionError("the pool is closed")

        waiting = asyncio.ensure_future(stream())
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(errors.UnavailableError, match="pool"):
            await waiting

    run(main())


def test_what_a_view_does_not_name_any_more_is_dropped():
    async def main():
        world, pool = await pooled()
        other = MEMBER._replace(number=4, name="gone", host="gone")
        world.fabric.host("gone")
        control, bulk = await pool.control(MEMBER), await pool.bulk(MEMBER)
        async with pool.exclusive(MEMBER) as stream:
            with pytest.raises(errors.UnavailableError):
                await pool.control(other)
            pool.retain([MEMBER])
            assert not control.closed and not bulk.closed and not stream.closed
            assert list(pool._failures) == []
            answer = asyncio.ensure_future(ask(bulk, m.Ping()))
            await asyncio.sleep(0)
            pool.retain([])
            assert control.closed and not bulk.closed, "what is under way goes on"
            assert await answer == m.Empty()
        pool.retain([])
        assert bulk.closed and stream.closed
        assert not (pool._shared or pool._spare or pool._former)

    run(main())


def test_a_closed_connection_keeps_no_memory():
    async def main():
        _, pool = await pooled()
        connection = await pool.control(MEMBER)
        connection.close()
        await connection.wait_closed()
        assert len(connection._inbox) == 0
        pool.retain([MEMBER])
        assert not pool._shared

    run(main())


def test_a_failed_dial_keeps_words_and_no_traceback():
    async def main():
        world, pool = await pooled()
        world.fabric.host("node").listeners.clear()
        with pytest.raises(errors.UnavailableError):
            await pool.control(MEMBER)
        (failure,) = pool._failures.values()
        assert "cannot connect" in failure.reason

    run(main())


def test_who_refuses_has_ended_and_who_is_silent_may_be_well():
    async def main():
        world, pool = await pooled()
        await pool.control(MEMBER)
        assert not pool.has_ended(MEMBER)
        other = MEMBER._replace(incarnation=6)
        with pytest.raises(errors.UnavailableError, match="restarted"):
            await pool.control(other)
        assert pool.has_ended(other) and not pool.has_ended(MEMBER)
        world.fabric.host("node").crash()
        await asyncio.sleep(0.1)
        with pytest.raises(errors.UnavailableError, match="cannot connect"):
            await pool.control(MEMBER)
        assert pool.has_ended(MEMBER)
        with pytest.raises(errors.UnavailableError, match="not reachable"):
            await pool.control(MEMBER)
        assert pool.has_ended(MEMBER)
        await pool.close()
        world, pool = await pooled()
        world.fabric.host("node").crash(silent=True)
        with pytest.raises(errors.UnavailableError, match="did not answer"):
            await pool.control(MEMBER)
        assert not pool.has_ended(MEMBER)
        await pool.close()

    run(main())
