"""What the process takes counts against the limit; near the container's, nothing is stored."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator

import pytest

from memfs import errors
from memfs.limits import MIB
from memfs.machine import Footprint, footprint
from memfs.node.blocks import BlockStore
from memfs.node.blocks.segments import MemorySegment
from memfs.node.resources.footprint import (
    FREE_BYTES,
    REST_SECONDS,
    TRIM_SECONDS,
    FootprintWatch,
)
from memfs.protocol.messages import BlockVersion
from memfs.testing.simulation.virtual import run
from tests.unit.node.blocks.writing import V1, V2, some_bytes, store_whole

OTHER = BlockVersion(2, 0, 1, 1)


@pytest.fixture
def store() -> BlockStore:
    return BlockStore(64 * MIB)


class Kernel:
    """What it says, and how often it was given something back, in how many steps."""

    def __init__(self, anonymous: int, container: int = 0, limit: int = 0) -> None:
        self.says = Footprint(anonymous, container, limit)
        self.trims = self.steps = 0

    def measure(self) -> Footprint:
        return self.says

    def trim(self) -> Iterator[None]:
        for _ in range(5):
            self.steps += 1
            yield
        self.trims += 1


def watched(store: BlockStore, kernel: Kernel) -> FootprintWatch:
    watch = FootprintWatch(store, kernel.measure, kernel.trim)
    watch.look()
    return watch


def test_what_the_process_takes_beside_blocks_counts() -> None:
    store = BlockStore(10 * MIB)
    store_whole(store, V1, some_bytes(1000))
    blocks = store.used
    kernel = Kernel(FREE_BYTES + 9 * MIB)
    watch = watched(store, kernel)
    assert 9 * MIB <= store.used <= blocks + 9 * MIB
    assert 9 * MIB - 1000 <= store.overhead <= 9 * MIB + 1000
    assert watch.resident == kernel.says.anonymous + store.shared
    with pytest.raises(errors.NoSpaceError, match="beside blocks"):
        store_whole(store, OTHER, some_bytes(3 * MIB), block=4 * MIB)
    kernel.says = Footprint(FREE_BYTES)
    watch.look()
    assert store.used == blocks
    store_whole(store, OTHER, some_bytes(3 * MIB), block=4 * MIB)


@pytest.fixture
def no_memfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives none."""

    def refuse(*arguments: object) -> int:
        raise OSError

    monkeypatch.setattr("os.memfd_create", refuse)


@pytest.mark.usefixtures("no_memfds")
def test_what_blocks_charge_on_the_heap_is_not_counted_twice(store: BlockStore) -> None:
    store_whole(store, V1, some_bytes(3 * MIB), block=4 * MIB)
    store_whole(store, V2, some_bytes(1000))
    blocks = store.used
    watch = watched(store, Kernel(FREE_BYTES + 3 * MIB))
    assert (store.used, store.shared) == (blocks, 0)
    assert watch.resident == FREE_BYTES + 3 * MIB


def test_spare_memory_gives_way_to_the_process() -> None:
    store = BlockStore(10 * MIB)
    store_whole(store, V1, some_bytes(4 * MIB), block=4 * MIB)
    store.discard(V1)
    assert store.spare == 4 * MIB
    watched(store, Kernel(FREE_BYTES + 8 * MIB))
    assert store.spare <= 2 * MIB


@pytest.mark.usefixtures("no_memfds")
def test_segments_without_a_descriptor_are_the_process_s_own(store: BlockStore) -> None:
    """They count once, and what is dead at their end goes back."""
    gc.collect()  # what other tests left is not to go back meanwhile
    before = footprint()
    versions = [BlockVersion(inode, 0, 1, 1) for inode in range(1, 41)]
    for version in versions:
        store_whole(store, version, some_bytes(900_000), block=MIB)
    full = footprint()
    assert full.anonymous - before.anonymous >= 25 * MIB
    assert full.mapped - before.mapped < MIB
    assert store.shared == 0
    for version in versions:
        store.discard(version)
    store.give_back(store.spare)
    assert footprint().anonymous - before.anonymous < 10 * MIB


