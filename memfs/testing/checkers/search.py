"""Linearizability of any small object, by search: Wing and Gong, with Lowe's memory of states.

For histories of at most ``CALLS_MAX`` calls by at most ``PROCESSES_MAX`` processes; beyond a budget
of steps the answer is "unknown", never a guess. ("Testing and verifying concurrent objects",
J. Parallel Distrib. Comput. 17, 1993; "Testing for linearizability", CCPE 29, 2017.)
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterable

from memfs.testing.checkers.violation import Torn
from memfs.testing.history import Call

CALLS_MAX = 200
PROCESSES_MAX = 8
BUDGET = 200_000

Step = Callable[[object, Call], "Hashable | Impossible"]
"""The state after a call, or IMPOSSIBLE when the call cannot have been answered so in a state."""


class Impossible(enum.Enum):
    """The call's answer contradicts the state."""

    IMPOSSIBLE = "impossible"


IMPOSSIBLE = Impossible.IMPOSSIBLE


class Verdict(enum.Enum):
    """What the search found."""

    LINEARIZABLE = "linearizable"
    VIOLATED = "violated"
    UNKNOWN = "unknown"


def search(calls: Iterable[Call], initial: Hashable, step: Step, budget: int = BUDGET) -> Verdict:
    """Whether some order of ``calls`` explains their answers, beginning at ``initial``.

    Calls without an answer may be left out or come at any time after their invocation.
    """
    chosen = sorted(
        (call for call in calls if call.ok or call.pending), key=lambda call: call.invoked
    )
    if len(chosen) > CALLS_MAX or len({call.process for call in chosen}) > PROCESSES_MAX:
        return Verdict.UNKNOWN
    required = sum(1 << index for index, call in enumerate(chosen) if call.ok)
    seen: set[tuple[int, Hashable]] = set()
    work: list[tuple[int, Hashable]] = [(0, initial)]
    while work:
        done, state = work.pop()
        if done & required == required:
            return Verdict.LINEARIZABLE
        if (done, state) in seen:
            continue
        seen.add((done, state))
        budget -= 1
        if budget < 0:
            return Verdict.UNKNOWN
        work += _next(chosen, done, state, step)
    return Verdict.VIOLATED


def _next(calls: list[Call], done: int, state: Hashable, step: Step) -> list[tuple[int, Hashable]]:
    """States after each call that may come next: those invoked before any other has returned."""
    waiting = [(index, call) for index, call in enumerate(calls) if not done >> index & 1]
    limit = min(call.returned for _, call in waiting)
    found = []
    for index, call in reversed(waiting):
        if call.invoked <= limit:
            after = step(state, call)
            if not isinstance(after, Impossible):
                found.append((done | 1 << index, after))
    return found


def file_step(state: Hashable, call: Call) -> Hashable | Impossible:
    """A file that is written whole, removed and read; None means that there is none.

    Calls: ``write`` (argument: the value), ``create`` (the same; result False: it existed),
    ``remove`` (result False: there was none), ``read`` (result: the value).
    """
    if call.name == "write":
        written: Hashable = call.argument
        return written
    if call.name == "create":
        if call.pending:
            return call.argument if state is None else state
        return _if((state is None) == (call.result is not False), call.argument, state, call)
    if call.name == "remove":
        if call.pending:
            return None
        return _if((state is not None) == (call.result is not False), None, state, call)
    assert call.name == "read", f"no such call: {call.name}"
    known = call.pending or (call.result == state and not isinstance(call.result, Torn))
    return state if known else IMPOSSIBLE


def _if(fits: bool, after: Hashable, before: Hashable, call: Call) -> Hashable | Impossible:
    if not fits:
        return IMPOSSIBLE
    return before if call.result is False else after
