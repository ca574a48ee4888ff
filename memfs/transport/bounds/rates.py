"""Request rates of users, where a limit is set. Counts in whole seconds: a user who has reached the
limit is refused until the next second begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SECOND: Final = 1.0
UNLIMITED: Final = 0


class Rates:
    """The requests of the present second, by user."""

    def __init__(self, now: Callable[[], float]) -> None:
        """``now``: monotonic seconds."""
        self.limit_of: Callable[[str], int] = lambda user: UNLIMITED
        """Requests a second of a user, or UNLIMITED."""
        self.on = False
        """Whether any user has a limit; otherwise nothing is counted."""
        self._now = now
        self._began = now()
        self._counts: dict[str, int] = {}

    def refusal(self, user: str) -> str:
        """Count a request; returns the reason when it exceeds the limit."""
        now = self._now()
        if now - self._began >= SECOND:
            self._began = now
            self._counts.clear()
        most = self.limit_of(user)
        count = self._counts.get(user, 0)
        if most != UNLIMITED and count >= most:
            return f"{user} makes more than {most} requests a second to this node: wait"
        self._counts[user] = count + 1
        return ""
