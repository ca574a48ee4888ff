"""The way from blocking callers to the loop: results, errors, threads, interrupts, finalisers."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time

import pytest

from memfs.client.bridge import Bridge, bridge


@pytest.fixture
def running():
    fresh = Bridge()
    yield fresh
    fresh.stop()


def test_results_and_errors_come_back(running):
    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return 2 * value

    async def fails() -> None:
        raise KeyError("here")

    assert running.run(double(4)) == 8
    with pytest.raises(KeyError, match="here"):
        running.run(fails())


def test_an_error_leaves_no_cycle_behind(running):
    class Marked(Exception):
        pass

    async def fails() -> None:
        raise Marked

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Marked):
            running.run(fails())
        alive = [each for each in gc.get_objects() if isinstance(each, Marked)]
        assert len(alive) <= 1
    finally:
        gc.enable()


def test_many_threads_at_once(running):
    results: list[int] = []

    async def echo(value: int) -> int:
        await asyncio.sleep(0.001)
        return value

    def work(start: int) -> None:
        results.extend(running.run(echo(value)) for value in range(start, start + 20))

    threads = [threading.Thread(target=work, args=(20 * number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(200))


def test_an_interrupt_cancels_the_work(running):
    cancelled = threading.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    threading.Timer(
        0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
    ).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        running.run(long())
    assert cancelled.is_set() and time.monotonic() - began < 5


def test_blocking_inside_the_loop_is_refused(running):
    async def nothing() -> None:
        pass

    async def inside() -> None:
        running.run(nothing())

    with pytest.raises(RuntimeError, match="loop itself"):
        running.run(inside())


def test_work_begun_without_waiting(running):
    done = threading.Event()

    async def work() -> None:
        done.set()

    running.begin(work())
    assert done.wait(5)


def test_after_the_end_nothing_hangs():
    ended = Bridge()
    ended.stop()

    async def nothing() -> None:
        pass

    with pytest.raises(RuntimeError, match="exiting"):
        ended.run(nothing())
    ended.begin(nothing())


def test_there_is_one_bridge():
    assert bridge() is bridge()
