"""A process that serves gives what it has freed back to the system."""

from __future__ import annotations

import asyncio

from memfs.cli.serve.process import TRIM_BYTES, give_freed_memory_back
from memfs.machine import Footprint


async def test_a_large_process_is_trimmed_while_it_serves() -> None:
    size, looks, trims = TRIM_BYTES, 0, 0
    looked, enough = asyncio.Event(), asyncio.Event()

    def measure() -> Footprint:
        nonlocal looks
        looks += 1
        if looks == 3:
            looked.set()
        return Footprint(size)

    def trim() -> None:
        nonlocal trims
        trims += 1
        loop.call_soon_threadsafe(enough.set)

    loop = asyncio.get_running_loop()
    async with give_freed_memory_back(0.001, measure, trim):
        await looked.wait()
        assert not trims, "what is small keeps what it has"
        size += 1
        await enough.wait()
    after = looks
    await asyncio.sleep(0.01)
    assert looks == after
