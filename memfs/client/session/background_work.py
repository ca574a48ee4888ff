"""Background work of a client that no caller waits for, such as returning unused leases.

Owns the tasks of it, which end with the session. Must not know what the work is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from memfs.concurrency import Coro
from memfs.errors import ClusterError, NoSpaceError

log = logging.getLogger(__name__)
T = TypeVar("T")

INSIST_SECONDS = 0.5
"""Between two attempts at what nobody waits for."""


class BackgroundWork:
    """The background tasks of one session."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        """Tasks that have not ended."""

    async def insist(self, work: Callable[[], Coro[T]]) -> T:
        """Try again, for as long as the session lasts, while the cluster cannot do it."""
        while True:
            try:
                return await work()
            except (ClusterError, NoSpaceError) as error:
                log.debug("retried in the background: %s", error)
            await asyncio.sleep(INSIST_SECONDS)

    def run(self, work: Coro[None]) -> asyncio.Task[None]:
        """Run something that no caller waits for; it ends with the session."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    @property
    def busy(self) -> bool:
        """Whether any background task is running."""
        return bool(self.tasks)


def consume(task: asyncio.Task[None]) -> None:
    """Retrieve a background task's exception, so that asyncio does not report it."""
    if not task.cancelled() and task.exception() is not None:
        log.debug("no newer view: %s", task.exception())
