"""How a node publishes a view: compare-and-swap until the answer is definite.

Owns the coordinator's revision and the one change under way. Invariant (MaximalInSync): while it is
not known whether a proposed view was published, nothing else is proposed and nobody may rely on
either; the doubt ends when the record is seen to have moved on from the expected revision, which
the identical proposal, swapped again, brings about by itself. A record that cannot have followed
from what was published before (another cluster's, a wiped or an old one) counts as no answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from memfs import errors
from memfs.cluster.coordinator import Coordinator, StoredView
from memfs.logs import Seldom, fields
from memfs.node.tasks import Tasks
from memfs.types import View

log = logging.getLogger(__name__)
T = TypeVar("T")

DOUBT_PAUSE_SECONDS = 0.1


class Publisher:
    """Reads and swaps the view record; ``adopt`` is told every view that is met."""

    def __init__(
        self,
        coordinator: Coordinator,
        tasks: Tasks,
        adopt: Callable[[View], bool],
        known: Callable[[], View | None],
        now: Callable[[], float],
    ) -> None:
        """``known`` tells the newest view known, from whomever; ``now`` monotonic seconds."""
        self.in_doubt = False
        """A proposal was sent and not answered."""
        self._coordinator = coordinator
        self._tasks = tasks
        self._adopt = adopt
        self._known = known
        self._stored = StoredView(0, None)
        self._changing = asyncio.Lock()
        self._news = Seldom(now)

    async def read(self) -> StoredView:
        """The record as it is now; its view is adopted. Raises UnavailableError."""
        stored = await self._ask()
        if stored.revision >= self._stored.revision:
            self._stored = stored
        if stored.view is not None:
            self._adopt(stored.view)
        return stored

    async def _ask(self) -> StoredView:
        """The record, if it can be this cluster's. Raises UnavailableError."""
        known = self._known()
        stored = await self._coordinator.read_view()
        if known is None:
            return stored
        what = _other_life(known, stored.view)
        if what:
            reason = f"the coordinator is not that of cluster {known.cluster} as it was: {what}"
            if self._news.is_news(reason):
                log.error("the coordinator is refused", extra=fields(reason=reason))
            raise errors.UnavailableError(f"{reason}. Bring back its data, or stop this node")
        self._news.forget()
        return stored

    async def change(self, propose: Callable[[View | None], View | None]) -> View | None:
        """Publish ``propose(view)``; returns what was published.

        ``propose`` gets the record's view; None from it means "leave it". It is asked again when
        another node was faster, and raises to give up. Raises UnavailableError when certainly
        nothing was changed. Goes on to a definite answer even if the caller is cancelled.
        """
        return await asyncio.shield(self._tasks.start(self._change(propose), "change the view"))

    async def _change(self, propose: Callable[[View | None], View | None]) -> View | None:
        async with self._changing:
            while True:
                if not self._is_current():
                    await self.read()
                proposed = propose(self._stored.view)
                if proposed is None or await self._publish(proposed):
                    return proposed

    def _is_current(self) -> bool:
        """Is what was read last as new as what others have told since?"""
        (revision, view), known = self._stored, self._known()
        newest = known.epoch if known is not None else 0
        return revision > 0 and (view is None or view.epoch >= newest)

    async def _publish(self, proposed: View) -> bool:
        """Swap until it is known whether it was swapped."""
        expected = self._stored.revision
        try:
            while True:
                try:
                    if self.in_doubt:
                        await self._ask()  # nothing is swapped again in another life
                    swapped = await self._coordinator.swap_view(expected, proposed)
                    stored = swapped or await self._ask()
                    break
                except errors.OutcomeUnknownError as error:
                    self.in_doubt = True
                    log.warning("view in doubt", extra=fields(epoch=proposed.epoch, reason=error))
                except errors.UnavailableError:
                    if not self.in_doubt:
                        raise
                await asyncio.sleep(DOUBT_PAUSE_SECONDS)
        finally:
            self.in_doubt = False
        self._stored = stored
        if stored.view is not None:
            self._adopt(stored.view)
        return stored.view == proposed


def _other_life(known: View, found: View | None) -> str:
    """Why a record cannot have followed from a view that was published before; empty: it can."""
    if found is None:
        return "it knows no cluster"
    if found.cluster != known.cluster:
        return f"it has cluster {found.cluster}"
    if found.epoch < known.epoch:
        return f"it has epoch {found.epoch}, and {known.epoch} was published"
    return ""
