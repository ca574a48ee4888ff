"""How a blocking call reaches the asynchronous file system, and waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import ParamSpec, TypeVar

from memfs.client import filesystem as aio
from memfs.client.blocking import bridge as bridges
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
