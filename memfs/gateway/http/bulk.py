"""The rest of a large body of known length, received where it is needed, past aiohttp's parser.

The parser copies every byte, and its reader copies most of them again; bytes that are only passed
on need to be copied from the kernel once. Must not know files. Invariants: nothing beyond the body
is read; the connection serves no further request, since its parser still waits for what went past
it.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import StreamReader, web

from memfs import limits
from memfs.gateway.http.connection import HttpConnection

LEAST_BYTES = 8 * limits.MIB
"""A shorter rest is not worth a connection."""
_UNWANTED = memoryview(bytearray(256 * limits.KIB))
_NOTHING = memoryview(b"")


class Bulk(asyncio.BufferedProtocol):
    """Takes the place of a :class:`HttpConnection` at its transport until the body has come.

    ``left``: bytes of the body still to come.
    """

    def __init__(self, connection: HttpConnection, content: StreamReader, left: int) -> None:
        assert connection.transport is not None, "there is a request, so there is a connection"
        self.left = left
        self._connection = connection
        self._transport = connection.transport
        self._content = content
        self._into = _NOTHING
        self._received = 0
        self._least = 0
        self._discarding = False
        self._coming: asyncio.Future[None] | None = None
        connection.close()  # after this request
        self._transport.pause_reading()
        self._transport.set_protocol(self)

    async def first(self, most: int, seconds: float) -> memoryview:
        """The next bytes of the body, ``most`` at most. Raises as :meth:`fill`."""
        return await self._receive(memoryview(bytearray(min(most, self.left))), 1, seconds)

    async def fill(self, into: memoryview, seconds: float) -> memoryview:
        """Fill ``into``: returns less of it at the end of the body, or after ``seconds``.

        Raises TimeoutError when nothing came, ConnectionError when the sender is gone.
        """
        into = into[: self.left]
        return await self._receive(into, len(into), seconds)

    async def _receive(self, into: memoryview, least: int, seconds: float) -> memoryview:
        if self._transport.is_closing():
            raise ConnectionResetError("the sender is gone")
        self._into, self._received, self._least = into, 0, least
        self._coming = asyncio.get_running_loop().create_future()
        self._transport.resume_reading()
        try:
            async with asyncio.timeout(seconds):
                await self._coming
        except TimeoutError:
            if not self._received:
                raise
        finally:
            self._into, self._coming = _NOTHING, None
            if self.left:
                self._transport.pause_reading()
        return into[: self._received]

    def discard(self) -> None:
        """Receive and discard the rest, so that the sender gets the answer."""
        if self.left and not self._transport.is_closing():
            self._discarding = True
            self._transport.resume_reading()

    def _end(self) -> None:
        self._transport.set_protocol(self._connection)
        self._content.feed_eof()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport receives next."""
        if self._discarding:
            return _UNWANTED[: self.left]
        return self._into[self._received :]

    def buffer_updated(self, nbytes: int) -> None:
        """The transport has received."""
        self._received += nbytes
        self.left -= nbytes
        if not self.left:
            self._end()
        elif not self._discarding and self._received >= self._least:
            self._transport.pause_reading()
        if self._received >= self._least:
            self._wake(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is lost or was closed."""
        self._connection.connection_lost(exc)
        self._wake(exc or ConnectionResetError("the sender is gone"))

    def _wake(self, error: Exception | None) -> None:
        coming = self._coming
        if coming is None or coming.done():
            return
        if error is None:
            coming.set_result(None)
        else:
            coming.set_exception(error)

    def pause_writing(self) -> None:
        """The answer's business."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The answer's business."""
        self._connection.resume_writing()


def receive_rest(request: web.BaseRequest, received: int) -> Bulk | None:
    """The rest of a long body, of which the parser has delivered the ``received`` bytes."""
    content = request.content
    if request.content_length is None or content.total_bytes != received:
        return None
    left = request.content_length - received
    connection = cast(HttpConnection, request.protocol)
    if left < LEAST_BYTES or connection.transport is None:
        return None
    return Bulk(connection, content, left)
