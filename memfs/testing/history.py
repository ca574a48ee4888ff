"""Histories: the calls of clients, their times and results, as the checkers read them.

Owns the records and the classification of errors into "not done" and "unknown". Must not know what
the calls mean. Invariant: stamps of one history grow strictly, so that the order of two calls is
never lost when one ended before the other began, however coarse the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from memfs.errors import InternalError, MemfsError, OutcomeUnknownError

NEVER = math.inf
"""The return time of a call without an answer, whose effect may still come."""
FINAL = "final"
"""The process that reads the final state."""
_STEP_SECONDS = 1e-9


class Outcome(enum.Enum):
    """How a call ended."""

    RUNNING = "running"
    OK = "ok"
    FAIL = "fail"
    """Certainly not carried out."""
    UNKNOWN = "unknown"
    """Carried out or not, now or later."""


class Call:
    """One request of one process. ``argument`` and ``result`` are small: tokens, not contents."""

    __slots__ = (
        "argument",
        "error",
        "invoked",
        "key",
        "name",
        "outcome",
        "process",
        "result",
        "returned",
    )

    def __init__(self, process: str, key: str, name: str, argument: Any, invoked: float) -> None:
        """Made by :meth:`History.begin`; handmade ones serve the checkers' own tests."""
        self.process = process
        self.key = key
        self.name = name
        self.argument = argument
        self.invoked = invoked
        self.returned = NEVER
        self.outcome = Outcome.RUNNING
        self.result: Any = None
        self.error = ""
        """Why it failed, or why its outcome is unknown."""

    @property
    def ok(self) -> bool:
        """Whether it was answered."""
        return self.outcome is Outcome.OK

    @property
    def pending(self) -> bool:
        """Whether its outcome is unknown: it may have taken effect, or may still."""
        return self.outcome in (Outcome.UNKNOWN, Outcome.RUNNING)

    def before(self, other: Call) -> bool:
        """Whether it had returned when ``other`` was invoked."""
        return self.returned < other.invoked

    def __repr__(self) -> str:
        end = "..." if self.returned == NEVER else f"{self.returned:.6f}"
        asked = "" if self.argument is None else f"{self.argument}"
        told = f"{self.result}" if self.ok else f"{self.outcome.value} {self.error}".rstrip()
        when = f"{self.invoked:.6f}-{end}"
        return f"[{when}] {self.process} {self.name}({asked}) {self.key} -> {told}"


class History:
    """All calls of one run. ``clock`` gives seconds; processes that share one can be compared."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Args: ``clock``, of the loop or the machine."""
        self.calls: list[Call] = []
        self.acknowledged = 0
        """Number of answered calls, which shows whether the cluster serves."""
        self.on_acknowledged: Callable[[Call], None] = lambda call: None
        self._keys: dict[str, list[Call]] = defaultdict(list)
        self._clock = clock
        self._stamp = -NEVER

    def now(self) -> float:
        """A stamp later than every earlier one."""
        self._stamp = max(self._clock(), self._stamp + _STEP_SECONDS)
        return self._stamp

    def begin(self, process: str, key: str, name: str, argument: object = None) -> Call:
        """A call is about to be made."""
        call = Call(process, key, name, argument, self.now())
        self.calls.append(call)
        self._keys[key].append(call)
        return call

    def end(self, call: Call, result: object = None) -> None:
        """It was answered."""
        assert call.outcome is Outcome.RUNNING, "a call ends once"
        call.returned, call.outcome, call.result = self.now(), Outcome.OK, result
        self.acknowledged += 1
        self.on_acknowledged(call)

    def fail(self, call: Call, error: BaseException) -> None:
        """It ended with an error, which tells whether it may have taken effect."""
        assert call.outcome is Outcome.RUNNING, "a call ends once"
        call.outcome = classify(error)
        call.error = f"{type(error).__name__}: {error}"[:200]
        if call.outcome is Outcome.FAIL:
            call.returned = self.now()

    async def record(
        self, process: str, key: str, name: str, argument: object, work: Awaitable[object]
    ) -> Call:
        """Await ``work`` as one call. An error of memfs ends up in the call; others are raised."""
        call = self.begin(process, key, name, argument)
        await self.follow(call, work)
        return call

    async def follow(self, call: Call, work: Awaitable[object]) -> None:
        """Await ``work`` and write into ``call``, which has begun, how it ended."""
        try:
            result = await work
        except MemfsError as error:
            self.fail(call, error)
        except asyncio.CancelledError as error:
            self.fail(call, error)
            raise
        else:
            self.end(call, result)

    def of(self, key: str) -> list[Call]:
        """The calls of one key, in the order of their invocation."""
        return list(self._keys.get(key, ()))

    def counts(self) -> Counter[str]:
        """Calls by outcome."""
        return Counter(call.outcome.value for call in self.calls)

    def story(self, key: str, last: int = 60) -> str:
        """What happened to one key, a line a call."""
        return story(self.of(key), last)


def story(calls: Iterable[Call], last: int = 60) -> str:
    """Calls as text, a line each; only the ``last`` ones."""
    lines = [repr(call) for call in calls]
    skipped = [f"... {len(lines) - last} earlier calls"] if len(lines) > last else []
    return "\n".join([*skipped, *lines[-last:]])


def classify(error: BaseException) -> Outcome:
    """Whether a call that raised ``error`` was certainly not carried out."""
    if isinstance(error, MemfsError) and not isinstance(error, OutcomeUnknownError | InternalError):
        return Outcome.FAIL
    return Outcome.UNKNOWN


@contextlib.contextmanager
def half_done() -> Iterator[None]:
    """Encloses steps after the first one: a failure in them means an unknown outcome, not "not
    done"."""
    try:
        yield
    except MemfsError as error:
        raise OutcomeUnknownError(f"partly done, then {type(error).__name__}: {error}") from error
