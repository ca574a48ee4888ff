"""Requests out, answers in: the calling side of a connection.

Owns the requests in flight of one connection: their deadlines, their cancellation, and their
outcome when no answer comes. Must not know what the messages mean.

Invariant: every request sent is answered exactly once by the peer; an answer to an abandoned
request (``_abandoned``) is discarded, any other unexpected one is a protocol error. A request id
may be sent again after its Cancel: the peer answers the first one before it reads the second.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeAlias

from memfs import errors, limits
from memfs.errors import MemfsError, ProtocolError
from memfs.protocol import frames
from memfs.protocol.frames import FrameHeader, pack_frame
from memfs.protocol.messages import BY_REQUEST, Cancel, ErrorReply, Ping, R, Request, Spec, Welcome
from memfs.protocol.records import decode, encode
from memfs.security.principals import Principal
from memfs.transport.bounds.ledgers import LOCAL, UserAtAddress
from memfs.transport.framing import Discard, FrameProtocol, Incoming
from memfs.transport.payload_memory import reply_memory
from memfs.types import Buffer, Identity

Into = memoryview | Sequence[memoryview] | None

_NOTHING = memoryview(b"")
_SILENCE = "nothing is heard"
_OWN_REQUESTS = 1 << 63
"""Request ids from here up are the transport's own: hello, ping, cancel."""
_TIMEOUT_MS_MAX = (1 << 32) - 1


class Answer(NamedTuple, Generic[R]):
    """What the peer answered."""

    record: R
    payload: memoryview
    """Empty when there is none, and when it was received into a list of buffers."""
    epoch: int


class Peer(NamedTuple):
    """The peer, as the handshake names it and, where it proved it, as it was verified."""

    name: str = ""
    role: int = 0
    client: int = 0
    identity: Identity = Identity("")
    member: int = 0
    incarnation: int = 0
    lane: str = ""
    address: str = ""
    principal: Principal | None = None
    """The verified principal; None when no proof was required."""
    proxied: bool = False
    """It acts on behalf of another user, who must not be a superuser."""

    @property
    def account(self) -> UserAtAddress:
        """The user and address whose account it uses."""
        return UserAtAddress(self.identity.user, self.address.rpartition(":")[0] or LOCAL)


class PendingCall(asyncio.Future[Answer[R]], Generic[R]):
    """The answer to come. Cancelling it tells the peer to stop."""

    def __init__(self, connection: Connection, spec: Spec, request_id: int, into: Into) -> None:
        """Made by :meth:`Connection.call`."""
        super().__init__(loop=connection.loop)
        self.connection = connection
        self.spec = spec
        self.request_id = request_id
        self.into = into
        self.timeout = math.inf
        self.stream: OutgoingStream | None = None
        self.ends_at = 0
        """The connection's count of sent bytes at which the payload has left."""

    def cancel(self, msg: object = None) -> bool:
        """Stop waiting; ``into`` is not touched from now on."""
        if not self.done():
            self.connection.abandon(self)
        return super().cancel(msg)

    @property
    def unfinished(self) -> bool:
        """Whether the request has not been sent completely."""
        if self.stream is not None and self.stream.left > 0:
            return True
        return self.ends_at > 0 and self.connection.bytes_left < self.ends_at

    async def until_sent(self, seconds: float) -> None:
        """Return once nothing refers to the payload's memory any more, answered or not.

        A request may be refused before all of it was sent. What does not leave within ``seconds``,
        or before this is cancelled, takes the connection with it.
        """
        pause = 0.0
        try:
            async with asyncio.timeout(seconds):
                while self.unfinished and not self.connection.closed:
                    await asyncio.sleep(pause)
                    pause = min(0.05, pause + 0.001)
        except TimeoutError:
            pass
        finally:
            if self.unfinished:
                self.connection.abort("a request was given up before its end")


UnknownCall: TypeAlias = PendingCall[Any]
"""One of those that wait for answers of every kind."""


