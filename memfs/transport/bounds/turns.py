"""Fair shares of the event loop for client connections, with the rest kept for the node.

One turn (iteration) of the loop serves every connection with input. Requests of clients get a part
of it: a number of frames and a time of each connection, and a time for all of them; a connection
that has used its share waits in a queue for the next turn, with its socket unread. Connections of
other nodes, timers and tasks never wait here: leases, heartbeats and replication are served in
every turn, and a turn is short whatever clients send. Must not know what frames mean.

Invariant: a waiting connection is queued once, is not read from, and is served in FIFO order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Waiting(Protocol):
    """A connection that may wait for its turn."""

    def take_turn(self) -> None:
        """Go on with what has come."""


class Turns:
    """The turns of one server."""

    def __init__(self, now: Callable[[], float], frames: int, seconds: float, share: float) -> None:
        """``frames`` and ``share`` seconds of one connection and ``seconds`` of all in a turn;
        ``now`` in seconds.
        """
        self.number = 0
        """Grows with every turn in which a client was served."""
        self.frames = frames
        self.deferred = 0
        """How often a connection had to wait."""
        self._now = now
        self._seconds = seconds
        self._share = share
        self._until = 0.0
        self._second = 0.0
        self._before = 0
        self._in_a_second = 0
        self._open = False
        self._line: deque[Waiting] = deque()

    def is_over(self) -> bool:
        """Whether this turn has used up the time for clients. Begins a turn if there is none."""
        if not self._open:
            self._begin()
            asyncio.get_running_loop().call_soon(self._next)
        return self._now() >= self._until

    def begin_share(self) -> float:
        """The end of the share of a connection that is served for the first time in this turn."""
        return self._now() + self._share

    def has_passed(self, moment: float) -> bool:
        """Whether a share with this end is over."""
        return self._now() >= moment

    def wait(self, connection: Waiting) -> None:
        """Queue a connection that is not waiting yet for a later turn."""
        self.deferred += 1
        self._line.append(connection)

    def in_a_second(self) -> int:
        """In how many turns of a second clients were served lately."""
        return self._in_a_second if self._now() < self._second + 2.0 else 0

    def _begin(self) -> None:
        now = self._now()
        if now >= self._second + 1.0:
            recent = now < self._second + 2.0
            self._in_a_second = self.number - self._before if recent else 0
            self._second, self._before = now, self.number
        self.number += 1
        self._open = True
        self._until = now + self._seconds

    def _next(self) -> None:
        """End the turn; the waiting connections come first in the next one."""
        self._open = False
        if not self._line:
            return
        self._begin()
        asyncio.get_running_loop().call_soon(self._next)
        for _ in range(len(self._line)):
            self._line.popleft().take_turn()
            if self._now() >= self._until:
                return
