"""A directory in which every name is created at most once and removed at most once.

Each name by itself is absent, then present, then absent. Its creation took effect between its
invocation and the earliest answer that shows it; its removal likewise. A listing that lies wholly
between the two and lacks the name, or that shows it wholly outside, is wrong. Exact for each name;
whether a listing shows all names at one moment is not checked. O(n log n) for answers of bounded
size.

Calls: ``create`` and ``remove`` (argument: the name; result ``"exists"`` or ``"absent"`` when that
was the answer), ``list`` (result: a set of names).
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable

from memfs.testing.checkers.violation import Guarantee, Violation
from memfs.testing.history import FINAL, NEVER, Call, Outcome

EXISTS = "exists"
ABSENT = "absent"


def check_names(key: str, calls: Iterable[Call]) -> list[Violation]:
    """Violations by the calls on one directory that begins empty."""
    calls = list(calls)
    creates = {call.argument: call for call in calls if call.name == "create"}
    removes: dict[str, list[Call]] = defaultdict(list)
    shown: dict[str, list[Call]] = defaultdict(list)
    lists = sorted(
        (call for call in calls if call.name == "list" and call.ok), key=lambda call: call.invoked
    )
    for call in calls:
        if call.name == "remove":
            removes[call.argument].append(call)
    for listing in lists:
        for name in listing.result:
            shown[name].append(listing)
    found = [
        Violation(Guarantee.PHANTOM, key, f"nobody created {name!r}", (seen[0],))
        for name, seen in shown.items()
        if name not in creates
    ]
    begins = [call.invoked for call in lists]
    for name, create in creates.items():
        found += _check_name(key, create, removes[name], shown[name], lists, begins)
    return found


def _check_name(
    key: str,
    create: Call,
    removes: list[Call],
    shown: list[Call],
    lists: list[Call],
    begins: list[float],
) -> list[Violation]:
    name = create.argument
    if create.result == EXISTS:
        return [
            Violation(Guarantee.DUPLICATE, key, f"{name!r} existed before its creation", (create,))
        ]
    done = [call for call in removes if call.ok and call.result != ABSENT]
    if len(done) > 1:
        return [Violation(Guarantee.DUPLICATE, key, f"{name!r} was removed twice", tuple(done))]
    evidence = [create, *shown, *done]
    if create.outcome is Outcome.FAIL:
        return [
            Violation(
                Guarantee.PHANTOM, key, f"{name!r} was not created, its author was told", (one,)
            )
            for one in evidence[1:2]
        ]
    present = [call for call in evidence if call.returned < NEVER]
    if not present:
        return []
    return _check_span(key, create, done, removes, present, shown, lists, begins)


def _check_span(
    key: str,
    create: Call,
    done: list[Call],
    removes: list[Call],
    present: list[Call],
    shown: list[Call],
    lists: list[Call],
    begins: list[float],
) -> list[Violation]:
    """``present``: calls that show that the name was there at some moment of theirs."""
    name = create.argument
    for call in present:
        if call.before(create):
            text = f"{name!r} was seen before it was created"
            return [Violation(Guarantee.PHANTOM, key, text, (call, create))]
    removed_by = min((call.returned for call in done), default=NEVER)
    for call in shown:
        if call.invoked > removed_by:
            kind = Guarantee.LOST if call.process == FINAL else Guarantee.STALE
            text = f"{name!r} was seen after it was removed"
            return [Violation(kind, key, text, (*done, call))]
    certain = min(present, key=lambda call: call.returned)
    leaving = [call.invoked for call in done or removes if call.pending or call in done]
    # The earliest moment at which it can have gone: some removal began, and all who saw it had.
    gone = max(min(leaving), *(call.invoked for call in present)) if leaving else NEVER
    if certain.returned >= gone:
        return []
    return _missing(key, create, certain, gone, removes, lists, begins)


def _missing(
    key: str,
    create: Call,
    certain: Call,
    gone: float,
    removes: list[Call],
    lists: list[Call],
    begins: list[float],
) -> list[Violation]:
    """Listings that lack the name although it existed during all of the call."""
    name = create.argument
    start = bisect.bisect_right(begins, certain.returned)
    end = bisect.bisect_left(begins, gone)
    lacking = [call for call in lists[start:end] if name not in call.result]
    lacking += [call for call in removes if call.ok and call.result == ABSENT]
    for call in lacking:
        if certain.before(call) and call.returned < gone:
            kind = Guarantee.LOST if create.ok and gone == NEVER else Guarantee.STALE
            text = f"{name!r} was there at {certain.returned:.6f} and is missing later"
            return [Violation(kind, key, text, (certain, call))]
    return []
