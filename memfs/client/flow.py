"""Running several coroutines at once, with a bound, so that nothing outlives the call.

``asyncio.TaskGroup`` wraps failures in groups; callers of a file system expect the error itself.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Coroutine, Iterable, Iterator
from typing import Any


async def run_all(work: Iterable[Coroutine[Any, Any, object]], limit: int) -> None:
    """Run every coroutine, at most ``limit`` at a time, in order of start.

    On the first failure, and on cancellation, what runs is cancelled and awaited and what has not
    begun is closed; then the failure is raised.
    """
    queue = iter(work)
    first = next(queue, None)
    second = next(queue, None)
    if first is None or second is None:
        if first is not None:
            await first
        return
    queue = itertools.chain((first, second), queue)
    workers: list[asyncio.Task[None]] = []
    try:
        for coroutine in queue:
            workers.append(asyncio.create_task(_work(coroutine, queue)))
            if len(workers) >= limit:
                break
        await _all_or_first_failure(workers)
    finally:
        for worker in workers:
            worker.cancel()
        if any(not worker.done() for worker in workers):
            await asyncio.gather(*workers, return_exceptions=True)
        for coroutine in queue:
            coroutine.close()


async def _work(
    first: Coroutine[Any, Any, object], queue: Iterator[Coroutine[Any, Any, object]]
) -> None:
    await first
    for coroutine in queue:
        await coroutine


async def _all_or_first_failure(tasks: list[asyncio.Task[None]]) -> None:
    if not tasks:
        return
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        if task in done:
            task.result()


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and return when all of them have ended, even if this is cancelled meanwhile.

    What they work on may be taken away afterwards. Raises CancelledError only then.
    """
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()
    if cancelled is not None:
        raise cancelled
