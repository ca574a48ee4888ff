"""The end of the replicated log that a node keeps, to bring others up to date without a snapshot.

Only members that count as in sync are brought up to date so, and they have what was committed:
no more is needed of the log than what is not. What is kept beyond that is a margin
(docs/decisions/0040-the-log-that-is-kept.md).

Invariant: the entries are consecutive and end with the last one that was applied; entries and bytes
are bounded.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from memfs import limits
from memfs.node.log.entries import Entry

ENTRY_BYTES: Final = 400
"""What an entry takes beside its record: the objects that it consists of, as measured."""
DROPPED_AT_ONCE: Final = 1_024
"""About 0.2 ms of the event loop."""


class RecentLog:
    """The last entries, each with the namespace's digest after it."""

    def __init__(self, applied: int = 0, digest: int = 0) -> None:
        """Begins empty after log index ``applied``, where the digest was ``digest``."""
        self._entries: deque[tuple[Entry, int]] = deque()
        self._bytes = 0
        self._before = (applied, digest)

    def append(self, entry: Entry, digest: int) -> None:
        """Keep one more entry; the oldest go when there are too many."""
        self._entries.append((entry, digest))
        self._bytes += ENTRY_BYTES + len(entry.record)
        if self._bytes > limits.LOG_BYTES_KEPT:
            self._drop(len(self._entries), limits.LOG_BYTES_KEPT)
        if len(self._entries) > limits.LOG_ENTRIES_KEPT:
            self._drop(1)

    def confirmed(self, index: int) -> None:
        """All that are in sync have the entries up to ``index``: beyond a margin they may go, the
        last entry stays."""
        if self._bytes > limits.LOG_BYTES_CONFIRMED:
            most = min(index - self._before[0], len(self._entries) - 1, DROPPED_AT_ONCE)
            self._drop(most, limits.LOG_BYTES_CONFIRMED * 15 // 16)

    def _drop(self, most: int, enough: int = 0) -> None:
        """Drop the oldest entries: ``most`` of them, or until the others take ``enough`` bytes."""
        entries, kept, before = self._entries, self._bytes, self._before
        while most > 0 and kept > enough:
            oldest, after = entries.popleft()
            kept -= ENTRY_BYTES + len(oldest.record)
            before = (oldest.index, after)
            most -= 1
        self._bytes, self._before = kept, before

    @property
    def entries(self) -> int:
        """How many are kept."""
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Memory that they take."""
        return self._bytes

    @property
    def last_epoch(self) -> int:
        """In which the last entry was appended; 0 when that is not known."""
        return self._entries[-1][0].epoch if self._entries else 0

    def digest_at(self, index: int) -> int | None:
        """The namespace's digest after entry ``index``; None when that is not known."""
        first, digest = self._before
        if index == first:
            return digest
        if not first < index <= first + len(self._entries):
            return None
        return self._entries[index - first - 1][1]

    def after(self, index: int, count: int | None = None) -> list[Entry] | None:
        """The entries after ``index``, at most ``count``; None when they are not all kept."""
        skip = index - self._before[0]
        if not 0 <= skip <= len(self._entries):
            return None
        end = None if count is None else skip + count
        return [entry for entry, _ in islice(self._entries, skip, end)]
