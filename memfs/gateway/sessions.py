"""One client of the cluster per user: opened when he first asks, closed when others need the room.

The cluster takes a session's identity from its handshake, so each user has connections of his own.
When it turns out to be another cluster, begun anew at the same addresses, all sessions are opened
again. Invariant: a session that somebody uses is never closed; at most ``limit`` are kept idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable

from memfs.client.filesystem import FileSystem
from memfs.client.opening import open_session
from memfs.client.session import Session
from memfs.config import ClientConfig
from memfs.errors import MemfsError, OtherClusterError
from memfs.logs import fields
from memfs.types import Identity

log = logging.getLogger(__name__)

IDLE_SESSIONS = 128

Open = Callable[[ClientConfig], Awaitable[Session]]


class Seat:
    """A user's session, and how many requests use it; ``retired``: nobody else may."""

    __slots__ = ("fs", "retired", "session", "users")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.fs = FileSystem(session)
        self.users = 0
        self.retired = False


class Sessions:
    """Seats by identity, the least recently used first."""

    def __init__(
        self, config: ClientConfig, *, limit: int = IDLE_SESSIONS, opener: Open = open_session
    ) -> None:
        """``config``: the cluster, and how to read and write it; its user is not used."""
        self.cluster = ""
        """Id of the cluster, as the newest session has it."""
        self._config = config
        self._limit = limit
        self._open = opener
        self._seats: OrderedDict[Identity, Seat] = OrderedDict()
        self._opening: dict[Identity, asyncio.Task[Seat]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._seats)

    @contextlib.asynccontextmanager
    async def seat(self, identity: Identity) -> AsyncIterator[Seat]:
        """The seat of an identity, for a request. Raises what connecting raises."""
        seat = await self._take(identity)
        try:
            yield seat
        except OtherClusterError:
            self._renew(seat)
            raise
        finally:
            self._give(seat)

    async def _take(self, identity: Identity) -> Seat:
        seat = self._seats.get(identity)
        if seat is None:
            seat = await self._shared(identity)
        else:
            self._seats.move_to_end(identity)
        seat.users += 1
        return seat

    def _give(self, seat: Seat) -> None:
        seat.users -= 1
        if seat.retired:
            self._close_unused(seat)
        elif len(self._seats) > self._limit:
            self._shrink()

    def _renew(self, seat: Seat) -> None:
        """The cluster of ``seat`` is no more: open new sessions from now on, for everybody."""
        if not seat.retired:
            for each in self._seats.values():
                each.retired = True
                self._close_unused(each)
            self._seats.clear()

    async def _shared(self, identity: Identity) -> Seat:
        """Requests of one user that come at once open one session; it outlives any of them."""
        opening = self._opening.get(identity)
        if opening is None:
            opening = self._opening[identity] = asyncio.create_task(self._connect(identity))
            opening.add_done_callback(lambda task: self._opened(identity, task))
        return await asyncio.shield(opening)

    async def _connect(self, identity: Identity) -> Seat:
        config = dataclasses.replace(self._config, user=identity.user, groups=identity.groups)
        session = await self._open(config)
        if session.view is not None and session.view.cluster != self.cluster:
            self.cluster = session.view.cluster
            log.info("the gateway serves a cluster", extra=fields(cluster=self.cluster))
        return Seat(session)

    def _opened(self, identity: Identity, task: asyncio.Task[Seat]) -> None:
        self._opening.pop(identity, None)
        if not task.cancelled() and task.exception() is None:
            self._seats[identity] = task.result()

    def _shrink(self) -> None:
        idle = [identity for identity, seat in self._seats.items() if not seat.users]
        for identity in idle[: len(self._seats) - self._limit]:
            self._close_unused(self._seats.pop(identity))

    def _close_unused(self, seat: Seat) -> None:
        if not seat.users:
            closing = asyncio.create_task(self._end(seat))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _end(self, seat: Seat) -> None:
        try:
            await seat.fs.close()
        except MemfsError as error:
            log.info("a session did not end in good order: %s", error)

    async def close(self) -> None:
        """End all of them."""
        for task in list(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        await asyncio.gather(*map(self._end, self._seats.values()), *self._closing)
        self._seats.clear()
