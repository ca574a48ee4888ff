"""Groups of a user who comes with a name only: from the settings, else from this machine.

As Hadoop's name node does it. Must not know requests. Answers of the machine are kept for a minute
and looked up in a thread: a directory service may take its time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from memfs.machine import account_groups

KEPT_SECONDS = 60.0
KEPT = 4096


class Groups:
    """Names of groups by user."""

    def __init__(
        self,
        configured: tuple[str, ...],
        system: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``configured``: ``user=group+group``; ``system``: ask this machine for the others."""
        pairs = (each.partition("=") for each in configured)
        self._configured = {user: tuple(filter(None, names.split("+"))) for user, _, names in pairs}
        self._system = system
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    async def of(self, user: str) -> tuple[str, ...]:
        """Groups, the primary one first; none for an unknown user."""
        found = self._configured.get(user)
        if found is not None or not self._system:
            return found or ()
        now = self._clock()
        known = self._known.get(user)
        if known is None or now - known[0] > KEPT_SECONDS:
            if len(self._known) >= KEPT:
                self._known.clear()
            found = await asyncio.to_thread(account_groups, user)
            known = self._known[user] = (now, found)
        return known[1]
