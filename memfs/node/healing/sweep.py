"""The search for orphans, copies that no file names and none can come to name; and for their
opposite, copies that a file names and that are not there.

Owns when it is tried and the order of steps that makes it safe (NoEarlyGC): look at what a member
holds, then at the namespace, then confirm that what the namespace says is committed and that this
node still is the primary, then look again, and only then tell the member to forget. What a member
seems to lack, it is asked for once more by whom that is reported to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memfs import errors
from memfs.logs import fields
from memfs.node.discards import Discards
from memfs.node.healing.peers import Peers
from memfs.node.namespace_role import NamespaceRole
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

PAGE = 128
PAUSE_SECONDS = 0.001
GAPS_AT_ONCE = 256
"""Blocks that one comparison reports; the next one finds the others."""


class OrphanSweep:
    """The primary's sweep over all members; idle on other nodes."""

    def __init__(
        self,
        role: NamespaceRole,
        peers: Peers,
        discards: Discards,
        is_copying: Callable[[m.BlockVersion, int], bool],
        missing: Callable[[m.BlockVersion, int], None],
        seconds: float,
    ) -> None:
        """``is_copying`` tells what is on its way to a member, ``missing`` is told of what it seems
        to lack; ``seconds`` between two sweeps."""
        self.swept = 0
        """Orphans found so far."""
        self._role = role
        self._peers = peers
        self._discards = discards
        self._is_copying = is_copying
        self._missing = missing
        self._compared = 0
        self._seconds = seconds

    async def run(self) -> None:
        """Sweep, forever."""
        membership = self._role.membership
        while True:
            await asyncio.sleep(self._seconds)
            view = membership.view
            if not self._role.leads or view is None:
                continue
            numbers = [member.number for member in view.members]
            self._compared = next((n for n in numbers if n > self._compared), numbers[0])
            for number in numbers:
                try:
                    await self._sweep(number)
                except errors.MemfsError as error:
                    log.info("sweep", extra=fields(member=number, reason=error))

    async def _sweep(self, number: int) -> None:
        """Have a member forget its orphans; one member in each sweep is searched for gaps too."""
        held: set[int] | None = set() if number == self._compared else None
        found = await self._discard_orphans(number, held)
        self.swept += found
        if found:
            log.info("orphans", extra=fields(member=number, blocks=found))
        if held is not None:
            await self._find_gaps(number, held)

    async def _discard_orphans(self, number: int, held: set[int] | None) -> int:
        """Returns how many; the hashes of all that the member holds go to ``held``."""
        after: m.BlockVersion | None = None
        found = 0
        while True:
            page = await self._peers.ask(number, m.ListBlocks(after))
            versions = [m.BlockVersion(*block[:4]) for block in page.blocks]
            if held is not None:
                held.update(map(hash, versions))
            orphans = [version for version in versions if self._is_orphan(version, number)]
            if orphans:
                await self._role.primary.confirm()
                for version in orphans:
                    if self._is_orphan(version, number):
                        self._discards.add_one(number, version)
                        found += 1
            if not page.more:
                return found
            after = versions[-1]

    async def _find_gaps(self, number: int, held: set[int]) -> None:
        """Report what a member does not hold though files name it there.

        What was written since the member was asked is reported too, in vain.
        """
        after: tuple[int, int] | None = (0, 0)
        reported = 0
        while after is not None and reported < GAPS_AT_ONCE:
            page, after = self._role.primary.namespace.blocks(after, PAGE)
            for block in page:
                version = m.BlockVersion(*block.ref[:4])
                if number in block.ref.replicas and hash(version) not in held:
                    self._missing(version, number)
                    reported += 1
            await asyncio.sleep(PAUSE_SECONDS)

    def _is_orphan(self, version: m.BlockVersion, number: int) -> bool:
        """Can no file name this copy, now or later?"""
        if self._is_copying(version, number):
            return False
        namespace = self._role.primary.namespace
        ref = namespace.block(version)
        if ref is not None:
            return number not in ref.replicas
        return not namespace.is_live(version)
