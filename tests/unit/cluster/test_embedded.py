"""The embedded coordinator: compare-and-swap, leases, and its log after a crash."""

from __future__ import annotations

import random
from typing import cast

import pytest

from memfs.cluster import view as rules
from memfs.cluster.coordinator import StoredView
from memfs.cluster.embedded import EmbeddedCoordinator
from memfs.errors import DataLossError
from memfs.transport.environment import Environment, Network
from memfs.types import Member, View


class FakeClock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def boottime_ns(self) -> int:
        return int(self.now * 1e9)

    def wall_ns(self) -> int:
        return int(self.now * 1e9)


class FakeDisk:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def append(self, path: str, data: bytes) -> None:
        self.files[path] = self.files.get(path, b"") + data

    def replace(self, path: str, data: bytes) -> None:
        self.files[path] = data


class Machine:
    """A disk and a clock that outlive the coordinator."""

    def __init__(self) -> None:
        self.disk, self.clock = FakeDisk(), FakeClock()

    def start(self) -> EmbeddedCoordinator:
        environment = Environment(self.clock, random.Random(0), cast(Network, None), self.disk)
        return EmbeddedCoordinator(environment, "log")


def member(name: str = "a") -> Member:
    return Member(0, name, 7, "127.0.0.1", 10500)


FIRST = rules.form("c", member())


def successors(view: View, count: int) -> list[View]:
    views = []
    for step in range(count):
        view = rules.join(view, member(f"n{step % 5}")._replace(incarnation=step))
        views.append(view)
    return views


async def test_swap_needs_the_current_revision() -> None:
    coordinator = Machine().start()
    assert await coordinator.read_view() == (0, None)
    assert await coordinator.swap_view(0, FIRST) == StoredView(1, FIRST)
    second = rules.join(FIRST, member("b"))
    assert await coordinator.swap_view(0, second) is None
    assert await coordinator.swap_view(1, second) == StoredView(2, second)
    assert await coordinator.read_view() == (2, second)


async def test_the_view_survives_a_restart() -> None:
    machine = Machine()
    await machine.start().swap_view(0, FIRST)
    assert await machine.start().read_view() == (1, FIRST)


async def test_leases_run_out_and_do_not_survive_a_restart() -> None:
    machine = Machine()
    coordinator = machine.start()
    await coordinator.register(member("a"), 5.0)
    await coordinator.register(member("b"), 1.0)
    machine.clock.now += 2.0
    assert [m.name for m in await coordinator.members()] == ["a"]
    assert await machine.start().members() == ()


async def test_a_torn_tail_is_cut_off_wherever_it_tears() -> None:
    machine = Machine()
    coordinator = machine.start()
    await coordinator.swap_view(0, FIRST)
    whole = machine.disk.files["log"]
    second = rules.join(FIRST, member("b"))
    await coordinator.swap_view(1, second)
    longer = machine.disk.files["log"]
    for size in range(len(whole), len(longer)):
        machine.disk.files["log"] = longer[:size]
        assert await machine.start().read_view() == (1, FIRST)
        assert machine.disk.files["log"] == whole


async def test_a_torn_tail_may_have_holes() -> None:
    machine = Machine()
    coordinator = machine.start()
    await coordinator.swap_view(0, FIRST)
    whole = machine.disk.files["log"]
    await coordinator.swap_view(1, rules.join(FIRST, member("b")))
    longer = machine.disk.files["log"]
    for start, stop in [(0, len(longer) - len(whole)), (0, 8), (0, 30), (20, 40)]:
        torn = bytearray(longer)
        torn[len(whole) + start : len(whole) + stop] = bytes(stop - start)
        machine.disk.files["log"] = bytes(torn)
        assert await machine.start().read_view() == (1, FIRST)
        assert machine.disk.files["log"] == whole


async def test_a_corrupt_middle_is_refused() -> None:
    machine = Machine()
    coordinator = machine.start()
    await coordinator.swap_view(0, FIRST)
    first = len(machine.disk.files["log"])
    await coordinator.swap_view(1, rules.join(FIRST, member("b")))
    log = bytearray(machine.disk.files["log"])
    log[first - 3] ^= 1
    machine.disk.files["log"] = bytes(log)
    with pytest.raises(DataLossError, match="corrupt at byte 0"):
        machine.start()


async def test_the_log_stays_short() -> None:
    machine = Machine()
    coordinator = machine.start()
    await coordinator.swap_view(0, FIRST)
    last = FIRST
    for revision, view in enumerate(successors(FIRST, 6000), 1):
        await coordinator.swap_view(revision, view)
        last = view
    assert len(machine.disk.files["log"]) <= 1 << 20
    assert await machine.start().read_view() == (6001, last)
