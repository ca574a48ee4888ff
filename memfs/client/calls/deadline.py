"""When a call ends: one object from the public call down to the last await.

A public call makes it of its ``timeout=`` and hands it on in place of the seconds: whoever takes a
``timeout`` takes either, so that no step of a call begins the budget anew. Owns the waits for
earlier work, which must not outlast it either. Must not know requests.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from memfs.errors import DeadlineError, MemfsError


class Deadline(float):
    """The event loop's time at which a call ends."""

    __slots__ = ()


def seconds_left(deadline: float | None) -> float | None:
    """How long to wait at most, None: for as long as it takes."""
    if deadline is None:
        return None
    return max(0.0, deadline - asyncio.get_running_loop().time())


def turn(
    lock: asyncio.Lock, deadline: float | None
) -> contextlib.AbstractAsyncContextManager[None]:
    """Hold ``lock`` once the calls before this one are through. Raises DeadlineError."""
    return lock if deadline is None or not lock.locked() else _turn(lock, deadline)


@contextlib.asynccontextmanager
async def _turn(lock: asyncio.Lock, deadline: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds_left(deadline)):
            await lock.acquire()
    except TimeoutError:
        raise DeadlineError("earlier calls are not through within the time given") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.asynccontextmanager
async def until(deadline: float | None, late: str) -> AsyncIterator[None]:
    """Bound what knows no deadline. Raises DeadlineError, which says ``late``."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError as error:
        if isinstance(error, MemfsError):
            raise
        raise DeadlineError(late) from None


async def ended(tasks: Collection[asyncio.Task[object]], deadline: float | None) -> None:
    """Wait until all of some earlier work has ended. Raises DeadlineError."""
    if tasks:
        _, pending = await asyncio.wait(tasks, timeout=seconds_left(deadline))
        if pending:
            raise _still_under_way()


async def one_ended(tasks: Collection[asyncio.Task[object]], deadline: float | None) -> None:
    """Wait until some earlier work has ended. Raises DeadlineError."""
    done, _ = await asyncio.wait(
        tasks, timeout=seconds_left(deadline), return_when=asyncio.FIRST_COMPLETED
    )
    if not done:
        raise _still_under_way()


def _still_under_way() -> DeadlineError:
    return DeadlineError("what was written before is still on its way when the time is over")
