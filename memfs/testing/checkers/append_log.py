"""An append-only log of unique records: nothing acknowledged is gone, nothing is there twice.

What the log holds at the end gives every record its place, and with it every call its place in
the order of states: an append leads from one length to the next, a read that saw n records ran
while there were n. The history is linearizable exactly when no call returned before one that
belongs to an earlier state was invoked: one walk over the states, O(n log n) for the sorting.

Calls: ``append`` (argument: the record) and ``read`` (result: :class:`LogRead`, or ``Torn``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memfs.checksum import crc32c
from memfs.testing.checkers.violation import Guarantee, Torn, Violation
from memfs.testing.history import Call, Outcome


class LogRead(NamedTuple):
    """What a reader of the whole log keeps: enough to compare it with a prefix."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nothing here needs
    digest: int
    """CRC32C of the records, one after the other."""
    last: str
    """The last record, empty when there is none."""


def log_read(records: Sequence[str]) -> LogRead:
    """The summary of records that were read."""
    return LogRead(len(records), crc32c("".join(records).encode()), records[-1] if records else "")


def check_log(key: str, calls: Iterable[Call], final: Sequence[str]) -> list[Violation]:
    """Violations by the calls on one log that holds ``final`` when everything is over."""
    calls = list(calls)
    appends = {call.argument: call for call in calls if call.name == "append"}
    reads = [call for call in calls if call.name == "read" and call.ok]
    found = _lost_and_found(key, appends, final)
    prefixes = [0]
    for record in final:
        prefixes.append(crc32c(record.encode(), prefixes[-1]))
    sound = []
    for read in reads:
        violation = _no_prefix(key, read, final, prefixes)
        if violation is None:
            sound.append(read)
        else:
            found.append(violation)
    return found + _out_of_order(key, appends, sound, final)


def _lost_and_found(key: str, appends: dict[str, Call], final: Sequence[str]) -> list[Violation]:
    """Records that are missing, too many, or nobody's."""
    found = []
    times = Counter(final)
    for record, call in appends.items():
        if call.ok and not times[record]:
            found.append(Violation(Guarantee.LOST, key, f"{record!r} was acknowledged", (call,)))
        if call.outcome is Outcome.FAIL and times[record]:
            text = f"{record!r} is there, though its writer was told that it was not written"
            found.append(Violation(Guarantee.PHANTOM, key, text, (call,)))
    for record, count in times.items():
        calls = (appends[record],) if record in appends else ()
        if not calls:
            found.append(Violation(Guarantee.PHANTOM, key, f"nobody wrote {record!r}"))
        if count > 1:
            text = f"{record!r} is there {count} times"
            found.append(Violation(Guarantee.DUPLICATE, key, text, calls))
    return found


def _no_prefix(
    key: str, read: Call, final: Sequence[str], prefixes: Sequence[int]
) -> Violation | None:
    """A read must have seen a beginning of what is there at the end."""
    seen = read.result
    if isinstance(seen, Torn):
        return Violation(Guarantee.TORN, key, seen.text, (read,))
    if seen.count > len(final):
        text = f"{seen.count} records were read, {len(final)} are left"
        return Violation(Guarantee.LOST, key, text, (read,))
    if seen.digest != prefixes[seen.count]:
        text = f"what was read is no beginning of the {len(final)} records of the end"
        return Violation(Guarantee.ORDER, key, text, (read,))
    return None


def _out_of_order(
    key: str, appends: dict[str, Call], reads: list[Call], final: Sequence[str]
) -> list[Violation]:
    """Walk the states in order: no call may return before one of an earlier state was invoked."""
    at: list[list[Call]] = [[] for _ in range(len(final) + 1)]
    for read in reads:
        at[read.result.count].append(read)
    found: list[Violation] = []
    latest: Call | None = None
    for length, group in enumerate(at):
        append = appends.get(final[length - 1]) if length else None
        for step in ([append] if append is not None else [], group):
            for call in step:
                if latest is not None and call.before(latest):
                    found.append(_inversion(key, call, latest))
            for call in step:
                if call.outcome is Outcome.FAIL:
                    continue
                if latest is None or call.invoked > latest.invoked:
                    latest = call
    return found


def _inversion(key: str, late: Call, early: Call) -> Violation:
    """``late`` belongs to a later state and was over before ``early`` began."""
    if early.name == "read":
        text = f"a reader saw {early.result.count} records after a later state was known"
        return Violation(Guarantee.STALE, key, text, (late, early))
    if late.name == "read":
        text = "a record was read before its append began"
        return Violation(Guarantee.PHANTOM, key, text, (late, early))
    return Violation(Guarantee.ORDER, key, "records stand in the wrong order", (late, early))
