"""How a blocking call reaches the asynchronous file system, and waits for it."""

from __future__ import annotations

from asyncio import _get_running_loop  # documented there
from collections.abc import AsyncIterator, Callable, Iterator
from typing import ParamSpec, TypeVar, cast

from memfs.client import filesystem as aio
from memfs.client.blocking import bridge as bridges
from memfs.client.calls.single_questions import asks_once
from memfs.concurrency import Coro

P = ParamSpec("P")
T = TypeVar("T")


class BlockingCalls:
    """What the delegations (``memfs/client/blocking/generated``) are made of."""

    @property
    def _core(self) -> aio.AsyncFileSystem:
        raise AssertionError("the file system says which session it uses")

    @staticmethod
    def _run(work: Callable[P, Coro[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if asks_once(work, *args, *kwargs.values()) and _get_running_loop() is None:
            direct = work.__self__._session.primary.direct  # type: ignore[attr-defined]
            found = direct.run(work, args, kwargs) if direct is not None else None
            if found is not None:
                return cast(T, found[0])
        return bridges.bridge().run(work, *args, **kwargs)

    def _iterate(self, found: AsyncIterator[T]) -> Iterator[T]:
        """Step an asynchronous iterator from here."""
        while True:
            try:
                yield self._run(_next, found)
            except StopAsyncIteration:
                return


async def _next(found: AsyncIterator[T]) -> T:
    return await anext(found)
