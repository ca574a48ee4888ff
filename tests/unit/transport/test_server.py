"""The serving side: handshake, dispatch, bounds, sinks, deadlines, cancellation."""

from __future__ import annotations

import asyncio
import logging

import msgpack
import pytest

from memfs import errors, limits
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import decode, encode
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run
from memfs.transport.bounds.load import ServerLimits
from memfs.transport.server import Reply
from memfs.types import Identity

from .loopback import BLOCK, NODE, READ, MemorySink, World, ask, connected, hello, settle

HELLO = frames.pack_frame(frames.REQUEST, 1, 1, 0, 0, encode(hello()))
PING = frames.pack_frame(frames.REQUEST, 2, 2, 0, 0, encode(m.Ping()))
SLOW = Conditions(bytes_per_second=100_000, window_bytes=10_000, split_chance=0)


class RawClient(asyncio.BufferedProtocol):
    """Sends what it is told to, and collects what comes."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost = False
        self._buffer = bytearray(4096)

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self._buffer

    def buffer_updated(self, nbytes):
        self.received += self._buffer[:nbytes]

    def connection_lost(self, error):
        self.lost = True


async def raw_client(world: World, *sent: bytes) -> RawClient:
    client = await world.client.network.connect(RawClient, NODE)
    for data in sent:
        client.transport.write(data)
    await settle()
    return client


# --- handshake -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (PING, "the first frame is no handshake"),
        (HELLO[:-1] + b"!", "record fails its checksum"),
        (b"GET / HTTP/1.1\r\n\r\n", "wrong magic"),
        (bytes(44), "wrong magic"),
        (frames.pack_frame(frames.REPLY, 1, 1, 0, 0, b"\x90"), "no handshake"),
        (frames.pack_frame(frames.REQUEST, 1, 1, 0, 0, b"\x90"), "Hello: 0 fields"),
        (frames.pack_frame(frames.REQUEST, 1, 1, 0, 0, bytes(20_000)), "before the handshake"),
        (frames.pack_frame(frames.REQUEST, 1, 1, 0, 0, encode(hello()), 5), "a payload where"),
        (HELLO + HELLO, "a second handshake"),
    ],
)
def test_what_is_no_handshake_is_logged_and_closed(caplog, sent, reason):
    async def main():
        world = World()
        await world.listen()
        client = await raw_client(world, sent)
        assert client.lost
        assert world.server.statistics().connections == 0

    run(main())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "client:20001" in record.message
    assert reason in record.message


def test_the_handshake_is_due():
    async def main():
        world = World()
        await world.listen(ServerLimits(handshake_seconds=5))
        client = await raw_client(world, HELLO[:20])
        await settle(3)
        assert not client.lost
        await settle(2)
        assert client.lost
        assert world.service.gone == []

    run(main())


def test_one_connection_too_many_is_told_so():
    async def main():
        world = World()
        await world.listen(ServerLimits(connections=1, turned_away=3))
        first = await world.dial(role=m.Role.NODE)
        await world.dial(role=m.Role.NODE)
        with pytest.raises(errors.BusyError, match="2 connections of nodes, as many"):
            await world.dial(role=m.Role.NODE)
        first.close()
        await settle()
        await world.dial(role=m.Role.NODE)
        crowd = [await raw_client(world) for _ in range(5)]
        assert [client.lost for client in crowd] == [False, False, True, True, True]
        assert world.server.statistics().turned_away == 4

    run(main())


def test_members_come_in_when_clients_have_taken_what_is_theirs():
    async def main():
        world = World()
        await world.listen(ServerLimits(connections=64, turned_away=4))
        users = [Identity(name) for name in ("ann", "bob")]
        for identity in (users[0],) * 30 + (users[1],) * 12:
            last = await world.dial(identity=identity)
        with pytest.raises(errors.BusyError, match="client has 42 connections, 42 are allowed"):
            await world.dial(identity=users[1])  # all are at one address
        last.close()
        await settle()
        await world.dial(identity=users[1])
        for _ in range(64 - 42 + 2):
            await world.dial(role=m.Role.NODE)
        with pytest.raises(errors.BusyError, match="24 connections of nodes, as many as it takes"):
            await world.dial(role=m.Role.NODE)

    run(main())


def test_answers_that_are_not_read_are_bounded_for_all_connections_of_a_user():
    """Each connection alone stays below the mark at which it is read no further."""
    bounds = ServerLimits(unread_per_principal=4 * limits.MIB, unread_seconds=5)

    async def main():
        world = World()
        await world.listen(bounds)
        world.service.answers[m.ReadBlock] = lambda call: Reply(
            m.ReadBlockReply(0), (bytes(500_000),)
        )
        wanted = m.ReadBlock(1, 0, 1, 1, 0, 500_000)
        opcode = m.BY_REQUEST[m.ReadBlock].opcode
        asked = b"".join(
            frames.pack_frame(frames.REQUEST, opcode, number, 0, 0, encode(wanted))
            for number in range(3, 15)
        )
        lazy = []
        for _ in range(8):
            client = await raw_client(world, HELLO)
            client.transport.pause_reading()
            lazy.append(client)
        polite = await world.dial(identity=Identity("bob"))
        for client in lazy:
            client.transport.write(asked)
        await settle(0.5)
        served = world.service.calls
        unread = world.server.load.unread.ledger
        assert unread.total <= bounds.unread_per_principal + 8 * 500_000
        assert len(served) < 8 * 12
        assert await ask(polite, m.Ping()) == m.Empty()
        await settle(30)
        assert world.server.statistics().dropped > 0
        assert unread.total <= bounds.unread_per_principal
        for client in lazy:
            client.transport.resume_reading()
        await settle(5)
        assert unread.total == 0
        kept = [client for client in lazy if not client.lost]
        assert len(kept) == 8 - world.server.statistics().dropped
        assert all(len(client.received) > 12 * 500_000 for client in kept)

    run(main())


def test_a_bug_in_the_handshake_is_not_shown(caplog):
    async def main():
        world = World()
        await world.listen()
        world.service.refusal = KeyError("secret")
        with pytest.raises(errors.InternalError, match="see its log"):
            await world.dial()

    run(main())
    assert "secret" in caplog.text


# --- dispatch --------------------------------------------------------------------------------


def test_a_bug_in_a_handler_is_logged_and_the_connection_stays(caplog):
    async def main():
        async with connected() as (world, connection):

            async def later(call):
                raise KeyError("later")

            def wrong(call):
                return Reply(m.ReadLinkReply(b""))

            def nothing(call):
                return None

            async def nothing_later(call):
                return None

            for answer in (lambda call: {}["now"], later, wrong, nothing, nothing_later):
                world.service.answers[m.Lookup] = answer
                with pytest.raises(errors.InternalError, match="Lookup failed in the node"):
                    await ask(connection, m.Lookup(b"/a"))
            assert await ask(connection, m.Ping()) == m.Empty()

    run(main())
    assert len(caplog.records) == 5
    assert all("Traceback" in caplog.handler.format(record) for record in caplog.records)


def test_too_long_a_reply_is_our_bug():
    async def main():
        async with connected() as (world, connection):
            world.service.answers[m.ReadLink] = lambda call: Reply(
                m.ReadLinkReply(bytes(limits.RECORD_BYTES))
            )
            with pytest.raises(errors.InternalError):
                await ask(connection, m.ReadLink(b"/a"))

    run(main())


def test_an_unknown_message_is_skipped():
    async def main():
        world = World()
        await world.listen()
        unknown = frames.pack_frame(frames.REQUEST, 60_000, 5, 0, 0, b"\x91\x05", 3) + b"abc"
        client = await raw_client(world, HELLO, unknown, PING)
        replies = replies_in(client.received)
        assert [(header.flags, header.request_id) for header, _ in replies[1:]] == [(3, 5), (1, 2)]
        assert b"does not know opcode 60000" in replies[1][1]

    run(main())


@pytest.mark.parametrize("payload", [b"", b"abc"])
def test_a_malformed_request_is_answered_and_the_others_go_on(caplog, payload):
    async def main():
        world = World()
        await world.listen()
        opcode = m.BY_REQUEST[m.ReadBlock].opcode
        record = msgpack.packb(["no number"])
        bad = frames.pack_frame(frames.REQUEST, opcode, 5, 0, 0, record, len(payload)) + payload
        client = await raw_client(world, HELLO, bad, PING)
        replies = replies_in(client.received)
        assert [(header.flags, header.request_id) for header, _ in replies[1:]] == [(3, 5), (1, 2)]
        error = decode(m.ErrorReply, replies[1][1])
        assert error.code == errors.InvalidArgumentError.code
        assert "malformed: ReadBlock: " in error.message
        assert not client.lost

    run(main())
    assert not caplog.records


def test_messages_of_nodes_are_refused_from_clients():
    async def main():
        async with connected() as (world, _):
            client = await world.dial(role=m.Role.CLIENT)
            with pytest.raises(errors.NotPermittedError, match="Replicate is for nodes only"):
                await client.call(
                    m.Replicate(1, 1, 0), (b"entry",), request_id=1, timeout=5, epoch=1
                )
            assert await ask(client, m.Ping(), 2) == m.Empty()

    run(main())


def test_replies_to_what_came_together_leave_together():
    async def main():
        world = World(Conditions(split_chance=0))
        await world.listen()
        client = await raw_client(world, HELLO)
        sent, note = [], world.fabric.note

        def watch(kind, source, *rest):
            sent.append((kind, source))
            note(kind, source, *rest)

        world.fabric.note = watch
        client.transport.write(PING * 50)
        await settle()
        assert len(replies_in(client.received)) == 51
        assert sent.count(("data", "node")) == 1

    run(main())


def test_a_frame_that_stalls_is_logged_and_closed(caplog):
    async def main():
        world = World()
        await world.listen(ServerLimits(stalled_seconds=20))
        client = await raw_client(world, HELLO)
        for byte in PING:
            client.transport.write(bytes([byte]))
            await asyncio.sleep(1)
        assert client.lost
        assert asyncio.get_running_loop().time() > 20

    run(main())
    assert "a frame did not end within 20 s" in caplog.text


def test_small_frames_one_byte_at_a_time_are_fine():
    async def main():
        world = World()
        await world.listen()
        client = await raw_client(world, HELLO)
        for byte in PING * 3:
            client.transport.write(bytes([byte]))
            await asyncio.sleep(0.1)
        await settle()
        assert len(replies_in(client.received)) == 4

    run(main())


def test_a_silent_client_is_closed():
    async def main():
        world = World()
        await world.listen(ServerLimits(silence_seconds=60))
        client = await raw_client(world, HELLO)
        await settle(50)
        client.transport.write(PING)
        await settle(60)
        assert not client.lost
        await settle(70)
        assert client.lost
        assert world.service.gone == world.service.admitted

    run(main())


def test_a_service_may_close_the_connection():
    async def main():
        async with connected() as (world, connection):

            def close(call):
                call.connection.close("not wanted")
                return asyncio.sleep(100)

            world.service.answers[m.Lookup] = close
            with pytest.raises(errors.UnavailableError):
                await ask(connection, m.Lookup(b"/a"))
            await settle()
            assert world.server.statistics()[:3] == (0, 1, 0)

    run(main())


def test_the_server_closes():
    async def main():
        async with connected() as (world, connection):
            ended = []

            async def work(call):
                try:
                    await asyncio.sleep(100)
                finally:
                    await asyncio.sleep(3)
                    ended.append(call)

            world.service.answers[m.Lookup] = work
            call = connection.call(m.Lookup(b"/a"), request_id=1, timeout=50, epoch=0)
            await settle()
            await world.server.close()
            assert len(ended) == 1
            with pytest.raises(errors.UnavailableError):
                await call
            with pytest.raises(errors.UnavailableError):
                await world.dial()

    run(main())


# --- bounds ----------------------------------------------------------------------------------


def test_requests_in_flight_are_bounded():
    async def main():
        async with connected(bounds=ServerLimits(requests_per_connection=3)) as (world, connection):
            world.service.answers[m.Lookup] = lambda call: asyncio.sleep(100)
            calls = [
                connection.call(m.Lookup(b"/a"), request_id=n, timeout=50, epoch=0)
                for n in range(3)
            ]
            await settle()
            with pytest.raises(errors.BusyError):
                await ask(connection, m.Lookup(b"/a"), 3)
            for call in calls:
                call.cancel()
            await settle()
            world.service.answers[m.Lookup] = not_found
            with pytest.raises(errors.PathNotFoundError):
                await ask(connection, m.Lookup(b"/a"), 4)
            assert world.server.statistics().refused == 1

    run(main())


@pytest.mark.parametrize(
    "bounds", [ServerLimits(bytes_per_connection=2500), ServerLimits(bytes=2500)]
)
def test_bytes_in_flight_are_bounded(bounds):
    async def main():
        async with connected(bounds=bounds) as (world, connection):
            release = asyncio.Event()

            async def hold(call):
                await release.wait()
                return Reply(m.WriteBlockReply(len(call.payload), 0))

            world.service.answers[m.WriteBlock] = hold
            calls = [write(connection, n, 1000) for n in range(3)]
            await settle()
            assert world.server.statistics().bytes_in_flight == 2000
            with pytest.raises(errors.BusyError):
                await calls[2]
            release.set()
            assert (await calls[0]).record == (await calls[1]).record == m.WriteBlockReply(1000, 0)
            assert (await write(connection, 3, 2000)).record == m.WriteBlockReply(2000, 0)
            assert world.server.statistics().bytes_in_flight == 0

    run(main())


def test_requests_that_stop_in_the_midst_are_bounded():
    """Each may hold 64 KiB for a minute: those of one user together no more than their share."""
    most = 3 * limits.RECORD_BYTES
    bounds = ServerLimits(arriving_per_principal=most, arriving=2 * most)
    long = frames.pack_frame(
        frames.REQUEST, m.BY_REQUEST[m.Lookup].opcode, 3, 0, 0, bytes(60 * limits.KIB)
    )

    async def main():
        world = World()
        await world.listen(bounds)
        halves = [await raw_client(world, HELLO, long[:-1]) for _ in range(5)]
        arriving = world.server.load.arriving.ledger
        assert arriving.total <= most
        assert world.server.statistics().refused == 2
        said = halves[4].received
        halves[4].transport.write(long[-1:] + PING)
        await settle()
        header = frames.unpack_header(memoryview(said), len(said) - frames.HEADER_BYTES - 1)
        assert (header.request_id, header.flags) == (2, frames.REPLY), "it goes on behind the frame"
        assert b"bytes of requests that are arriving" in said
        other = await world.dial(identity=Identity("bob"))
        world.service.answers[m.Lookup] = not_found
        with pytest.raises(errors.PathNotFoundError):
            await ask(other, m.Lookup(b"/" + bytes(20_000)))
        await settle(2 * limits.STALLED_FRAME_SECONDS)
        assert arriving.total == 0
        assert all(client.lost for client in halves[:3])

    run(main())


def test_a_payload_in_the_process_s_memory_counts_while_it_is_served():

    async def main():
        world = World()
        await world.listen(ServerLimits(arriving_per_principal=2500))
        connection, release = await world.dial(), asyncio.Event()

        async def hold(call):
            await release.wait()
            return Reply(m.WriteBlockReply(len(call.payload), 0))

        world.service.answers[m.WriteBlock] = hold
        calls = [write(connection, n, 1000) for n in range(3)]
        await settle()
        assert world.server.load.arriving.ledger.total == 2000
        with pytest.raises(errors.BusyError, match="arriving"):
            await calls[2]
        release.set()
        await asyncio.gather(*calls[:2])
        assert world.server.load.arriving.ledger.total == 0

    run(main())


def test_a_client_that_does_not_read_is_not_read_from(caplog):
    async def main():
        world = World()
        await world.listen(ServerLimits(stalled_seconds=30))
        world.service.answers[m.ReadBlock] = lambda call: Reply(
            m.ReadBlockReply(1), (bytes(limits.MIB),)
        )
        reading = frames.pack_frame(frames.REQUEST, 194, 5, 0, 0, encode(READ))
        client = await raw_client(world, HELLO)
        client.transport.pause_reading()
        client.transport.write(reading * 100)
        await settle(20)
        assert 8 <= len(world.service.calls) <= 10
        other = await world.dial()
        assert await ask(other, m.Ping()) == m.Empty()
        await settle(50)  # what the network still took from it at first counts as read
        assert client.lost
        assert not other.closed

    run(main())
    assert "it read nothing in 30 s" in caplog.text


def test_a_client_that_reads_slowly_gets_everything():
    async def main():
        world = World(Conditions(bytes_per_second=500_000, split_chance=0))
        await world.listen(ServerLimits(stalled_seconds=30))
        world.service.answers[m.ReadBlock] = lambda call: Reply(
            m.ReadBlockReply(1), (bytes(limits.MIB),)
        )
        reading = frames.pack_frame(frames.REQUEST, 194, 5, 0, 0, encode(READ))
        client = await raw_client(world, HELLO, reading * 40)
        await settle(120)
        assert len(client.received) > 40 * limits.MIB

    run(main())


# --- time ------------------------------------------------------------------------------------


def test_work_that_takes_too_long_is_cancelled():
    async def main():
        world = World()
        await world.listen()
        ended = []

        async def work(call):
            try:
                await asyncio.sleep(call.remaining() + 10)
            finally:
                ended.append((type(call.request), asyncio.get_running_loop().time()))

        world.service.answers |= {m.Lookup: work, m.Unlink: work}
        lookup = frames.pack_frame(frames.REQUEST, 64, 5, 0, 3000, encode(m.Lookup(b"/a")))
        unlink = frames.pack_frame(frames.REQUEST, 136, 6, 0, 3000, encode(m.Unlink(b"/a")))
        client = await raw_client(world, HELLO, lookup, unlink)
        await settle(5)
        assert [(kind, 3 <= at < 3.1) for kind, at in ended] == [(m.Lookup, True), (m.Unlink, True)]
        replies = replies_in(client.received)[1:]
        codes = [record[1] for _, record in replies]
        assert codes == [errors.DeadlineError.code, errors.OutcomeUnknownError.code]

    run(main())


def test_a_payload_that_takes_too_long_is_not_handled():
    async def main():
        async with connected(SLOW) as (world, connection):
            sink = MemorySink(300_000)
            world.service.sinks = lambda call: sink
            frame = frames.pack_frame(frames.REQUEST, 192, 9, 0, 1000, encode(BLOCK), 300_000)
            client = await raw_client(world, HELLO, frame, bytes(300_000), PING)
            await settle(10)
            first, second = replies_in(client.received)[1:]
            assert first[1][1] == errors.DeadlineError.code
            assert second[0].request_id == 2
            assert sink.lost
            assert [type(call.request) for call in world.service.calls] == [m.Ping]
            assert not connection.closed

    run(main())


# --- sinks -----------------------------------------------------------------------------------


def test_a_refused_payload_is_thrown_away():
    async def main():
        async with connected() as (world, connection):

            def refuse(call):
                raise errors.NoSpaceError("the node is full")

            world.service.sinks = refuse
            with pytest.raises(errors.NoSpaceError, match="the node is full"):
                await write(connection, 1, 500_000)
            assert await ask(connection, m.Ping(), 2) == m.Empty()
            assert world.server.statistics().bytes_in_flight == 0

    run(main())


@pytest.mark.parametrize("fails_at", [1, 1000, 50_000])
def test_a_sink_that_fails_midway(fails_at):
    async def main():
        async with connected(Conditions(window_bytes=10_000)) as (world, connection):
            sink = MemorySink(50_000, fails_at=fails_at)
            world.service.sinks = lambda call: sink
            with pytest.raises(errors.MemfsError, match="the sink is full"):
                await write(connection, 1, 50_000)
            assert sink.lost
            assert await ask(connection, m.Ping(), 2) == m.Empty()
            assert [type(call.request) for call in world.service.calls] == [m.Ping]
            assert world.server.statistics().bytes_in_flight == 0

    run(main())


def test_a_sink_of_the_wrong_length_is_our_bug():
    async def main():
        async with connected() as (world, connection):
            world.service.sinks = lambda call: MemorySink(10)
            with pytest.raises(errors.InternalError):
                await write(connection, 1, 20)
            assert await ask(connection, m.Ping(), 2) == m.Empty()

    run(main())


def test_a_connection_lost_in_the_midst_of_a_payload():
    async def main():
        async with connected(SLOW) as (world, connection):
            sink = MemorySink(300_000)
            world.service.sinks = lambda call: sink
            call = write(connection, 1, 300_000)
            await settle()
            assert 0 < sink.totals[-1] < 300_000
            world.fabric.cut("client", "node")
            with pytest.raises(errors.UnavailableError):
                await call
            await settle()
            assert sink.lost
            assert world.service.calls == []
            assert world.server.statistics()[:4] == (0, 1, 0, 0)

    run(main())


def write(connection, number, length):
    return connection.call(BLOCK, (bytes(length),), request_id=number, timeout=60, epoch=1)


def not_found(call):
    raise errors.PathNotFoundError("no such file")


def replies_in(data):
    """(header, record) of every frame; payloads are skipped."""
    found, at = [], 0
    while at < len(data):
        header = frames.unpack_header(data, at)
        start = at + frames.HEADER_BYTES
        found.append((header, bytes(data[start : start + header.record_length])))
        at = start + header.record_length + header.payload_length
    return found
