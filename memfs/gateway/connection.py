"""One HTTP connection: aiohttp's, with what Hadoop's client and hostile ones make necessary.

Java sends the path as raw UTF-8, which the parser refuses: bytes beyond ASCII in a request line are
percent-encoded before it sees them. A request's head must be complete within seconds (nothing in
aiohttp says so). What is not HTTP is answered with 400, as JSON. Must not know WebHDFS.
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
from memfs.gateway.exceptions import ILLEGAL_ARGUMENT, RUNTIME, Refusal
from memfs.gateway.replies import KEEP_ALIVE_SECONDS, json_reply

log = logging.getLogger(__name__)

LINE_BYTES = 3 * limits.PATH_BYTES * 3
"""Longest request line: two percent-encoded paths, and parameters."""
FIELD_BYTES = 16 * limits.KIB
FIELDS = 100
LINGER_SECONDS = 30.0
"""How long a body that nobody wants is read, so that its sender hears why."""
READ_BYTES = 256 * limits.KIB
"""Received and not consumed bytes of a body at which the sender is held up."""
KEEPALIVE_PROBES = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 4))
"""A peer that is gone without a word is noticed after two minutes, not two hours."""

_RAW = re.compile(rb"[\x80-\xff]")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def encode_raw(line: bytes) -> bytes:
    """``line`` with bytes beyond ASCII percent-encoded."""
    return _RAW.sub(lambda found: b"%%%02X" % found[0][0], line)


class Connection(RequestHandler):
    """Feeds the parser. ``head_since``: when an incomplete head began to arrive, 0: none has."""

    __slots__ = ("_body", "_line_done", "head_since")

    def __init__(self, manager: Server, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self.head_since = 0.0
        self._line_done = False
        self._body: StreamReader | None = None
        """Of the newest request: what comes before its end is no head."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse one too many; otherwise expect a request soon."""
        server = cast(Server, self._manager)
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
        if self._close:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def data_received(self, data: bytes) -> None:
        """What comes when the last body is complete is a head; everything else passes as it is."""
        if data and (self._body is None or self._body.is_eof()):
            if not self._line_done:
                data = self._request_line(data)
            self.head_since = self.head_since or self._loop.time()
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            _give_up(self._body)  # a message before its end: what came of it is malformed
            self._body = self._messages[-1][1]
            self._line_done = False
            self.head_since = 0.0

    def _request_line(self, data: bytes) -> bytes:
        end = data.find(b"\n")
        self._line_done = end >= 0
        if data.isascii():
            return data
        line, rest = (data[:end], data[end:]) if end >= 0 else (data, b"")
        return encode_raw(line) + rest

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
            refusal = Refusal(ILLEGAL_ARGUMENT, "the request is malformed", status)
        else:
            log.error("a request failed", exc_info=exc)
            refusal = Refusal(RUNTIME, "an internal error, see the gateway's log", status)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, it can only be cut off")
        reply = json_reply(request, refusal.text, refusal.status)
        reply.force_close()
        return reply


def _give_up(body: StreamReader | None) -> None:
    """End the wait for the rest of a body that will not come."""
    if body is not None and not body.is_eof() and body.exception() is None:
        body.set_exception(asyncio.CancelledError())


class Server(web.Server):
    """Makes connections and looks after those whose head does not come."""

    def __init__(self, handler: Handler, *, connections: int, head_seconds: float) -> None:
        """``connections``: most at a time; ``head_seconds``: for a request's head."""
        super().__init__(handler)
        self.refused = 0
        self._most = connections
        self._head_seconds = head_seconds

    @property
    def open(self) -> int:
        """Connections now."""
        return len(self._connections)

    @property
    def full(self) -> bool:
        """Whether another connection is one too many."""
        return len(self._connections) >= self._most

    def __call__(self) -> RequestHandler:
        return Connection(
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
            if isinstance(each, Connection) and 0 < each.head_since < limit
        ]
        for each in late:
            each.force_close()
        return len(late)
