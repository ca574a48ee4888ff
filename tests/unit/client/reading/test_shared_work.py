"""Work that a second thread shares: complete, in order, and over when the call is."""

from __future__ import annotations

import os
import threading
import time

import pytest

from memfs.client.reading import shared_work
from memfs.client.reading.shared_work import shared


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier test had to wait for does not count, nor how many processors there are."""
    monkeypatch.setattr(shared_work, "_alone", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def meeting() -> threading.Barrier:
    """For two pieces that are worked on at the same time."""
    return threading.Barrier(2, timeout=60)


def test_results_are_in_the_order_of_the_pieces() -> None:
    assert shared(lambda number: number * number, range(1000)) == [n * n for n in range(1000)]
    assert shared(abs, []) == []
    assert shared(abs, [-1]) == [1]


def test_two_threads_work() -> None:
    both = meeting()

    def work(_: int) -> int:
        both.wait()
        return threading.get_ident()

    assert len(set(shared(work, range(2)))) == 2


@pytest.mark.parametrize("here", [True, False])
def test_what_a_piece_raises_in_either_thread_is_raised_when_none_is_worked_on(here: bool) -> None:
    both, caller = meeting(), threading.get_ident()
    begun: list[int] = []
    ended: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if len(begun) <= 2:
            both.wait()
        if (threading.get_ident() == caller) == here:
            raise OSError("full")
        time.sleep(0.01)
        ended.append(number)

    with pytest.raises(OSError, match="full"):
        shared(work, range(100))
    assert len(ended) == len(begun) - 1
    assert len(begun) < 100


def test_a_forked_child_has_a_second_thread_of_its_own() -> None:
    assert shared(abs, range(10)) == list(range(10))
    child = os.fork()
    if not child:
        good = False
        try:
            both = meeting()

            def work(_: int) -> bool:
                if len(os.sched_getaffinity(0)) > 1:
                    both.wait()
                return True

            good = all(shared(work, range(2)))
        finally:
            os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_after_a_thread_was_held_up_work_is_not_shared_for_a_while() -> None:
    caller, late = threading.get_ident(), threading.Event()

    def work(_: int) -> int:
        if threading.get_ident() == caller:
            assert late.wait(60)
        else:
            late.set()
            time.sleep(10 * shared_work.HELD_UP_SECONDS)
        return threading.get_ident()

    assert len(set(shared(work, range(2)))) == 2
    late.set()
    for _ in range(shared_work.ALONE):
        assert set(shared(work, range(2))) == {caller}
    late.clear()
    assert len(set(shared(work, range(2)))) == 2
