"""Registers whose every write has a value of its own: linearizable or not, in O(n log n).

The method is that of Gibbons and Korach, "Testing Shared Memories" (SIAM J. Comput. 26, 1997),
section 4. All calls with one value form a cluster. Its zone is the time between the earliest
return and the latest invocation in it: a *forward* zone when the return comes first, during
which the register certainly held the value; else a *backward* zone, in which some moment
suffices. The history is linearizable exactly when no read comes before its write, no two forward
zones overlap and no backward zone lies within a forward one.

Calls: ``write`` (argument: the value) and ``read`` (result: the value, or ``Torn``). A write that
was never answered counts from the moment that somebody has read its value.
"""

from __future__ import annotations

import bisect
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from memfs.testing.checkers.violation import Guarantee, Torn, Violation
from memfs.testing.history import FINAL, NEVER, Call, Outcome


class Zone(NamedTuple):
    """When the register held a value: from ``low`` to ``high``, with the calls that say so."""

    low: float
    high: float
    first: Call
    """The call of the cluster that returned first."""
    last: Call
    """The call of the cluster that was invoked last."""

    @property
    def forward(self) -> bool:
        """Whether the register certainly held the value from ``low`` to ``high``."""
        return self.first.returned < self.last.invoked


def check_register(key: str, calls: Iterable[Call], initial: Hashable = None) -> list[Violation]:
    """Violations of linearizability of one register that begins as ``initial``."""
    calls = list(calls)
    writes = {call.argument: call for call in calls if call.name == "write"}
    born = Call("nobody", key, "write", initial, -NEVER)
    born.returned, born.outcome = -NEVER, Outcome.OK
    writes[initial] = born
    found: list[Violation] = []
    clusters: dict[Hashable, list[Call]] = {initial: [born]}
    for value, write in writes.items():
        if write.ok:
            clusters[value] = [write]
    for read in (call for call in calls if call.name == "read" and call.ok):
        violation = _impossible(key, read, writes)
        if violation is not None:
            found.append(violation)
        else:
            clusters.setdefault(read.result, [writes[read.result]]).append(read)
    return found + _conflicts(key, [_zone(cluster) for cluster in clusters.values()])


def _impossible(key: str, read: Call, writes: dict[Hashable, Call]) -> Violation | None:
    """What is wrong with a read, whatever else happened."""
    if isinstance(read.result, Torn):
        return Violation(Guarantee.TORN, key, read.result.text, (read,))
    write = writes.get(read.result)
    if write is None:
        return Violation(Guarantee.PHANTOM, key, f"nobody wrote {read.result}", (read,))
    if write.outcome is Outcome.FAIL:
        text = "read, though its writer was told that it was not written"
        return Violation(Guarantee.PHANTOM, key, text, (write, read))
    if read.before(write):
        return Violation(Guarantee.PHANTOM, key, "read before it was written", (read, write))
    return None


def _zone(cluster: list[Call]) -> Zone:
    first = min(cluster, key=lambda call: call.returned)
    last = max(cluster, key=lambda call: call.invoked)
    low, high = sorted((first.returned, last.invoked))
    return Zone(low, high, first, last)


def _conflicts(key: str, zones: list[Zone]) -> list[Violation]:
    """Forward zones that overlap, backward zones within a forward one."""
    forward = sorted((zone for zone in zones if zone.forward), key=lambda zone: zone.low)
    backward = [zone for zone in zones if not zone.forward]
    found = []
    widest: Zone | None = None
    kept: list[Zone] = []
    for zone in forward:
        if widest is not None and zone.low < widest.high:
            found.append(_conflict(key, widest, zone))
        else:
            kept.append(zone)
        if widest is None or zone.high > widest.high:
            widest = zone
    lows = [zone.low for zone in kept]
    for zone in backward:
        index = bisect.bisect_left(lows, zone.low) - 1
        if index >= 0 and zone.high < kept[index].high:
            found.append(_conflict(key, kept[index], zone))
    return found


def _conflict(key: str, outer: Zone, inner: Zone) -> Violation:
    """``outer`` was seen before and after a value that can only lie between the two."""
    last = max(outer.last, inner.last, key=lambda call: call.invoked)
    replaced = inner if last is outer.last else outer
    kind = (
        Guarantee.LOST
        if last.process == FINAL
        else Guarantee.STALE
        if last.name == "read"
        else Guarantee.ORDER
    )
    text = (
        f"{_value(last)} was there at {last.invoked:.6f}, though {_value(replaced.last)} had "
        f"replaced it by {replaced.low:.6f}"
    )
    calls = {id(call): call for zone in (outer, inner) for call in (zone.first, zone.last)}
    return Violation(kind, key, text, tuple(sorted(calls.values(), key=lambda call: call.invoked)))


def _value(call: Call) -> object:
    return call.argument if call.name == "write" else call.result
