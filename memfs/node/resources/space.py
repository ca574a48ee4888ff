"""When a node says that its memory for blocks runs low, and when it gives some back.

Owns the judgement, with hysteresis: writers fill and deletions empty, and nobody wants an event at
each; and the pace of what gets memory back. Must not know what happens to blocks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from memfs.limits import MIB
from memfs.logs import fields
from memfs.protocol.messages import BlockVersion

log = logging.getLogger(__name__)

LOW_SHARE: Final = 0.90
ENOUGH_SHARE: Final = 0.85
POLL_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 10.0
"""Spare memory that nobody needed for so long goes back to the system."""
GIVE_BACK_BYTES: Final = 16 * MIB
GIVE_BACK_PAUSE_SECONDS: Final = 0.01
"""To free 1 GiB takes the kernel 0.14 s: the event loop does it piece by piece."""


CLEANED_RECORDS: Final = 256
CLEANED_BYTES: Final = 1 * MIB
"""A step of the cleaner: about a millisecond of the event loop."""
CLEANING_PAUSE_SECONDS: Final = 0.009
"""Between two steps: the cleaner takes a tenth of a core."""
URGENT_PAUSE_SECONDS: Final = 0.001
"""... and half of one when room gets scarce, for a writer would have to do its work."""


class Charged(Protocol):
    """What is charged, and the most that may be."""

    @property
    def used(self) -> int: ...

    @property
    def limit(self) -> int: ...


class SpaceWatch:
    """Tells the log when space runs low and when there is enough again."""

    def __init__(self, account: Charged) -> None:
        """``account`` is looked at whenever asked."""
        self.low = False
        """It ran low and there is not enough again."""
        self._account = account

    def look(self) -> None:
        """Compare what is used with the limit."""
        used, limit = self._account.used, self._account.limit
        share = used / limit if limit else 0.0
        if not self.low and share >= LOW_SHARE:
            self.low = True
            log.warning("low space", extra=fields(used=used, limit=limit))
        elif self.low and share < ENOUGH_SHARE:
            self.low = False
            log.info("enough space", extra=fields(used=used, limit=limit))

    async def run(self) -> None:
        """Look, forever."""
        while True:
            self.look()
            await asyncio.sleep(POLL_SECONDS)


class Spare(Protocol):
    """Memory of deleted blocks that is kept for new ones."""

    def surplus(self) -> int:
        """Bytes of it that were never needed since this was last asked."""

    def give_back(self, count: int) -> int:
        """Give at least ``count`` bytes back, if there are so many; the number given back."""


async def give_back_spare_memory(spare: Spare) -> None:
    """Return to the system what was not needed for a while, forever."""
    while True:
        await asyncio.sleep(IDLE_SECONDS)
        surplus = spare.surplus()
        while surplus > 0 and (given := spare.give_back(min(surplus, GIVE_BACK_BYTES))):
            surplus -= given
            await asyncio.sleep(GIVE_BACK_PAUSE_SECONDS)


class Sparse(Charged, Protocol):
    """Small blocks with dead bytes between them."""

    @property
    def spare(self) -> int: ...

    @property
    def sparse(self) -> bool: ...

    def clean(self, records: int, count: int) -> int:
        """Move some closer together; 0: there is nothing to gain."""

    def pop_damaged(self) -> list[BlockVersion]:
        """What failed its checksum meanwhile."""


async def clean_segments(store: Sparse, report: Callable[[BlockVersion], Awaitable[None]]) -> None:
    """Get dead bytes between small blocks back in small steps, forever; ``report`` damage."""
    while True:
        if not store.sparse or not store.clean(CLEANED_RECORDS, CLEANED_BYTES):
            await asyncio.sleep(POLL_SECONDS)
            continue
        for version in store.pop_damaged():
            await report(version)
        scarce = store.used + store.spare > LOW_SHARE * store.limit
        await asyncio.sleep(URGENT_PAUSE_SECONDS if scarce else CLEANING_PAUSE_SECONDS)
