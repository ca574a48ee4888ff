"""The time that the calls of one client have: as configured, or what closing leaves them.

Owns the budget that all calls share once the client is being closed. Must not know requests.
"""

from __future__ import annotations

from collections.abc import Callable

from memfs.client.calls.arguments import number
from memfs.client.calls.deadline import Deadline


class TimeBudget:
    """Deadlines for the calls of one session."""

    def __init__(self, monotonic: Callable[[], float], seconds: float) -> None:
        """``seconds``: of a call that does not say."""
        self._now = monotonic
        self._seconds = seconds
        self._closing: Deadline | None = None
        """When everything that closing consists of has to be over, once it has begun."""

    def deadline(self, timeout: float | None = None) -> Deadline:
        """When a call that begins now ends; None means the configured budget.

        A deadline stays what it is: a call hands its own on to those that it consists of.
        """
        if type(timeout) is Deadline:
            return timeout
        given = self._seconds if timeout is None else number("timeout", timeout)
        deadline = Deadline(self._now() + given)
        return deadline if self._closing is None else min(deadline, self._closing)

    def remaining(self, deadline: float) -> float:
        """Seconds left, never negative."""
        return max(0.0, deadline - self._now())

    def begin_closing(self) -> None:
        """From now on all calls share one budget: files that are closed in turn, one after the
        other, take no longer than one of them."""
        if self._closing is None:
            self._closing = self.deadline()

    def end_closing(self) -> None:
        """Each call has its own time again."""
        self._closing = None
