"""The search for orphans, copies that no file names and none can come to name; and for their
opposite, copies that a file names and that are not there.

Owns when it is tried and the order of steps that makes it safe (NoEarlyGC): look at what a member
holds, then at the namespace, then confirm that what the namespace says is committed and that this
node still is the primary, then look again, and only then tell the member to forget. A copy that a
member seems to lack is verified once more before anything is done.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from memfs import errors
from memfs.logs import fields
from memfs.node.healing.discards import Discards
from memfs.node.healing.peers import Peers
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

PAGE = 128
PAUSE_SECONDS = 0.001
SUSPECT_SECONDS = 0.5
"""From the end of a writer until its leftovers are looked for."""
SUSPECTS_MAX = 65_536
"""Inodes looked for at once: of sixteen sessions that hold all they may."""
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
        """``is_copying`` tells what is on its way to a member, ``missing`` is called with what it
        seems to lack; ``seconds`` between two sweeps."""
        self.swept = 0
        """Orphans found so far."""
        self._role = role
        self._peers = peers
        self._discards = discards
        self._is_copying = is_copying
        self._missing = missing
        self._compared = 0
        self._seconds = seconds
        self._suspects: dict[int, None] = {}
        self._suspected = asyncio.Event()

    async def run(self) -> None:
        """Sweep, forever."""
        membership = self._role.membership
        while True:
            await asyncio.sleep(self._seconds)
            view = membership.view
            if not self._role.leads:
                continue
            numbers = [member.number for member in view.members]
            self._compared = next((n for n in numbers if n > self._compared), numbers[0])
            for number in numbers:
                try:
                    await self._sweep(number)
                except errors.MemfsError as error:
                    log.info("sweep", extra=fields(member=number, reason=error))

    def suspect(self, inodes: Iterable[int]) -> None:
        """The writers of these inodes are gone: look soon for what they stored and did not
        publish."""
        room = max(0, SUSPECTS_MAX - len(self._suspects))
        self._suspects.update(dict.fromkeys(islice(inodes, room)))  # a sweep finds the others
        if self._suspects:
            self._suspected.set()

    async def run_suspects(self) -> None:
        """Look for what vanished writers left, forever."""
        while True:
            await self._suspected.wait()
            await asyncio.sleep(SUSPECT_SECONDS)  # what was on its way has arrived, or never will
            self._suspected.clear()
            inodes, self._suspects = sorted(self._suspects), {}
            view = self._role.membership.view
            if not self._role.leads:
                continue
            for member in view.members:
                try:
                    self.swept += await self._discard_of(member.number, inodes)
                except errors.MemfsError as error:
                    log.info("left behind", extra=fields(member=member.number, reason=error))

    async def _discard_of(self, number: int, inodes: list[int]) -> int:
        """Have a member forget its orphans of some inodes, in order; returns how many."""
        wanted, found = set(inodes), 0
        after = _before(inodes[0])
        while True:
            page = await self._peers.ask(number, m.ListBlocks(after, PAGE))
            versions = [block.version for block in page.blocks]
            left = [version for version in versions if version.inode in wanted]
            found += await self._discard(number, left)
            at = bisect.bisect_left(inodes, versions[-1].inode) if page.more else len(inodes)
            if at == len(inodes):
                return found
            last = versions[-1]
            after = last if inodes[at] == last.inode else _before(inodes[at])

    async def _discard(self, number: int, versions: Sequence[m.BlockVersion]) -> int:
        """Have a member forget those of its versions that are orphans; returns how many."""
        if not any(self._is_orphan(version, number) for version in versions):
            return 0
        await self._role.primary.settle()
        orphans = [version for version in versions if self._is_orphan(version, number)]
        for version in orphans:
            self._discards.add_one(number, version)
        return len(orphans)

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
        """Have a member forget all its orphans; returns their number. The hashes of all versions
        that the member holds are added to ``held``."""
        after: m.BlockVersion | None = None
        found = 0
        while True:
            page = await self._peers.ask(number, m.ListBlocks(after))
            versions = [block.version for block in page.blocks]
            if held is not None:
                held.update(map(hash, versions))
            found += await self._discard(number, versions)
            if not page.more:
                return found
            after = versions[-1]

    async def _find_gaps(self, number: int, held: set[int]) -> None:
        """Report what a member does not hold though files name it there.

        Versions written since the member was asked are reported too, which does no harm.
        """
        after: tuple[int, int] | None = (0, 0)
        reported = 0
        while after is not None and reported < GAPS_AT_ONCE:
            page, after = self._role.primary.namespace.runs(after, PAGE)
            for run in page:
                if number in run.replicas:
                    gaps = [row for row in run.rows if hash(row[:4]) not in held]
                    for row in gaps:
                        self._missing(m.BlockVersion(*row[:4]), number)
                    reported += len(gaps)
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


def _before(inode: int) -> m.BlockVersion:
    """The version after which a listing that begins with this inode starts."""
    return m.BlockVersion(inode, 0, -1, -1)
