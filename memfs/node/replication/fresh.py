"""One question asked on behalf of many callers, none of whom gets an answer older than their call.

Callers that come while a request is under way share the next one, since the one under way may have
been answered before they called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Fresh:
    """Shares requests between callers."""

    def __init__(self, look: Callable[[], Awaitable[bool]] | None) -> None:
        """``look`` asks; None: the answer is always no."""
        self._look = look
        self._begun = 0
        self._answer = False
        self._looking = asyncio.Lock()

    async def look(self) -> bool:
        """The answer to a request that begins after this call."""
        if self._look is None:
            return False
        wanted = self._begun + 1
        async with self._looking:
            if self._begun < wanted:
                self._begun += 1
                self._answer = False  # if this look is cancelled
                self._answer = await self._look()
            return self._answer
