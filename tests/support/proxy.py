"""A TCP proxy that makes a link slow, dead, deaf or flapping, for clusters on loopback.

Owns its listening socket, its connections and a thread with an event loop. Knows nothing of what
it carries. A node that advertises the proxy's address is reached through it by everybody; what
the node itself opens goes past it. Invariant: bytes of one direction of one connection arrive in
order or, after a cut, not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from memfs.paths import Endpoint
from memfs.testing.started import Started

T = TypeVar("T")
_PIECE_BYTES = 64 * 1024
_BLOCKED_POLL_SECONDS = 0.02
_CALL_SECONDS = 10.0


@dataclass
class Link:
    """How the link is now; each field may be set while bytes are on their way."""

    delay_seconds: float = 0.0
    """That every piece waits, in each direction."""
    bytes_per_second: float = 0.0
    """Of one direction of one connection; 0: as fast as it goes."""
    blocked_in: bool = False
    """What others send does not reach the node; nor does a new connection."""
    blocked_out: bool = False
    """What the node answers reaches nobody."""
    refusing: bool = False
    """New connections are reset at once, as at a host where nobody serves; :meth:`Proxy.cut` ends
    those that are."""


class Proxy(Started):
    """``with Proxy(target) as proxy: ... proxy.endpoint ... proxy.link.delay_seconds = 0.1``."""

    def __init__(self, target: Endpoint, host: str = "127.0.0.1", port: int = 0) -> None:
        """Args: ``target``, where connections are carried to; ``port`` 0: any free one."""
        self.target = target
        self.endpoint = Endpoint(host, port)
        self.link = Link()
        self.carried = 0
        """Bytes that went through, both directions."""
        self.refused = 0
        """Connections that were reset at once."""
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    # --- life --------------------------------------------------------------------------------

    def set_up(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._thread.start()
        self._do(self._listen())

    def close(self) -> None:
        """Stop listening, break every connection, end the thread."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()

    # --- faults ------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        self._do(self._cut())

    def heal(self) -> None:
        """The link works again: what was held back travels on."""
        self.link = Link()

    # --- inside the thread -------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, self.endpoint.host, self.endpoint.port
        )
        self.endpoint = Endpoint(*self._server.sockets[0].getsockname()[:2])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """asyncio reports a cancelled one as a failure, so the end of the proxy stops here."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._join(reader, writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _until_open(lambda: self.link.blocked_in)
        if self.link.refusing:
            self.refused += 1
            writer.transport.abort()
            return
        try:
            near, far = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far)
        self._pairs.add(pair)
        ways = (
            self._carry(reader, far, lambda: self.link.blocked_in),
            self._carry(near, writer, lambda: self.link.blocked_out),
        )
        tasks = [self._loop.create_task(way) for way in ways]
        self._tasks.update(tasks)
        try:
            await asyncio.wait(tasks)
        finally:
            self._tasks.difference_update(tasks)
            self._pairs.discard(pair)
            for each in pair:
                each.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        blocked: Callable[[], bool],
    ) -> None:
        """One direction, until its end or a break."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE_BYTES):
                await self._hold_back(len(data), blocked)
                self.carried += len(data)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            return
        writer.transport.abort()

    async def _hold_back(self, size: int, blocked: Callable[[], bool]) -> None:
        if self.link.delay_seconds:
            await asyncio.sleep(self.link.delay_seconds)
        if self.link.bytes_per_second:
            await asyncio.sleep(size / self.link.bytes_per_second)
        await _until_open(blocked)

    async def _cut(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _until_open(blocked: Callable[[], bool]) -> None:
    """Look now and then: the switch is turned by another thread."""
    while True:
        if not blocked():
            return
        await asyncio.sleep(_BLOCKED_POLL_SECONDS)
