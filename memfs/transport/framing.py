"""Frames over one asyncio transport.

Owns the receive state machine, the outbox and the flow control of one connection; subclasses
interpret the frames. Headers and records are received into a small buffer of the connection (the
inbox), a payload straight into its destination, so the kernel makes the only copy of bulk bytes.
Frames sent while a received buffer is being parsed leave together.

Invariant: either the inbox collects the front of the next frame, or ``_arrival`` takes the payload
of the current one and the inbox is empty.
"""

from __future__ import annotations

import abc
import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from memfs import limits
from memfs.errors import ProtocolError
from memfs.limits import (
    CLOSE_SECONDS,
    INBOX_BYTES,
    INBOX_BYTES_BUSY,
    OUTBOX_BYTES,
    TLS_PIECE_BYTES,
    WRITE_HIGH_WATER,
    WRITE_LOW_WATER,
)
from memfs.protocol.frames import HEADER_BYTES, MAGIC, FrameHeader, check_record, unpack_header
from memfs.security.tls_failures import explain
from memfs.transport.deadlines import Deadlines
from memfs.transport.local_sockets import peer_user
from memfs.transport.sink import Sink
from memfs.types import Buffer

log = logging.getLogger(__name__)

_SCRATCH = memoryview(bytearray(256 * limits.KIB))
_FRAME = "a frame has begun"
_NOTHING = memoryview(b"")
_CLOSING = "the connection is closing"


class Incoming(Sink, Protocol):
    """A payload that is arriving at a :class:`Sink`, and the handling of its end.

    ``abort``: the connection is lost before the end.
    """

    def complete(self) -> None:
        """All of it is there. Raises ProtocolError."""


class Discard:
    """Receives an unwanted payload and drops it."""

    def __init__(self, length: int) -> None:
        """Args: ``length`` bytes will come."""
        self._length = length

    def buffers(self) -> Sequence[memoryview]:
        """The same scratch memory again and again."""
        whole, rest = divmod(self._length, len(_SCRATCH))
        return [_SCRATCH] * whole + [_SCRATCH[:rest]]

    def received(self, total: int) -> None:
        """Ignored."""

    def complete(self) -> None:
        """Ignored."""

    def abort(self) -> None:
        """Ignored."""


