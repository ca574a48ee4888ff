"""Low space is told once, and again only after there was enough."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import pytest

from memfs.limits import MIB
from memfs.node.resources.space import (
    IDLE_SECONDS,
    POLL_SECONDS,
    SpaceWatch,
    clean_segments,
    give_back_spare_memory,
)
from memfs.protocol.messages import BlockVersion
from memfs.testing.simulation.virtual import run


@dataclass
class Account:
    used: int = 0
    limit: int = 1000


def test_hysteresis(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "memfs.node.resources.space")
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


class SparseStore:
    def __init__(self, steps: int) -> None:
        self.used, self.spare, self.limit = 0, 0, 100
        self.steps = steps
        self.damaged = [BlockVersion(1, 0, 1, 1)]

    @property
    def sparse(self) -> bool:
        return self.steps > 0

    def clean(self, records: int, count: int) -> int:
        self.steps -= 1
        return records

    def pop_damaged(self) -> list[BlockVersion]:
        damaged, self.damaged = self.damaged, []
        return damaged


def test_the_cleaner_hurries_when_room_gets_scarce() -> None:
    async def body() -> None:
        reported: list[BlockVersion] = []

        async def report(version: BlockVersion) -> None:
            reported.append(version)

        calm, scarce = SparseStore(10_000), SparseStore(10_000)
        scarce.used, scarce.spare = 80, 15
        loops = [asyncio.ensure_future(clean_segments(each, report)) for each in (calm, scarce)]
        await asyncio.sleep(0.9)
        assert 5 * (10_000 - calm.steps) < 10_000 - scarce.steps
        assert reported == [BlockVersion(1, 0, 1, 1)] * 2
        calm.steps = 0
        await asyncio.sleep(2 * POLL_SECONDS)
        assert calm.steps == 0, "nothing is to gain"
        for loop in loops:
            loop.cancel()

    run(body())
