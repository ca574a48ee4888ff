"""The state machine between bytes and frames, driven by hand."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memfs import limits
from memfs.limits import INBOX_BYTES, INBOX_BYTES_BUSY, OUTBOX_BYTES, TLS_PIECE_BYTES
from memfs.logs import BURST, NEWS_SECONDS, RateLimit
from memfs.protocol import frames
from memfs.testing.simulation.virtual import run
from memfs.transport.framing import FrameProtocol
from tests.support.examples import examples


class RecordingTransport:
    """Keeps what is written, call by call."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.reading = True
        self.closed = False

    def get_extra_info(self, name):
        return ("there", 1) if name == "peername" else None

    def set_write_buffer_limits(self, high, low):
        pass

    def write(self, data):
        self.written.append(bytes(data))

    def writelines(self, pieces):
        self.written.append(b"".join(pieces))

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def close(self):
        self.closed = True


class Payload:
    """One payload on its way, in three pieces."""

    def __init__(self, frames_, header, record):
        self.data = bytearray(header.payload_length)
        self._done = lambda: frames_.append((header.opcode, bytes(record), bytes(self.data)))

    def buffers(self):
        view, third = memoryview(self.data), len(self.data) // 3
        return [view[:third], view[third : third + third], view[third + third :]]

    def received(self, total):
        pass

    def complete(self):
        self._done()

    def abort(self):
        pass


class Collector(FrameProtocol):
    """Keeps every frame; answers each with ``answer``."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__(asyncio.get_running_loop())
        self.transport = RecordingTransport()
        self.frames: list[tuple[int, bytes, bytes]] = []
        self._answer = answer
        self.connection_made(self.transport)

    def frame_received(self, header, record):
        self.frames.append((header.opcode, bytes(record), b""))
        if self._answer:
            self.send(self._answer)

    def payload_begins(self, header, record):
        return Payload(self.frames, header, bytes(record))

    def ended(self):
        pass

    def receive(self, data: bytes, most: int = 1 << 30) -> None:
        """Feed bytes as a loop would, at most ``most`` at a time."""
        while data:
            buffer = self.get_buffer(-1)
            size = min(len(buffer), len(data), most)
            assert size, "an empty buffer stops the loop"
            buffer[:size] = data[:size]
            self.buffer_updated(size)
            data = data[size:]


def frame(opcode: int, record: bytes, payload: bytes) -> bytes:
    return frames.pack_frame(frames.REQUEST, opcode, 1, 0, 0, record, len(payload)) + payload


contents = st.tuples(
    st.integers(0, 65535),
    st.binary(max_size=300),
    st.one_of(st.just(b""), st.binary(max_size=9000)),
)


@settings(max_examples=examples(60))
@given(st.lists(contents, max_size=8), st.lists(st.integers(1, 6000), min_size=1, max_size=20))
def test_frames_survive_any_cutting(wanted, cuts):
    async def main():
        protocol = Collector()
        stream = b"".join(frame(*one) for one in wanted)
        while stream:
            for cut in cuts:
                protocol.receive(stream[:cut])
                stream = stream[cut:]
        assert protocol.frames == wanted
        assert not protocol.closed

    run(main())


@pytest.mark.parametrize("most", [1, 7, 1000, 1 << 30])
def test_the_longest_record(most):
    record = bytes(range(256)) * (limits.RECORD_BYTES // 256)

    async def main():
        protocol = Collector()
        protocol.receive(frame(1, b"", b"") + frame(2, record, b"") + frame(3, b"x", b"y"), most)
        assert protocol.frames == [(1, b"", b""), (2, record, b""), (3, b"x", b"y")]

    run(main())


def test_answers_to_one_buffer_leave_in_one_write():
    async def main():
        protocol = Collector(b"answer")
        protocol.receive(frame(1, b"", b"") * 50)
        assert protocol.transport.written == [b"answer" * 50]
        protocol.send(b"later")
        assert protocol.transport.written[1:] == [b"later"]

    run(main())


def test_large_answers_do_not_pile_up():
    async def main():
        protocol = Collector(bytes(OUTBOX_BYTES))
        protocol.receive(frame(1, b"", b"") * 5)
        assert [len(data) for data in protocol.transport.written] == [OUTBOX_BYTES] * 5

    run(main())


def test_the_inbox_grows_when_it_is_busy_and_shrinks_when_idle():
    async def main():
        protocol = Collector()
        assert len(protocol.get_buffer(-1)) == INBOX_BYTES
        protocol.receive(frame(1, b"", b"") * 1000)
        assert len(protocol.get_buffer(-1)) == INBOX_BYTES_BUSY
        protocol.shrink()
        assert len(protocol.get_buffer(-1)) == INBOX_BYTES
        protocol.receive(frame(1, b"", b"")[:30])
        protocol.shrink()
        protocol.receive(frame(1, b"", b"")[30:])
        assert len(protocol.frames) == 1001

    run(main())


def test_a_halted_connection_keeps_what_it_has():
    async def main():
        protocol = Collector()
        protocol.halt_reading()
        assert not protocol.transport.reading
        protocol.receive(frame(1, b"", b"") * 3)
        assert protocol.frames == []
        await asyncio.sleep(10 * limits.STALLED_FRAME_SECONDS)
        assert not protocol.closed
        protocol.continue_reading()
        await asyncio.sleep(0)
        assert len(protocol.frames) == 3
        assert protocol.transport.reading

    run(main())


def test_a_closed_connection_sends_what_it_had_and_hears_nothing():
    async def main():
        protocol = Collector(b"answer")
        protocol.receive(
            frame(1, b"", b"") + b"no frame, but 44 bytes of something else altogether"
        )
        assert protocol.transport.written == [b"answer"]
        assert protocol.transport.closed
        protocol.receive(frame(1, b"", b""))
        protocol.send(b"more")
        assert protocol.transport.written == [b"answer"]
        assert len(protocol.frames) == 1

    run(main())


def test_a_flood_of_bad_frames_writes_few_lines(caplog):
    async def main():
        for number in range(500):
            Collector().receive(bytes([number % 256]) * 44)

    run(main())
    assert len(caplog.records) == 500
    limit = RateLimit()
    for number, record in enumerate(caplog.records):
        record.created = number * NEWS_SECONDS / 250  # two windows
    shown = [record.getMessage() for record in caplog.records if limit.filter(record)]
    assert len(shown) == 2 * BURST
    assert shown[BURST].endswith(f"(and {250 - BURST} like it that were not logged)")


class SecuredTransport(RecordingTransport):
    """One under TLS."""

    def get_extra_info(self, name):
        return self if name == "sslcontext" else super().get_extra_info(name)


@pytest.mark.parametrize("transport", [RecordingTransport, SecuredTransport])
def test_what_is_encrypted_goes_in_pieces(transport):
    """Of a bounded size, in order, whatever the buffers are; in clear as a whole."""

    async def main():
        sizes = (16, 3 * TLS_PIECE_BYTES + 5, 0, TLS_PIECE_BYTES - 7, 100, 1)
        buffers = [bytes([number]) * size for number, size in enumerate(sizes)]
        protocol = Collector()
        protocol.connection_made(made := transport())
        protocol.send(buffers[0], buffers[1:], sum(sizes[1:]))
        assert b"".join(made.written) == b"".join(buffers)
        if transport is RecordingTransport:
            assert len(made.written) == 1
        else:
            assert max(map(len, made.written)) == TLS_PIECE_BYTES
            assert len(made.written) == -(-sum(sizes) // TLS_PIECE_BYTES)

    run(main())
