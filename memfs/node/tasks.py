"""The owner of a node's background tasks: none is forgotten, none dies in silence."""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

from memfs.concurrency import Coro
from memfs.logs import fields

log = logging.getLogger(__name__)
T = TypeVar("T")


class Tasks:
    """A set of running tasks, all ended by :meth:`close`."""

    def __init__(self) -> None:
        """Begins empty."""
        self._tasks: set[asyncio.Task[object]] = set()

    def spawn(self, coroutine: Coro[T], name: str) -> asyncio.Task[T]:
        """Run a coroutine to its end; an exception is logged with its traceback."""
        task = self.start(coroutine, name)
        task.add_done_callback(_report)
        return task

    def start(self, coroutine: Coro[T], name: str) -> asyncio.Task[T]:
        """Run a coroutine to its end; its outcome is the caller's concern."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits has it; it may be nobody any more


def _report(task: asyncio.Task[object]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task failed", extra=fields(task=task.get_name()), exc_info=error)


def set_aside(answer: object) -> None:
    """Let an answer come or not, unread: nobody depends on it."""
    if isinstance(answer, asyncio.Future):
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
