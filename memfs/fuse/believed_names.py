"""Names that the kernel believes without asking, and when it believes none any more.

No notification of Linux withdraws a name at once: each waits for a lock of the directory that a
request may hold, or takes away what is mounted below the name. So names are withdrawn with the
attributes of their directory: before the kernel looks into a directory it checks that the caller
may, for which it must believe the directory's attributes, and those are withdrawn without a lock
(``default_permissions``; ``fuse_permission`` of Linux). It then asks for them, and hears of them
when the last name that was handed out before has run out.

Owns until when names of each directory may be believed, and which directories are told of late.
Must not know the cluster. Invariant: nobody passes through a directory that others have changed
while a name is believed that was handed out before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final

BELIEVED_SECONDS: Final = 0.2
"""How long a name is believed at most: programs that use a name again do so soon, and whoever looks
into a directory that others have just changed for the first time waits for so long."""
LATE_SECONDS: Final = 0.8
"""The kernel counts from when the thread that asked runs again. As names cannot be taken back, they
have to run out before the primary stops waiting."""
SHARED_SECONDS: Final = 600.0
"""For so long no name is handed out of a directory after somebody had to wait because of it."""
SHARED_DIRECTORIES: Final = 16
"""From so many such directories on no name is handed out at all: others work in the same tree."""
DIRECTORIES: Final = 100_000
_BILLION: Final = 1_000_000_000


class BelievedNames:
    """What one kernel was told to believe, by directory (inode)."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._until: dict[int, int] = {}
        """When the last name that was handed out of a directory has certainly run out."""
        self._before = now_ns() + _nanoseconds(BELIEVED_SECONDS + LATE_SECONDS)
        """The same of directories of which nothing is known: what a former worker handed out."""
        self._withheld: dict[int, int] = {}
        self._shared: dict[int, int] = {}
        self.offered = False
        """Whether the kernel keeps to the order of what it is told of attributes."""

    @property
    def withheld(self) -> Collection[int]:
        """Directories of which no attributes are to be believed yet."""
        return self._withheld

    def hand_out(self, directory: int, trust: float, promised: float) -> float:
        """Seconds for which a name in a directory may be believed now, as long as ``trust``.

        ``promised``: seconds until the primary waits no more; the kernel may be late by then.
        """
        if not self.offered or directory in self._withheld:
            return 0.0
        now_ns = self._now_ns()
        if self._shared and self._is_shared(directory, now_ns):
            return 0.0
        seconds = min(trust, BELIEVED_SECONDS, promised - LATE_SECONDS)
        if seconds <= 0:
            return 0.0
        if len(self._until) >= DIRECTORIES and directory not in self._until:
            self._before = max(self._before, *self._until.values())
            self._until.clear()
        self._until[directory] = now_ns + _nanoseconds(seconds + LATE_SECONDS)
        return seconds

    def moved(self, source: int, target: int) -> None:
        """This mount has moved a name, as far as it is believed, to another directory."""
        until = max(self._until.get(source, 0), self._withheld.get(source, 0))
        if until > self._until.get(target, 0):
            self._until[target] = until

    def withdraw(self, inodes: Iterable[int]) -> None:
        """Others have changed these: from now on they are not told of before names have run out.
        Attributes that the kernel believes are to be withdrawn after that.
        """
        now_ns = self._now_ns()
        for inode in inodes:
            until = self._until.pop(inode, 0)
            if until > now_ns:
                self._shared.pop(inode, None)
                self._shared[inode] = now_ns + _nanoseconds(SHARED_SECONDS)
            until = max(until, self._before)
            if until > now_ns:
                self._withheld[inode] = max(until, self._withheld.get(inode, 0))

    async def run_out(self, directory: int) -> None:
        """Return when no name is believed that was handed out before others changed a directory."""
        while (until := self._withheld.get(directory)) is not None:
            left_ns = until - self._now_ns()
            if left_ns > 0:
                await asyncio.sleep(left_ns / _BILLION)
            elif self._withheld.get(directory) == until:
                del self._withheld[directory]

    def _is_shared(self, directory: int, now_ns: int) -> bool:
        oldest = next(iter(self._shared))
        if self._shared[oldest] <= now_ns:
            del self._shared[oldest]
        return directory in self._shared or len(self._shared) >= SHARED_DIRECTORIES


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _BILLION)