@pytest.mark.parametrize("shared", [False, True])
def test_what_lies_behind_the_last_record_goes_back(shared: bool) -> None:
    segment = MemorySegment(8 * MIB, shared)
    segment.store_all(0, [bytes(8 * MIB)])
    segment.resident = segment.size
    segment.view()[:] = bytes(8 * MIB)
    before = footprint()
    assert segment.shed() == 8 * MIB
    after = footprint()
    if shared:
        assert os.fstat(segment._descriptor).st_blocks == 0
    else:
        assert before.anonymous - after.anonymous >= 7 * MIB


def test_shared_memory_that_the_store_does_not_know_of_shows(store: BlockStore) -> None:
    store_whole(store, V1, some_bytes(3 * MIB), block=4 * MIB)
    kernel = Kernel(FREE_BYTES)
    kernel.says = Footprint(FREE_BYTES, mapped=2 * MIB)
    watch = watched(store, kernel)
    assert watch.resident == FREE_BYTES + store.shared, "what was written need not be mapped"
    used = store.used
    kernel.says = Footprint(FREE_BYTES, mapped=200 * MIB)
    watch.look()
    assert (watch.resident, store.used) == (FREE_BYTES + 200 * MIB, used)


def test_near_the_containers_limit_nothing_is_stored(store: BlockStore) -> None:
    store_whole(store, V1, some_bytes(4 * MIB), block=4 * MIB)
    store.discard(V1)
    kernel = Kernel(0, 990 * MIB, 1000 * MIB)
    watch = watched(store, kernel)
    assert store.spare == 0, "what can go goes"
    with pytest.raises(errors.NoSpaceError, match="container has 10 MiB of 1000 MiB left"):
        store_whole(store, V1, some_bytes(10))
    for left, stores in ((40, False), (70, True), (40, True), (30, False)):
        kernel.says = Footprint(0, (1000 - left) * MIB, 1000 * MIB)
        watch.look()
        assert bool(watch.trouble) is not stores, left
    assert store.used == 0


def test_what_is_left_in_the_container_is_not_given_twice_between_two_looks() -> None:
    store = BlockStore(1000 * MIB)
    kernel = Kernel(0, 60 * MIB, 100 * MIB)
    watch = watched(store, kernel)
    store_whole(store, V1, some_bytes(20 * MIB), block=32 * MIB)
    with pytest.raises(
        errors.NoSpaceError, match="container has 40 MiB of 100 MiB left for writers"
    ):
        store_whole(store, OTHER, some_bytes(20 * MIB), block=32 * MIB)
    store_whole(store, OTHER, some_bytes(16 * MIB), block=32 * MIB)
    store.discard(OTHER)
    store_whole(store, V2, some_bytes(16 * MIB), block=32 * MIB)  # into memory that is there
    store.discard(V2)
    small = BlockVersion(3, 0, 1, 1)
    store_whole(store, small, some_bytes(900_000), block=MIB)  # that memory goes back for it
    assert not watch.trouble
    kernel.says = Footprint(0, 20 * MIB, 100 * MIB)
    watch.look()
    store_whole(store, OTHER, some_bytes(20 * MIB), block=32 * MIB)


def test_a_kernel_that_says_nothing_changes_nothing(store: BlockStore) -> None:
    store_whole(store, V1, some_bytes(1000))
    before = store.used
    watch = watched(store, Kernel(0))
    assert (store.used, watch.resident, watch.trouble) == (before, 0, "")


def test_memory_is_given_back_when_the_process_is_large(store: BlockStore) -> None:
    async def body() -> None:
        small, large = Kernel(FREE_BYTES), Kernel(2 * FREE_BYTES)
        watches = [FootprintWatch(store, each.measure, each.trim) for each in (small, large)]
        loops = [asyncio.ensure_future(watch.run()) for watch in watches]
        await asyncio.sleep(3.5 * TRIM_SECONDS)
        assert (small.trims, large.trims) == (0, 3)
        for loop in loops:
            loop.cancel()

    run(body())


def test_others_have_their_turns_while_memory_is_given_back(store: BlockStore) -> None:
    async def body() -> None:
        large = Kernel(2 * FREE_BYTES)
        watch = asyncio.ensure_future(FootprintWatch(store, large.measure, large.trim).run())
        seen = set()
        while not large.trims:
            await asyncio.sleep(REST_SECONDS / 3)
            seen.add(large.steps)
        assert seen == set(range(6))
        watch.cancel()

    run(body())
