"""When a node says that its memory for blocks runs low.

Owns the judgement, with hysteresis: writers fill and deletions empty, and nobody wants an event at
each. Must not know what happens to blocks.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from memfs.logs import fields

log = logging.getLogger(__name__)

LOW_SHARE: Final = 0.90
ENOUGH_SHARE: Final = 0.85
POLL_SECONDS: Final = 1.0


class Account(Protocol):
    """What is charged, and the most that may be."""

    @property
    def used(self) -> int: ...

    @property
    def limit(self) -> int: ...


class SpaceWatch:
    """Tells the log when space runs low and when there is enough again."""

    def __init__(self, account: Account) -> None:
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
