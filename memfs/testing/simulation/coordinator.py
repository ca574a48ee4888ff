"""A coordinator with faults: what a node may meet on its way to etcd, switched on per node.

Owns the true record and its history, and what is on its way; everything runs on the
event loop's time (virtual in simulations) and is decided by one injected generator. Knows nothing
of what a view means. Invariant: the record itself is always linearizable; faults only decide
whether and when a request arrives and whether its answer does, and a request arrives at most once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field, fields
from typing import TypeVar

from memfs import errors
from memfs.cluster.coordinator import StoredView
from memfs.types import View

T = TypeVar("T")
Note = Callable[..., None]
"""``note(kind, *details)``: puts an event of numbers and text into the trace."""


@dataclass
class CoordinatorFaults:
    """What one node meets on its way to the coordinator; everything is off by default."""

    down: bool = False
    """Refuses: nothing is sent, UnavailableError comes at once."""
    cut_requests: bool = False
    """No request arrives; the node waits for its timeout."""
    cut_replies: bool = False
    """Requests arrive and are carried out; no answer and no hint comes back."""
    delay_min: float = 0.000_2
    """Seconds that a request, and again its answer, is on its way."""
    delay_max: float = 0.002
    lose_request: float = 0.0
    """Chance that a request never arrives."""
    lose_reply: float = 0.0
    """Chance that an answer never arrives, though the request was carried out."""
    late_request: float = 0.0
    """Chance that a request arrives long after the node gave it up: within ``late_seconds`` more
    than its timeout."""
    late_seconds: float = 10.0
    lose_hint: float = 0.0
    """Chance that a change wakes nobody who waits for it."""

    def clear(self) -> None:
        """Switch everything off."""
        for each in fields(self):
            setattr(self, each.name, each.default)


@dataclass(eq=False)
class _Watcher:
    """One ``wait_for_change`` under way."""

    faults: CoordinatorFaults
    woken: asyncio.Future[None]


@dataclass
class FakeCoordinator:
    """The coordinator's own state, shared by the clients of all nodes. Make it inside the loop."""

    random: random.Random
    """Decides every delay and loss."""
    timeout_seconds: float = 1.0
    """What a client waits for an answer."""
    note: Note = lambda *_details: None
    down: bool = False
    """For every node, whatever its own faults say; requests on their way are lost."""
    history: list[StoredView] = field(default_factory=lambda: [StoredView(0, None)])
    """Every record there ever was, the current one last."""
    requests: int = 0
    """Requests that arrived."""

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # of no simulated process: nobody's death stops it
        self._faults: dict[str, CoordinatorFaults] = {}
        self._watchers: list[_Watcher] = []

    # --- for tests and checkers --------------------------------------------------------------

    @property
    def stored(self) -> StoredView:
        """The record as it truly is."""
        return self.history[-1]

    def faults(self, name: str) -> CoordinatorFaults:
        """The switches for one node; those of a node that restarts stay."""
        return self._faults.setdefault(name, CoordinatorFaults())

    def heal(self) -> None:
        """Switch every fault of every node off; what was lost stays lost."""
        self.down = False
        for faults in self._faults.values():
            faults.clear()
        self.note("coordinator heals")

    def client(self, name: str) -> FakeCoordinatorClient:
        """The coordinator as node ``name`` reaches it."""
        return FakeCoordinatorClient(self, name, self.faults(name))

    # --- what requests do when they arrive ---------------------------------------------------

    def swap(self, expected: int, view: View) -> StoredView | None:
        """Compare and swap."""
        if self.stored.revision != expected:
            return None
        before = self.stored.view
        assert before is None or view.epoch > before.epoch, "EpochMonotone"
        # etcd counts every change of the store: revisions have gaps.
        stored = StoredView(expected + self.random.randint(1, 3), view)
        self.history.append(stored)
        self.note("coordinator view", stored.revision, view.epoch, view.primary, str(view.in_sync))
        self._wake()
        return stored

    # --- used by the clients -----------------------------------------------------------------

    def chance(self, share: float) -> bool:
        """Throw the dice, unless the answer is certain."""
        return share > 0 and self.random.random() < share

    def delay(self, faults: CoordinatorFaults) -> float:
        """Seconds on the way, one way."""
        return self.random.uniform(faults.delay_min, faults.delay_max)

    def later(self, seconds: float, action: Callable[..., None], *arguments: object) -> None:
        """Run something of the coordinator's own, even if the node that asked dies meanwhile."""
        self._loop.call_later(seconds, action, *arguments, context=self._context)

    def watch(self, watcher: _Watcher) -> None:
        """Wake ``watcher`` at the next change."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: _Watcher) -> None:
        """Forget a watcher."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def _wake(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            faults = watcher.faults
            lost = self.down or faults.down or faults.cut_replies or self.chance(faults.lose_hint)
            if lost:
                self._watchers.append(watcher)
            else:
                self.later(self.delay(faults), _resolve, watcher.woken, None)


