"""Many deadlines, one timer."""

from __future__ import annotations

import asyncio
import math

from memfs.testing.simulation.virtual import run
from memfs.transport.deadlines import Deadlines


def test_each_key_expires_once_at_its_time():
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        deadlines = Deadlines(loop)
        for key, when in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("never", math.inf)):
            deadlines.set(key, when, lambda key: seen.append((key, loop.time())))
        await asyncio.sleep(10)
        assert seen == [("a", 1.0), ("b", 2.0), ("c", 3.0)]

    run(main())


def test_cleared_and_moved_keys():
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        deadlines = Deadlines(loop)
        for key in "abc":
            deadlines.set(key, 1.0, lambda key: seen.append((key, loop.time())))
        deadlines.clear("a")
        deadlines.clear("unknown")
        deadlines.set("b", 2.0, lambda key: seen.append((key, loop.time())))
        await asyncio.sleep(10)
        assert seen == [("c", 1.0), ("b", 2.0)]

    run(main())


def test_one_that_expires_may_clear_and_set_others():
    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        deadlines = Deadlines(loop)

        def first(key):
            seen.append(key)
            deadlines.clear("b")
            deadlines.set("c", 3.0, seen.append)

        deadlines.set("a", 1.0, first)
        deadlines.set("b", 1.0, seen.append)
        await asyncio.sleep(2)
        assert seen == ["a"]
        await asyncio.sleep(2)
        assert seen == ["a", "c"]

    run(main())


def test_closed():
    async def main():
        deadlines = Deadlines(asyncio.get_running_loop())
        deadlines.set("a", 1.0, lambda key: 1 / 0)
        deadlines.close()
        await asyncio.sleep(10)

    run(main())
