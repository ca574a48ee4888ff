"""The end of the replicated log that a node keeps, to bring others up to date without a snapshot.

Invariant: the entries are consecutive and end with the last one that was applied; entries and bytes
are bounded.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from memfs import limits
from memfs.node.log.entries import Entry


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
        self._bytes += len(entry.record)
        while len(self._entries) > limits.LOG_ENTRIES_KEPT or self._bytes > limits.LOG_BYTES_KEPT:
            oldest, after = self._entries.popleft()
            self._bytes -= len(oldest.record)
            self._before = (oldest.index, after)

    @property
    def entries(self) -> int:
        """How many are kept."""
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Bytes of their records."""
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
