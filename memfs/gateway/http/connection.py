"""One HTTP connection: aiohttp's, adapted to Hadoop's client and to hostile ones.

Java sends the path as raw UTF-8, which the parser refuses: bytes beyond ASCII in a request line are
percent-encoded before it sees them. A request's head must be complete within seconds (nothing in
aiohttp says so). What is not HTTP is answered with 400, as JSON. Requests end with their
connection. Must not know WebHDFS.
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
"""How long an unwanted body is read and discarded, so that its sender gets the answer."""
READ_BYTES = 256 * limits.KIB
"""Unconsumed bytes of a body above which no more is read from the sender."""
HALF_CLOSED_SECONDS = 15.0
"""Longest wait for the beginning of the answer after the client has closed its sending half. A
client that is gone looks the same until something is sent to it.
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
        """The last bytes of an incomplete head: its end may arrive in two pieces."""
        self._body: StreamReader | None = None
        """The newest request's body: bytes before its end belong to no head."""
        self._last = False
        """Whether the newest request is the connection's last one, by its own word."""
        self._half_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse a connection above the bound; otherwise expect a request soon."""
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
        """End every wait for the body, including aiohttp's, which would discard it."""
        super().connection_lost(exc)
        _give_up(self._body)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Tell the client when this is the connection's last answer."""
        if self._half_closed and not self._messages:
            self.close()
        if self._close:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def data_received(self, data: bytes) -> None:
        """Bytes after a complete body are a head; all others are passed to the parser as they
        are."""
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
        """Split the bytes at the end of the arriving head. If both parts were parsed at once,
        garbage after a valid last request would make that request fail.
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
        """Answer what is not HTTP, and log bugs; then close the connection."""
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
    """Makes connections and closes those whose head does not arrive in time."""

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
        """Whether another connection would exceed the bound."""
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
