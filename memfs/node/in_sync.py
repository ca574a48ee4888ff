"""The in-sync set, kept by the primary of one reign: who joins it, who is taken out, and when.

A member that caught up is published as in sync (JoinAfterCatchUp); a backup that failed is taken
out of the view before anything is acknowledged without it (ShrinkBeforeAck). While the view cannot
be changed, a failed backup that is there again is brought up to date instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memfs import errors
from memfs.cluster import view as rules
from memfs.limits import NAMESPACE_COPIES
from memfs.logs import fields
from memfs.node.backup_link import BackupLink
from memfs.node.membership import Membership
from memfs.node.primary import Primary
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.types import View

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""A member that failed as a backup is tried again after this long, then twice as long, ..."""
RETRY_SECONDS_MAX = 60.0
DROP_PAUSE_SECONDS = 0.25
PATIENCE_LEASES = 1.5
"""Lease times that members beyond a partition are given to take over."""
URGENT_SECONDS = 0.5
"""... but after this long while commands wait for one more member in sync."""


class InSyncSet:
    """What the primary of one reign does to have enough backups and no dead ones."""

    def __init__(
        self, primary: Primary, membership: Membership, tasks: Tasks, since: int, wanted: int
    ) -> None:
        """``since``: the reign's first epoch; ``wanted``: members that acks need (MinInSync)."""
        self._primary = primary
        self._membership = membership
        self._tasks = tasks
        self._since = since
        self._wanted = min(wanted, NAMESPACE_COPIES)
        self.taking_in: set[int] = set()
        """Members that are being brought up to date."""
        self._dropping: set[int] = set()
        self._failures: dict[int, list[float]] = {}

    async def change(self, step: Callable[[View], View]) -> View:
        """Publish ``step(view)`` as the primary of this reign and tell the members.

        Raises NotPrimaryError when the reign is over, UnavailableError when the coordinator is out
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
        view = self._membership.view
        assert view is not None, "a primary has a view"
        return view

    # --- in ---------------------------------------------------------------------------------

    def consider(self, number: int) -> None:
        """A member showed life: it may become a backup if one is wanted."""
        view = self._membership.view
        now = self._membership.environment.clock.monotonic()
        member = view and rules.member(view, number)
        if (
            view is not None
            and member is not None
            and number not in self.taking_in.union(self._dropping, view.in_sync)
            and (self._has_place(view) if not member.leaving else _is_urgent(view))
            and now >= self._retry_at(number, _is_urgent(view))
        ):
            self.taking_in.add(number)
            self._tasks.spawn(self._take_in(number), f"catch up member {number}")

    def _has_place(self, view: View) -> bool:
        """Is one more wanted? While commands wait, a slow one does not keep another from it."""
        coming = len(self.taking_in)
        return self._lasting(view) + coming < NAMESPACE_COPIES + _is_urgent(view)

    def _lasting(self, view: View) -> int:
        """How many are in sync and stay so: who leaves for good is replaced before it goes."""
        staying = {member.number for member in view.members if not member.leaving}
        return len(staying.intersection(view.in_sync) - self._dropping)

    async def _take_in(self, number: int) -> None:
        try:
            link = await self._primary.add_backup(self._membership.find(number))
            try:
                await self.change(lambda view: self._expanded(view, link))
            except errors.MemfsError:
                view = self._membership.view
                if view is None or number not in view.in_sync:
                    self._primary.remove_backup(number)
                raise
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

    def _look_after(self, number: int) -> None:
        """A link may have failed while its member was being taken in or out."""
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
        """Take a failed backup out of the view or, while that cannot be done, back in.

        ``back``: see first whether it is there after all.
        """
        try:
            if not (back and await self._resume(number)):
                self._postpone(number)
                await self._take_out(number)
        except errors.NotPrimaryError:
            return
        finally:
            self._dropping.discard(number)
        self._look_after(number)

    async def _take_out(self, number: int) -> None:
        """Until a view without the member is published, or it follows again.

        With fewer members than acknowledgements need nothing is gained at once, and those that
        would be shut out may live beyond a partition: for a while they are left the chance to take
        over, which a member out of sync has not.
        """
        now = self._membership.environment.clock.monotonic
        patience = now() + PATIENCE_LEASES * 2 * self._primary.ack_seconds
        while True:
            view = self._membership.view
            spare = view is not None and len(view.in_sync) > view.min_in_sync
            if spare or now() >= patience:
                try:
                    await self.change(lambda view: _shrunk(view, number))
                    self._primary.remove_backup(number)
                    log.warning("member out of sync", extra=fields(member=number))
                    return
                except errors.NotPrimaryError:
                    raise
                except errors.MemfsError as error:
                    log.error(
                        "a backup failed and the view cannot be changed: commands wait",
                        extra=fields(member=number, reason=error),
                    )
            if await self._resume(number):
                return
            await asyncio.sleep(DROP_PAUSE_SECONDS)

    async def _resume(self, number: int) -> bool:
        membership = self._membership
        if membership.view is None or number not in membership.view.in_sync:
            return False
        try:
            member = membership.find(number)
            async with asyncio.timeout(self._primary.ack_seconds):
                position = await membership.ask(member, m.Reconcile(membership.view))
                await self._primary.resume_backup(member, position)
        except (errors.MemfsError, TimeoutError) as error:
            log.info("backup not back yet", extra=fields(member=number, reason=error))
            return False
        log.info("backup resumed", extra=fields(member=number))
        return True

    async def remove(self, number: int) -> None:
        """Take a member out of the cluster. Raises as :meth:`change`."""
        await self.change(lambda view: _left(view, number))
        self._primary.remove_backup(number)
        log.info("member left", extra=fields(member=number))


def _is_urgent(view: View) -> bool:
    """Do commands wait for one more member in sync?"""
    return len(view.in_sync) < view.min_in_sync


def _left(view: View, number: int) -> View:
    if number == view.primary:
        raise errors.UnavailableError("the primary passes its role on before it leaves")
    return rules.leave(view, number) if rules.member(view, number) else view


def _shrunk(view: View, number: int) -> View:
    return rules.shrink(view, number) if number in view.in_sync else view


def handed_over(view: View, target: int) -> View:
    """The view with ``target`` as the primary. Raises UnavailableError when it fell out of sync."""
    if target not in view.in_sync:
        raise errors.UnavailableError("the backup that was to take over is in sync no more")
    return rules.hand_over(view, target)
