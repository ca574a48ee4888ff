"""The embedded coordinator: compare-and-swap, leases, and its log after a crash."""

from __future__ import annotations

import errno
import random
from typing import cast

import pytest

from memfs.cluster import view as rules
from memfs.cluster.coordinator import StoredView
from memfs.cluster.embedded import EmbeddedCoordinator
from memfs.errors import ConfigError, DataLossError, OutcomeUnknownError, UnavailableError
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
        self.room: int | None = None
        """Bytes that an append still writes before it fails."""
        self.broken = False

    def read(self, path: str) -> bytes | None:
        self._check()
        return self.files.get(path)

    def append(self, path: str, data: bytes) -> None:
        self._check()
        self.files[path] = self.files.get(path, b"") + data[: self.room]
        if self.room is not None:
            raise OSError(errno.ENOSPC, "no space left on the disk")

    def replace(self, path: str, data: bytes) -> None:
        self._check()
        self.files[path] = data

    def _check(self) -> None:
        if self.broken:
            raise OSError(errno.EIO, "the disk fails")


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


async def test_a_view_of_another_cluster_is_not_swapped_in() -> None:
    """What a node sends that met another cluster's coordinator at this address before."""
    coordinator = Machine().start()
    await coordinator.swap_view(0, FIRST)
    other = rules.join(rules.form("d", member()), member("b"))
    assert await coordinator.swap_view(1, other) is None
    assert await coordinator.read_view() == (1, FIRST)


async def test_the_view_survives_a_restart() -> None:
    machine = Machine()
    await machine.start().swap_view(0, FIRST)
    assert await machine.start().read_view() == (1, FIRST)


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


@pytest.mark.parametrize("room", [0, 5, 30, 10_000])
async def test_a_swap_that_cannot_be_written_is_in_doubt_and_then_not_made(room: int) -> None:
    machine = Machine()
    coordinator = machine.start()
    await coordinator.swap_view(0, FIRST)
    second = rules.join(FIRST, member("b"))
    machine.disk.room = room
    with pytest.raises(OutcomeUnknownError, match="no space left"):
        await coordinator.swap_view(1, second)
    machine.disk.room = None
    assert await coordinator.read_view() == (1, FIRST)
    assert await machine.start().read_view() == (1, FIRST), "what was read stays true"
    third = rules.join(FIRST, member("c"))
    assert await coordinator.swap_view(1, third) == StoredView(2, third)
    assert await machine.start().read_view() == (2, third)


async def test_while_the_doubt_cannot_be_ended_nothing_is_answered() -> None:
    machine = Machine()
    coordinator = machine.start()
    await coordinator.swap_view(0, FIRST)
    second = rules.join(FIRST, member("b"))
    machine.disk.room = 10_000
    with pytest.raises(OutcomeUnknownError):
        await coordinator.swap_view(1, second)
    machine.disk.broken = True
    with pytest.raises(UnavailableError, match="the disk fails"):
        await coordinator.read_view()
    with pytest.raises(UnavailableError, match="the disk fails"):
        await coordinator.swap_view(1, second)
    machine.disk.broken, machine.disk.room = False, None
    assert await machine.start().read_view() == (2, second), "nobody was told otherwise"


async def test_a_log_that_cannot_be_read_is_a_clear_error() -> None:
    machine = Machine()
    machine.disk.broken = True
    with pytest.raises(ConfigError, match="log: the disk fails"):
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
