"""The pace of transfers."""

from __future__ import annotations

import asyncio

from memfs.node.healing.bandwidth import BLOCK_BYTES, SERVED_TURNS, WINDOW_SECONDS, Bandwidth, cost
from memfs.testing.simulation.virtual import run


def test_transfers_take_the_time_that_they_cost() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        bandwidth, began = Bandwidth(1000, loop.time), loop.time()
        for _ in range(5):
            await bandwidth.acquire(500)
        assert abs(loop.time() - began - 2.0) < 0.01  # the first one goes at once
        await asyncio.sleep(10)
        before = loop.time()
        await bandwidth.acquire(10)  # what was not used is not saved up
        assert loop.time() == before

    run(body())


def test_no_limit() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        bandwidth, began = Bandwidth(0, loop.time), loop.time()
        await bandwidth.acquire(1 << 50)
        assert loop.time() == began

    run(body())


def test_the_rate_is_that_of_late() -> None:
    now = 0.0
    bandwidth = Bandwidth(0, lambda: now)
    assert bandwidth.rate() == 0
    for second in range(20):
        now = float(second)
        bandwidth.moved(100)
    assert 90 <= bandwidth.rate() <= 115
    now += 2 * WINDOW_SECONDS
    assert bandwidth.rate() == 0


def test_small_blocks_cost_more_than_their_bytes_while_clients_are_served() -> None:
    assert cost(800_000, 100, 0) == cost(800_000, 100, SERVED_TURNS - 1) == 800_000
    assert cost(800_000, 100, SERVED_TURNS) == 100 * BLOCK_BYTES
    assert cost(1 << 30, 256, 1000) == 1 << 30
