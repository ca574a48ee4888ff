"""The record of a simulated run: a running hash of every event, and the notable ones in words.

Invariant: two runs are the same if and only if their digests are. What is only told
(:meth:`Trace.tell`) explains and never counts.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection

_KEPT = 2_000
_TRAFFIC = frozenset({"data", "end", "connect", "reset", "block", "unblock"})


class Trace:
    """What happened, in order."""

    def __init__(self, kept: int | None = _KEPT) -> None:
        """Empty. ``kept``: lines of the story that are remembered, None: all."""
        self.count = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._story: deque[str] = deque(maxlen=kept)

    def add(self, time: float, kind: str, *details: object) -> None:
        """Record one event; ``details`` must be numbers and text."""
        event = (round(time, 9), kind, *details)
        self.count += 1
        self._hash.update(repr(event).encode())
        if kind not in _TRAFFIC:
            self.tell(time, kind, *details)

    def tell(self, time: float, *words: object) -> None:
        """Put a line into the story that is no part of the digest."""
        self._story.append(f"{time:11.6f} {' '.join(map(str, words)).rstrip()}")

    def digest(self) -> str:
        """Hash of all events so far."""
        return self._hash.hexdigest()

    def story(self, words: str | Collection[str] = "") -> str:
        """The notable events, one a line; only those that mention one of ``words``."""
        wanted = (words,) if isinstance(words, str) else tuple(words)
        return "\n".join(line for line in self._story if any(word in line for word in wanted))
