"""A campaign for the primary's role, while views and heartbeats come in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from memfs.cluster import view as rules
from memfs.node.membership.members import Membership
from memfs.node.replication.candidate import Candidate
from memfs.types import Member, View

LEASE_SECONDS = 1.0


class Publisher:
    """The record of views; ``meanwhile`` happens while it is read."""

    def __init__(self, membership: Backup, meanwhile: Callable[[], None]) -> None:
        self._membership = membership
        self._meanwhile = meanwhile

    async def read(self) -> None:
        await asyncio.sleep(0)
        self._meanwhile()

    async def change(self, propose: Callable[[View | None], View | None]) -> View | None:
        proposed = propose(self._membership.view)
        if proposed is not None:
            self._membership.view = proposed
        return proposed


class Backup:
    """Node 2 of three, which follows node 1."""

    def __init__(self) -> None:
        members = tuple(Member(n, f"n{n}", n, "h", n) for n in (1, 2, 3))
        self.view = View("c", 5, 1, (1, 2), members, 4, 3)
        self.number = 2
        self.is_in_sync = True
        self.ended: set[int] = set()
        self.now = 0.0
        clock = SimpleNamespace(
            monotonic=lambda: self.now, boottime_ns=lambda: round(self.now * 1e9)
        )
        self.environment = SimpleNamespace(clock=clock)
        self.publisher: Publisher | None = None

    def has_ended(self, number: int) -> bool:
        return number in self.ended


def a_newer_view(backup: Backup, candidate: Candidate) -> None:
    backup.view = backup.view._replace(epoch=backup.view.epoch + 1, in_sync=(1, 2, 3))
    candidate.view_changed()


def campaign(*meanwhile: Callable[[Backup, Candidate], None]) -> tuple[Backup, Candidate]:
    """What a campaign comes to when this happens while the record is read."""
    backup = Backup()
    candidate = Candidate(cast(Membership, backup), LEASE_SECONDS)

    def happens() -> None:
        for act in meanwhile:
            act(backup, candidate)

    backup.publisher = Publisher(backup, happens)
    backup.now = 10.0
    assert [candidate.may_campaign(True) for _ in range(2)] == [False, True]
    asyncio.run(candidate.campaign())
    return backup, candidate


def test_a_silent_primary_is_replaced() -> None:
    backup, candidate = campaign()
    assert backup.view.primary == 2 and rules.promote(Backup().view, 2) == backup.view
    assert not candidate.campaigning


def test_a_newer_view_of_the_term_does_not_end_the_silence() -> None:
    backup, _ = campaign(a_newer_view)
    assert backup.view.primary == 2


@pytest.mark.parametrize("order", [1, -1], ids=["after the view", "before it"])
def test_who_has_promised_anew_meanwhile_does_not_take_over(order: int) -> None:
    """NoStaleRead: the primary reads on the strength of that promise."""
    acts = (a_newer_view, lambda _, candidate: candidate.note_heartbeat())
    backup, candidate = campaign(*acts[::order])
    assert backup.view.primary == 1
    assert not candidate.campaigning
    assert not candidate.may_campaign(True)


def leases_of_silence(candidate: Candidate, backup: Backup) -> int:
    """After how many lease times a backup campaigns."""
    began = round(backup.now)
    while True:
        backup.now += LEASE_SECONDS
        if candidate.may_campaign(True) or candidate.may_campaign(True):
            return round((backup.now - began) / LEASE_SECONDS) - 1


def test_who_was_deposed_waits_for_longer_each_time() -> None:
    """It may be the one that hears nobody."""
    backup = Backup()
    candidate = Candidate(cast(Membership, backup), LEASE_SECONDS)
    assert leases_of_silence(candidate, backup) == 1
    for leases in (4, 7, 13):
        candidate.deposed()
        assert leases_of_silence(candidate, backup) == leases
    candidate.note_heartbeat()
    assert leases_of_silence(candidate, backup) == 1
    candidate.deposed()
    assert leases_of_silence(candidate, backup) == 4


def test_who_was_deposed_takes_over_at_once_from_a_process_that_has_ended() -> None:
    backup = Backup()
    candidate = Candidate(cast(Membership, backup), LEASE_SECONDS)
    candidate.deposed()
    backup.ended.add(backup.view.primary)
    assert leases_of_silence(candidate, backup) == 1
