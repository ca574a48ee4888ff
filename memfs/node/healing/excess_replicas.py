"""Excess replicas: copies beyond those wanted are removed, some time after they became too many.

The wait is for readers who know no other copy yet. A copy goes only by a command that names enough
others, whose holders have just verified them; the nodes forget it once that is committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.healing.peers import Peers
from memfs.node.healing.repair_queue import RepairQueue
from memfs.node.replication.role import NamespaceRole
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.02
AT_ONCE = 64
"""Blocks of one step: about a millisecond."""
RETRY_SECONDS = 2.0
VERIFY_SECONDS = 10.0

_Kept = dict[m.BlockVersion, tuple[int, ...]]
"""Versions with the members that are to keep them."""


class ExcessReplicas:
    """Removes what the repair queue lists as excess while this node is the primary."""

    def __init__(self, repairs: RepairQueue, role: NamespaceRole, peers: Peers) -> None:
        """``repairs`` lists what is due."""
        self._repairs = repairs
        self._role = role
        self._peers = peers
        self._membership = role.membership
        self._now = self._membership.environment.clock.monotonic

    async def run(self) -> None:
        """Remove what is due, forever."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                if self._role.leads and self._repairs.excess_replicas:
                    await self._step()
            except errors.MemfsError as error:
                log.info("nothing is trimmed now", extra=fields(reason=error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _step(self) -> None:
        """Remove some of what is due. Raises the error with which the primary refuses."""
        wanted: _Kept = {}
        for version in self._due():
            kept = self._kept(version)
            if kept:
                wanted[version] = kept
        bad = await self._verify(wanted)
        for version in bad:
            self._repairs.excess_replicas.setdefault(version, self._now() + RETRY_SECONDS)
        trimmed = {
            version: kept
            for version, kept in wanted.items()
            if version not in bad and self._kept(version) == kept
        }
        if trimmed:
            command = m.SetManyReplicas(tuple(trimmed), tuple(trimmed.values()))
            set_aside(self._role.primary.submit_own(command))

    def _due(self) -> list[m.BlockVersion]:
        """Take what is due off the repair queue, as much as one step takes."""
        excess_replicas, now = self._repairs.excess_replicas, self._now()
        found: list[m.BlockVersion] = []
        while excess_replicas and len(found) < AT_ONCE:
            version, due = next(iter(excess_replicas.items()))
            if due > now:
                break
            del excess_replicas[version]
            found.append(version)
        return found

    def _kept(self, version: m.BlockVersion) -> tuple[int, ...]:
        """The holders that a version is to be left with, empty: leave it alone."""
        repairs = self._repairs
        block = repairs.namespace.placed_block(version)
        if block is None or version in repairs.in_flight:
            return ()
        placement = repairs.placement()
        situation = placement.situation(block)
        if placement.missing(situation) or not situation.live:
            return ()  # it comes again once that is mended
        kept = placement.kept(situation)
        return kept if kept != block.ref.replicas else ()

    async def _verify(self, wanted: _Kept) -> set[m.BlockVersion]:
        """Versions of which a copy that is to stay is not known to be good."""
        by_member: dict[int, list[m.BlockVersion]] = defaultdict(list)
        for version, kept in wanted.items():
            for number in kept:
                by_member[number].append(version)
        answers = await asyncio.gather(
            *(self._verify_at(number, versions) for number, versions in by_member.items())
        )
        return set().union(*answers)

    async def _verify_at(self, number: int, versions: list[m.BlockVersion]) -> set[m.BlockVersion]:
        good: set[m.BlockVersion] = set()
        try:
            for at in range(0, len(versions), limits.VERSIONS_PER_DISCARD):
                page = tuple(versions[at : at + limits.VERSIONS_PER_DISCARD])
                reply = await self._peers.ask(number, m.VerifyBlocks(page), VERIFY_SECONDS)
                for version, code in zip(page, reply.codes, strict=False):
                    if code == 0:
                        good.add(version)
                    else:
                        self._repairs.corrupt.suspect(version, number)
        except errors.MemfsError as error:
            log.info("copies were not verified", extra=fields(member=number, reason=error))
        return set(versions) - good
