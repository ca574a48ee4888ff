"""A client's right to use what it has cached, and notices of what has changed.

Owns the requests to the primary: while :meth:`CacheWatch.trusted` says so, whatever was read since
the last :attr:`CacheWatch.forget_all` and not named by :attr:`CacheWatch.forget` is what the
primary would answer. The answer to each question says for how long, counted from when it was asked;
the client takes a share of that, for its clock may be slower than the primary's. Whoever keeps
something asks for trust again and again; a client that does not costs nothing. Must not know what
is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from memfs import limits
from memfs.errors import MemfsError
from memfs.protocol import messages as m

if TYPE_CHECKING:
    from memfs.client.session.session import Session

log = logging.getLogger(__name__)

SHARE: Final = 0.6
"""Of what the primary promises: the rates of two clocks differ by less than 1 / SHARE."""
IDLE_SECONDS: Final = 10.0
"""After this long without a call of :meth:`CacheWatch.trusted` the primary is asked no more."""
RETRY_SECONDS: Final = 0.2


class CacheWatch:
    """Trust of one session."""

    def __init__(
        self,
        session: Session,
        forget: Callable[[tuple[int, ...]], Awaitable[None]],
        forget_all: Callable[[], Awaitable[None]],
    ) -> None:
        """What is called before the primary is told that something is forgotten."""
        self._session = session
        self._forget = forget
        self._forget_all = forget_all
        self._clock = session.environment.clock.boottime_ns
        self._until_ns = 0
        self._promised_ns = 0
        self._wanted_ns = 0
        self._sequence = 0
        self._task: asyncio.Task[None] | None = None

    def trusted(self) -> float:
        """Seconds for which cached answers may be used; 0: ask the primary."""
        self._wanted_ns = now_ns = self._clock()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return max(0.0, (self._until_ns - now_ns) / 1e9)

    def promised(self) -> float:
        """Seconds until the primary waits no more for this client to forget something, by its clock
        if that is as fast; what is believed later than :meth:`trusted` says has to end by then."""
        return max(0.0, (self._promised_ns - self._clock()) / 1e9)

    async def close(self) -> None:
        """Ask no more."""
        self._until_ns = 0
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while (self._clock() - self._wanted_ns) / 1e9 < IDLE_SECONDS:
            try:
                await self._ask()
            except MemfsError as error:
                log.debug("nothing is believed for now: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _ask(self) -> None:
        asked_ns = self._clock()
        request = m.Watch(self._sequence, limits.WATCH_WAIT_MS)
        reply = await self._session.ask(request)
        if reply.fresh:
            self._until_ns = 0
            await self._forget_all()
        elif reply.changed:
            await self._forget(reply.changed)
        self._sequence = reply.sequence
        self._until_ns = asked_ns + round(reply.lease_ms * SHARE) * 1_000_000
        self._promised_ns = asked_ns + reply.lease_ms * 1_000_000
        if not reply.lease_ms:
            await asyncio.sleep(RETRY_SECONDS)
