"""Each node re-reads its own blocks against their checksums, slowly, again and again.

Owns the pace: one pass takes ``scrub_seconds``. What is corrupt is reported to the primary, which
verifies it and has it replaced; the copy is not touched here.
"""

from __future__ import annotations

import asyncio
import logging

from memfs import errors
from memfs.logs import fields
from memfs.node.blocks import BlockStore
from memfs.node.healing.peers import Peers
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
"""Between two steps at least: with many blocks a step takes several."""
PAUSE_SECONDS = 10.0
"""Between two steps at most, and until an empty store is looked at again: it may be full then."""


class Scrubber:
    """The scrubber of one node."""

    def __init__(
        self, store: BlockStore, membership: Membership, peers: Peers, scrub_seconds: float
    ) -> None:
        """``scrub_seconds`` of one pass, 0: never."""
        self.scrubbed = 0
        """Block versions re-read so far."""
        self.passes = 0
        """Complete passes."""
        self._store = store
        self._membership = membership
        self._peers = peers
        self._seconds = scrub_seconds

    async def run(self) -> None:
        """Scrub, forever."""
        while self._seconds:
            if not self._store.count:
                await asyncio.sleep(min(PAUSE_SECONDS, self._seconds))
                continue
            after: m.BlockVersion | None = None
            at_once, pause = self._pace()
            while page := self._store.list(after, at_once):
                await asyncio.sleep(pause)
                for block in page:
                    await self.check(block.version)
                after = page[-1].version
                at_once, pause = self._pace()
            self.passes += 1

    def _pace(self) -> tuple[int, float]:
        """Blocks of the next step, and the pause before it: by what is held now, for a pass that
        began with a few blocks may meet many."""
        count = max(1, self._store.count)
        at_once = max(1, round(count * TICK_SECONDS / self._seconds))
        return at_once, min(PAUSE_SECONDS, self._seconds * at_once / count)

    async def check(self, version: m.BlockVersion) -> None:
        """Re-read a version; report it to the primary if it is corrupt."""
        code = self._store.verify(version)
        self.scrubbed += 1
        await asyncio.sleep(0)
        if code != errors.CorruptBlockError.code:
            return
        log.error("a block is corrupt here", extra=fields(block=version))
        try:
            report = m.ReportCorrupt(version, self._membership.number)
            await self._peers.ask(self._membership.primary().number, report)
        except errors.MemfsError as error:
            log.warning("the corrupt block could not be reported", extra=fields(reason=error))
