"""One HTTP connection: aiohttp's, with what Hadoop's client and hostile ones make necessary.

Java sends the path as raw UTF-8, which the parser refuses: bytes beyond ASCII in a request line are
percent-encoded before it sees them. A request's head must be complete within seconds (nothing in
aiohttp says so). What is not HTTP is answered with 400, as JSON. What a connection asked for ends
with it. Must not know WebHDFS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from memfs import limits
from memfs.gateway.hadoop.exceptions import ILLEGAL_ARGUMENT, RUNTIME, RemoteException
from memfs.gateway.http.replies import KEEP_ALIVE_SECONDS, json_reply

log = logging.getLogger(__name__)

LINE_BYTES = 3 * limits.PATH_BYTES * 3
"""Longest request line: two percent-encoded paths, and parameters."""
FIELD_BYTES = 16 * limits.KIB
FIELDS = 100
LINGER_SECONDS = 30.0
"""How long a body that nobody wants is read, so that its sender hears why."""
READ_BYTES = 256 * limits.KIB
"""Received and not consumed bytes of a body at which the sender is held up."""
HALF_CLOSED_SECONDS = 15.0
"""Longest that a client which sends no more waits for the beginning of its answer.

One that is gone altogether looks the same until something is sent to it.
"""
KEEPALIVE_PROBES = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 4))
"""A peer that is gone without a word is noticed after two minutes, not two hours."""

_END = b"\r\n\r\n"
_RAW = re.compile(rb"[\x80-\xff]")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def encode_raw(line: bytes) -> bytes:
    """``line`` with bytes beyond ASCII percent-encoded."""
    return _RAW.sub(lambda found: b"%%%02X" % found[0][0], line)


class HttpConnection(RequestHandler):
    """Feeds the parser. ``head_since``: when an incomplete head began to arrive, 0: none has."""

    __slots__ = ("_body", "_half_closed", "_last", "_line_done", "_tail", "head_since")

    def __init__(self, manager: HttpServer, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self.head_since = 0.0
        self._line_done = False
        self._tail = b""
        """Of an incomplete head: its end may come in two pieces."""
        self._body: StreamReader | None = None
        """Of the newest request: what comes before its end is no head."""
        self._last = False
        """Whether the newest request is the connection's last one, by its own word."""
        self._half_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse one too many; otherwise expect a request soon."""
        server = cast(HttpServer, self._manager)
        if server.full:
            cast(asyncio.Transport, transport).abort()
            server.refused += 1
            self._manager = None
            self._force_close = True
            return
        super().connection_made(transport)
        self.head_since = self._loop.time()
        connected = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            for option, value in KEEPALIVE_PROBES:
                connected.setsockopt(socket.IPPROTO_TCP, option, value)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Whoever still waits for a body waits in vain: also aiohttp, to discard it."""
        super().connection_lost(exc)
        _give_up(self._body)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Say so when it is the connection's last one."""
        if self._half_closed and not self._messages:
            self.close()
        if self._close:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def data_received(self, data: bytes) -> None:
        """What comes when the last body is complete is a head; everything else passes as it is."""
        if not data:
            self._feed(data)
        while data:
            if self._body is not None and not self._body.is_eof():
                self._feed(data)
                return
            if self._last:
                return  # nothing follows HttpConnection: close (RFC 9112, 9.6)
            head, data = self._split(data)
            self.head_since = self.head_since or self._loop.time()
            self._feed(head)

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """What belongs to the head that is arriving, for the parser, and what follows it.

        Were both given to the parser at once, nonsense after a last request would undo that one.
        """
        joined = self._tail + data
        found = joined.find(_END)
        end = len(data) if found < 0 else found + len(_END) - len(self._tail)
        self._tail = joined[-len(_END) + 1 :] if found < 0 else b""
        head = data[:end]
        return (head if self._line_done else self._request_line(head)), data[end:]

    def _feed(self, data: bytes) -> None:
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            _give_up(self._body)  # a message before its end: what came of it is malformed
            message, self._body = self._messages[-1]
            self._last = getattr(message, "should_close", True)
            self._line_done = False
            self._tail = b""
            self.head_since = 0.0

    def _request_line(self, data: bytes) -> bytes:
        end = data.find(b"\n")
        self._line_done = end >= 0
        if data.isascii():
            return data
        line, rest = (data[:end], data[end:]) if end >= 0 else (data, b"")
        return encode_raw(line) + rest

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio lets it answer
        """The client sends no more: what it has asked for is still answered (RFC 9112, 9.6).

        Whether it is gone altogether shows when something is sent; work that has nothing to send
        for too long ends.
        """
        _give_up(self._body)
        waits = self._waiter is None and self._request_count > 0
        if self.transport is None or not (waits or self._messages):
            return False
        if self.transport.get_extra_info("sslcontext") is not None:
            return False  # TLS knows no half of a connection
        self._half_closed = True
        self._loop.call_later(HALF_CLOSED_SECONDS, self._end_in_silence)
        return True

    def _end_in_silence(self) -> None:
        request = self._current_request
        if request is None or request.writer.output_size == 0:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is not HTTP, and bugs; the connection ends."""
        if isinstance(exc, ConnectionError):  # the client has left, which readers do all the time
            log.debug("a client is gone: %s", exc)
            raise exc
        if isinstance(exc, HttpProcessingError) or status < 500:
            log.debug("not HTTP from %s: %s", request.remote, message)
            refusal = RemoteException(ILLEGAL_ARGUMENT, "the request is malformed", status)
        else:
            log.error("a request failed", exc_info=exc)
            refusal = RemoteException(RUNTIME, "an internal error, see the gateway's log", status)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, it can only be cut off")
        reply = json_reply(request, refusal.text, refusal.status)
        reply.force_close()
        return reply


def _give_up(body: StreamReader | None) -> None:
    """End the wait for the rest of a body that will not come."""
    if body is not None and not body.is_eof() and body.exception() is None:
        body.set_exception(asyncio.CancelledError())


class HttpServer(web.Server):
    """Makes connections and looks after those whose head does not come."""

    def __init__(self, handler: Handler, *, connections: int, head_seconds: float) -> None:
        """``connections``: most at a time; ``head_seconds``: for a request's head."""
        super().__init__(handler, handler_cancellation=True)
        self.refused = 0
        self.most = connections
        self._head_seconds = head_seconds

    @property
    def open(self) -> int:
        """Connections now."""
        return len(self._connections)

    @property
    def full(self) -> bool:
        """Whether another connection is one too many."""
        return len(self._connections) >= self.most

    def __call__(self) -> RequestHandler:
        return HttpConnection(
            self,
            loop=self._loop,
            keepalive_timeout=KEEP_ALIVE_SECONDS + 5.0,
            access_log=None,
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
            max_headers=FIELDS,
            lingering_time=LINGER_SECONDS,
            read_bufsize=READ_BYTES,
            auto_decompress=False,
        )

    def sweep(self) -> int:
        """End connections whose request has been arriving for too long; returns how many."""
        limit = self._loop.time() - self._head_seconds
        late = [
            each
            for each in self._connections
            if isinstance(each, HttpConnection) and 0 < each.head_since < limit
        ]
        for each in late:
            each.force_close()
        return len(late)
