"""The audit log: who asked for what, and whether they might; one line of JSON each.

Owns the record, which of them are written (the setting ``audit``) and how many of one party, so
that nobody fills a disk with them, or hides among them what others did. Lines go to the logger
``memfs.audit``, whose level and form the settings of logs do not change. Pure but for that.

Invariant: within a second a party gets ``rate`` lines of each verdict at most and all together
``TOGETHER`` times as many; whoever had more is named with the number that was left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from memfs.errors import (
    AccessDeniedError,
    InvalidTokenError,
    NotPermittedError,
)
from memfs.logs import AUDIT, fields

LEVELS: Final = ("off", "deny", "on")
OK: Final = "ok"
RATE: Final = 1000
TOGETHER: Final = 10
SECOND: Final = 1.0
REFUSALS: Final = (AccessDeniedError, NotPermittedError, InvalidTokenError)
"""What says that somebody may not; other errors say that it cannot be done."""

log = logging.getLogger(AUDIT)


class Decision(NamedTuple):
    """What was asked for, and the answer."""

    user: str
    """On whose behalf."""
    address: str
    """The host alone: a port is another one each time."""
    operation: str
    allowed: bool
    result: str = OK
    """``ok``, or the name of the error."""
    path: str = ""
    target: str = ""
    """The second path of what has two."""
    real_user: str = ""
    """Who asked, when they asked for another."""


class Audit:
    """Writes decisions, as far as the setting and the rate let it."""

    def __init__(self, level: str, now: Callable[[], float], rate: int = RATE) -> None:
        """``level``: one of ``LEVELS``. ``now``: monotonic seconds. ``rate``: lines of a party in a
        second."""
        assert level in LEVELS
        self.denied = level != "off"
        """Are refusals written?"""
        self.allowed = level == "on"
        """Is everything else?"""
        self._now = now
        self._rate = rate
        self._began = now()
        self._written: dict[tuple[str, str, bool], int] = {}
        self._total = {True: 0, False: 0}
        self._left_out: dict[tuple[str, str, bool], int] = {}

    def write(self, decision: Decision) -> None:
        """One line, unless it is one too many."""
        if not (self.allowed if decision.allowed else self.denied):
            return
        if self._now() - self._began >= SECOND:
            self.flush()
        if self._has_room(decision):
            log.info("request", extra=fields(**decision._asdict()))

    def _has_room(self, decision: Decision) -> bool:
        party = decision.real_user or decision.user, decision.address, decision.allowed
        written = self._written.get(party, 0)
        if written < self._rate and self._total[decision.allowed] < self._rate * TOGETHER:
            self._written[party] = written + 1
            self._total[decision.allowed] += 1
            return True
        if party not in self._left_out and len(self._left_out) >= TOGETHER * self._rate:
            party = "", "", decision.allowed
        self._left_out[party] = self._left_out.get(party, 0) + 1
        return False

    def flush(self) -> None:
        """Begin another second; say of whom there was more than was written."""
        left_out, self._left_out = self._left_out, {}
        for (user, address, allowed), count in left_out.items():
            about = fields(user=user, address=address, allowed=allowed, left_out=count)
            log.info("left out", extra=about)
        self._written.clear()
        self._total = {True: 0, False: 0}
        self._began = self._now()


def verdict(error: BaseException | None) -> tuple[bool, str]:
    """``allowed`` and ``result`` of an answer."""
    if error is None:
        return True, OK
    return not isinstance(error, REFUSALS), type(error).__name__
