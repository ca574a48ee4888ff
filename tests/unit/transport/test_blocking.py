"""Requests of one thread without a loop: whatever is no answer to them closes the connection."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from memfs.errors import PathNotFoundError, ProtocolError, UnavailableError
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.frames import HEADER_BYTES, pack_frame, unpack_header
from memfs.protocol.records import encode
from memfs.transport.blocking import INBOX_BYTES, BlockingConnection

READ = m.ReadMany((b"/f",), 1000, False)
ONE = m.ReadManyReply((3,), (7,), ())
Answers = Callable[[int, int], list[bytes]]
"""The pieces that are sent for a request: its id and opcode."""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        bound = struct.pack("@ll", 0, 300_000)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
        yield ours, theirs


def asked(
    ends: tuple[socket.socket, socket.socket], answers: Answers, count: int = 1
) -> tuple[BlockingConnection, threading.Thread]:
    """A connection whose node answers so many requests."""
    ours, theirs = ends

    def serve() -> None:
        for _ in range(count):
            got = b""
            while len(got) < HEADER_BYTES:
                got += theirs.recv(1 << 16)
            header = unpack_header(got)
            for piece in answers(header.request_id, header.opcode):
                theirs.sendall(piece)

    node = threading.Thread(target=serve)
    node.start()
    return BlockingConnection(ours), node


def reply(
    number: int, opcode: int, record: object = ONE, payload: int = 0, flags: int = 1
) -> bytes:
    return pack_frame(flags, opcode, number, 9, 0, encode(record), payload)


def call(connection: BlockingConnection) -> tuple[object, bytes, int]:
    answer = connection.call(READ, timeout_ms=300, epoch=8)
    return answer.record, bytes(answer.payload), answer.epoch


def test_answers_come_with_their_payload_however_it_is_cut(ends) -> None:
    for data in (b"", b"abc", b"x" * (3 * INBOX_BYTES)):

        def cut(number: int, opcode: int, data: bytes = data) -> list[bytes]:
            whole = reply(number, opcode, payload=len(data)) + data
            return [whole[:7], whole[7:50], whole[50 : len(whole) - 1], whole[len(whole) - 1 :]]

        connection, node = asked(ends, cut)
        assert call(connection) == (ONE, data, 9)
        node.join()


def test_an_error_is_an_answer(ends) -> None:
    gone = m.ErrorReply(PathNotFoundError.code, "no such file", "/f")

    def answers(number: int, opcode: int) -> list[bytes]:
        if number == 1:
            return [reply(number, opcode, gone, flags=frames.ERROR)]
        return [reply(number, opcode)]

    connection, node = asked(ends, answers, 2)
    with pytest.raises(PathNotFoundError, match="no such file"):
        call(connection)
    assert not connection.closed and call(connection)[0] == ONE
    node.join()


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (lambda number, opcode: [reply(number + 1, opcode)], ProtocolError),
        (lambda number, opcode: [reply(number, opcode + 1)], ProtocolError),
        (lambda number, opcode: [reply(number, opcode) + b"?"], ProtocolError),
        (lambda number, opcode: [reply(number, opcode, flags=frames.REQUEST)], ProtocolError),
        (lambda number, opcode: [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3], ProtocolError),
        (lambda number, opcode: [reply(number, opcode)[:-1] + b"\xff"], ProtocolError),
        (lambda number, opcode: [], UnavailableError),
        (lambda number, opcode: [reply(number, opcode, payload=9) + b"1"], UnavailableError),
    ],
)
def test_what_is_no_answer_ends_it(ends, answers: Answers, error: type[Exception]) -> None:
    connection, node = asked(ends, answers)
    with pytest.raises(error):
        call(connection)
    assert connection.closed
    node.join()


def test_a_node_that_is_gone(ends) -> None:
    connection, node = asked(ends, lambda number, opcode: [], 0)
    node.join()
    ends[1].close()
    with pytest.raises(UnavailableError):
        call(connection)
    assert connection.closed


def test_a_call_can_be_interrupted_by_another_thread(ends) -> None:
    begun = threading.Event()

    def answers(number: int, opcode: int) -> list[bytes]:
        begun.set()
        return []

    connection, node = asked(ends, answers)
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 0))

    def interrupt() -> None:
        begun.wait()
        connection.interrupt()

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(UnavailableError, match="closed"):
        call(connection)
    other.join()
    node.join()
