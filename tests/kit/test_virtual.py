"""The virtual-time loop: time jumps, order is reproducible, processes die and pause."""

from __future__ import annotations

import asyncio
import time

import pytest

from memfs.testing.simulation.virtual import (
    DeadlockError,
    Process,
    StepLimitError,
    current_process,
    run,
)


def test_an_hour_takes_no_time():
    async def main():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.perf_counter()
    assert run(main()) == pytest.approx(3600)
    assert time.perf_counter() - began < 1


def test_timers_fire_in_order_of_time_then_of_scheduling():
    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        for name, delay in [("c", 2), ("a", 1), ("d", 2), ("b", 1)]:
            loop.call_later(delay, seen.append, name)
        await asyncio.sleep(3)
        return seen

    assert run(main()) == ["a", "b", "c", "d"]


def test_timeouts_and_groups_work():
    async def main():
        async def slow():
            await asyncio.sleep(10)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(slow())
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(1)


def test_sets_of_tasks_iterate_in_creation_order():
    async def main():
        tasks = {asyncio.ensure_future(asyncio.sleep(1)) for _ in range(64)}
        names = [task.get_name() for task in tasks]
        await asyncio.gather(*tasks)
        return names

    assert run(main()) == run(main())


def test_waiting_for_ever_is_reported():
    async def main():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match="wait for ever"):
        run(main())


def test_spinning_is_reported():
    async def main():
        loop = asyncio.get_running_loop()

        def again():
            loop.call_soon(again)

        again()
        await loop.create_future()

    with pytest.raises(StepLimitError):
        run(main(), step_limit=1000)


def test_an_exception_in_a_callback_fails_the_run():
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run(main())


def test_executor_work_runs_inline():
    async def main():
        return await asyncio.to_thread(lambda: 42)

    assert run(main()) == 42


def test_a_killed_process_never_runs_again_not_even_its_finally():
    seen = []

    async def victim():
        try:
            while True:
                seen.append(asyncio.get_running_loop().time())
                await asyncio.sleep(1)
        finally:
            seen.append("finally")

    async def main():
        process = Process("victim")
        process.spawn(victim())
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(10)
        return list(seen)

    assert run(main()) == [0, 1, 2]


def test_a_paused_process_catches_up():
    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        process = Process("p")
        process.run(lambda: [loop.call_later(at, seen.append, at) for at in (1, 2, 3)])
        await asyncio.sleep(1.5)
        process.pause()
        await asyncio.sleep(1)
        paused = list(seen)
        process.resume()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        resumed = list(seen)
        await asyncio.sleep(1)
        return paused, resumed, seen

    assert run(main()) == ([1], [1, 2], [1, 2, 3])


def test_children_inherit_the_process():
    async def main():
        process = Process("p")

        async def child():
            return current_process()

        async def parent():
            return await asyncio.create_task(child())

        return await process.spawn(parent()) is process, current_process()

    assert run(main()) == (True, None)
