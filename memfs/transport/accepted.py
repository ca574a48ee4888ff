"""The serving side of one connection: handshake, dispatch, answers.

Owns the requests being served for one peer. Invariants: a request is answered exactly once; when
a Cancel has been read, everything asked before under that id is answered; what a request holds
(its bytes in flight) is given back when it no longer runs.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import cast

from memfs import errors, limits
from memfs.errors import MemfsError, ProtocolError
from memfs.protocol import frames
from memfs.protocol.bombs import BombError
from memfs.protocol.frames import FrameHeader, pack_frame
from memfs.protocol.messages import (
    BY_OPCODE,
    BY_REQUEST,
    Cancel,
    ErrorReply,
    GetChallenge,
    Hello,
    Lane,
    Ping,
    Role,
    Welcome,
)
from memfs.protocol.records import decode, encode
from memfs.transport.bounds.load import ServerLoad
from memfs.transport.connection import Peer, request_name
from memfs.transport.framing import Discard, Incoming
from memfs.transport.paced import PacedConnection
from memfs.transport.request_payload import RequestPayload
from memfs.transport.service import IncomingCall, Reply, Service

log = logging.getLogger(__name__)

_HELLO = BY_REQUEST[Hello]
_CANCEL = BY_REQUEST[Cancel]
_CHALLENGE = BY_REQUEST[GetChallenge]
_PING = BY_REQUEST[Ping]
_HANDSHAKE = "the handshake is due"
_MESSAGE_CHARACTERS = 1000


class Accepted(PacedConnection):
    """A connection that a client or another node opened."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        service: Service,
        load: ServerLoad,
        *,
        admit: Callable[[Accepted], bool],
        forget: Callable[[Accepted], None],
        bulk_port: int = 0,
        blocks: bool = False,
    ) -> None:
        """``load``: what it shares with the server's other connections.

        ``bulk_port``: the port for connections for blocks, which the greeting names; ``blocks``:
        this is such a connection, in clear after the greeting, and serves nothing else.

        ``admit`` is called when it is connected; if it returns False the connection is dropped
        without an answer. ``forget`` is called when the connection is lost.
        """
        super().__init__(loop, load)
        self.record_limit = limits.HANDSHAKE_RECORD_BYTES
        self._admit = admit
        self._forget = forget
        self._service = service
        self._bulk_port = bulk_port
        self._blocks = blocks
        self._greeting: asyncio.Future[Welcome] | None = None
        self._served: dict[IncomingCall[object], asyncio.Future[object]] = {}
        self._bytes_in_flight = 0
        self._reports = False

    @property
    def in_flight(self) -> int:
        """Requests whose handlers have not finished yet."""
        return len(self._served)

    # --- life --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        super().connection_made(transport)
        if not self._admit(self):
            self.abort("too many connections")
            return
        due = self._loop.time() + self._bounds.handshake_seconds
        self._deadlines.set(_HANDSHAKE, due, self._handshake_missed)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(exc)
        self._forget(self)
        if self._greeted:
            self._load.admission.leave(self.peer.role == Role.NODE, self.account)
        if self._reports:
            self._load.unread.remove(self)

    def ended(self) -> None:
        """The connection was closed: cancel what is being served."""
        super().ended()
        for work in list(self._served.values()):
            work.cancel()
        if self._greeting is not None:
            self._greeting.cancel()
        if self._greeted:
            self._service.connection_closed(self)

    async def wait_served(self) -> None:
        """Return once the socket is gone and nothing is being served any more."""
        await self.wait_closed()
        await asyncio.gather(*self._served.values(), return_exceptions=True)

    def _handshake_missed(self, _key: str) -> None:
        seconds = self._bounds.handshake_seconds
        self._refuse(ProtocolError(f"no handshake within {seconds:g} s"))

    # --- frames ------------------------------------------------------------------------------

    def frame_received(self, header: FrameHeader, record: memoryview) -> None:
        """A request without payload. Raises ProtocolError."""
        if not self._greeted:
            self._greet(header, record)
            return
        if header.flags != frames.REQUEST:
            super().frame_received(header, record)
            return
        if self._is_shared:
            self._count_frame()
        if header.opcode == _CANCEL.opcode:
            self._cancel(decode(Cancel, record).request_id)
        else:
            call = self._admitted(header, record)
            if call is not None:
                self._serve(call)
        if self._is_shared:
            self._check_share()

    def frame_refused(self, header: FrameHeader) -> None:
        """A request for whose record there is no room. Raises ProtocolError."""
        if not self._greeted:
            raise ProtocolError("too many handshakes at once")
        if header.flags == frames.REQUEST:
            self._load.refused += 1
            refusal = self._load.arriving.refusal(self.account, header.record_length)
            text = refusal or "too many requests have begun to arrive: ask less at a time"
            self._send_error(header, errors.BusyError(text))

    def payload_begins(self, header: FrameHeader, record: memoryview) -> Incoming:
        """A request whose payload follows. Raises ProtocolError."""
        if not self._greeted or header.opcode == _CANCEL.opcode:
            raise ProtocolError("a payload where there can be none")
        if header.flags != frames.REQUEST:
            return super().payload_begins(header, record)
        if self._is_shared:
            self._count_frame()
        call = self._admitted(header, record)
        if call is None:
            return Discard(header.payload_length)
        try:
            sink = self._service.sink(call)
            if sink is None and self._is_shared:
                self._load.arriving.charge(self.account, header.payload_length)
            incoming = RequestPayload(self, call, sink)
        except Exception as error:
            self._answer_error(call, error)
            return Discard(header.payload_length)
        self._hold(header.payload_length)
        return incoming

    def _admitted(self, header: FrameHeader, record: memoryview) -> IncomingCall[object] | None:
        """The request, or None when it was answered with an error. Raises ProtocolError."""
        spec = BY_OPCODE.get(header.opcode)
        if spec is None:
            text = f"this node does not know opcode {header.opcode}"
            self._send_error(header, errors.UnsupportedError(text))
            return None
        if spec is _HELLO or spec is _CHALLENGE:
            raise ProtocolError("a second handshake")
        timeout = header.timeout_ms
        deadline = self._loop.time() + timeout / 1000 if timeout else math.inf
        try:
            request = decode(spec.request, record)
        except BombError:
            raise
        except ProtocolError as error:  # the frame is sound: the others need not suffer
            self._send_error(header, errors.InvalidArgumentError(f"malformed: {error.message}"))
            return None
        call = IncomingCall(self, header, spec, request, deadline)
        refusal = self._refusal(call)
        if refusal is not None:
            self._answer_error(call, refusal)
            return None
        return call

    def _refusal(self, call: IncomingCall[object]) -> MemfsError | None:
        """Why a request is not served, if it is not."""
        if call.spec.peer and self.peer.role != Role.NODE:
            error = errors.NotPermittedError(f"{request_name(call.spec)} is for nodes only")
            self._service.denied(call, error)
            return error
        if self._blocks and call.spec.lane is not Lane.BLOCKS and call.spec is not _PING:
            text = f"{request_name(call.spec)} is not for a connection in clear"
            denied = errors.NotPermittedError(text)
            self._service.denied(call, denied)
            return denied
        if self._is_shared and (refusal := self._share_refusal()):
            self._load.refused += 1
            return errors.BusyError(refusal)
        bounds, length = self._bounds, call.header.payload_length
        if (
            len(self._served) >= bounds.requests_per_connection
            or self._bytes_in_flight + length > bounds.bytes_per_connection
            or self._load.bytes_in_flight + length > bounds.bytes
        ):
            self._load.refused += 1
            return errors.BusyError("too much is in flight: ask less at a time")
        return None

    def _share_refusal(self) -> str:
        """What this request would exceed of its user's share; empty: nothing."""
        load, user = self._load, self.account.user
        if load.rates.on and (refusal := load.rates.refusal(user)):
            return refusal
        return load.requests_held.refusal(user) if self._served else ""

    # --- handshake ---------------------------------------------------------------------------

    def _greet(self, header: FrameHeader, record: memoryview) -> None:
        if header.flags == frames.REQUEST and header.opcode == _CHALLENGE.opcode:
            self._challenge(header, record)
            return
        if header.flags != frames.REQUEST or header.opcode != _HELLO.opcode:
            raise ProtocolError("the first frame is no handshake")
        hello = decode(Hello, record)
        call = IncomingCall(self, header, _HELLO, hello, math.inf)
        self.peer = Peer(
            "",
            hello.role,
            hello.client,
            hello.identity,
            hello.member,
            hello.incarnation,
            hello.lane,
            self.address,
        )
        try:
            version = _common_version(hello)
            self.account = self.peer.account
            if refusal := self._load.admission.refusal(hello.role == Role.NODE, self.account):
                self._load.turned_away += 1
                raise errors.BusyError(refusal)
            found = self._service.welcome(hello, self)
        except Exception as error:
            self._turn_away(call, error)
            return
        if isinstance(found, Welcome):
            self._welcome(call, found._replace(version=version))
            return
        self.halt_reading()
        self._greeting = asyncio.ensure_future(found)
        self._greeting.add_done_callback(lambda done: self._proved(call, done, version))

    def _challenge(self, header: FrameHeader, record: memoryview) -> None:
        call = IncomingCall(self, header, _CHALLENGE, decode(GetChallenge, record), math.inf)
        if self.challenge:
            raise ProtocolError("a second question for a challenge")
        try:
            self._answer(call, Reply(self._service.challenge(self)))
        except errors.MemfsError as error:
            self._turn_away(call, error)

    def _proved(
        self, call: IncomingCall[object], done: asyncio.Future[Welcome], version: int
    ) -> None:
        """The client's proof was verified, or refused."""
        self._greeting = None
        if done.cancelled():
            return
        error = done.exception()
        if self.closed:
            if error is None:  # it was admitted, and is gone
                self._service.connection_closed(self)
            return
        if error is not None:
            self._turn_away(call, error)
            return
        self._welcome(call, done.result()._replace(version=version))
        self.continue_reading()

    def _turn_away(self, call: IncomingCall[object], error: BaseException) -> None:
        self._answer_error(call, error)
        self.close("the handshake was refused")

    def _welcome(self, call: IncomingCall[object], welcome: Welcome) -> None:
        self._greeted = True
        self.account = self.peer.account  # as the service found it proved
        self._load.admission.enter(self.peer.role == Role.NODE, self.account)
        if self.peer.role != Role.NODE:
            self._reports = True
            self._load.unread.add(self)
        self.record_limit = limits.RECORD_BYTES
        self._deadlines.clear(_HANDSHAKE)
        self._watch_silence()
        self._answer(call, Reply(welcome._replace(bulk_port=self._bulk_port)))
        if self._blocks:
            self._leave_tls()

    def _leave_tls(self) -> None:
        try:
            self.leave_tls()
        except ProtocolError as error:
            self._refuse(error)

    # --- serving -----------------------------------------------------------------------------

    def _serve(self, call: IncomingCall[object]) -> None:
        """Answer at once, or when the service's awaitable is done."""
        try:
            result = self._service.handle(call)
            if not isinstance(result, tuple):  # a record, or a Reply
                self._wait_for(call, cast(Awaitable[object], result))
                return
            self._answer(call, result)
        except Exception as error:
            self._answer_error(call, error)
        self._release(call)

    def _wait_for(self, call: IncomingCall[object], result: Awaitable[object]) -> None:
        work = asyncio.ensure_future(result)
        self._served[call] = work
        if self._is_shared:
            self._load.requests_held.add(self.account.user, 1)
        self._deadlines.set(call, call.deadline, self._overdue)
        work.add_done_callback(lambda work: self._worked(call, work))
        if self.closed:  # by the service itself
            work.cancel()

    def _worked(self, call: IncomingCall[object], work: asyncio.Future[object]) -> None:
        del self._served[call]
        if self._is_shared:
            self._load.requests_held.give_back(self.account.user, 1)
        self._deadlines.clear(call)
        self._release(call)
        if work.cancelled():
            self._give_up(call, "was cancelled")
            return
        error = work.exception()
        if error is None:
            self._answer(call, work.result())
        else:
            self._answer_error(call, error)

    def _overdue(self, call: IncomingCall[object]) -> None:
        self._give_up(call, "took longer than its time budget")
        self._served[call].cancel()

    def _cancel(self, request_id: int) -> None:
        for call in [call for call in self._served if call.header.request_id == request_id]:
            self._give_up(call, "was cancelled by its caller")
            self._served[call].cancel()

    def _give_up(self, call: IncomingCall[object], why: str) -> None:
        """Answer for work that is abandoned; a command may still take effect."""
        kind = errors.OutcomeUnknownError if call.spec.command else errors.DeadlineError
        self._answer_error(call, kind(f"{request_name(call.spec)} {why}"))

    # --- payloads ----------------------------------------------------------------------------

    def payload_complete(self, call: IncomingCall[object]) -> None:
        """All of a request is there."""
        if call.deadline <= self._loop.time():
            self.payload_refused(call, errors.DeadlineError("the payload took too long"))
        else:
            self._serve(call)

    def payload_refused(self, call: IncomingCall[object], error: Exception) -> None:
        """A sink failed while its payload arrived: answer, and discard the rest."""
        if self._arrival is not None:
            self._arrival.divert()
        if call.sink is not None:
            call.sink.abort()
        self._answer_error(call, error)
        self._release(call)

    def payload_lost(self, call: IncomingCall[object]) -> None:
        """The connection was lost while a payload arrived."""
        if call.sink is not None:
            call.sink.abort()
        self._release(call)

    def _hold(self, length: int) -> None:
        self._bytes_in_flight += length
        self._load.bytes_in_flight += length

    def _release(self, call: IncomingCall[object]) -> None:
        length = call.header.payload_length
        self._hold(-length)
        if length and call.sink is None and self._is_shared:
            self._load.arriving.give_back(self.account, length)

    # --- answers -----------------------------------------------------------------------------

    def _answer(self, call: IncomingCall[object], result: object) -> None:
        if call.answered or self.closed:
            return
        header = call.header
        reply = result if type(result) is Reply else Reply(result)
        try:
            payload = reply.payload
            assert type(reply.record) is call.spec.reply, f"{reply.record!r} is the wrong reply"
            record, length = encode(reply.record), sum(map(len, payload))
            epoch = header.epoch if reply.epoch is None else reply.epoch
            frame = pack_frame(
                frames.REPLY, header.opcode, header.request_id, epoch, 0, record, length
            )
        except Exception as error:
            self._answer_error(call, error)
            return
        call.answered = True
        self._load.requests += 1
        self.send(frame, payload, length)
        if self._reports:
            self._load.unread.sent(self, len(frame) + length)

    def _answer_error(self, call: IncomingCall[object], error: BaseException) -> None:
        if call.answered:
            return
        call.answered = True
        if not isinstance(error, MemfsError) or isinstance(error, ProtocolError):
            name = request_name(call.spec)
            log.error("%s from %s failed", name, self.address, exc_info=error)
            error = errors.InternalError(f"{name} failed in the node, see its log")
        self._send_error(call.header, error)

    def _send_error(self, header: FrameHeader, error: MemfsError) -> None:
        if self.closed:
            return
        message = error.message[:_MESSAGE_CHARACTERS]
        path = error.filename if isinstance(error.filename, str) else ""
        record = encode(ErrorReply(error.code, message, path[: limits.PATH_BYTES]))
        self._load.requests += 1
        self.send(
            pack_frame(frames.ERROR, header.opcode, header.request_id, header.epoch, 0, record)
        )


def _common_version(hello: Hello) -> int:
    """The newest protocol version that both sides speak. Raises UnsupportedError."""
    version = min(hello.version_max, frames.VERSION_MAX)
    if version < max(hello.version_min, frames.VERSION_MIN):
        raise errors.UnsupportedError(
            f"protocol versions {hello.version_min} to {hello.version_max} are not spoken here, "
            f"only {frames.VERSION_MIN} to {frames.VERSION_MAX}: use the same release of memfs"
        )
    return version