class OutgoingStream:
    """A request whose payload is sent as it becomes available, over a connection that it has to
    itself."""

    def __init__(self, connection: Connection, answer: UnknownCall, length: int) -> None:
        """Made by :meth:`Connection.stream`; ``length`` bytes of payload will come."""
        self.answer = answer
        """May come before the payload has ended, if the peer refuses it."""
        self.left = length
        """Bytes of the payload still to be written."""
        self._connection = connection

    def write(self, data: memoryview) -> None:
        """Send the next bytes, without copying: they must not change before they have left.

        Raises UnavailableError when the connection is lost.
        """
        assert len(data) <= self.left, "more payload than was announced"
        if self._connection.closed:
            raise errors.UnavailableError(f"connection lost: {self._connection.reason}")
        if data:
            self.left -= len(data)
            self._connection.send_payload(data)

    def abort(self) -> None:
        """Give the request up; an unfinished one takes the connection with it. Idempotent."""
        if self.answer.done():
            if not self.answer.cancelled():
                self.answer.exception()  # an outcome that nobody asks for is not worth a log line
            if self.answer.unfinished:
                self._connection.abort("a request was given up before its end")
        else:
            self.answer.cancel()


class Connection(FrameProtocol):
    """One connection to a node. ``call`` and ``stream`` send requests; see ``dial``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.loop = loop
        self.peer = Peer()
        self.welcome: Welcome | None = None
        """What the node said in the handshake; None on the accepting side."""
        self.own_certificate = b""
        """On the accepting side, SHA-256 of the certificate that this connection shows."""
        self.challenge = b""
        """The challenge that a proof in the handshake has to sign; empty: none was requested."""
        self._calls: dict[int, UnknownCall] = {}
        self._abandoned: dict[int, int] = {}
        self._stream: OutgoingStream | None = None
        self._own_ids = itertools.count(_OWN_REQUESTS)
        self._pinged = False

    # --- requests ----------------------------------------------------------------------------

    def call(
        self,
        request: Request[R],
        payload: Sequence[Buffer] = (),
        *,
        request_id: int,
        timeout: float,
        epoch: int,
        into: Into = None,
    ) -> PendingCall[R]:
        """Send a request at once; the future is its answer.

        The reply's payload is received into ``into`` (views of bytes; a list is filled in order),
        by default into fresh memory. The future fails with what the peer answers; with
        DeadlineError when ``timeout`` seconds are over; with UnavailableError when the connection
        is lost. For a command that was sent, the latter two are OutcomeUnknownError. Cancelling
        the future tells the peer to stop. Unless the peer answers, ``payload`` is not read any
        more once the future is done; for an early refusal see :meth:`PendingCall.until_sent`.
        Raises ProtocolError when the request is too long for a record.
        """
        length = sum(map(len, payload))
        call, frame = self._begin(request, length, request_id, timeout, epoch, into)
        if not call.done():
            self.send(frame, payload, length)
            call.ends_at = self.bytes_sent if length else 0
        return call

    def stream(
        self,
        request: Request[R],
        payload_length: int,
        *,
        request_id: int,
        timeout: float,
        epoch: int,
    ) -> OutgoingStream:
        """Send a request whose payload of ``payload_length`` bytes is written afterwards.

        Nothing else can be sent over this connection until the payload has ended.
        """
        call, frame = self._begin(request, payload_length, request_id, timeout, epoch, None)
        stream = call.stream = OutgoingStream(self, call, payload_length)
        if not call.done():
            self._stream = stream if payload_length else None
            self.send(frame)
        return stream

    @property
    def idle(self) -> bool:
        """Open, and nothing is under way in either direction."""
        return not self.closed and not self._calls and self._stream is None

    def new_request_id(self) -> int:
        """An id for a request of the transport itself."""
        return next(self._own_ids)

    def _begin(
        self,
        request: Request[R],
        length: int,
        request_id: int,
        timeout: float,
        epoch: int,
        into: Into,
    ) -> tuple[PendingCall[R], bytes]:
        assert self._stream is None, "a stream is being sent over this connection"
        assert request_id not in self._calls, f"request {request_id} is already in flight"
        spec = BY_REQUEST[type(request)]
        call: PendingCall[R] = PendingCall(self, spec, request_id, into)
        frame = pack_frame(
            frames.REQUEST,
            spec.opcode,
            request_id,
            epoch,
            0 if timeout == math.inf else min(max(0, math.ceil(timeout * 1000)), _TIMEOUT_MS_MAX),
            encode(request),
            length,
        )
        if self.closed:
            call.set_exception(errors.UnavailableError(f"connection lost: {self.reason}"))
        elif timeout <= 0:
            call.set_exception(errors.DeadlineError(f"no time left for {request_name(spec)}"))
        else:
            call.timeout = timeout
            self._calls[request_id] = call
            self._deadlines.set(call, self._loop.time() + timeout, self._expire)
        return call, frame

    def send_payload(self, data: memoryview) -> None:
        """The next bytes of the stream."""
        assert self._stream is not None, "no stream is being sent"
        stream = self._stream
        if not stream.left:
            self._stream = None
        self.send(data)
        stream.answer.ends_at = self.bytes_sent

    # --- no answer ---------------------------------------------------------------------------

    def abandon(self, call: PendingCall[R]) -> None:
        """Abandon ``call``: tell the peer, and discard its answer."""
        del self._calls[call.request_id]
        self._deadlines.clear(call)
        if call.unfinished:
            self.abort("a request was given up before its end")
        elif self._arrival is not None and _call_of(self._arrival.incoming) is call:
            self._arrival.divert()
        else:
            self._abandoned[call.request_id] = self._abandoned.get(call.request_id, 0) + 1
            self._tell_to_stop(call)

    def _tell_to_stop(self, call: PendingCall[R]) -> None:
        if len(self._abandoned) > limits.REQUESTS_IN_FLIGHT_PER_CONNECTION:
            self.close("the peer leaves too many requests unanswered")
        elif self._stream is None:
            record = encode(Cancel(call.request_id))
            opcode = BY_REQUEST[Cancel].opcode
            self.send(pack_frame(frames.REQUEST, opcode, self.new_request_id(), 0, 0, record))

    def _expire(self, call: PendingCall[R]) -> None:
        certain = call.unfinished or not call.spec.command
        self.abandon(call)
        text = f"no answer to {request_name(call.spec)} from {self.address} in {call.timeout:.3g} s"
        call.set_exception(errors.DeadlineError(text) if certain else _unknown(text))

    def close(self, reason: str = "") -> None:
        """See :class:`asyncio.Protocol`; the unsent rest of payloads is dropped."""
        if any(call.unfinished for call in self._calls.values()):
            self.abort(reason)
        else:
            super().close(reason)

    def ended(self) -> None:
        """The connection was closed: fail the calls in flight."""
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            if call.get_loop().is_closed():
                return  # a task that nobody ended is collected: nobody waits
            certain = call.unfinished or not call.spec.command
            text = f"connection with {self.address} lost: {self.reason}"
            call.set_exception(errors.UnavailableError(text) if certain else _unknown(text))

    # --- answers -----------------------------------------------------------------------------

    def frame_received(self, header: FrameHeader, record: memoryview) -> None:
        """An answer without payload. Raises ProtocolError."""
        call = self._expected(header)
        if call is None:
            return
        if header.flags == frames.ERROR:
            error = decode(ErrorReply, record)
            self._finish(call).set_exception(
                errors.from_wire(error.code, error.message, error.path or None)
            )
        else:
            answer = Answer(decode(call.spec.reply, record), _NOTHING, header.epoch)
            self._finish(call).set_result(answer)

    def payload_begins(self, header: FrameHeader, record: memoryview) -> Incoming:
        """An answer whose payload follows. Raises ProtocolError."""
        call = self._expected(header)
        if call is None:
            return Discard(header.payload_length)
        if header.flags == frames.ERROR:
            raise ProtocolError("an error with a payload")
        decoded = decode(call.spec.reply, record)
        try:
            return ReplyPayload(call, decoded, header)
        except MemfsError as error:
            self._finish(call).set_exception(error)
            return Discard(header.payload_length)

    def _expected(self, header: FrameHeader) -> UnknownCall | None:
        """The request that a reply answers, None for one that was abandoned."""
        if not header.flags & frames.REPLY:
            raise ProtocolError("a request from the node that was dialled")
        request_id = header.request_id
        waiting = self._abandoned.get(request_id)
        if waiting:
            if waiting == 1:
                del self._abandoned[request_id]
            else:
                self._abandoned[request_id] = waiting - 1
            return None
        call = self._calls.get(request_id)
        if call is None or call.spec.opcode != header.opcode:
            raise ProtocolError(f"a reply to request {request_id}, which was not asked")
        return call

    def _finish(self, call: PendingCall[R]) -> PendingCall[R]:
        del self._calls[call.request_id]
        self._deadlines.clear(call)
        return call

    def complete(self, payload: ReplyPayload) -> None:
        """A reply's payload is there."""
        answer = Answer(payload.record, payload.view, payload.epoch)
        self._finish(payload.call).set_result(answer)

    # --- keepalive ---------------------------------------------------------------------------

    def keep_alive(self, seconds: float) -> None:
        """Ping whenever nothing was heard for ``seconds``; close after as long again."""
        self._deadlines.set(_SILENCE, self._loop.time() + seconds, lambda _: self._tick(seconds))

    def _tick(self, seconds: float) -> None:
        if self.received_since:
            self.received_since = self._pinged = False
            self.shrink()
        elif self._pinged:
            self.close(f"nothing heard from {self.address} for {2 * seconds:g} s")
            return
        elif self._stream is None:
            self._pinged = True
            ping = self.call(Ping(), request_id=self.new_request_id(), timeout=math.inf, epoch=0)
            ping.add_done_callback(_ignore_outcome)
        self.keep_alive(seconds)


