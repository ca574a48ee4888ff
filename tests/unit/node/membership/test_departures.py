"""The trace of members that went."""

from __future__ import annotations

from memfs.node.membership.departures import KEPT, Departures
from memfs.types import Member, View


def view(*names: str, first: int = 1, leaving: tuple[str, ...] = ()) -> View:
    members = tuple(
        Member(n, name, n, f"h{n}", 10500, leaving=name in leaving)
        for n, name in enumerate(names, first)
    )
    return View("c", 1, first, (first,), members, 100)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_went_when_and_why() -> None:
    clock = Clock()
    departures = Departures(clock)
    before = view("a", "b", "c", leaving=("c",))
    departures.because(2, "silent for 30 s")
    departures.view_changed(before, before._replace(members=before.members[::2]))
    departures.view_changed(before._replace(members=before.members[::2]), view("a"))
    clock.now = 1.5
    told = departures.told()
    assert [(each.name, each.ago_ms, each.reason) for each in told] == [
        ("c", 1500, "decommissioned"),
        ("b", 1500, "silent for 30 s"),
    ]


def test_who_is_back_has_not_gone() -> None:
    departures = Departures(Clock())
    departures.view_changed(view("a", "b"), view("a"))
    departures.view_changed(view("a"), view("a", "b", first=3))
    assert departures.told() == ()
    restarted = Departures(Clock())
    restarted.view_changed(view("a", "b"), view("a", "b", first=3))
    assert restarted.told() == ()


def test_the_trace_is_bounded() -> None:
    departures = Departures(Clock())
    names = [f"n{number}" for number in range(2 * KEPT)]
    departures.view_changed(view(*names), view("n0"))
    assert len(departures.told()) == KEPT
