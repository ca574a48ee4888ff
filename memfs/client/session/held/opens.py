"""Files that this client has open for reading: told to the primary, so that they stay when deleted.

Owns the count of openings by inode and what the primary is still to be told: an opening tells
itself, closed files are reported in batches on the side, and everything anew to a primary that
knows nothing. Must not know file objects. A file layer that opens inodes itself, such as a mount,
calls :meth:`SessionOpens.open` and :meth:`SessionOpens.close`, once for each; a file that it has
leased is kept by the lease and needs :meth:`SessionOpens.keep` only, and :meth:`SessionOpens.tell`
before the lease ends.

Openings have even numbers. A report counts below the lowest number of which the answer is still on
its way, so that what overtakes it on another connection is not undone; one of everything has the
odd number before that, and may drop whatever an opening that was given up has left.

Invariant: a file that is open here is registered, on its way to be, or in the next report.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Final, TypeVar

from memfs import limits
from memfs.client.session.background_work import BackgroundWork
from memfs.client.session.held.keepalive import Keepalive
from memfs.client.session.primary_requests import PrimaryRequests
from memfs.client.session.silence import no_doubt
from memfs.errors import MemfsError, OutcomeUnknownError, RequestError, StaleHandleError
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.types import ROOT_INODE, View

log = logging.getLogger(__name__)

T = TypeVar("T")

REPORT_SECONDS: Final = 0.1
"""Closed files are collected for so long before they are reported."""
TURN_BITS: Final = 40
"""Openings of one process of a client: more than it makes in its life."""
ROUNDS: Final = 3
"""Attempts to report everything, before the next sign of life."""


class SessionOpens:
    """Open files of one session."""

    def __init__(
        self, primary: PrimaryRequests, background: BackgroundWork, keepalive: Keepalive
    ) -> None:
        self._primary = primary
        self._aside = background
        self._keepalive = keepalive
        keepalive.followers.append(self.verify)
        self._counts: dict[int, int] = {}
        """Openings that are not closed, by inode."""
        self._numbers: dict[int, int] = {}
        """Of the last opening of an inode, of those whose end is still to be told as well."""
        self._flying: dict[int, None] = {}
        """Numbers of openings without an answer yet, in order."""
        self._last = 0
        self._closed: dict[int, None] = {}
        """Inodes whose closing is not reported yet."""
        self._kept: dict[int, None] = {}
        """Inodes whose opening is not reported yet."""
        self._dropped: deque[int] = deque()
        """Closed from other threads, or by finalisers: one item each time."""
        self._whole = True
        """Whether all open files have to be reported."""
        self._rounds = 0
        """How many full reports were sent."""
        self._due: asyncio.TimerHandle | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._held = False

    def go_on_with(self, inodes: Iterable[int], turn: int) -> None:
        """What a former process of this client had open is open here now, each once; ``turn``: how
        many processes there were before."""
        self._last = turn << TURN_BITS
        self._whole = True
        self._hold()  # what it closed and did not report is said, too
        for inode in inodes:
            self._add(inode, 0)

    # --- opening and closing -----------------------------------------------------------------

    async def open(
        self,
        raw: bytes,
        path: str | None,
        deadline: float,
        *,
        base: int = ROOT_INODE,
        inline: int = 0,
    ) -> Answer[m.FileReply]:
        """Open ``raw`` below the inode ``base`` (empty: itself); to be closed once.

        A caller that is cancelled meanwhile, or gets an error, has nothing open.
        """
        self._last += 2
        number = self._last
        self._flying[number] = None
        try:
            request = m.OpenFile(raw, base, inline, number)
            answer = await self._primary.call(request, path, deadline)
        except BaseException as error:
            if not isinstance(error, RequestError):  # it may be registered all the same
                self._whole = True
                self._hold()
                self._schedule()
            if isinstance(error, OutcomeUnknownError):
                raise no_doubt(error, path) from error
            raise
        finally:
            del self._flying[number]
        attributes = answer.record.attributes
        assert attributes is not None, "what was opened has attributes"
        self._add(attributes.inode, number)
        return answer

    def keep(self, inode: int) -> None:
        """Count an opening of a file that a lease keeps for now; to be closed once."""
        if inode not in self._counts:
            self._kept[inode] = None
            self._schedule()
        self._add(inode, 0)

    async def tell(self, inode: int) -> None:
        """Before a lease ends: until the primary knows of what it has kept so far.

        An error is none of the lease's; the next report tells everything.
        """
        while inode in self._kept:
            await self.verify()
        if self._reporting is not None and inode in self._counts:
            await asyncio.shield(self._reporting)

    def _add(self, inode: int, number: int) -> None:
        self._counts[inode] = self._counts.get(inode, 0) + 1
        self._numbers[inode] = max(number, self._numbers.get(inode, 0))
        self._closed.pop(inode, None)
        self._hold()
        self._take_dropped()
        if self._whole:
            self._schedule()

    def close(self, inode: int) -> None:
        """Count one opening less; with the last one the primary is told."""
        left = self._counts[inode] - 1
        if left:
            self._counts[inode] = left
            return
        del self._counts[inode]
        untold = inode in self._kept
        self._kept.pop(inode, None)
        if untold and not self._numbers[inode]:
            del self._numbers[inode]
        else:
            self._closed[inode] = None
            self._schedule()

    def drop(self, inode: int) -> None:
        """As :meth:`close`, from any thread: it is told with the next opening or sign of life."""
        self._dropped.append(inode)

    def _take_dropped(self) -> None:
        while self._dropped:
            self.close(self._dropped.popleft())

    @property
    def count(self) -> int:
        """Files that are open."""
        self._take_dropped()
        return len(self._counts)

    def has(self, inode: int) -> bool:
        """Whether an inode is open here."""
        return inode in self._counts

    async def by_handle(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask for what is open here; a primary that cannot know yet is told, and asked again."""
        rounds = self._rounds
        try:
            return await ask()
        except StaleHandleError:
            if self._held and (self._whole or self._reporting is not None):
                await self.verify()
            if rounds == self._rounds:
                raise
        return await ask()

    # --- telling the primary -----------------------------------------------------------------

    def view_changed(self, former: View, view: View) -> None:
        """Report all open files again to a new primary, which knows of none."""
        if self._held and view.primary_since != former.primary_since:
            self._whole = True
            self._schedule(0.0)

    async def verify(self) -> None:
        """A sign of life: tell what there is to tell, and hear whether the primary knows us."""
        self._take_dropped()
        if self._held:
            await asyncio.shield(self._begin())

    def stop(self) -> None:
        """Stop reporting: the session ends."""
        if self._due is not None:
            self._due.cancel()

    def _schedule(self, seconds: float = REPORT_SECONDS) -> None:
        """Schedule a report, unless one is scheduled already."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> asyncio.Task[None]:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._reporting is None:
            self._reporting = self._aside.run(self._report())
        return self._reporting

    async def _report(self) -> None:
        try:
            if not self._whole:
                await self._report_changes()
            for _ in range(ROUNDS):
                if not self._whole:
                    break
                await self._report_all()
        except MemfsError as error:  # the next sign of life tells it
            log.debug("open files are not reported: %s", error)
        finally:
            self._reporting = None
        self._take_dropped()
        if not (self._counts or self._closed or self._flying or self._whole):
            self._unhold()
        elif self._closed or self._kept:
            self._schedule()

    @property
    def _mark(self) -> int:
        """The odd number below which all openings have ended."""
        return next(iter(self._flying), self._last + 2) - 1

    async def _report_changes(self) -> None:
        """What was closed, but for what an opening on its way may open again, and what is kept."""
        mark, kept = self._mark, tuple(islice(self._kept, limits.OPENS_PER_REPORT // 2))
        some = islice(self._closed, limits.OPENS_PER_REPORT // 2)
        closed = {i: self._numbers[i] for i in some if self._numbers[i] <= mark}
        request = m.ReportOpens(tuple(closed), tuple(closed.values()), kept, mark)
        self._tell(kept, mark)
        try:
            self._whole |= not (await self._primary.ask(request)).known
        except BaseException:
            self._whole = True
            raise
        for inode, number in closed.items():
            if inode in self._closed and self._numbers[inode] == number:
                del self._closed[inode], self._numbers[inode]

    async def _report_all(self) -> None:
        mark, self._whole = self._mark, False
        mine = list(self._counts)
        self._tell(mine, mark)
        closed = [inode for inode in self._closed if self._numbers[inode] < mark]  # others after
        try:
            for at in range(0, len(mine), limits.OPENS_PER_REPORT):
                opened = tuple(mine[at : at + limits.OPENS_PER_REPORT])
                await self._primary.ask(m.ReportOpens(opened=opened, number=mark))
            request = m.ReportOpens(number=mark, complete=True, total=len(mine))
            known = (await self._primary.ask(request)).known
        except BaseException:
            self._whole = True
            raise
        self._whole |= not known
        self._rounds += 1
        for inode in closed:
            if inode in self._closed and self._numbers[inode] < mark:
                del self._closed[inode], self._numbers[inode]

    def _tell(self, inodes: Iterable[int], number: int) -> None:
        """Note that the primary will count these as opened under ``number`` at least."""
        for inode in inodes:
            self._kept.pop(inode, None)
            self._numbers[inode] = max(self._numbers[inode], number)

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._keepalive.hold()

    def _unhold(self) -> None:
        if self._held:
            self._held = False
            self._keepalive.unhold()
