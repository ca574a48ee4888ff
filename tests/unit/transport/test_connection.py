"""Calls over a simulated stream: answers, outcomes, cancellation, streams, keepalive."""

from __future__ import annotations

import asyncio
import math

import pytest

from memfs import errors, limits
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import encode
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run
from memfs.transport.server import Reply
from memfs.types import Attributes, Identity

from .loopback import BLOCK, NODE, READ, MemorySink, ask, connected, settle

ATTRIBUTES = Attributes(2, 0, 0o644, 1, "ann", "staff", 0, 0, 0, 0, 4096, 16, 1, 1, 1)
SPLIT = Conditions(split_chance=0.9)
SLOW = Conditions(bytes_per_second=100_000, window_bytes=10_000, split_chance=0)


@pytest.mark.parametrize("conditions", [None, SPLIT])
def test_answers_come_in_any_order(conditions):
    async def main():
        async with connected(conditions) as (world, connection):
            waiting = {}

            async def later(call):
                waiting[call.request.path] = event = asyncio.Event()
                await event.wait()
                return Reply(m.ReadLinkReply(call.request.path))

            world.service.answers[m.ReadLink] = later
            calls = [
                connection.call(m.ReadLink(b"%d" % n), request_id=n, timeout=9, epoch=4)
                for n in range(20)
            ]
            await settle()
            for path in reversed(list(waiting)):
                waiting[path].set()
                await settle(0.1)
            for n, call in enumerate(calls):
                assert (await call) == (m.ReadLinkReply(b"%d" % n), b"", 4)

    run(main())


