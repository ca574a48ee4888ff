"""A node that moves its blocks away before it stops: what it says when it could not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from memfs import errors
from memfs.node.membership import drain
from memfs.node.membership.drain import Drain
from memfs.protocol import messages as m
from tests.unit.node.healing.fakes import FakeMembership


class Leaving(FakeMembership):
    """Member 2 of three, which asks the primary to go."""

    def __init__(self) -> None:
        super().__init__(1, 2, 3, number=2)
        self.asked: list[Any] = []
        self.refusal: errors.MemfsError | None = None

    @property
    def member(self) -> Any:
        return self.find(2)

    async def ask(self, primary: Any, request: Any) -> Any:
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal
        if isinstance(request, m.Decommission):
            members = tuple(x._replace(leaving=x.number == 2) for x in self.view.members)
            return m.ViewReply(self.view._replace(members=members))
        leaving = (m.LeavingStatus(2, 7, 700, "blocks"),)
        healing = m.HealingStatus("rebalancing", (), 0, 0, 0, 0, 0, 0, 0, leaving)
        return m.StatusReply(self.view, 0, 0, (), 0, 0, 0, 0, 0, healing)

    async def learn_view(self, view: Any) -> None:
        self.latest = view


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "POLL_SECONDS", 0)


def news(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def run(world: Leaving, *, retired: bool = True, seconds: float = 9) -> bool:
    return asyncio.run(Drain(world.real, lambda: retired, seconds).run())


def test_it_begins_whatever_room_the_others_have(caplog: pytest.LogCaptureFixture) -> None:
    """It stops all the same: what finds a place meanwhile is not lost."""
    world = Leaving()
    ask = world.ask

    async def asked(primary: Any, request: Any) -> Any:
        if isinstance(request, m.GetStatus):
            world.number = 0
        return await ask(primary, request)

    world.ask = asked  # type: ignore[method-assign]
    caplog.set_level("INFO")
    assert run(world)
    assert world.asked[0] == m.Decommission(2, fewer_copies=True)
    assert news(caplog)[-1] == "drain done"


def test_a_node_that_was_taken_for_dead_is_not_drained(caplog: pytest.LogCaptureFixture) -> None:
    world = Leaving()
    ask = world.ask

    async def asked(primary: Any, request: Any) -> Any:
        reply = await ask(primary, request)
        world.number *= isinstance(request, m.Decommission)
        return reply

    world.ask = asked  # type: ignore[method-assign]
    assert not run(world, retired=False)
    assert "stay behind" in news(caplog)[-1]


def test_the_end_of_its_time_says_what_stays_behind(caplog: pytest.LogCaptureFixture) -> None:
    world = Leaving()
    ask = world.ask

    async def asked(primary: Any, request: Any) -> Any:
        world.now += 5
        return await ask(primary, request)

    world.ask = asked  # type: ignore[method-assign]
    assert not run(world, seconds=9)
    record = caplog.records[-1]
    assert record.message == "drain not done in time: blocks stay behind"
    told = vars(record)["memfs_fields"]
    assert (told["blocks"], told["bytes"]) == (7, 700)
