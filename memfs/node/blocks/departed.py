"""Memory that a store has closed while somebody could still be reading there.

The kernel frees it with the last view or mapping, which the account does not see. Owns what is
known of that: whether a view of this process is alive, and how long another process keeps a mapping
that it does not use. Whoever keeps one for longer has the memory for its own.
"""

from __future__ import annotations

import mmap
import weakref
from typing import Final, NamedTuple

LENT_LOOKS: Final = 10
"""Clients let a segment go within ten seconds of its last use; looks are a second apart."""


class _Closed(NamedTuple):
    mapping: weakref.ref[mmap.mmap]
    """Alive for as long as a view of it is."""
    size: int
    looks: int
    """For which another process may still have it."""


class Departed:
    """Closed memory that may not be with the system yet."""

    def __init__(self) -> None:
        self.bytes = 0
        """As of the last look, and what was closed since."""
        self._closed: list[_Closed] = []

    def note(self, mapping: mmap.mmap, size: int, *, lent: bool) -> None:
        """Memory of ``size`` resident bytes is closed; ``lent``: to another process, too."""
        self._closed.append(_Closed(weakref.ref(mapping), size, LENT_LOOKS * lent))
        self.bytes += size

    def forget(self) -> None:
        """Nobody measures what the process takes: what is closed counts no more."""
        self._closed.clear()
        self.bytes = 0

    def look(self) -> int:
        """Forget what is free by now; the bytes of the rest."""
        self._closed = [
            each._replace(looks=max(0, each.looks - 1))
            for each in self._closed
            if each.looks or each.mapping() is not None
        ]
        self.bytes = sum(each.size for each in self._closed)
        return self.bytes