class Arrival:
    """The progress of a payload. ``space`` is the memory for its next bytes."""

    __slots__ = ("_length", "_rest", "_total", "incoming", "space")

    def __init__(self, incoming: Incoming, length: int) -> None:
        """Args: ``length`` of the payload, at least 1."""
        self._length = length
        self._total = 0
        self._go_to(incoming)

    def advance(self, count: int) -> bool:
        """``count`` bytes were received into ``space``; whether the payload is complete."""
        self._step(count)
        self.incoming.received(self._total)
        return self._total == self._length

    def copy(self, data: memoryview) -> int:
        """Copy the part that came with the record; returns the number of the payload's bytes."""
        size = min(len(data), self._length - self._total)
        taken = 0
        while taken < size:
            piece = data[taken : min(size, taken + len(self.space))]
            self.space[: len(piece)] = piece
            self._step(len(piece))
            taken += len(piece)
        return taken

    def divert(self) -> None:
        """Drop the rest: the destination is not written any more."""
        if self._total < self._length:
            self._go_to(Discard(self._length - self._total))

    def _go_to(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self._rest: Iterator[memoryview] = filter(len, incoming.buffers())
        self.space = next(self._rest)

    def _step(self, count: int) -> None:
        self._total += count
        self.space = self.space[count:]
        if not self.space:
            self.space = next(self._rest, self.space)


class FrameProtocol(asyncio.BufferedProtocol, abc.ABC):
    """One connection as a sequence of frames: the base of both of its ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Args: ``loop``, the one that runs."""
        self.closed = False
        """Nothing more is sent, no further frame is received."""
        self.reason = ""
        """The reason for which it was closed."""
        self.address = ""
        """The address of the other end, for messages."""
        self.received_since = False
        """Whether bytes were received since this was last reset."""
        self.bytes_received = 0
        self.bytes_sent = 0
        self.record_limit: int = limits.RECORD_BYTES
        self.stalled_seconds: float = limits.STALLED_FRAME_SECONDS
        self._loop = loop
        self._deadlines = Deadlines(loop)
        self._transport: Any = None
        self._in_pieces = False
        """Under TLS: the loop encrypts a write as a whole before it sends any of it."""
        self._look_at_mark: Callable[[], None] | None = None
        """The transport of asyncio in CPython 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 does not look
        at its high-water mark after ``writelines`` (CVE-2024-12254): a peer that does not read
        fills this process's memory."""
        self._lost: asyncio.Future[None] = loop.create_future()
        self._inbox = memoryview(bytearray(INBOX_BYTES))
        self._filled = 0
        self._arrival: Arrival | None = None
        self._watched = False
        self._halted = False
        self._aborted = False
        self._corked = False
        self._outbox: list[Buffer] = []
        self._outbox_bytes = 0
        self._blocked: asyncio.Future[None] | None = None

    # --- for subclasses ----------------------------------------------------------------------

    @abc.abstractmethod
    def frame_received(self, header: FrameHeader, record: memoryview) -> None:
        """A frame without payload; ``record`` is valid during the call. Raises ProtocolError."""

    @abc.abstractmethod
    def payload_begins(self, header: FrameHeader, record: memoryview) -> Incoming:
        """A frame whose payload follows; returns its receiver. Raises ProtocolError."""

    def may_have_inbox(self, size: int, *, needed: bool) -> bool:
        """May the inbox grow to ``size`` bytes? ``needed``: else a frame is refused."""
        return True

    def frame_refused(self, header: FrameHeader) -> None:
        """A frame whose record finds no room; the rest of it will be dropped. Raises
        ProtocolError."""
        raise AssertionError("an inbox that may always grow")

    @abc.abstractmethod
    def ended(self) -> None:
        """The connection was closed or lost, see ``reason``. Called once."""

    # --- life --------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Called by the loop."""
        self._use(transport)
        if self.closed:  # whoever wanted it is gone
            transport.abort()
            return
        peer = transport.get_extra_info("peername")
        self.address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "a local process"

    def leave_tls(self) -> None:
        """Go on in clear, on a connection that was made for it. Raises ProtocolError."""
        if self._outbox:
            self._flush()
        self._use(self._transport.release())

    def _use(self, transport: Any) -> None:
        self._transport = transport
        self._in_pieces = transport.get_extra_info("sslcontext") is not None
        if not self._in_pieces:
            self._look_at_mark = getattr(transport, "_maybe_pause_protocol", None)
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER, low=WRITE_LOW_WATER)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._aborted = True  # nothing more can leave
        why = (explain(exc) or str(exc)) if exc else "the peer closed the connection"
        self._end(why)
        self._deadlines.close()
        self._inbox = _NOTHING  # whoever still refers to it need not keep the memory
        if not self._lost.done():
            self._lost.set_result(None)

    def close(self, reason: str = "") -> None:
        """Send what is waiting, then close. What is not answered yet fails now."""
        if not self.closed:
            self._flush()
            self._end(reason)
            if self._transport is None:  # it is not made yet, and will be aborted
                return
            self._transport.close()
            self._deadlines.set(_CLOSING, self._loop.time() + CLOSE_SECONDS, self._drop_unsent)

    def abort(self, reason: str) -> None:
        """Close without sending what is waiting."""
        self._aborted = True
        self._end(reason)
        self._transport.abort()

    @property
    def certificate(self) -> Mapping[str, Any] | None:
        """The certificate of the peer under TLS; None without TLS."""
        found: Mapping[str, object] | None = self._transport.get_extra_info("peercert")
        return found

    @property
    def certificate_digest(self) -> bytes:
        """SHA-256 of the peer's certificate, as DER; empty without one."""
        secured = self._transport.get_extra_info("ssl_object")
        found = secured.getpeercert(binary_form=True) if secured is not None else None
        return hashlib.sha256(found).digest() if found else b""

    @property
    def local_user(self) -> int | None:
        """The user at the other end of a unix socket (SO_PEERCRED); None of other sockets."""
        return peer_user(self._transport)

    async def wait_closed(self) -> None:
        """Return once the socket is gone."""
        await asyncio.shield(self._lost)

    def _end(self, reason: str) -> None:
        if self.closed:
            return
        self.closed, self.reason = True, reason
        self._deadlines.close()
        self._outbox.clear()
        self._filled = 0
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            arrival.incoming.abort()
        self._unblock()
        self.ended()

    def _drop_unsent(self, _key: str) -> None:
        self._aborted = True
        self._transport.abort()

    def _refuse(self, error: ProtocolError) -> None:
        log.warning("closed the connection with %s: %s", self.address, error)
        self.close(str(error))

    # --- receiving ---------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop: where the next bytes go."""
        return self._inbox[self._filled :] if self._arrival is None else self._arrival.space

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop: ``nbytes`` are there."""
        if self.closed:
            return
        self.received_since = True
        self.bytes_received += nbytes
        self._corked = True
        try:
            arrival = self._arrival
            if arrival is None:
                self._filled += nbytes
                self._parse()
            elif arrival.advance(nbytes):
                self._complete(arrival)
        except ProtocolError as error:
            self._refuse(error)
        finally:
            self._corked = False
            if self._outbox:
                self._flush()

    def _parse(self) -> None:
        """Handle the frames in the inbox; an incomplete one moves to its front."""
        inbox, start, end = self._inbox, 0, self._filled
        need = 0
        while end - start >= HEADER_BYTES and not self._halted and not self.closed:
            header = unpack_header(inbox, start)
            record_at = start + HEADER_BYTES
            record_end = record_at + header.record_length
            if header.record_length > self.record_limit:
                raise ProtocolError(f"record of {header.record_length} bytes before the handshake")
            if record_end > end:
                need = record_end - start
                break
            record = inbox[record_at:record_end]
            check_record(header, record)
            start = record_end
            if header.payload_length:
                start += self._begin_payload(header, record, inbox[start:end])
            else:
                self.frame_received(header, record)
        if not self.closed:
            self._keep(start, end, need)
            self._watch(ended=start > 0)
            if self._filled >= len(MAGIC) and bytes(self._inbox[: len(MAGIC)]) != MAGIC:
                raise ProtocolError("no memfs frame: wrong magic")  # text may be too short for one

    def _begin_payload(self, header: FrameHeader, record: memoryview, rest: memoryview) -> int:
        """Start receiving a payload; returns how much of it was in the inbox already."""
        arrival = Arrival(self.payload_begins(header, record), header.payload_length)
        self._arrival = arrival
        taken = arrival.copy(rest)
        if arrival.advance(0):
            self._complete(arrival)
        return taken

    def _complete(self, arrival: Arrival) -> None:
        self._arrival = None
        arrival.incoming.complete()
        self._watch(ended=True)

    def _keep(self, start: int, end: int, need: int) -> None:
        """Move the unfinished frame to the front of an inbox with at least ``need`` bytes."""
        inbox, size, left = self._inbox, len(self._inbox), end - start
        is_busy = end == size < INBOX_BYTES_BUSY and self._arrival is None
        wanted = max(need, INBOX_BYTES_BUSY) if is_busy or need > size else size
        if wanted > size:
            if self.may_have_inbox(wanted, needed=need > size):
                self._inbox = memoryview(bytearray(wanted))
            elif need > size:
                self._skip(unpack_header(inbox, start), left)
                return
        if left and (start or self._inbox is not inbox):
            self._inbox[:left] = inbox[start:end]
        self._filled = left

    def _skip(self, header: FrameHeader, received: int) -> None:
        """Drop a frame of which so many bytes are there, and its rest when it comes."""
        self._filled = 0
        self.frame_refused(header)
        rest = HEADER_BYTES + header.record_length + header.payload_length - received
        if not self.closed:
            self._arrival = Arrival(Discard(rest), rest)

    def _watch(self, *, ended: bool) -> None:
        """Set the deadline of a frame that has begun, unless this side does not read."""
        if self._watched and (ended or self._halted):
            self._watched = False
            self._deadlines.clear(_FRAME)
        begun = self._filled or self._arrival is not None
        if begun and not self._watched and not self._halted and not self.closed:
            self._watched = True
            self._deadlines.set(_FRAME, self._loop.time() + self.stalled_seconds, self._stalled)

    def _stalled(self, _key: str) -> None:
        self._refuse(ProtocolError(f"a frame did not end within {self.stalled_seconds:g} s"))

    def shrink(self) -> None:
        """Give memory back while the connection is idle."""
        if not self._filled and len(self._inbox) > INBOX_BYTES:
            self._inbox = memoryview(bytearray(INBOX_BYTES))

    def halt_reading(self) -> None:
        """Take no further frame and no further byte."""
        if not self._halted and not self.closed:
            self._halted = True
            self._transport.pause_reading()
            self._watch(ended=False)

    def continue_reading(self) -> None:
        """Undo :meth:`halt_reading` in a later callback, since a frame may be being handled."""
        self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        if not self._halted or self.closed or self._blocked is not None:
            return
        self._halted = False
        if self._arrival is None:
            self.buffer_updated(0)
        if not self._halted and not self.closed:
            self._transport.resume_reading()
            self._watch(ended=False)

    # --- sending -----------------------------------------------------------------------------

    def send(self, frame: Buffer, payload: Sequence[Buffer] = (), length: int = 0) -> None:
        """Send a frame (or a part of one) and its payload of ``length`` bytes.

        The buffers are not copied: they must not change before they have left.
        """
        if self.closed:
            return
        self.bytes_sent += len(frame) + length
        if self._corked:
            self._outbox.append(frame)
            self._outbox.extend(payload)
            self._outbox_bytes += len(frame) + length
            if self._outbox_bytes >= OUTBOX_BYTES:
                self._flush()
        elif length:
            self._write((frame, *payload))
        else:
            self._transport.write(frame)

    @property
    def bytes_left(self) -> int:
        """Bytes that have been passed to the kernel: their buffers may be reused."""
        if self._aborted or self._transport is None:
            return self.bytes_sent
        waiting: int = self._transport.get_write_buffer_size()
        return self.bytes_sent - self._outbox_bytes - waiting

    def _flush(self) -> None:
        outbox, self._outbox, self._outbox_bytes = self._outbox, [], 0
        if len(outbox) == 1:
            self._transport.write(outbox[0])
        elif outbox:
            self._write(outbox)

    def _write(self, buffers: Sequence[Buffer]) -> None:
        if self._in_pieces:
            for piece in _pieces(buffers):
                self._transport.writelines(piece)
        else:
            self._transport.writelines(buffers)
        if self._look_at_mark is not None:
            self._look_at_mark()

    def pause_writing(self) -> None:
        """Called by the loop: the peer reads more slowly than this side writes."""
        if self._blocked is None:
            self._blocked = self._loop.create_future()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._unblock()

    def _unblock(self) -> None:
        blocked, self._blocked = self._blocked, None
        if blocked is not None and not blocked.done():
            blocked.set_result(None)

    async def drain(self) -> None:
        """Wait while more than the high-water mark is waiting to be sent."""
        if self._blocked is not None:
            await asyncio.shield(self._blocked)


def _pieces(buffers: Sequence[Buffer]) -> Iterator[list[Buffer]]:
    """The same bytes in groups of at most ``TLS_PIECE_BYTES``, nothing copied."""
    group, room = list[Buffer](), TLS_PIECE_BYTES
    for buffer in buffers:
        view, at = memoryview(buffer), 0
        while at < len(view):
            part = view[at : at + room]
            group.append(part)
            at += len(part)
            room -= len(part)
            if not room:
                yield group
                group, room = [], TLS_PIECE_BYTES
    if group:
        yield group