@pytest.mark.parametrize("length", [0, 1, 5000, 300_000])
@pytest.mark.parametrize("conditions", [None, SPLIT])
def test_payloads_both_ways(length, conditions):
    data = bytes(range(251)) * (length // 251 + 1)
    data = data[:length]

    async def main():
        async with connected(conditions) as (world, connection):
            sink = MemorySink(length)
            world.service.sinks = lambda call: sink
            world.service.answers[m.WriteBlock] = lambda call: Reply(m.WriteBlockReply(1, 2))
            world.service.answers[m.ReadBlock] = lambda call: Reply(
                m.ReadBlockReply(3), (data[: length // 3], data[length // 3 :]), epoch=9
            )
            written = await ask_with(connection, BLOCK, (data[:99], data[99:]), 1)
            assert written.record == m.WriteBlockReply(1, 2)
            assert bytes(sink.data) == data
            assert not length or sink.totals[-1] == length
            fresh = await ask_with(connection, READ, (), 2)
            assert fresh.payload == data
            assert fresh.epoch == 9
            room = memoryview(bytearray(length + 10))
            received = await ask_with(connection, READ, (), 3, into=room)
            assert received.payload == data == room[:length]
            pieces = [memoryview(bytearray(size)) for size in (0, 7, 2000, length)]
            await ask_with(connection, READ, (), 4, into=pieces)
            assert b"".join(pieces)[:length] == data

    run(main())


def test_too_long_a_payload_fails_only_its_call():
    async def main():
        async with connected() as (world, connection):
            world.service.answers[m.ReadBlock] = lambda call: Reply(
                m.ReadBlockReply(3), (bytes(50),)
            )
            room = memoryview(bytearray(20))
            with pytest.raises(errors.ProtocolError, match="unexpected payload of 50 bytes"):
                await ask_with(connection, READ, (), 1, into=room)
            assert await ask(connection, m.Ping(), 2) == m.Empty()

    run(main())


def test_errors_travel():
    async def main():
        async with connected() as (world, connection):

            def refuse(_call):
                raise errors.PathNotFoundError("no such file", path="/a")

            async def refuse_later(call):
                await asyncio.sleep(1)
                refuse(call)

            for answer in (refuse, refuse_later):
                world.service.answers[m.Lookup] = answer
                with pytest.raises(errors.PathNotFoundError, match="no such file") as caught:
                    await ask(connection, m.Lookup(b"/a"))
                assert caught.value.filename == "/a"

    run(main())


@pytest.mark.parametrize(
    ("request_", "kind"),
    [(m.Lookup(b"/a"), errors.DeadlineError), (m.Unlink(b"/a"), errors.OutcomeUnknownError)],
)
def test_timeout(request_, kind):
    async def main():
        async with connected() as (world, connection):
            world.service.answers[type(request_)] = lambda call: asyncio.sleep(100)
            started = asyncio.get_running_loop().time()
            with pytest.raises(kind):
                await ask(connection, request_, timeout=3)
            assert 2.9 < asyncio.get_running_loop().time() - started < 3.1
            await settle()
            assert world.server.statistics().in_flight == 0
            assert await ask(connection, m.Ping(), 2) == m.Empty()

    run(main())


def test_no_time_left_sends_nothing():
    async def main():
        async with connected() as (world, connection):
            with pytest.raises(errors.DeadlineError):
                await ask(connection, m.Unlink(b"/a"), timeout=0)
            await settle()
            assert world.service.calls == []

    run(main())


@pytest.mark.parametrize(
    ("request_", "kind"),
    [(m.Lookup(b"/a"), errors.UnavailableError), (m.Unlink(b"/a"), errors.OutcomeUnknownError)],
)
def test_lost_connection(request_, kind):
    async def main():
        async with connected() as (world, connection):
            world.service.answers[type(request_)] = lambda call: asyncio.sleep(100)
            call = connection.call(request_, request_id=1, timeout=10, epoch=1)
            await settle()
            world.fabric.cut("client", "node")
            with pytest.raises(kind, match="lost"):
                await call
            await connection.wait_closed()
            assert connection.closed
            with pytest.raises(errors.UnavailableError):
                await ask(connection, request_)
            assert world.service.gone == world.service.admitted

    run(main())


def test_cancelling_stops_the_work_and_the_id_can_be_used_again():
    async def main():
        async with connected() as (world, connection):
            stopped = []

            async def work(call):
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    stopped.append(call.header.request_id)
                    await asyncio.sleep(5)  # takes its time to clean up
                    raise

            world.service.answers[m.Lookup] = work
            first = asyncio.ensure_future(ask(connection, m.Lookup(b"/a"), 8))
            await settle()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            world.service.answers[m.Lookup] = lambda call: Reply(m.LookupReply(ATTRIBUTES))
            assert await ask(connection, m.Lookup(b"/a"), 8) == m.LookupReply(ATTRIBUTES)
            assert stopped == [8]

    run(main())


def test_cancelling_in_the_midst_of_a_payload_leaves_the_destination_alone():
    data = b"\xff" * 200_000

    async def main():
        async with connected(SLOW) as (world, connection):
            world.service.answers[m.ReadBlock] = lambda call: Reply(m.ReadBlockReply(1), (data,))
            room = memoryview(bytearray(len(data)))
            call = connection.call(READ, request_id=1, timeout=60, epoch=1, into=room)
            await settle()
            call.cancel()
            before = bytes(room)
            assert 0 < before.count(0) < len(data)
            assert await ask(connection, m.Ping(), 2) == m.Empty()
            assert bytes(room) == before

    run(main())


def test_a_timeout_in_the_midst_of_a_payload():
    async def main():
        async with connected(SLOW) as (world, connection):
            world.service.answers[m.ReadBlock] = lambda call: Reply(
                m.ReadBlockReply(1), (bytes(300_000),)
            )
            with pytest.raises(errors.DeadlineError):
                await ask(connection, READ, 1, timeout=1)
            assert await ask(connection, m.Ping(), 2) == m.Empty()

    run(main())


def test_a_stream_is_one_frame_written_in_pieces():
    data = memoryview(bytes(range(256)) * 100)

    async def main():
        async with connected() as (world, connection):
            sink = MemorySink(len(data))
            world.service.sinks = lambda call: sink
            world.service.answers[m.WriteBlock] = lambda call: Reply(m.WriteBlockReply(5, 6))
            stream = connection.stream(BLOCK, len(data), request_id=1, timeout=60, epoch=1)
            for at in range(0, len(data), 1000):
                assert not connection.idle
                stream.write(data[at : at + 1000])
                await connection.drain()
                await asyncio.sleep(0.1)
            assert (await stream.answer).record == m.WriteBlockReply(5, 6)
            assert bytes(sink.data) == data
            assert len(sink.totals) > 5
            assert connection.idle

    run(main())


def test_an_unfinished_stream_takes_the_connection_with_it():
    async def main():
        async with connected() as (world, connection):
            sink = MemorySink(1000)
            world.service.sinks = lambda call: sink
            stream = connection.stream(BLOCK, 1000, request_id=1, timeout=60, epoch=1)
            stream.write(memoryview(bytes(10)))
            await settle()
            stream.abort()
            stream.abort()
            assert connection.closed
            with pytest.raises(errors.UnavailableError):
                stream.write(memoryview(bytes(10)))
            await settle()
            assert sink.lost
            assert world.server.statistics().bytes_in_flight == 0

    run(main())


def test_a_refused_stream_can_be_finished():
    async def main():
        async with connected() as (world, connection):

            def refuse(_call):
                raise errors.NoSpaceError("full")

            world.service.sinks = refuse
            stream = connection.stream(BLOCK, 1000, request_id=1, timeout=60, epoch=1)
            with pytest.raises(errors.NoSpaceError):
                await stream.answer
            stream.write(memoryview(bytes(1000)))
            assert connection.idle
            assert await ask(connection, m.Ping(), 2) == m.Empty()

    run(main())


def test_a_stream_whose_time_is_over_did_not_happen():
    async def main():
        async with connected() as (_, connection):
            stream = connection.stream(BLOCK, 1000, request_id=1, timeout=2, epoch=1)
            with pytest.raises(errors.DeadlineError):
                await stream.answer
            assert connection.closed

    run(main())


def test_a_silent_node_is_noticed():
    async def main():
        async with connected() as (world, connection):
            await asyncio.sleep(10 * limits.KEEPALIVE_SECONDS)
            assert not connection.closed
            pings = [call for call in world.service.calls if type(call.request) is m.Ping]
            assert 4 <= len(pings) <= 10
            world.fabric.isolate("client")
            call = connection.call(m.Unlink(b"/a"), request_id=1, timeout=math.inf, epoch=1)
            with pytest.raises(errors.OutcomeUnknownError, match="nothing heard"):
                await call

    run(main())


@pytest.mark.parametrize(
    "frame",
    [
        frames.pack_frame(frames.REPLY, 64, 99, 0, 0, encode(m.Empty())),
        frames.pack_frame(frames.REPLY, 2, 1, 0, 0, encode(m.Empty())),
        frames.pack_frame(frames.REPLY, 64, 1, 0, 0, b"\x05"),
        frames.pack_frame(frames.ERROR, 64, 1, 0, 0, encode(m.ErrorReply(1, "")), 5),
        frames.pack_frame(frames.REQUEST, 64, 1, 0, 0, encode(m.Lookup(b"/a"))),
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["unknown id", "other opcode", "no record", "error with payload", "request", "no frame"],
)
def test_a_node_that_breaks_the_protocol(frame):
    async def main():
        async with connected() as (world, connection):
            world.service.answers[m.Lookup] = lambda call: asyncio.sleep(100)
            call = connection.call(m.Lookup(b"/a"), request_id=1, timeout=10, epoch=1)
            await settle()
            world.service.admitted[0].send(frame)
            with pytest.raises(errors.UnavailableError):
                await call
            assert connection.closed

    run(main())


def test_a_node_that_answers_twice():
    async def main():
        async with connected() as (world, connection):
            await ask(connection, m.Ping(), 1)
            reply = frames.pack_frame(frames.REPLY, 2, 1, 0, 0, encode(m.Empty()))
            world.service.admitted[0].send(reply)
            await settle()
            assert connection.reason == "a reply to request 1, which was not asked"

    run(main())


def test_dial_says_why_it_failed():
    async def main():
        async with connected() as (world, _):
            world.service.refusal = errors.NotPermittedError("another cluster")
            with pytest.raises(errors.NotPermittedError, match="another cluster"):
                await world.dial()
            with pytest.raises(errors.UnsupportedError, match="versions 2 to 3"):
                await world.dial(version_min=2, version_max=3)
            world.fabric.isolate("client")
            with pytest.raises(errors.UnavailableError, match="did not answer within 5 s"):
                await world.dial()
            world.fabric.heal()
            world.fabric.host("node").listeners.clear()
            with pytest.raises(errors.UnavailableError, match=f"cannot connect to {NODE}"):
                await world.dial()

    run(main())


def test_both_sides_know_each_other():
    async def main():
        async with connected() as (world, connection):
            assert connection.welcome == m.Welcome(1, "cluster", "node", 5, 3, None)
            assert connection.peer[:6] == ("node", m.Role.NODE, 0, Identity(""), 3, 5)
            peer = world.service.admitted[0].peer
            assert peer[:7] == ("", m.Role.NODE, 77, Identity("ann"), 0, 0, "control")

    run(main())


async def ask_with(connection, request, payload, number, **options):
    return await connection.call(
        request, payload, request_id=number, timeout=60, epoch=4, **options
    )


def block_of(payload: bytearray) -> m.WriteBlock:
    return BLOCK._replace(length=len(payload))


@pytest.mark.parametrize("way", ["cancelled", "expired", "closed"])
def test_a_payload_is_not_read_any_more_once_its_call_is_over(way):
    async def main():
        async with connected(SLOW) as (world, connection):
            payload = bytearray(300_000)
            sink = MemorySink(len(payload))
            world.service.sinks = lambda call: sink
            call = connection.call(block_of(payload), (payload,), request_id=1, timeout=1, epoch=1)
            await asyncio.sleep(0.5)
            assert call.unfinished
            if way == "cancelled":
                call.cancel()
            elif way == "closed":
                connection.close("not needed any more")
            with pytest.raises((errors.MemfsError, asyncio.CancelledError)):
                await call
            assert not call.unfinished and connection.closed
            payload[:] = b"x" * len(payload)
            await asyncio.sleep(60)
            assert b"x" not in sink.data and sink.lost

    run(main())


def test_a_payload_that_is_refused_early_leaves_before_its_memory_is_given_back():
    async def main():
        async with connected(SLOW) as (world, connection):
            payload = bytearray(300_000)

            def refuse(_call):
                raise errors.NoSpaceError("full")

            world.service.sinks = refuse
            call = connection.call(block_of(payload), (payload,), request_id=1, timeout=60, epoch=1)
            with pytest.raises(errors.NoSpaceError):
                await call
            assert call.unfinished, "the refusal was early"
            await call.until_sent(60)
            assert not call.unfinished and not connection.closed
            assert await ask(connection, m.Ping(), 2) == m.Empty()

    run(main())


def test_what_does_not_leave_in_time_takes_the_connection_with_it():
    async def main():
        async with connected(SLOW) as (_, connection):
            payload = bytearray(300_000)
            call = connection.call(block_of(payload), (payload,), request_id=1, timeout=60, epoch=1)
            await call.until_sent(0.1)
            assert connection.closed and not call.unfinished
            with pytest.raises(errors.UnavailableError):
                await call

    run(main())
