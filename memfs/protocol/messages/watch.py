"""Message 92: what a client may cache without asking again.

A client that watches may keep what it reads from the primary. Before the primary acknowledges a
command of somebody else that changes it, the client has said that it forgot it, or may not believe
it any more: each answer says for how long it may (Gray and Cheriton 1989, "Leases").
"""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import message


class WatchReply(NamedTuple):
    """What the client must forget, and how long the rest of its cache is valid."""

    sequence: int
    """Number that the next request names, once these are forgotten."""
    changed: tuple[int, ...]
    """Inodes: their attributes, what their names mean, their content."""
    lease_ms: int
    """Milliseconds from when the request was sent, for which cached data may be used; 0: none."""
    fresh: bool
    """The primary does not know what the client has cached: the client must forget all of it."""


@message(92)
class Watch(NamedTuple):
    """Tell what has changed of what this client has read, at once or as soon as something has."""

    sequence: int = 0
    """Number of the last answer, whose inodes are forgotten now."""
    wait_ms: int = 0
    """Longest wait for the answer, at most ``limits.WATCH_WAIT_MS``."""

    @staticmethod
    def reply() -> type[WatchReply]:
        return WatchReply
