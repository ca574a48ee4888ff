"""The in-sync set, kept by the primary of one term: who joins it, who is taken out, and when.

A member that caught up is published as in sync (JoinAfterCatchUp); a backup that failed is taken
out of the view before anything is acknowledged without it (ShrinkBeforeAck), but never so many that
fewer are left than acknowledgements need (MinInSync): those might be the ones that live on. While a
failed backup cannot be taken out, commands wait; when it is there again it is brought up to date.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from memfs import errors
from memfs.cluster import view as rules
from memfs.concurrency import Coro
from memfs.limits import NAMESPACE_COPIES
from memfs.logs import Seldom, fields
from memfs.node.membership.members import Membership
from memfs.node.replication.backup_link import BackupLink
from memfs.node.replication.primary import Primary
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.types import Member, View

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""A member that failed as a backup is tried again after this long, then twice as long, ..."""
RETRY_SECONDS_MAX = 60.0
STAYS_SECONDS = 30.0
"""A backup that is missed for longer is an error in the log: nodes that are started together, and
load what their journals hold, follow within that; after it somebody has to look."""
DROP_PAUSE_SECONDS = 0.25
URGENT_SECONDS = 0.5
"""... but after this long while commands wait for one more member in sync."""


class InSyncSet:
    """Adds and removes backups for the primary of one term."""

    def __init__(
        self, primary: Primary, membership: Membership, tasks: Tasks, since: int, wanted: int
    ) -> None:
        """``since``: the term's first epoch; ``wanted``: members that acks need (MinInSync)."""
        self._primary = primary
        self._membership = membership
        self._tasks = tasks
        self._since = since
        self._wanted = min(wanted, NAMESPACE_COPIES)
        self.taking_in: set[int] = set()
        """Members that are being brought up to date."""
        self._dropping: set[int] = set()
        self._grown = asyncio.Event()
        """The next member has come in sync: one that does not follow can be spared."""
        self._news = Seldom(membership.environment.clock.monotonic)
        self._failures: dict[int, list[float]] = {}

    async def change(self, step: Callable[[View], View]) -> View:
        """Publish ``step(view)`` as the primary of this term and tell the members.

        Raises NotPrimaryError when the term is over, UnavailableError when the coordinator is out
        of reach and nothing was changed.
        """

        def propose(view: View | None) -> View | None:
            if view is None or (view.primary, view.primary_since) != (
                self._membership.number,
                self._since,
            ):
                raise errors.NotPrimaryError("the view was changed: another node is the primary")
            proposed = step(view)
            return proposed if proposed is not view else None

        await self._membership.publisher.change(propose)
        self._membership.announce()
        return self._membership.view

    # --- in ---------------------------------------------------------------------------------

    def consider(self, number: int) -> None:
        """A member showed life: it may become a backup if one is wanted."""
        view = self._membership.view
        now = self._membership.environment.clock.monotonic()
        member = rules.member(view, number)
        if (
            member is not None
            and number not in self.taking_in.union(self._dropping, view.in_sync)
            and (self._has_place(view) if not member.leaving else self._is_urgent(view))
            and now >= self._retry_at(number, self._is_urgent(view))
        ):
            self.taking_in.add(number)
            self._tasks.spawn(self._take_in(number), f"catch up member {number}")

    def _has_place(self, view: View) -> bool:
        """Is one more wanted? While commands wait, a slow catch-up does not block another one."""
        coming = len(self.taking_in)
        return self._lasting(view) + coming < NAMESPACE_COPIES + self._is_urgent(view)

    def _is_urgent(self, view: View) -> bool:
        """Do commands wait for one more member in sync?"""
        return len(set(view.in_sync) - self._primary.absent) < view.min_in_sync

    def _lasting(self, view: View) -> int:
        """How many are in sync and will stay so: a member that leaves for good is replaced before
        it goes."""
        staying = {member.number for member in view.members if not member.leaving}
        return len(staying.intersection(view.in_sync) - self._dropping)

    async def _take_in(self, number: int) -> None:
        try:
            link = await self._primary.add_backup(self._membership.find(number))
            try:
                await self.change(lambda view: self._expanded(view, link))
            except errors.MemfsError:
                if number not in self._membership.view.in_sync:
                    self._primary.remove_backup(number)
                raise
            grown, self._grown = self._grown, asyncio.Event()
            grown.set()
            log.info("member in sync", extra=fields(member=number))
        except errors.MemfsError as error:
            self._postpone(number)
            log.warning("member did not catch up", extra=fields(member=number, reason=error))
        finally:
            self.taking_in.discard(number)
        self._look_after(number)

    def _expanded(self, view: View, link: BackupLink) -> View:
        """The view with a member that follows at this very moment (JoinAfterCatchUp)."""
        number = link.member.number
        if number in view.in_sync:
            return view  # an earlier proposal whose answer was lost
        if rules.member(view, number) is None:
            raise errors.UnavailableError(f"member {number} left while it caught up")
        if link.error is not None or self._primary.links.get(number) is not link:
            raise errors.UnavailableError(f"member {number} failed while it caught up")
        if self._lasting(view) >= NAMESPACE_COPIES:
            raise errors.UnavailableError(f"others caught up before member {number}")
        return rules.expand(view, number, self._wanted)

    def look_after_all(self) -> None:
        """The term begins: members that do not follow yet are brought to it, or taken out."""
        for number in list(self._primary.links):
            self._look_after(number)

    def _look_after(self, number: int) -> None:
        """Note a link that failed while its member was being added or removed."""
        link = self._primary.links.get(number)
        if link is not None and link.error is not None:
            self.lost(link)

    def _retry_at(self, number: int, urgent: bool) -> float:
        """When a member that failed may be tried again (no flapping)."""
        failures = self._failures.get(number)
        if not failures:
            return 0.0
        delay = min(RETRY_SECONDS * 2.0 ** (len(failures) - 1), RETRY_SECONDS_MAX)
        return failures[-1] + (URGENT_SECONDS if urgent else delay)

    def _postpone(self, number: int) -> None:
        now = self._membership.environment.clock.monotonic()
        recent = [at for at in self._failures.get(number, ()) if at > now - RETRY_SECONDS_MAX]
        self._failures[number] = [*recent[-4:], now]

    # --- out --------------------------------------------------------------------------------

    def lost(self, link: BackupLink) -> None:
        """A backup failed."""
        number = link.member.number
        if number not in self._dropping and number not in self.taking_in:
            self._dropping.add(number)
            # A broken connection says nothing of the member; silence does.
            back = isinstance(link.error, errors.UnavailableError)
            self._tasks.spawn(self._drop(number, back), f"drop member {number}")

    async def _drop(self, number: int, back: bool) -> None:
        """Take a failed backup out of the view or, while that cannot be done, use it again.

        ``back``: try first whether it follows again.
        """
        try:
            if not (back and await self._resume(number, self._grown)):
                self._postpone(number)
                await self._remove_when_possible(number)
        except errors.NotPrimaryError:
            return
        finally:
            self._dropping.discard(number)
        self._look_after(number)

    async def _remove_when_possible(self, number: int) -> None:
        """Returns once a view without the member is published, or it follows again.

        With fewer members than acknowledgements need nothing is gained, and those that would be
        shut out may live beyond a partition and take over, which a member out of sync cannot: they
        stay counted, however long it takes, until another member has caught up.
        """
        now = self._membership.environment.clock.monotonic
        since = now()
        while True:
            grown = self._grown
            try:
                await self.shrink(number)
                return
            except errors.NotPrimaryError:
                raise
            except errors.MemfsError as error:
                self._tell_of_staying(number, error, now() - since)
            with contextlib.suppress(errors.MemfsError):
                await self._membership.publisher.read()  # it may have taken over, unheard of here
            if await self._resume(number, grown):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DROP_PAUSE_SECONDS):
                    await grown.wait()

    def _tell_of_staying(self, number: int, error: errors.MemfsError, seconds: float) -> None:
        """Say that commands wait for a member: an error only once somebody has to look."""
        if seconds < STAYS_SECONDS:
            if self._news.is_news(f"{number} is waited for: {error.message}"):
                log.info(
                    "a backup failed and is waited for", extra=fields(member=number, reason=error)
                )
        elif self._news.is_news(f"{number} stays: {error.message}"):
            log.error(
                "a backup failed and stays in the view: commands wait",
                extra=fields(member=number, reason=error, seconds=round(seconds)),
            )

    async def shrink(self, number: int) -> None:
        """Publish that a member is in sync no more.

        Raises as :meth:`change`, and UnavailableError while it cannot be spared.
        """

        def step(view: View) -> View:
            if number in view.in_sync and not rules.can_spare(view):
                self._primary.absent.add(number)  # commands are refused rather than piled up
            return _shrunk(view, number)

        await self.change(step)
        self._primary.remove_backup(number)
        log.warning("member out of sync", extra=fields(member=number))

    async def _resume(self, number: int, grown: asyncio.Event) -> bool:
        """Have an in-sync member follow again, unless another one comes in sync meanwhile."""
        membership = self._membership
        if number not in membership.view.in_sync:
            return False
        if self._primary.gives_way():
            return False  # what it hears would keep it from taking over
        try:
            await _unless(grown, self._bring_back(membership.find(number)))
        except (errors.MemfsError, TimeoutError) as error:
            if self._news.is_news(f"{number} is not back"):
                log.info("backup not back yet", extra=fields(member=number, reason=error))
            return False
        log.info("backup resumed", extra=fields(member=number))
        return True

    async def _bring_back(self, member: Member) -> None:
        """Have an in-sync member follow. Raises TimeoutError when that takes too long: commands
        wait for a member that can be spared, so it had better catch up on the side; one that cannot
        be is given the time that a snapshot takes."""
        async with asyncio.timeout(self._primary.ack_seconds) as bound:
            position = await self._membership.ask(member, m.Reconcile(self._membership.view))
            if member.number in self._primary.absent:
                bound.reschedule(None)
            await self._primary.resume_backup(member, position)

    async def remove(self, number: int) -> None:
        """Take a member out of the cluster. Raises as :meth:`change`."""
        await self.change(lambda view: _left(view, number))
        self._primary.remove_backup(number)
        log.info("member left", extra=fields(member=number))


async def _unless(grown: asyncio.Event, work: Coro[None]) -> None:
    """Bring a member back. Raises UnavailableError once another one has come in sync."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(grown.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise errors.UnavailableError("another member has come in sync")
        working.result()
    finally:
        working.cancel()
        waiting.cancel()


def _left(view: View, number: int) -> View:
    if number == view.primary:
        raise errors.UnavailableError("the primary passes its role on before it leaves")
    if rules.member(view, number) is None:
        return view
    after = rules.leave(view, number)
    if number in view.in_sync and len(after.in_sync) < after.min_in_sync:
        raise errors.UnavailableError("another node has to hold the namespace first")
    return after


def _shrunk(view: View, number: int) -> View:
    if number not in view.in_sync:
        return view
    if not rules.can_spare(view):
        raise errors.UnavailableError(
            f"no more than the {view.min_in_sync} members that acknowledgements need are in sync"
        )
    return rules.shrink(view, number)


def handed_over(view: View, target: int) -> View:
    """The view with ``target`` as the primary. Raises UnavailableError when it fell out of sync."""
    if target not in view.in_sync:
        raise errors.UnavailableError("the backup that was to take over is in sync no more")
    return rules.hand_over(view, target)
