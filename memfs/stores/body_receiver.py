"""GETs whose bodies the kernel writes where they shall lie: HTTP/1.1 over connections of its own.

Owns the connections and the reading of plain replies: one head, then a body of a length that the
head tells. What is not as plain as that is left to :mod:`memfs.stores.http_client`. Must not know
what is asked for, or by whom. Invariants: no byte of a body is handed on before its head was found
good, and none is written to a caller's memory once the caller has gone.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from memfs.errors import MemfsError, StoreUnreachableError
from memfs.limits import KIB
from memfs.stores.http_client import CONNECT_SECONDS, CONNECTIONS, IDLE_SECONDS, of_connection
from memfs.types import Buffer

HEAD_BYTES: Final = 64 * KIB
"""Of a reply that are received at once: its head with all of a small body, or an error's text."""
UNUSED_SECONDS: Final = 4.0
"""After which a connection is not used again: servers close theirs, the quickest after 5 s."""
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})[ \r]")

Accept = Callable[[int, Mapping[str, str]], None]
"""Raises what is wrong with a good reply (200, 206), by its headers in lower case, before any of
its body is handed on."""
Arrived = Callable[[int], None]
"""Is told how many more bytes are there."""


class Head(NamedTuple):
    """A reply whose body is in the memory that was given, or, of an error, in ``body``."""

    status: int
    headers: Mapping[str, str]
    body: Buffer


class BodyReceiver:
    """Asks one server, over as many connections as there are questions at a time."""

    def __init__(self, address: str, tls: ssl.SSLContext | None) -> None:
        """``address``: scheme, host and port of a URL; ``tls`` where the scheme wants it."""
        parts = urlsplit(address)
        self._place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = tls
        self._idle: list[_Connection] = []
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def get(
        self,
        target: str,
        headers: Mapping[str, str],
        into: memoryview,
        accept: Accept,
        arrived: Arrived,
    ) -> Head | None:
        """Ask for ``target``, path and query as they are sent; a good reply has a body as long as
        ``into``, which is filled with it. None: the reply is not plain, ask in another way.

        ``headers`` include the host. Raises what ``accept`` does, StoreUnreachableError when
        there was no reply, or a broken one, and StoreDeniedError when the certificate is refused.
        """
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        request = f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode("latin-1")
        async with self._turns:
            while True:
                connection = self._unused() or await self._connected()
                try:
                    return await connection.ask(request, into, accept, arrived)
                except _StaleError:
                    continue  # it was closed while nobody used it
                finally:
                    if connection.reusable:
                        self._idle.append(connection)
                    else:
                        connection.end()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().end()

    def _unused(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and connection.unused_seconds < UNUSED_SECONDS:
                return connection
            connection.end()
        return None

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, made = await loop.create_connection(
                    lambda: _Connection(self._place, loop), self._host, self._port, ssl=self._tls
                )
        except OSError as error:
            raise of_connection(error, self._place) from None
        return made


class _StaleError(Exception):
    """A connection that was used before ended without a byte of a reply."""


class _Connection(asyncio.BufferedProtocol):
    """One connection; one question at a time."""

    def __init__(self, place: str, loop: asyncio.AbstractEventLoop) -> None:
        self._place = place
        self._loop = loop
        self._transport: asyncio.Transport
        self._head = memoryview(bytearray(HEAD_BYTES))
        self._answer: asyncio.Future[Head | None] | None = None
        self._body: memoryview | None = None
        """Where the body goes, once its head is here."""
        self._at = 0
        """Bytes of the head, then of the body, that are here."""
        self._keeps = True
        self._used = False
        self._heard = 0.0
        self.reusable = False

    @property
    def unused_seconds(self) -> float:
        """Since it was heard of last."""
        return self._loop.time() - self._heard

    async def ask(
        self, request: bytes, into: memoryview, accept: Accept, arrived: Arrived
    ) -> Head | None:
        """One question; see :meth:`BodyReceiver.get`."""
        self._into, self._accept, self._arrived = into, accept, arrived
        self._body, self._at = None, 0
        self._heard = self._loop.time()
        self.reusable = False
        if self._transport.is_closing():
            raise _StaleError
        self._answer = self._loop.create_future()
        self._transport.write(request)
        self._timer = self._loop.call_later(IDLE_SECONDS, self._look)
        try:
            answer = await self._answer
            self._used = True
            self.reusable = self._keeps and not self._transport.is_closing()
            return answer
        finally:
            self._timer.cancel()
            self._answer = self._body = None
            self._into = self._accept = self._arrived = None  # type: ignore[assignment]

    def end(self) -> None:
        """Close it, whatever is under way."""
        self.reusable = False
        self._transport.abort()

    # --- the transport's side ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._answer is None or self._answer.done():
            return self._head  # whatever it is, nobody asked for it
        return (self._head if self._body is None else self._body)[self._at :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._answer is None or self._answer.done():
            self.end()  # nobody asked
            return
        self._heard = self._loop.time()
        self._at += nbytes
        if self._body is None:
            self._parse()
        else:
            self._go_on(nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._answer is not None and not self._answer.done():
            if self._used and not self._at and self._body is None:
                self._answer.set_exception(_StaleError())
            else:
                self._fail("broke a reply off" if self._at or self._body else "hung up")

    # --- a reply -------------------------------------------------------------------------------

    def _parse(self) -> None:
        """Some of a head is here, and perhaps what follows it."""
        raw = bytes(self._head[: self._at])
        end = raw.find(b"\r\n\r\n")
        if end < 0:
            if self._at == HEAD_BYTES:
                self._give_up()
            return
        said, *lines = raw[:end].split(b"\r\n")
        status = _STATUS.match(said + b"\r")
        headers = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length", "")
        if status is None or not length.isdecimal() or "transfer-encoding" in headers:
            self._give_up()
            return
        self._begin(int(status[1]), headers, int(length), raw[end + 4 :])

    def _begin(self, status: int, headers: dict[str, str], length: int, begun: bytes) -> None:
        """The head is here, and what has ``begun`` of a body of ``length`` bytes."""
        answer = self._answer
        assert answer is not None
        good = status in (200, 206)
        if good:
            try:
                self._accept(status, headers)
            except MemfsError as error:
                answer.set_exception(error)
                return
        if (length != len(self._into)) if good else (length > HEAD_BYTES):
            self._give_up()
            return
        body = self._into if good else memoryview(bytearray(length))
        if len(begun) > length or status < 200:
            self._fail("sends more than it says")
            return
        self._keeps = headers.get("connection", "").lower() != "close"
        self._reply = Head(status, headers, b"" if good else body)
        self._body, self._at = body, len(begun)
        body[: len(begun)] = begun
        self._go_on(len(begun))

    def _go_on(self, count: int) -> None:
        assert self._answer is not None and self._body is not None
        if count and self._body is self._into:
            self._arrived(count)
        if self._at == len(self._body) and not self._answer.done():
            self._answer.set_result(self._reply)

    def _give_up(self) -> None:
        """The reply is none for us."""
        assert self._answer is not None
        self._keeps = False
        self._answer.set_result(None)

    def _fail(self, how: str) -> None:
        assert self._answer is not None
        self._answer.set_exception(StoreUnreachableError(f"{self._place} {how}"))

    def _look(self) -> None:
        """Has it said nothing for too long?"""
        quiet = self._loop.time() - self._heard
        if quiet < IDLE_SECONDS:
            self._timer = self._loop.call_later(IDLE_SECONDS - quiet, self._look)
        elif self._answer is not None and not self._answer.done():
            self._fail("cannot be reached: it does not answer")
