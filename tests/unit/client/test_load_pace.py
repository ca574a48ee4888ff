"""A load with a bandwidth takes as long as that says, whoever asks in between."""

from __future__ import annotations

import asyncio

from memfs.client.mounts import LoadCounts, Pace
from memfs.client.transfer.copying import ProgressEvent
from memfs.testing.simulation.virtual import run


def test_bytes_pass_at_the_rate() -> None:
    async def main() -> None:
        loop, pace = asyncio.get_running_loop(), Pace(1000.0)
        start = loop.time()
        await asyncio.gather(*(pace.wait_for(500) for _ in range(11)))
        assert 4.99 <= loop.time() - start <= 5.01
        await asyncio.sleep(100)  # what was not used is not saved up
        start = loop.time()
        await pace.wait_for(5000)
        await pace.wait_for(1)
        assert 4.99 <= loop.time() - start <= 5.01

    run(main())


def test_no_rate_is_no_wait() -> None:
    async def main() -> None:
        loop, pace = asyncio.get_running_loop(), Pace(0.0)
        start = loop.time()
        for _ in range(100):
            await pace.wait_for(1 << 40)
        assert loop.time() == start

    run(main())


def test_a_load_counts_what_was_found_and_what_is_done() -> None:
    events: list[ProgressEvent] = []
    loading = LoadCounts(events.append)
    loading.found([5, 7])
    loading.advanced("/a", 4)
    loading.advanced("/a", 1, complete=True)
    loading.found([3])
    loading.advanced("/b", 7, complete=True)
    assert events == [
        ("/a", 4, 0, 12, 2),
        ("/a", 5, 1, 12, 2),
        ("/b", 12, 2, 15, 3),
    ]
    assert (loading.files, loading.bytes) == (3, 15)
