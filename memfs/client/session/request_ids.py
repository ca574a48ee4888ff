"""Request ids of one client: what makes a retried command apply once (ExactlyOnce).

The primary remembers the results of a client's newest ``limits.RESULTS_PER_SESSION`` commands
under their request ids. So ids of commands are consecutive, a retry reuses its id, and no new id is
given out while it would push an unanswered one off that list. Ids of other requests, which need
no memory, come from a range of their own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar

from memfs import limits
from memfs.client.calls.deadline import seconds_left
from memfs.errors import DeadlineError

WINDOW = limits.RESULTS_PER_SESSION // 2
"""Half of what the primary keeps: commands may also overtake one another on their way."""
_QUERIES = 1 << 62


class Errand:
    """What somebody else has asked for and asks again of the next process when this one ends: its
    first command has the same request id then."""

    __slots__ = ("_former", "key", "repeats", "sent")

    def __init__(self, key: int, former: int = 0) -> None:
        """``key``: what it is known by; ``former``: the id of its first command, which a former
        process has sent and the cluster has answered, 0: there is none."""
        self.key = key
        self.repeats = bool(former)
        """Whether the reply is that of the former process."""
        self.sent = False
        """Whether its first command is on its way, or there is none."""
        self._former = former

    def take_former(self) -> int:
        """The former id, once."""
        former, self._former = self._former, 0
        self.sent |= bool(former)
        return former

    def end(self) -> None:
        """It is done: what other tasks that were begun by it do is none of it."""
        self.sent, self.repeats = True, False


ERRAND: ContextVar[Errand | None] = ContextVar("ERRAND", default=None)
"""The errand that this task does, if it does one."""


def repeats() -> bool:
    """Whether the reply to this task's first command is an old one, given to a former process."""
    errand = ERRAND.get()
    return errand is not None and errand.repeats


class RequestIds:
    """Gives out request ids; ``begin``/``end`` bracket a command, retries included."""

    def __init__(self) -> None:
        self.noted: Callable[[int], None] = _forget
        """Told of each new id of a command before that is sent."""
        self._next_command = 1
        self._next_query = _QUERIES
        self._open: dict[int, None] = {}  # insertion order is id order
        self._waiting: deque[asyncio.Future[None]] = deque()

    def go_on_from(self, number: int) -> None:
        """A former process of this client has used the lower ids."""
        self._next_command = max(number, self._next_command)

    def query(self) -> int:
        """An id for a request that changes nothing."""
        self._next_query += 1
        return self._next_query

    async def begin(self, deadline: float | None = None) -> int:
        """The next command's id; waits while the oldest open one is a window behind.

        Raises DeadlineError.
        """
        errand = ERRAND.get()
        if errand is not None and (former := errand.take_former()):
            return former
        while self._room() <= 0:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout(seconds_left(deadline)):
                    await turn
            except TimeoutError:
                raise DeadlineError("too many earlier commands are not answered yet") from None
            finally:
                self._waiting.remove(turn)
        number = self._next_command
        self._next_command += 1
        self._open[number] = None
        self.noted(number)
        return number

    def end(self, number: int) -> None:
        """Retire the id of a command that was answered or given up."""
        self._open.pop(number, None)
        if self._waiting:
            for turn in itertools.islice(self._waiting, max(0, self._room())):
                if not turn.done():
                    turn.set_result(None)

    def _room(self) -> int:
        """Commands that may begin now."""
        oldest = next(iter(self._open), self._next_command)
        return WINDOW - (self._next_command - oldest)

    @property
    def open(self) -> int:
        """Commands begun and not ended."""
        return len(self._open)


def _forget(number: int) -> None:
    """Nobody goes on when this process ends."""
