"""What is dropped without being closed: a ResourceWarning, as CPython gives it, and the closing.

Owns the tasks that close such things. Must not know what they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
from collections.abc import Callable

from memfs.concurrency import Coro

log = logging.getLogger(__name__)

_closing: set[asyncio.Task[None]] = set()


def warn(what: str, owner: object) -> None:
    """Say that ``owner``, which is being collected, was not closed."""
    warnings.warn(f"unclosed {what} {owner!r}", ResourceWarning, 3, owner)


def close_soon(loop: asyncio.AbstractEventLoop, close: Callable[[], Coro[None]]) -> None:
    """Have something closed on its loop: called in whichever thread collects its owner.

    Nothing happens once the loop is closed: nobody is there who could do it.
    """

    def begin() -> None:
        task = loop.create_task(close())
        _closing.add(task)
        task.add_done_callback(_ended)

    if not loop.is_closed():
        with contextlib.suppress(RuntimeError):  # it was closed meanwhile
            loop.call_soon_threadsafe(begin)


def _ended(task: asyncio.Task[None]) -> None:
    _closing.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("what was dropped unclosed could not be closed: %s", error)
