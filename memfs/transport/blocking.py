"""A connection for one thread that waits: requests without an event loop.

Owns the frames of one socket in clear, one request at a time. A hand-over to a loop in another
thread and back costs as much as the whole round trip. Must not know what the messages mean.
Invariant: after anything but an answer, the connection is closed; no answer is ever taken for that
to another request.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from memfs.errors import MemfsError, ProtocolError, UnavailableError, from_wire
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol.frames import HEADER_BYTES, FrameHeader, check_record, pack_frame, unpack_header
from memfs.protocol.messages import BY_REQUEST, ErrorReply, Hello, R, Request, Welcome
from memfs.protocol.records import decode, encode
from memfs.transport.connection import Answer
from memfs.transport.local_sockets import check_peer
from memfs.transport.payload_memory import reply_memory

INBOX_BYTES = 64 * 1024
"""A header and nearly every record, received at once."""
_NOTHING = memoryview(b"")
_TIMEVAL = struct.Struct("@ll")


class BlockingConnection:
    """Made by :func:`connect`. For one thread at a time."""

    def __init__(self, connected: socket.socket, welcome: Welcome | None = None) -> None:
        self._socket = connected
        self._inbox = memoryview(bytearray(INBOX_BYTES))
        self._request_id = 0
        self.welcome = welcome
        """What the node said in the handshake."""
        self.closed = False

    def call(self, request: Request[R], *, timeout_ms: int, epoch: int) -> Answer[R]:
        """Send a request and wait for its answer, for as long as the socket was made to.

        Raises what the node answers, UnavailableError where it does not, or not in time.
        """
        spec = BY_REQUEST[type(request)]
        self._request_id += 1
        number, answered = self._request_id, False
        try:
            record = encode(request)
            self._socket.sendall(
                pack_frame(frames.REQUEST, spec.opcode, number, epoch, timeout_ms, record)
            )
            header, record_view, payload = self._receive()
            if (header.request_id, header.opcode) != (number, spec.opcode):
                raise ProtocolError("an answer to another request")
            answered = True
            if header.flags == frames.ERROR:
                error = decode(ErrorReply, record_view)
                raise from_wire(error.code, error.message, error.path or None)
            return Answer(decode(spec.reply, record_view), payload, header.epoch)
        except OSError as error:
            if isinstance(error, MemfsError):
                raise
            raise UnavailableError(f"no answer: {error.strerror or error}") from None
        finally:
            if not answered:
                self.close()

    def _receive(self) -> tuple[FrameHeader, memoryview, memoryview]:
        """One frame, whose record is good until the next one."""
        inbox, filled = self._inbox, self._fill(0, HEADER_BYTES)
        header = unpack_header(inbox)
        if not header.flags & frames.REPLY:
            raise ProtocolError("a request from the node that was dialled")
        end = HEADER_BYTES + header.record_length
        if end > len(inbox):
            inbox = self._inbox = memoryview(bytearray(inbox) + bytearray(end - len(inbox)))
        filled = self._fill(filled, end)
        record = inbox[HEADER_BYTES:end]
        check_record(header, record)
        length, here = header.payload_length, filled - end
        if here > length:
            raise ProtocolError("bytes behind an answer")
        if not length:
            return header, record, _NOTHING
        payload = reply_memory(length)
        payload[:here] = inbox[end:filled]
        while here < length:
            here += self._received(payload[here:])
        return header, record, payload

    def _fill(self, filled: int, need: int) -> int:
        while filled < need:
            filled += self._received(self._inbox[filled:])
        return filled

    def _received(self, into: memoryview) -> int:
        count = self._socket.recv_into(into)
        if not count:
            raise UnavailableError("the node has closed the connection")
        return count

    def close(self) -> None:
        """Only in the thread whose call it is, if there is one. In a forked child the parent's
        connection goes on. Idempotent."""
        self.closed = True
        self._socket.close()

    def interrupt(self) -> None:
        """A thread that waits for an answer gets none, and closes the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def connect(where: Endpoint | str, hello: Hello, seconds: float) -> BlockingConnection:
    """Connect to an endpoint, or a unix socket by its path, and exchange the handshake.

    ``seconds``: for each step, and for each answer later. Raises OSError, MemfsError.
    """
    if isinstance(where, str):
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        connected = socket.create_connection((where.host, where.port), seconds)
    try:
        if isinstance(where, str):
            connected.settimeout(seconds)
            connected.connect(where)
            check_peer(connected, where)
        else:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(None)  # the kernel's bound needs no call of its own
        bound = _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connected.setsockopt(socket.SOL_SOCKET, option, bound)
        connection = BlockingConnection(connected)
        answer = connection.call(hello, timeout_ms=int(seconds * 1000), epoch=0)
    except BaseException:
        connected.close()
        raise
    connection.welcome = answer.record
    return connection
