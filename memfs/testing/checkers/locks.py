"""Locks on ranges of a file: no two holders conflict, and no refusal is without cause.

A *section* is what one open file locks until it unlocks all of it. Of a section whose unlock was
answered as held to its end, each lock was held for certain from its answer to the beginning of the
unlock, or of a lock of the section on some of the same bytes: two such spans that exclude one
another must not meet. A refusal needs somebody who can have held, at some moment between its call
and its answer, what excludes the lock: from the call of any lock that was not certainly refused to
the answer of its section's unlock, and without one for ever. Exact for exclusion; the order of
waiters is not checked. O(n^2) for n locks of one file.

Calls: ``lock`` (argument: :class:`Wanted`; result: ``"granted"``, ``"blocked"`` or ``"deadlock"``)
and ``unlock`` (argument: the section; result: ``"held"``, or ``"lost"`` when the cluster had ended
the session meanwhile).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from memfs.testing.checkers.violation import Guarantee, Violation
from memfs.testing.history import NEVER, Call, Outcome

GRANTED = "granted"
BLOCKED = "blocked"
DEADLOCK = "deadlock"
HELD = "held"
LOST = "lost"


class Wanted(NamedTuple):
    """A lock of one section."""

    section: str
    start: int
    end: int
    """The last byte."""
    exclusive: bool

    def excludes(self, other: Wanted) -> bool:
        """Do the two conflict, so that they cannot be held at once?"""
        shared = not self.exclusive and not other.exclusive
        return self.section != other.section and self.overlaps(other) and not shared

    def overlaps(self, other: Wanted) -> bool:
        """Do the two ranges share a byte?"""
        return self.start <= other.end and other.start <= self.end


def check_locks(key: str, calls: Iterable[Call]) -> list[Violation]:
    """Violations by the calls on one file that nobody has locked before."""
    calls = list(calls)
    locks = [call for call in calls if call.name == "lock"]
    unlocks = {call.argument: call for call in calls if call.name == "unlock"}
    certain = [(call, until) for call in locks if (until := _until(call, locks, unlocks))]
    found = [
        Violation(Guarantee.ORDER, key, "two hold what excludes the other", (one, other))
        for number, (one, first) in enumerate(certain)
        for other, second in certain[number + 1 :]
        if one.argument.excludes(other.argument)
        and one.returned < second
        and other.returned < first
    ]
    for call in locks:
        if call.ok and call.result != GRANTED and not _explained(call, locks, unlocks):
            text = f"{call.result}, and nobody can have held what excludes it"
            found.append(Violation(Guarantee.PHANTOM, key, text, (call,)))
    return found


def _until(lock: Call, locks: list[Call], unlocks: dict[str, Call]) -> float:
    """The time until which a lock was certainly held, 0: unknown."""
    unlock = unlocks.get(lock.argument.section)
    if unlock is None or not (lock.ok and lock.result == GRANTED):
        return 0
    if not (unlock.ok and unlock.result == HELD):
        return 0
    changes = [other.invoked for other in locks if _may_change(other, lock)]
    return min([unlock.invoked, *changes])


def _may_change(later: Call, lock: Call) -> bool:
    """Can a later lock of the section have changed the mode of a part of this one?"""
    refused = later.ok and later.result != GRANTED
    return (
        lock.before(later)
        and not refused
        and later.argument.section == lock.argument.section
        and later.argument.overlaps(lock.argument)
    )


def _explained(refused: Call, locks: list[Call], unlocks: dict[str, Call]) -> bool:
    return any(
        refused.argument.excludes(lock.argument)
        and lock.invoked <= refused.returned
        and _possible_until(lock, unlocks) >= refused.invoked
        for lock in locks
    )


def _possible_until(lock: Call, unlocks: dict[str, Call]) -> float:
    """The last moment at which a lock can have been held."""
    if lock.ok and lock.result != GRANTED:
        return lock.returned  # it may have waited and been granted what it then did not want
    unlock = unlocks.get(lock.argument.section)
    if unlock is not None and unlock.outcome is Outcome.OK:
        return unlock.returned
    return NEVER
