"""One client of the cluster per user: opened with the first request, closed when room is needed.

The cluster takes a session's identity from its handshake, so each user has connections of their
own. When another cluster was formed at the same addresses, all sessions are opened again.
Invariant: a session that somebody uses is never closed; at most ``limit`` are kept idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable

from memfs.client.calls.deadline import Deadline, until
from memfs.client.connect import open_session
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.session.session import Session
from memfs.config import ClientConfig
from memfs.errors import MemfsError, OtherClusterError
from memfs.logs import fields
from memfs.types import Identity

log = logging.getLogger(__name__)

IDLE_SESSIONS = 128

Open = Callable[[ClientConfig], Awaitable[Session]]


class UserSession:
    """A user's session, and how many requests use it; ``retired``: no further request may."""

    __slots__ = ("fs", "retired", "session", "users")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.fs = AsyncFileSystem(session)
        self.users = 0
        self.retired = False


class UserSessions:
    """Sessions by identity, the least recently used first."""

    def __init__(
        self, config: ClientConfig, *, limit: int = IDLE_SESSIONS, opener: Open = open_session
    ) -> None:
        """``config``: the cluster, and how to read and write it; its user is not used."""
        self.cluster = ""
        """Id of the cluster of the newest session."""
        self._config = config
        self._limit = limit
        self._open = opener
        self._user_sessions: OrderedDict[Identity, UserSession] = OrderedDict()
        self._opening: dict[Identity, asyncio.Task[UserSession]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._user_sessions)

    @contextlib.asynccontextmanager
    async def user_session(
        self, identity: Identity, deadline: Deadline | None = None
    ) -> AsyncIterator[UserSession]:
        """The session of an identity, for a request. Raises what connecting raises, DeadlineError.

        A session that is not open by then is opened nevertheless, for the user's next request.
        """
        user_session = await self._take(identity, deadline)
        try:
            yield user_session
        except OtherClusterError:
            self._renew(user_session)
            raise
        finally:
            self._give(user_session)

    async def _take(self, identity: Identity, deadline: Deadline | None) -> UserSession:
        user_session = self._user_sessions.get(identity)
        if user_session is None:
            async with until(deadline, "the cluster was not reached within the time given"):
                user_session = await self._shared(identity)
        else:
            self._user_sessions.move_to_end(identity)
        user_session.users += 1
        return user_session

    def _give(self, user_session: UserSession) -> None:
        user_session.users -= 1
        if user_session.retired:
            self._close_unused(user_session)
        elif len(self._user_sessions) > self._limit:
            self._shrink()

    def _renew(self, user_session: UserSession) -> None:
        """The cluster of ``user_session`` no longer exists: open new sessions for all users."""
        if not user_session.retired:
            for each in self._user_sessions.values():
                each.retired = True
                self._close_unused(each)
            self._user_sessions.clear()

    async def _shared(self, identity: Identity) -> UserSession:
        """Concurrent requests of one user open one session, even if some of them are cancelled."""
        opening = self._opening.get(identity)
        if opening is None:
            opening = self._opening[identity] = asyncio.create_task(self._connect(identity))
            opening.add_done_callback(lambda task: self._opened(identity, task))
        return await asyncio.shield(opening)

    async def _connect(self, identity: Identity) -> UserSession:
        config = dataclasses.replace(self._config, user=identity.user, groups=identity.groups)
        session = await self._open(config)
        if session.known.view.cluster != self.cluster:
            self.cluster = session.known.view.cluster
            log.info("the gateway serves a cluster", extra=fields(cluster=self.cluster))
        return UserSession(session)

    def _opened(self, identity: Identity, task: asyncio.Task[UserSession]) -> None:
        self._opening.pop(identity, None)
        if not task.cancelled() and task.exception() is None:
            self._user_sessions[identity] = task.result()

    def _shrink(self) -> None:
        idle = [
            identity
            for identity, user_session in self._user_sessions.items()
            if not user_session.users
        ]
        for identity in idle[: len(self._user_sessions) - self._limit]:
            self._close_unused(self._user_sessions.pop(identity))

    def _close_unused(self, user_session: UserSession) -> None:
        if not user_session.users:
            closing = asyncio.create_task(self._end(user_session))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _end(self, user_session: UserSession) -> None:
        try:
            await user_session.fs.close()
        except MemfsError as error:
            log.info("a session did not end in good order: %s", error)

    async def close(self) -> None:
        """End all of them."""
        for task in list(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        await asyncio.gather(*map(self._end, self._user_sessions.values()), *self._closing)
        self._user_sessions.clear()
