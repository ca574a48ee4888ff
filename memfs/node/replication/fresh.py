"""One question asked on behalf of many callers, none of whom gets an answer older than their call.

Owns which look serves which callers: those that come while a look is under way wait for the next
one, since the one under way says nothing of the time from now on; all of them share that next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Fresh:
    """Shares looks."""

    def __init__(self, look: Callable[[], Awaitable[bool]] | None) -> None:
        """``look`` asks; None: the answer is always no."""
        self._look = look
        self._begun = 0
        self._answer = False
        self._looking = asyncio.Lock()

    async def look(self) -> bool:
        """The answer of a look that begins from now on."""
        if self._look is None:
            return False
        wanted = self._begun + 1
        async with self._looking:
            if self._begun < wanted:
                self._begun += 1
                self._answer = False  # if this look is cancelled
                self._answer = await self._look()
            return self._answer
