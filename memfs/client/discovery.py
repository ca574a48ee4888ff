"""Finding the cluster's view: ask one node after another until one knows enough.

Owns what is tried, in which order, and what is said when nobody answers. Must not know sessions
or files; keeps no state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memfs.errors import MemfsError, RetryableError
from memfs.paths import Endpoint
from memfs.protocol.messages import Hello
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.types import View

DIAL_SECONDS = 5.0
STAGGER_SECONDS = 0.25
"""The next node is asked when one is silent for so long: a dead host answers nothing at all."""
NODES_ASKED = 8
"""At most this many nodes are asked in one search: the view travels fast, a big cluster is big."""


class Found(NamedTuple):
    """Outcome of a search."""

    view: View | None
    """The newest view met."""
    tried: tuple[str, ...]
    """``address: why not`` of each node that did not help."""
    starting: bool
    """A node answered that has not joined a cluster yet: asking again later makes sense."""


async def find_view(
    environment: Environment,
    endpoints: Iterable[Endpoint],
    hello: Hello,
    newer_than: int,
    deadline: float,
) -> Found:
    """Ask ``endpoints`` in order until one has a view of an epoch above ``newer_than``.

    When none has, the newest view met is returned. Raises what is no matter of reachability
    (ProtocolError, AccessDeniedError).
    """
    search = _Search(environment, hello, newer_than, deadline)
    try:
        for endpoint in list(dict.fromkeys(endpoints))[:NODES_ASKED]:
            search.ask(endpoint)
            if await search.step(STAGGER_SECONDS):
                break
        while search.asking and search.best is None:
            await search.step(None)
        if search.asking and not search.is_over:
            await search.step(STAGGER_SECONDS)  # who is silent now is not worth a longer wait
    finally:
        await search.end()
    return Found(search.best, tuple(search.tried), search.starting)


class _Search:
    """Questions under way: the next one does not wait for one that is silent."""

    def __init__(
        self, environment: Environment, hello: Hello, newer_than: int, deadline: float
    ) -> None:
        self.best: View | None = None
        self.tried: list[str] = []
        self.starting = False
        self.asking: dict[asyncio.Task[View | None], Endpoint] = {}
        self._environment = environment
        self._hello = hello
        self._newer_than = newer_than
        self._deadline = deadline

    def ask(self, endpoint: Endpoint) -> None:
        """Begin to ask one node."""
        left = self._deadline - self._environment.clock.monotonic()
        work = _ask(self._environment, endpoint, self._hello, min(DIAL_SECONDS, left))
        self.asking[asyncio.get_running_loop().create_task(work)] = endpoint

    async def step(self, seconds: float | None) -> bool:
        """Wait for an answer, at most so long; True when a new enough view is known."""
        done, _ = await asyncio.wait(
            self.asking, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in [task for task in self.asking if task in done]:
            self._take(task, self.asking.pop(task))
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Is a new enough view known?"""
        return self.best is not None and self.best.epoch > self._newer_than

    def _take(self, task: asyncio.Task[View | None], endpoint: Endpoint) -> None:
        try:
            view = task.result()
        except RetryableError as error:
            self.tried.append(_failure(endpoint, error))
            return
        if view is None:
            self.tried.append(f"{endpoint}: it has not joined a cluster yet")
            self.starting = True
        elif self.best is None or view.epoch > self.best.epoch:
            self.best = view

    async def end(self) -> None:
        """Stop asking."""
        for task in self.asking:
            task.cancel()
        await asyncio.gather(*self.asking, return_exceptions=True)


async def _ask(
    environment: Environment, endpoint: Endpoint, hello: Hello, timeout: float
) -> View | None:
    connection = await dial(environment, endpoint, hello, timeout=max(0.0, timeout))
    try:
        assert connection.welcome is not None, "a dialled connection was welcomed"
        view: View | None = connection.welcome.view
        return view
    finally:
        connection.close("view learnt")


def _failure(endpoint: Endpoint, error: MemfsError) -> str:
    text = error.message
    return text if str(endpoint) in text else f"{endpoint}: {text}"


def nobody(tried: Sequence[str]) -> str:
    """The message when no node answered."""
    return "no memfs node answers: " + "; ".join(tried) + " (is it running? see MEMFS_URL)"
