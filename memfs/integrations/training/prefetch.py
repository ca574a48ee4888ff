"""Batches of small files, fetched ahead of the training loop in its own order.

Owns the requests in flight. Must not know formats. Invariant: at most ``ahead`` batches are held
besides the one handed out, and the position counts what was handed out, not what was fetched.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from memfs import aio
from memfs.client.blocking.filesystem import FileSystem
from memfs.concurrency import Coro
from memfs.integrations.training import position
from memfs.integrations.training.order import EpochOrder
from memfs.types import Json

T = TypeVar("T")
R = TypeVar("R")


def fetched_ahead(
    fs: FileSystem,
    wanted: Sequence[T],
    read: Callable[[aio.AsyncFileSystem, T], Coro[R]],
    ahead: int,
) -> Iterator[R]:
    """``read`` of each item in order, with ``ahead`` reads in flight. A failed read raises when its
    turn comes. A process that was forked in the middle reads for itself.
    """
    flying: deque[Future[R]] = deque()
    process = os.getpid()
    try:
        for number in range(len(wanted)):
            if os.getpid() != process:  # nobody in a forked child answers what was asked before
                flying.clear()
                process = os.getpid()
            for each in wanted[number + len(flying) : number + ahead]:
                reading = read(fs.asynchronous, each)
                flying.append(asyncio.run_coroutine_threadsafe(reading, fs.loop))
            result = flying[0].result()
            flying.popleft()
            yield result
    finally:
        if os.getpid() == process:
            for future in flying:
                future.cancel()


def checked_ahead(ahead: int) -> int:
    """Refuse what would never fetch anything."""
    if ahead < 1:
        raise ValueError("ahead must be at least 1")
    return ahead


class Batch(NamedTuple):
    """Files of one step of training."""

    items: list[int]
    """Their numbers in the list of paths."""
    contents: list[bytes]


class Prefetcher:
    """Iterating yields the rest of an epoch, batch by batch; iterating again, the next epoch.

    Each batch is one ``read_many``. One iteration at a time; a process that was forked or spawned
    in the middle of one fetches for itself. A batch that failed raises when its turn has come, and
    iterating again begins with it.
    """

    def __init__(
        self, fs: FileSystem, paths: Sequence[str], order: EpochOrder, *, ahead: int = 4
    ) -> None:
        if order.size != len(paths):
            raise ValueError(
                f"the order is of {order.size} items, but there are {len(paths)} paths"
            )
        self._fs = fs
        self._paths = paths
        self._order = order
        self._ahead = checked_ahead(ahead)
        self._epoch = 0
        self._position = 0

    def __iter__(self) -> Iterator[Batch]:
        batches = self._order.batches(self._epoch)[self._position :]
        for items, contents in zip(
            batches, fetched_ahead(self._fs, batches, self._read, self._ahead), strict=True
        ):
            self._position += 1
            yield Batch(items, contents)
        self._epoch, self._position = self._epoch + 1, 0

    async def _read(self, fs: aio.AsyncFileSystem, items: list[int]) -> list[bytes]:
        return await fs.read_many([self._paths[item] for item in items])

    def state_dict(self) -> dict[str, Json]:
        """The position as plain numbers, for :meth:`load_state_dict` of an equal object."""
        return position.noted(self._order, self._epoch, self._position)

    def load_state_dict(self, state: dict[str, Json]) -> None:
        """Continue at that position. Raises ValueError when it is of another order."""
        self._epoch, self._position = position.found(state, self._order)