class ReplyPayload:
    """The payload of an answer on its way to where the caller wants it."""

    __slots__ = ("_buffers", "call", "epoch", "record", "view")

    def __init__(self, call: UnknownCall, record: object, header: FrameHeader) -> None:
        """Raises ProtocolError when the payload is longer than the room for it."""
        length = header.payload_length
        self.call = call
        self.record = record
        self.epoch = header.epoch
        into = call.into
        if into is None:
            into = reply_memory(length)
        self._buffers = [into[:length]] if isinstance(into, memoryview) else _cut(into, length)
        self.view = self._buffers[0] if isinstance(into, memoryview) else _NOTHING
        if sum(map(len, self._buffers)) != length:
            raise ProtocolError(f"an unexpected payload of {length} bytes")

    def buffers(self) -> Sequence[memoryview]:
        """See :class:`~memfs.transport.framing.Incoming`."""
        return self._buffers

    def received(self, total: int) -> None:
        """Nothing to do before the end."""

    def complete(self) -> None:
        """See :class:`~memfs.transport.framing.Incoming`."""
        self.call.connection.complete(self)

    def abort(self) -> None:
        """The call itself fails with the connection."""


def request_name(spec: Spec) -> str:
    """The name of a request, for messages."""
    return spec.request.__name__


def _cut(buffers: Sequence[memoryview], length: int) -> list[memoryview]:
    """The first ``length`` bytes of scattered buffers."""
    kept = []
    for buffer in buffers:
        kept.append(buffer[:length])
        length -= len(kept[-1])
    return kept


def _call_of(incoming: Incoming) -> UnknownCall | None:
    return incoming.call if isinstance(incoming, ReplyPayload) else None


def _unknown(text: str) -> errors.OutcomeUnknownError:
    return errors.OutcomeUnknownError(f"{text}: it may have taken effect or not")


def _ignore_outcome(future: asyncio.Future[Answer[R]]) -> None:
    if not future.cancelled():
        future.exception()
