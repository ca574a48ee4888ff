"""The record of a simulated run: a running hash of every event, and the last ones in words."""

from __future__ import annotations

import hashlib
from collections import deque

_KEPT = 2_000


class Trace:
    """Two runs are the same if and only if their digests are."""

    def __init__(self) -> None:
        """Empty."""
        self.count = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[tuple[object, ...]] = deque(maxlen=_KEPT)

    def add(self, time: float, kind: str, *details: object) -> None:
        """Record one event; ``details`` must be numbers and text."""
        event = (round(time, 9), kind, *details)
        self.count += 1
        self._hash.update(repr(event).encode())
        self._last.append(event)

    def digest(self) -> str:
        """Hash of all events so far."""
        return self._hash.hexdigest()

    def story(self, word: str = "") -> str:
        """The last events, one a line; only those that mention ``word``."""
        lines = (" ".join(map(str, event)) for event in self._last)
        return "\n".join(line for line in lines if word in line)
