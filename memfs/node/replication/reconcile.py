"""What a new primary does before it serves: all in-sync members get one and the same log.

The logs of one in-sync set are prefixes of each other: one primary wrote them, in one order, and
the next one appends nothing before every member follows it or counts no more. Entries that only
some members have were never acknowledged; keeping them is as right as dropping them, so the longest
log of those that answer wins (ReconcileBeforeServe).

A member that does not answer may have more: the former primary, which was silent for so long that
this node took over from it, most of all. Whoever follows later gives up what it has beyond the log
of this term. Whoever takes over before that keeps it. Until that is decided nothing is commanded,
and nobody is told that a command of a former term was not, and will not be, carried out (Settled).
"""

from __future__ import annotations

import asyncio
import logging

from memfs import errors
from memfs.logs import fields
from memfs.node.log.entries import unpack_entries
from memfs.node.membership.members import Membership
from memfs.node.replication.in_sync import InSyncSet
from memfs.node.replication.primary import Primary
from memfs.node.replication.term import Term
from memfs.protocol import messages as m
from memfs.types import View

log = logging.getLogger(__name__)


async def reconcile(
    primary: Primary,
    in_sync: InSyncSet,
    membership: Membership,
    patience_seconds: float,
    silent: Term | None = None,
) -> None:
    """Bring every in-sync member to the same log; members that do not answer are taken out.

    A member that does not answer, or fails on the way, and cannot be taken out stays in
    ``primary.absent``, so that no command is accepted before it follows or is out: the logs of the
    in-sync set stay prefixes of each other. So does the ``silent`` primary from which this node
    took over, which is not asked. ``patience_seconds`` bounds the wait for one answer. Raises
    NotPrimaryError when this node is the primary no more.
    """
    view = membership.view
    others = [number for number in view.in_sync if number != membership.number]
    former = silent if silent is not None and silent.primary in others else None
    if former is not None:
        others.remove(former.primary)
    for number in others:
        primary.expect_backup(membership.find(number))
    positions = await _positions(view, others, membership, patience_seconds)
    await _fetch_missing(primary, positions, membership, patience_seconds)
    if former is not None:
        # It has what it appended itself, and what is before that; not for certain on its disk.
        own = primary.recent.last_epoch >= former.since and not view.journaled
        holds = primary.namespace.applied if own else 0
        primary.expect_backup(membership.find(former.primary), holds)
    for number in others:
        if number not in positions or not await _resume(
            primary, membership, number, positions[number]
        ):
            await _give_up(number, in_sync)


async def _positions(
    view: View, numbers: list[int], membership: Membership, patience_seconds: float
) -> dict[int, m.ReconcileReply]:
    """Where the members' logs end; members that do not answer are left out."""

    async def ask(number: int) -> m.ReconcileReply | None:
        try:
            async with asyncio.timeout(patience_seconds):
                reply = await membership.ask(number, m.Reconcile(view))
                return reply
        except (errors.MemfsError, TimeoutError) as error:
            log.warning("member does not follow", extra=fields(member=number, reason=error))
            return None

    replies = await asyncio.gather(*map(ask, numbers))
    answered = zip(numbers, replies, strict=True)
    return {n: reply for n, reply in answered if reply and reply.applied >= 0}


async def _fetch_missing(
    primary: Primary,
    positions: dict[int, m.ReconcileReply],
    membership: Membership,
    patience_seconds: float,
) -> None:
    """Take over what the longest log has beyond this node's."""
    namespace = primary.namespace
    for number in sorted(positions, key=lambda n: -positions[n].applied):
        try:
            while namespace.applied < positions[number].applied:
                request = m.FetchLog(namespace.applied + 1)
                answer = await membership.call(number, request, patience_seconds)
                if not answer.record.count:
                    raise errors.UnavailableError("it does not keep those entries any more")
                primary.absorb(unpack_entries(answer.payload))
            return
        except errors.MemfsError as error:
            log.warning("log not fetched", extra=fields(member=number, reason=error))


async def _resume(
    primary: Primary, membership: Membership, number: int, position: m.ReconcileReply
) -> bool:
    try:
        await primary.resume_backup(membership.find(number), position)
    except errors.MemfsError as error:
        log.warning("backup does not follow", extra=fields(member=number, reason=error))
        return False
    return True


async def _give_up(number: int, in_sync: InSyncSet) -> None:
    """Take a silent member out if it can be spared; else it is waited for once this node serves."""
    try:
        await in_sync.shrink(number)
    except errors.NotPrimaryError:
        raise
    except errors.MemfsError as error:
        log.warning("a silent member stays in the view", extra=fields(member=number, reason=error))
