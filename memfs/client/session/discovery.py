"""Finding the cluster's view: ask one node after another until one knows enough.

Owns what is tried, in which order, and what is said when nobody answers. Must not know sessions
or files; keeps no state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple

from memfs.cluster import view as rules
from memfs.errors import MemfsError, ProtocolError, RetryableError
from memfs.paths import Endpoint
from memfs.protocol.messages import Hello
from memfs.quantities import show_duration
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.types import View

DIAL_SECONDS = 5.0
STAGGER_SECONDS = 0.25
"""The next node is asked when one is silent for so long: a dead host answers nothing at all."""
NODES_ASKED = 8
"""At most this many nodes are asked in one search, however large the cluster is."""


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
    known: View | None,
    deadline: float,
) -> Found:
    """Ask ``endpoints`` in order until one has a view of a newer epoch than ``known``.

    When none has, the newest view met is returned. Raises errors other than those of reachability
    (ProtocolError, AccessDeniedError).
    """
    async with _NodeSearch(environment, hello, known, deadline) as search:
        for endpoint in list(dict.fromkeys(endpoints))[:NODES_ASKED]:
            search.ask(endpoint)
            if await search.step(STAGGER_SECONDS):
                break
        while search.asking and search.best is None:
            await search.step(None)
        if search.asking and not search.is_over:
            await search.step(STAGGER_SECONDS)  # who is silent now is not worth a longer wait
    return Found(search.best, tuple(search.tried), search.starting)


class _NodeSearch:
    """Questions under way: the next one does not wait for one that is silent."""

    def __init__(
        self, environment: Environment, hello: Hello, known: View | None, deadline: float
    ) -> None:
        self.best: View | None = None
        self.tried: list[str] = []
        self.starting = False
        self.asking: dict[asyncio.Task[View | None], Endpoint] = {}
        self._environment = environment
        self._hello = hello
        self._known = known
        self._newer_than = known.epoch if known is not None else 0
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
        try:
            if view is not None and view.epoch > self._newer_than:
                rules.received(view, self._known)
        except ProtocolError as error:  # that node is out of order: others may not be
            self.tried.append(_failure(endpoint, error))
            return
        if view is None:
            self.tried.append(f"{endpoint}: it has not joined a cluster yet")
            self.starting = True
        elif self.best is None or view.epoch > self.best.epoch:
            self.best = view

    async def __aenter__(self) -> _NodeSearch:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop asking. Where the loop was ended without that, the questions ended with it."""
        if kind is not GeneratorExit:
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


def nobody(tried: Sequence[str], seconds: float = 0.0) -> str:
    """The message when no node answered, for so long."""
    long = f", and none has for {show_duration(seconds)}" if seconds >= 1 else ""
    hint = "see MEMFS_URL" if len(tried) > 1 else "MEMFS_URL may name several nodes"
    return f"no memfs node answers{long}: {'; '.join(tried)} (is it running? {hint})"
