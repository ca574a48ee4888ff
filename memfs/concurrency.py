"""Running several coroutines at once, with a bound, so that nothing outlives the call.

``asyncio.TaskGroup`` wraps failures in groups; callers of a file system expect the error itself.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
)
from typing import Never, ParamSpec, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=Exception)
P = ParamSpec("P")

Coro: TypeAlias = Coroutine[object, Never, T]
"""A coroutine by what it returns; what it yields and is sent is the loop's business."""


async def run_all(work: Iterable[Coro[object]], limit: int) -> None:
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
        await _cancel(workers)
        for coroutine in queue:
            coroutine.close()


async def run_each(
    act: Callable[[T], Awaitable[object]], items: AsyncGenerator[T, None], limit: int
) -> None:
    """As :func:`run_all`, of ``act(item)`` for items that are themselves waited for.

    ``act`` begins in the order of the items; one is asked for when there is room for it, never
    before. ``items`` is closed.
    """
    turn = asyncio.Lock()

    async def work() -> None:
        while True:
            async with turn:
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            await act(item)

    workers = [asyncio.create_task(work()) for _ in range(limit)]
    try:
        await _all_or_first_failure(workers)
    finally:
        await _cancel(workers)
        await items.aclose()


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """As ``asyncio.to_thread``, but also when this is cancelled the function has ended afterwards.

    For what works on memory or descriptors that go then.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # nobody waits for it
        raise


async def results(work: Iterable[Coro[R]], limit: int) -> list[R]:
    """As :func:`run_all`; what the coroutines return, in their order."""
    found: dict[int, R] = {}

    async def keep(number: int, coroutine: Coro[R]) -> None:
        found[number] = await coroutine

    coroutines = list(work)
    try:
        await run_all(itertools.starmap(keep, enumerate(coroutines)), limit)
    finally:
        for coroutine in coroutines:
            coroutine.close()
    return [found[number] for number in range(len(coroutines))]


async def outcomes(work: Iterable[Coro[R]], limit: int, failure: type[E]) -> list[R | E]:
    """As :func:`results`; a ``failure`` of one stands in its place and ends no other."""

    async def attempt(coroutine: Coro[R]) -> R | E:
        try:
            return await coroutine
        except failure as error:
            return error

    coroutines = list(work)
    try:
        return await results(map(attempt, coroutines), limit)
    finally:
        for coroutine in coroutines:
            coroutine.close()


async def with_rests(items: Iterable[T], count: int = 500) -> AsyncGenerator[T, None]:
    """The items; after so many of them others get their turn, and may change what is walked
    through."""
    for number, item in enumerate(items, 1):
        yield item
        if number % count == 0:
            await asyncio.sleep(0)


async def _work(first: Coro[object], queue: Iterator[Coro[object]]) -> None:
    await first
    for coroutine in queue:
        await coroutine


async def _all_or_first_failure(workers: Collection[asyncio.Task[None]]) -> None:
    if not workers:
        return
    done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
    for worker in workers:
        if worker in done:
            worker.result()


async def _cancel(workers: Collection[asyncio.Task[None]]) -> None:
    for worker in workers:
        worker.cancel()
    if any(not worker.done() for worker in workers):
        await asyncio.gather(*workers, return_exceptions=True)


async def end_all(tasks: Collection[asyncio.Task[object]]) -> None:
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
