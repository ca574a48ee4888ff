"""Former members: the trace that a removal leaves in the status.

Owns the last departures as this node saw them in the views. No view says why a member went: the
primary that removes one notes the reason here beforehand, its successor knows only that it went.
Invariant: a name that is a member again has not departed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from memfs.cluster import view as rules
from memfs.protocol.messages import DepartedMember
from memfs.types import Member, View

KEPT = 16


class _Departure(NamedTuple):
    member: Member
    at: float
    reason: str


class Departures:
    """The last members to go."""

    def __init__(self, now: Callable[[], float]) -> None:
        """``now``: monotonic seconds."""
        self._now = now
        self._departed: deque[_Departure] = deque(maxlen=KEPT)
        self._reasons: dict[int, str] = {}

    def because(self, number: int, reason: str) -> None:
        """A member is about to go."""
        self._reasons[number] = reason

    def view_changed(self, before: View, after: View) -> None:
        """Note who is gone in the newer view, and forget who is back."""
        names = {member.name for member in after.members}
        for member in before.members:
            if rules.member(after, member.number) is None:
                usual = "decommissioned" if member.leaving else ""
                reason = self._reasons.pop(member.number, "") or usual
                self._departed.appendleft(_Departure(member, self._now(), reason))
        back = [each for each in self._departed if each.member.name in names]
        for each in back:
            self._departed.remove(each)
        self._reasons = {n: why for n, why in self._reasons.items() if rules.member(after, n)}

    def told(self) -> tuple[DepartedMember, ...]:
        """The latest first."""
        now = self._now()
        return tuple(
            DepartedMember(
                member.number,
                member.name,
                member.host,
                member.port,
                int(1000 * (now - at)),
                reason,
            )
            for member, at, reason in self._departed
        )
