"""One client of the cluster per user: opened when he first asks, closed when others need the room.

The cluster takes a session's identity from its handshake, so each user has connections of his own.
Invariant: a session that somebody uses is never closed; at most ``limit`` idle ones are kept.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from memfs.client.filesystem import FileSystem
from memfs.client.opening import open_session
from memfs.client.session import Session
from memfs.config import ClientConfig
from memfs.errors import MemfsError
from memfs.types import Identity

log = logging.getLogger(__name__)

IDLE_SESSIONS = 128

Open = Callable[[ClientConfig], Awaitable[Session]]


class Seat:
    """A user's session, and how many requests use it."""

    __slots__ = ("fs", "session", "users")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.fs = FileSystem(session)
        self.users = 0


class Sessions:
    """Seats by identity, the least recently used first."""

    def __init__(
        self, config: ClientConfig, *, limit: int = IDLE_SESSIONS, opener: Open = open_session
    ) -> None:
        """``config``: the cluster, and how to read and write it; its user is not used."""
        self._config = config
        self._limit = limit
        self._open = opener
        self._seats: OrderedDict[Identity, Seat] = OrderedDict()
        self._opening: dict[Identity, asyncio.Task[Seat]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._seats)

    async def take(self, identity: Identity) -> Seat:
        """The seat of an identity, to be given back. Raises what connecting raises."""
        seat = self._seats.get(identity)
        if seat is None:
            seat = await self._shared(identity)
        else:
            self._seats.move_to_end(identity)
        seat.users += 1
        return seat

    def give(self, seat: Seat) -> None:
        """A request is over."""
        assert seat.users > 0, "given back more often than taken"
        seat.users -= 1
        if len(self._seats) > self._limit:
            self._shrink()

    async def _shared(self, identity: Identity) -> Seat:
        """Requests of one user that come at once open one session; it outlives any of them."""
        opening = self._opening.get(identity)
        if opening is None:
            opening = self._opening[identity] = asyncio.create_task(self._connect(identity))
            opening.add_done_callback(lambda task: self._opened(identity, task))
        return await asyncio.shield(opening)

    async def _connect(self, identity: Identity) -> Seat:
        config = dataclasses.replace(self._config, user=identity.user, groups=identity.groups)
        return Seat(await self._open(config))

    def _opened(self, identity: Identity, task: asyncio.Task[Seat]) -> None:
        self._opening.pop(identity, None)
        if not task.cancelled() and task.exception() is None:
            self._seats[identity] = task.result()

    def _shrink(self) -> None:
        idle = [identity for identity, seat in self._seats.items() if not seat.users]
        for identity in idle[: len(self._seats) - self._limit]:
            closing = asyncio.create_task(self._end(self._seats.pop(identity)))
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
