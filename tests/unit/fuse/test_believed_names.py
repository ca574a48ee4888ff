"""Which names a kernel is told to believe, and for how long their directory is not told of."""

from __future__ import annotations

import asyncio

import pytest

from memfs.fuse import believed_names
from memfs.fuse.believed_names import (
    BELIEVED_SECONDS,
    LATE_SECONDS,
    SHARED_DIRECTORIES,
    SHARED_SECONDS,
    BelievedNames,
)
from memfs.testing.simulation.virtual import run

ONE, OTHER = 5, 6
TRUST = 1.2
PROMISED = 2.0


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_ns = 7_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def names(clock: Clock) -> BelievedNames:
    found = BelievedNames(clock)
    found.offered = True
    clock.sleep(BELIEVED_SECONDS + LATE_SECONDS)
    return found


def test_a_name_is_believed_as_long_as_the_mount_is_trusted(names: BelievedNames) -> None:
    assert names.hand_out(ONE, TRUST, PROMISED) == BELIEVED_SECONDS
    assert names.hand_out(ONE, 0.05, PROMISED) == 0.05
    assert names.hand_out(ONE, 0.0, PROMISED) == 0.0


def test_a_late_kernel_believes_no_name_when_the_primary_has_stopped_waiting(
    names: BelievedNames,
) -> None:
    assert names.hand_out(ONE, TRUST, LATE_SECONDS + 0.1) == pytest.approx(0.1)
    assert names.hand_out(ONE, TRUST, LATE_SECONDS) == 0.0
    assert names.hand_out(ONE, TRUST, 0.0) == 0.0


def test_a_kernel_that_takes_old_attributes_for_new_ones_believes_no_name(clock: Clock) -> None:
    assert BelievedNames(clock).hand_out(ONE, TRUST, PROMISED) == 0.0


def test_a_directory_that_others_change_is_withheld_until_its_names_have_run_out(
    names: BelievedNames, clock: Clock
) -> None:
    names.hand_out(ONE, TRUST, PROMISED)
    clock.sleep(0.1)
    names.withdraw((ONE, OTHER))
    assert list(names.withheld) == [ONE], "of the other one no name was handed out"
    assert names.hand_out(ONE, TRUST, PROMISED) == 0.0
    assert names.hand_out(OTHER, TRUST, PROMISED) == BELIEVED_SECONDS


def test_nobody_waits_for_names_that_have_run_out(names: BelievedNames, clock: Clock) -> None:
    names.hand_out(ONE, TRUST, PROMISED)
    clock.sleep(BELIEVED_SECONDS + LATE_SECONDS)
    names.withdraw((ONE,))
    assert not names.withheld
    assert names.hand_out(ONE, TRUST, PROMISED) == BELIEVED_SECONDS


def test_a_directory_in_which_others_work_hands_out_no_names_for_a_while(
    names: BelievedNames, clock: Clock
) -> None:
    names.hand_out(ONE, TRUST, PROMISED)
    names.withdraw((ONE,))
    clock.sleep(SHARED_SECONDS / 2)
    asyncio.run(names.run_out(ONE))
    assert names.hand_out(ONE, TRUST, PROMISED) == 0.0
    clock.sleep(SHARED_SECONDS / 2)
    assert names.hand_out(ONE, TRUST, PROMISED) == BELIEVED_SECONDS


def test_where_others_work_in_many_directories_none_hands_out_names(
    names: BelievedNames, clock: Clock
) -> None:
    for directory in range(100, 100 + SHARED_DIRECTORIES):
        assert names.hand_out(ONE, TRUST, PROMISED) == BELIEVED_SECONDS
        names.hand_out(directory, TRUST, PROMISED)
        names.withdraw((directory,))
    assert names.hand_out(ONE, TRUST, PROMISED) == 0.0
    clock.sleep(SHARED_SECONDS)
    assert names.hand_out(ONE, TRUST, PROMISED) == BELIEVED_SECONDS


def test_a_name_that_moves_is_believed_where_it_is_moved_to(names: BelievedNames) -> None:
    names.hand_out(ONE, TRUST, PROMISED)
    names.moved(ONE, OTHER)
    names.withdraw((OTHER,))
    assert list(names.withheld) == [OTHER]


def test_a_name_that_moves_out_of_a_withheld_directory_is_not_forgotten(
    names: BelievedNames,
) -> None:
    names.hand_out(ONE, TRUST, PROMISED)
    names.withdraw((ONE,))
    names.moved(ONE, OTHER)
    names.withdraw((OTHER,))
    assert set(names.withheld) == {ONE, OTHER}


def test_what_a_former_worker_may_have_handed_out_counts(clock: Clock) -> None:
    names = BelievedNames(clock)
    names.withdraw((ONE,))
    assert list(names.withheld) == [ONE]


def test_directories_beyond_those_that_are_kept_in_mind_count_for_all(
    names: BelievedNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(believed_names, "DIRECTORIES", 2)
    for directory in (ONE, OTHER, 7):
        names.hand_out(directory, TRUST, PROMISED)
    names.withdraw((ONE,))
    assert list(names.withheld) == [ONE]


def test_whoever_asks_for_a_withheld_directory_hears_of_it_afterwards() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        names = BelievedNames(lambda: round(loop.time() * 1e9))
        names.offered = True
        await asyncio.sleep(BELIEVED_SECONDS + LATE_SECONDS)
        names.hand_out(ONE, TRUST, PROMISED)
        names.withdraw((ONE,))
        began = loop.time()
        await names.run_out(OTHER)
        assert loop.time() == began
        await asyncio.gather(names.run_out(ONE), names.run_out(ONE))
        assert round(loop.time() - began, 6) == BELIEVED_SECONDS + LATE_SECONDS
        assert not names.withheld

    run(main())
