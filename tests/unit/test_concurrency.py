"""Several coroutines at once: bounded, in order, and none outlives the call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from memfs.concurrency import in_thread, outcomes, results, run_all, run_each, with_rests


class Items:
    """Numbers that are waited for; how many were asked for, and whether it was closed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.asked = 0
        self.closed = False

    async def numbers(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self._count):
                self.asked += 1
                await asyncio.sleep(0)
                yield number
        finally:
            self.closed = True


async def test_run_all_is_bounded_and_complete() -> None:
    running = most = done = 0

    async def one() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done += 1

    await run_all((one() for _ in range(50)), 4)
    assert (most, done) == (4, 50)
    await run_all((), 4)


async def test_run_all_stops_at_the_first_failure() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append("slow")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        await run_all([slow(), fails(), slow(), slow()], 2)
    assert ended == ["slow"]


async def test_items_are_asked_for_when_there_is_room() -> None:
    items, begun = Items(50), list[int]()
    full, release = asyncio.Event(), asyncio.Event()

    async def act(number: int) -> None:
        begun.append(number)
        if len(begun) == 4:
            full.set()
        await release.wait()

    running = asyncio.create_task(run_each(act, items.numbers(), 4))
    await full.wait()
    assert items.asked == 4
    release.set()
    await running
    assert begun == list(range(50)) and items.closed


async def test_the_first_failure_ends_the_others_and_the_items() -> None:
    items, ended = Items(50), list[int]()

    async def act(number: int) -> None:
        if number == 2:
            raise KeyError("third")
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(number)

    with pytest.raises(KeyError, match="third"):
        await run_each(act, items.numbers(), 4)
    assert {0, 1} <= set(ended) and items.closed and items.asked <= 4


async def test_a_failure_of_the_items_is_raised() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise OSError("no more")

    async def act(number: int) -> None:
        await asyncio.sleep(0)

    with pytest.raises(OSError, match="no more"):
        await run_each(act, broken(), 4)


async def test_results_are_in_order() -> None:
    async def one(number: int) -> int:
        await asyncio.sleep((7 - number) * 1e-3)
        return number

    assert await results((one(n) for n in range(7)), 3) == list(range(7))
    assert await results((one(n) for n in range(1)), 3) == [0]
    assert await results((), 3) == []


async def test_a_failure_of_the_kind_is_an_outcome() -> None:
    async def one(number: int) -> int:
        await asyncio.sleep(0)
        if number == 1:
            raise FileNotFoundError(number)
        if number > 3:
            raise KeyError(number)
        return number

    found = await outcomes((one(n) for n in range(4)), 2, OSError)
    assert [n for n in found if isinstance(n, int)] == [0, 2, 3]
    assert isinstance(found[1], FileNotFoundError)
    with pytest.raises(KeyError, match="4"):
        await outcomes((one(n) for n in range(9)), 2, OSError)


async def test_a_long_walk_lets_others_have_their_turn() -> None:
    walked: list[object] = []

    async def other() -> None:
        walked.append("other")

    waiting = asyncio.ensure_future(other())
    async for number in with_rests(range(5), 2):
        walked.append(number)
    assert walked == [0, 1, "other", 2, 3, 4] and waiting.done()


async def test_a_thread_has_ended_when_the_call_that_waits_for_it_is_cancelled() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(60)
        ended.set()

    call = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait)
    call.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not call.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()


async def test_a_thread_hands_over_its_result_or_error() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)
