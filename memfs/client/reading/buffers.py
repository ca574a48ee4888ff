"""Buffers that are used again: touching fresh pages costs as much as receiving into them.

Owns a bounded number of ``bytearray``. A buffer that was taken may be lost (after a cancellation it
is not known what still writes into it); one may be given back only when nothing does.
"""

from __future__ import annotations

from memfs import limits

KEPT_BYTES = 64 * limits.MIB


class BufferPool:
    """Buffers by size, the most recently returned first."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        """``limit``: most bytes kept."""
        self._limit = limit
        self._held = 0
        self._buffers: dict[int, list[bytearray]] = {}

    def take(self, size: int) -> bytearray:
        """A buffer of exactly ``size`` bytes, of arbitrary content."""
        kept = self._buffers.get(size)
        if kept:
            self._held -= size
            return kept.pop()
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Return a buffer that is not read or written any more."""
        size = len(buffer)
        if self._held + size <= self._limit:
            self._held += size
            self._buffers.setdefault(size, []).append(buffer)

    @property
    def held(self) -> int:
        """Bytes kept."""
        return self._held
