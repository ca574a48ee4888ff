"""Low space is told once, and again only after there was enough."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import pytest

from memfs.limits import MIB
from memfs.node.space import IDLE_SECONDS, SpaceWatch, give_back_spare_memory
from memfs.testing.virtual import run


@dataclass
class Account:
    used: int = 0
    limit: int = 1000


def test_hysteresis(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "memfs.node.space")
    account = Account()
    watch = SpaceWatch(account)
    low = []
    for used in (0, 899, 900, 999, 870, 901, 850, 849, 899, 900):
        account.used = used
        watch.look()
        low.append(watch.low)
    assert low == [False, False, True, True, True, True, True, False, False, True]
    assert [record.message for record in caplog.records] == [
        "low space",
        "enough space",
        "low space",
    ]


def test_a_node_without_a_limit_is_never_low() -> None:
    watch = SpaceWatch(Account(0, 0))
    watch.look()
    assert not watch.low


class Spare:
    def __init__(self, *surplus: int, pieces: int) -> None:
        self.unneeded = list(surplus)
        self.pieces = pieces
        self.asked: list[int] = []

    def surplus(self) -> int:
        return self.unneeded.pop(0)

    def give_back(self, count: int) -> int:
        self.asked.append(count)
        self.pieces -= 1
        return 10 * MIB if self.pieces >= 0 else 0


def test_what_nobody_needed_goes_back_piece_by_piece() -> None:
    async def body() -> None:
        spare = Spare(0, 25 * MIB, 0, pieces=100)
        loop = asyncio.ensure_future(give_back_spare_memory(spare))
        await asyncio.sleep(1.5 * IDLE_SECONDS)
        assert spare.asked == []
        await asyncio.sleep(IDLE_SECONDS)
        assert spare.asked == [16 * MIB, 15 * MIB, 5 * MIB]
        loop.cancel()

    run(body())


def test_nobody_waits_for_what_is_needed_again() -> None:
    async def body() -> None:
        spare = Spare(25 * MIB, 0, pieces=1)
        loop = asyncio.ensure_future(give_back_spare_memory(spare))
        await asyncio.sleep(1.5 * IDLE_SECONDS)
        assert spare.asked == [16 * MIB, 15 * MIB]
        loop.cancel()

    run(body())
