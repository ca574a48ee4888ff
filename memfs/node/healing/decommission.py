"""Planned removal of a member: its blocks are moved away, then its role, then it leaves the view.

Owns the decision that a leaving member holds nothing that counts. The order of steps: no file may
name this member alone from now on (``departing``); the member lists what it holds; no file names
any of it there, or could come to; the log that says so is committed. The blocks themselves are
moved by the healer, since the ring gives a leaving member nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memfs import errors
from memfs.cluster import view as rules
from memfs.cluster.ring import accepts_copies
from memfs.logs import fields
from memfs.node.healing.peers import Peers
from memfs.node.healing.repair_queue import RepairQueue
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.quantities import counted, show_size
from memfs.transport.server import IncomingCall
from memfs.types import Member, View

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
WEIGHT_MAX = 10_000


class Decommissioning:
    """Weights and departures, on the primary."""

    def __init__(self, role: NamespaceRole, peers: Peers, repairs: RepairQueue) -> None:
        """The blocks are moved by the parts that work off ``repairs``."""
        self.departing: set[int] = set()
        """Members that no file may newly name as its only holder."""
        self._role = role
        self._membership = role.membership
        self._peers = peers
        self._repairs = repairs
        self._waiting: dict[int, str] = {}

    # --- requests ----------------------------------------------------------------------------

    async def set_weight(self, call: IncomingCall[m.SetWeight]) -> m.ViewReply:
        """Give a member another share of the ring."""
        number, weight = call.request.member, call.request.weight
        if not 0 <= weight <= WEIGHT_MAX:
            raise errors.InvalidArgumentError(f"a weight is 0 to {WEIGHT_MAX}, not {weight}")
        view = await self._change_member(number, lambda v: rules.reweigh(v, number, weight))
        log.info("weight", extra=fields(member=number, weight=weight))
        return m.ViewReply(view)

    async def request(self, call: IncomingCall[m.Decommission]) -> m.ViewReply:
        """Begin or call off a decommission. Raises NoSpaceError, InvalidArgumentError."""
        number, leaving = call.request.member, not call.request.cancel
        member = self._find(number)
        if leaving and not member.leaving:
            others = self._others(member)
            if not call.request.fewer_copies:
                self._check_copies(member, len(others))
                self._check_room(member, others)
        view = await self._change_member(number, lambda v: rules.retire(v, number, leaving))
        event = "decommission begun" if leaving else "decommission called off"
        log.info(event, extra=fields(member=number, name=member.name))
        return m.ViewReply(view)

    async def _change_member(self, number: int, step: Callable[[View], View]) -> View:
        assert self._role.primary is not None
        self._find(number)
        view = await self._role.in_sync.change(step)
        self._repairs.look_again()
        return view

    def _find(self, number: int) -> Member:
        found = rules.member(self._membership.view, number)
        if found is None:
            raise errors.InvalidArgumentError(f"there is no member {number}")
        return found

    def _others(self, member: Member) -> list[int]:
        """The other members that take blocks. Raises NoSpaceError when there are none."""
        view = self._membership.view
        others = [m.number for m in view.members if accepts_copies(m) and m.number != member.number]
        if not others:
            raise errors.NoSpaceError(f"no other node takes the blocks of {member.name}")
        return others

    def _check_copies(self, member: Member, left: int) -> None:
        """Would the nodes that are left suffice for the copies that files ask for?"""
        wanted = self._repairs.copies_asked_for
        if accepts_copies(member) and left < wanted:
            nodes = counted(left, "node")
            raise errors.NoSpaceError(
                f"without {member.name} there would be {nodes} for the {wanted} copies that files "
                "ask for: add a node first, or say --fewer-copies"
            )

    def _check_room(self, member: Member, others: list[int]) -> None:
        usages = [self._membership.life(n).usage for n in others if self._membership.is_alive(n)]
        room = sum(max(0, usage.limit - usage.used) for usage in usages)
        held = self._membership.life(member.number).usage.used
        if len(others) >= self._role.primary.namespace.settings.replication and held > room:
            raise errors.NoSpaceError(
                f"{member.name} holds {show_size(held)}, the other nodes have {show_size(room)} "
                "free: add nodes or delete files first, or say --fewer-copies"
            )

    # --- departures --------------------------------------------------------------------------

    def progress(self) -> tuple[m.LeavingStatus, ...]:
        """How far each decommission is."""
        view, found = self._membership.view, self._repairs.findings
        leaving = [member.number for member in view.members if member.leaving]
        return tuple(
            m.LeavingStatus(
                number,
                found.leaving_blocks[number],
                found.leaving[number],
                self._waits_for(number),
            )
            for number in leaving
        )

    def _waits_for(self, number: int) -> str:
        found = self._repairs.findings
        if found.named[number] and not found.leaving_blocks[number]:
            moved = counted(found.named[number], "block that was", "blocks that were")
            return f"readers of {moved} moved"
        return self._waiting.get(number, "")

    async def run(self) -> None:
        """Remove leaving members that hold nothing any more, forever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            view = self._membership.view
            if not self._role.leads:
                self.departing.clear()
                self._waiting.clear()
                continue
            for member in view.members:
                if member.leaving:
                    await self._try(member)
            self.departing.intersection_update(m.number for m in view.members if m.leaving)

    async def _try(self, member: Member) -> None:
        self.departing.add(member.number)
        try:
            waiting = await self._still_held(member)
            if not waiting:
                await self._let_go(member)
        except errors.MemfsError as error:
            waiting = error.message
        if waiting:
            self.departing.discard(member.number)
        self._waiting[member.number] = waiting

    async def _still_held(self, member: Member) -> str:
        """What a member still holds that counts; empty: nothing."""
        view = self._membership.view
        if self._repairs.findings.named[member.number]:
            return "blocks"
        await self._peers.ask(member.number, m.NewView(view))
        after: m.BlockVersion | None = None
        while True:
            page = await self._peers.ask(member.number, m.ListBlocks(after))
            namespace = self._role.primary.namespace
            for block in page.blocks:
                version = block.version
                ref = namespace.block(version)
                if ref is not None and member.number in ref.replicas:
                    self._repairs.look_for_moves()
                    return "blocks"
                if ref is None and namespace.is_live(version):
                    return "files that are being written"
            if not page.more:
                break
            after = page.blocks[-1].version
        await self._role.primary.settle()
        return ""

    async def _let_go(self, member: Member) -> None:
        view = self._membership.view
        if member.number == view.primary:
            await self._role.hand_over(_successor(view))
            return  # who goes on from here
        after = rules.leave(view, member.number)
        if len(after.in_sync) < after.min_in_sync:
            raise errors.UnavailableError("another node that holds the namespace")
        await self._peers.ask(member.number, m.Retire())
        self._membership.departures.because(member.number, "decommissioned")
        await self._role.in_sync.remove(member.number)
        log.info("decommission done", extra=fields(member=member.number, name=member.name))


def _successor(view: View) -> int:
    """The member that takes over from a primary that leaves. Raises UnavailableError."""
    staying = [member.number for member in view.members if not member.leaving]
    ready = [number for number in view.in_sync if number in staying and number != view.primary]
    if not ready:
        raise errors.UnavailableError("another node that holds the namespace")
    return ready[0]
