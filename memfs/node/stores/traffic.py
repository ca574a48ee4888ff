"""What a node counts of each mounted store, from when it first had to do with it.

Owns nothing but numbers; they go when the mount goes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Counters of one mount on one node."""

    hits: int = 0
    """Reads of blocks that the cache had."""
    misses: int = 0
    """Reads that had to wait for the store, or for somebody else's question to it."""
    fetched_bytes: int = 0
    """Bytes that came from the store into blocks."""
    evicted_blocks: int = 0
    """Cached blocks that went for others, or because nobody read them any more."""
    persisted_bytes: int = 0
    """Bytes of changed files that the store took."""
    conflicts: int = 0
    """Changes kept beside those that others had made to the same object."""
    requests: int = 0
    """Questions to the store and changes of it, retries not counted."""
    errors: int = 0
    """Those that it did not answer in time, or refused."""