class FakeCoordinatorClient:
    """A :class:`~memfs.cluster.coordinator.Coordinator` as one node meets it."""

    def __init__(self, shared: FakeCoordinator, name: str, faults: CoordinatorFaults) -> None:
        """Made by :meth:`FakeCoordinator.client`."""
        self.name = name
        self.faults = faults
        self._shared = shared
        self._closed = False

    async def read_view(self) -> StoredView:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        return await self._ask("read_view", lambda: self._shared.stored)

    async def swap_view(self, expected: int, view: View) -> StoredView | None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        return await self._ask(
            "swap_view", lambda: self._shared.swap(expected, view), errors.OutcomeUnknownError
        )

    async def wait_for_change(self, revision: int, timeout_seconds: float) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        shared = self._shared
        loop = asyncio.get_running_loop()
        watcher = _Watcher(self.faults, loop.create_future())
        timer = loop.call_later(timeout_seconds, _resolve, watcher.woken, None)
        shared.watch(watcher)
        reachable = not (self._refused or self.faults.cut_requests or self.faults.cut_replies)
        if reachable and shared.stored.revision != revision:
            shared.later(2 * shared.delay(self.faults), _resolve, watcher.woken, None)
        try:
            await watcher.woken
        finally:
            timer.cancel()
            shared.unwatch(watcher)

    async def close(self) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        self._closed = True

    # --- the way there and back --------------------------------------------------------------

    @property
    def _refused(self) -> bool:
        return self._closed or self._shared.down or self.faults.down

    async def _ask(
        self,
        what: str,
        action: Callable[[], T],
        unanswered: type[errors.ClusterError] = errors.UnavailableError,
    ) -> T:
        """Carry ``action`` to the coordinator; ``unanswered`` is raised when no answer comes."""
        shared = self._shared
        await asyncio.sleep(shared.delay(self.faults))  # the way of a refusal, too
        if self._refused:
            raise errors.UnavailableError("the coordinator refuses connections")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._send(what, action, answer)
        try:
            async with asyncio.timeout(shared.timeout_seconds):
                return await answer
        except TimeoutError as error:
            raise unanswered(
                f"no answer from the coordinator within {shared.timeout_seconds:g} s"
            ) from error

    def _send(self, what: str, action: Callable[[], T], answer: asyncio.Future[T]) -> None:
        shared, faults = self._shared, self.faults
        if faults.cut_requests or shared.chance(faults.lose_request):
            shared.note("coordinator request lost", self.name, what)
            return
        delay = shared.delay(faults)
        if shared.chance(faults.late_request):
            delay = shared.timeout_seconds + shared.random.uniform(0, faults.late_seconds)
            shared.note("coordinator request late", self.name, what)
        shared.later(delay, self._arrive, what, action, answer)

    def _arrive(self, what: str, action: Callable[[], T], answer: asyncio.Future[T]) -> None:
        """A request reaches the coordinator: carry it out, send the answer back."""
        shared, faults = self._shared, self.faults
        if shared.down:
            shared.note("coordinator request lost", self.name, what)
            return
        shared.requests += 1
        result = action()
        if faults.cut_replies or shared.chance(faults.lose_reply):
            shared.note("coordinator reply lost", self.name, what)
            return
        shared.later(shared.delay(faults), _resolve, answer, result)


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)
