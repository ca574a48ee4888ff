"""What a new primary does before it serves: all in-sync members get one and the same log.

The logs of one in-sync set are prefixes of each other: one primary wrote them, in one order.
Entries that only some members have were never acknowledged; keeping them is as right as dropping
them, so the longest log wins and nobody has to go back (ReconcileBeforeServe).
"""

from __future__ import annotations

import asyncio
import logging

from memfs import errors
from memfs.cluster import view as rules
from memfs.logs import fields
from memfs.node.in_sync import InSyncSet
from memfs.node.log import unpack_entries
from memfs.node.membership import Membership
from memfs.node.primary import Primary
from memfs.protocol import messages as m
from memfs.transport.pool import Pool
from memfs.types import Member, View

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1


async def reconcile(
    primary: Primary,
    in_sync: InSyncSet,
    membership: Membership,
    pool: Pool,
    patience_seconds: float,
) -> None:
    """Bring every in-sync member to the same log; members that do not answer are taken out.

    ``patience_seconds`` bounds the wait for one answer. Ends only when every in-sync member of the
    view follows, or this node is the primary no more (NotPrimaryError).
    """
    while True:
        view = membership.view
        assert view is not None, "a new primary has a view"
        others = [n for n in view.in_sync if n != membership.number and n not in primary.required()]
        if not others:
            return
        positions = await _positions(view, others, membership, patience_seconds)
        await _fetch_missing(primary, positions, membership, pool, patience_seconds)
        for number in others:
            if number not in positions or not await _resume(
                primary, membership.find(number), positions[number]
            ):
                await _give_up(number, in_sync, primary)


async def _positions(
    view: View, numbers: list[int], membership: Membership, patience_seconds: float
) -> dict[int, m.ReconcileReply]:
    """Where the members' logs end; who does not answer is missing."""

    async def ask(number: int) -> m.ReconcileReply | None:
        try:
            async with asyncio.timeout(patience_seconds):
                reply: m.ReconcileReply = await membership.ask(
                    membership.find(number), m.Reconcile(view)
                )
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
    pool: Pool,
    patience_seconds: float,
) -> None:
    """Take over what the longest log has beyond this node's."""
    namespace = primary.namespace
    for number in sorted(positions, key=lambda n: -positions[n].applied):
        member: Member = membership.find(number)
        try:
            while namespace.applied < positions[number].applied:
                connection = await pool.control(member)
                answer = await connection.call(
                    m.FetchLog(namespace.applied + 1),
                    request_id=pool.next_request_id(),
                    timeout=patience_seconds,
                    epoch=membership.epoch,
                )
                if not answer.record.count:
                    raise errors.UnavailableError("it does not keep those entries any more")
                primary.absorb(unpack_entries(answer.payload))
            return
        except errors.MemfsError as error:
            log.warning("log not fetched", extra=fields(member=number, reason=error))


async def _resume(primary: Primary, member: Member, position: m.ReconcileReply) -> bool:
    try:
        await primary.resume_backup(member, position)
    except errors.MemfsError as error:
        log.warning("backup does not follow", extra=fields(member=member.number, reason=error))
        return False
    return True


async def _give_up(number: int, in_sync: InSyncSet, primary: Primary) -> None:
    """Take a silent member out, or at least try until it is there again."""
    try:
        await in_sync.change(
            lambda view: rules.shrink(view, number) if number in view.in_sync else view
        )
    except errors.NotPrimaryError:
        raise
    except errors.MemfsError as error:
        log.warning("the view cannot be changed", extra=fields(reason=error))
        await asyncio.sleep(PAUSE_SECONDS)
    primary.remove_backup(number)
