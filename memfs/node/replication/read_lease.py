"""Read leases: why a deposed primary never answers a read (NoStaleRead).

Pure. A primary may read while every required backup has promised not to take over before some
time. A backup counts its promise from when it *answered*, the primary from when it *asked*, and
takes only :data:`SHARE` of it: the promise outlives the lease whatever the network does, and as
long as the two clocks' rates differ by less than 1 / SHARE. Both clocks are CLOCK_BOOTTIME, which
goes on while a machine is suspended (Gray and Cheriton 1989, "Leases").
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

SHARE: Final = 0.6
RENEWALS: Final = 6
"""Renewals asked for in one lease time: two in a row may be lost."""
GRACE: Final = 0.5
"""Lease times for which a primary that no backup confirms goes on asking after its lease has
ended."""
SILENCE: Final = 2.0
"""Lease times for which it is silent then: longer than a promise and the patience of every
backup."""
SPEECH: Final = 1.0
"""Lease times for which it asks again when no backup took over; then it is silent again."""


class ReadLease:
    """What the primary may rely on."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long a backup's promise lasts."""
        self._seconds = seconds
        self.share_ns = round(seconds * SHARE * 1e9)
        """For how long a promise may be relied on."""
        self._until: dict[int, int] = {}

    def granted(self, backup: int, asked_ns: int) -> None:
        """A backup promised, in answer to what was sent at ``asked_ns``."""
        self._until[backup] = max(self._until.get(backup, 0), asked_ns + self.share_ns)

    def valid_until(self, required: Collection[int]) -> int | None:
        """Boottime nanoseconds at which the lease ends; None: never, nobody else is required."""
        if not required:
            return None
        return min(self._until.get(backup, 0) for backup in required)

    def unconfirmed(self, required: Collection[int], now_ns: int) -> list[int]:
        """The required backups whose promise is over, or was never given."""
        return [backup for backup in required if self._until.get(backup, 0) <= now_ns]

    def gives_way(self, required: Collection[int], since_ns: int, now_ns: int) -> bool:
        """Is it time to be silent, so that a backup whose answers do not arrive here takes over?

        ``since_ns``: from when these backups were asked.
        """
        if not required:
            return False
        confirmed_ns = max(since_ns, *(self._until.get(backup, 0) for backup in required))
        over = (now_ns - confirmed_ns) / 1e9 / self._seconds - GRACE
        return over >= 0 and over % (SILENCE + SPEECH) < SILENCE

    def forget(self, backup: int) -> None:
        """The member is no backup any more."""
        self._until.pop(backup, None)


class Promise:
    """What a backup has promised: not to take over before the lease time is over."""

    def __init__(self, seconds: float, now_ns: int) -> None:
        """Begins as if it had just been given: a backup knows nothing of the time before."""
        self._promised_ns = round(seconds * 1e9)
        self._given_ns = now_ns

    def renew(self, now_ns: int) -> None:
        """Promise anew."""
        self._given_ns = max(self._given_ns, now_ns)

    def silent_ns(self, now_ns: int) -> int:
        """Nanoseconds since the primary's last sign of life."""
        return now_ns - self._given_ns

    def is_over(self, now_ns: int, patience: float = 0.0) -> bool:
        """May this backup take over, ``patience`` seconds after the promise ended?"""
        return self.silent_ns(now_ns) > self._promised_ns + patience * 1e9
