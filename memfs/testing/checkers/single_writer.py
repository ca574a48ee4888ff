"""Writers that take a file from one another: each has it for one stretch of time (SingleWriter).

A record is ``SESSION:NUMBER``, a session being one opening of the file. Since a writer that lost
its lease can add nothing more, the records of a session lie together, with growing numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memfs.testing.checkers.violation import Guarantee, Violation
from memfs.testing.history import Call


def check_sessions(key: str, calls: Iterable[Call], final: Sequence[str]) -> list[Violation]:
    """Violations in what the file holds when everything is over."""
    appends = {call.argument: call for call in calls if call.name == "append"}
    found = []
    over: set[str] = set()
    session, number = "", -1
    for index, record in enumerate(final):
        owner, _, text = record.strip().rpartition(":")
        if owner in over:
            other = final[index - 1]
            why = f"{record.strip()!r} was written after {other.strip()!r} took the file"
            involved = tuple(appends[each] for each in (other, record) if each in appends)
            found.append(Violation(Guarantee.ORDER, key, why, involved))
        elif owner == session and int(text) <= number:
            why = f"{record.strip()!r} follows number {number}"
            found.append(Violation(Guarantee.ORDER, key, why))
        if owner != session:
            over.add(session)
        session, number = owner, int(text)
    return found
