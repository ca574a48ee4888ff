"""A node's own blocks, re-read in time, however many come while it is at it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from memfs.errors import CorruptBlockError
from memfs.node.blocks import BlockStore
from memfs.node.healing.peers import Peers
from memfs.node.healing.scrubber import PAUSE_SECONDS, Scrubber
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m
from memfs.testing.simulation.virtual import run

HOUR = 3_600.0
SELF, PRIMARY = 3, 1


class Store:
    """Blocks of one byte; some are corrupt."""

    def __init__(self) -> None:
        self.versions: list[m.BlockVersion] = []
        self.corrupt: set[m.BlockVersion] = set()
        self.read: list[m.BlockVersion] = []

    @property
    def count(self) -> int:
        return len(self.versions)

    def hold(self, number: int) -> m.BlockVersion:
        version = m.BlockVersion(number, 0, 1, 1)
        self.versions.append(version)
        return version

    def list(self, after: m.BlockVersion | None, count: int) -> list[SimpleNamespace]:
        later = [each for each in self.versions if after is None or each > after]
        return [SimpleNamespace(version=each) for each in sorted(later)[:count]]

    def verify(self, version: m.BlockVersion) -> int:
        self.read.append(version)
        return CorruptBlockError.code if version in self.corrupt else 0


class Told:
    """What the primary was told."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, object]] = []

    async def ask(self, number: int, request: object) -> None:
        self.reports.append((number, request))


def scrubbing(store: Store, told: Told, seconds: float = HOUR) -> Scrubber:
    members = SimpleNamespace(number=SELF, primary=lambda: SimpleNamespace(number=PRIMARY))
    return Scrubber(cast(BlockStore, store), cast(Membership, members), cast(Peers, told), seconds)


def test_a_pass_that_began_with_one_block_keeps_pace_with_all_that_come():
    async def main() -> None:
        store, told = Store(), Told()
        store.hold(0)
        task = asyncio.ensure_future(scrubbing(store, told).run())
        await asyncio.sleep(1)  # the pass has begun, and would read one block an hour
        for number in range(1, 1000):
            store.hold(number)
        await asyncio.sleep(HOUR + PAUSE_SECONDS)
        task.cancel()
        assert set(store.read) == set(store.versions)

    run(main())


def test_many_are_read_once_in_the_time_of_a_pass():
    async def main() -> None:
        store, told = Store(), Told()
        for number in range(2_000):
            store.hold(number)
        scrubber = scrubbing(store, told, seconds=100.0)
        task = asyncio.ensure_future(scrubber.run())
        await asyncio.sleep(101)
        task.cancel()
        assert scrubber.passes == 1
        assert 2_000 <= len(store.read) < 2_100

    run(main())


def test_what_is_corrupt_is_reported_to_the_primary():
    async def main() -> None:
        store, told = Store(), Told()
        good, bad = store.hold(1), store.hold(2)
        store.corrupt.add(bad)
        task = asyncio.ensure_future(scrubbing(store, told).run())
        await asyncio.sleep(2.5 * PAUSE_SECONDS)
        task.cancel()
        assert good in store.read
        assert told.reports == [(PRIMARY, m.ReportCorrupt(bad, SELF))]

    run(main())
