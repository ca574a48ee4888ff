"""Message 92: what a client may believe without asking again.

A client that watches may keep what it reads from the primary. Before the primary acknowledges a
command of somebody else that changes it, the client has said that it forgot it, or may not believe
it any more: each answer says for how long it may (Gray and Cheriton 1989, "Leases").
"""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import message


class WatchReply(NamedTuple):
    """What is to be forgotten, and how long all the rest is good."""

    sequence: int
    """To be named by the next request, once these are forgotten."""
    changed: tuple[int, ...]
    """Inodes: their attributes, what their names mean, their content."""
    lease_ms: int
    """From when the request was sent. 0: nothing may be believed."""
    fresh: bool
    """The primary does not know what the client has kept: all of it is to be forgotten."""


@message(92)
class Watch(NamedTuple):
    """Tell what has changed of what this client has read, at once or as soon as something has."""

    sequence: int = 0
    """Of the last answer, whose inodes are forgotten now."""
    wait_ms: int = 0
    """Longest wait for the answer, at most ``limits.WATCH_WAIT_MS``."""

    @staticmethod
    def reply() -> type[WatchReply]:
        return WatchReply
