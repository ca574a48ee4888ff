"""What clients reserve and what they store under inodes that nobody knows."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs import limits
from memfs.errors import BusyError, StaleHandleError
from memfs.limits import KIB, MIB
from memfs.node.block_service.uploads import ASKED_AT_ONCE, LEAST_COUNTED, PAUSE_SECONDS, Uploads
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.testing.simulation.virtual import run
from memfs.transport.ledgers import UserAtAddress

ANN, BOB = UserAtAddress("ann", "1.2.3.4"), UserAtAddress("bob", "1.2.3.4")
MEMORY = 64 * MIB
EACH = MEMORY // 4


class Node:
    """A store that holds what is not ``gone``, and a primary that knows the files in ``known``."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.gone: set[int] = set()
        self.asked: list[int] = []
        self.uploads = Uploads(self, self.ask, Tasks(), random.Random(1), MEMORY)

    def claims(self, inode: int) -> list[int]:
        return [] if inode in self.gone else [inode]

    async def ask(self, request: m.Lookup) -> None:
        await asyncio.sleep(0.001)
        self.asked.append(request.base)
        if request.base not in self.known:
            raise StaleHandleError("gone")

    def store(self, who: UserAtAddress, inode: int, size: int) -> None:
        upload = self.uploads.begin(who, {inode: size}, size)
        upload.received(size)
        upload.end(stored=True)
        self.uploads.check_invariants()


def test_what_is_reserved_and_has_not_come_is_bounded() -> None:
    node = Node()
    lazy = [node.uploads.begin(ANN, {number: 4 * MIB}, 4 * MIB) for number in range(4)]
    with pytest.raises(BusyError, match=r"ann at 1\.2\.3\.4 has 16777216 bytes reserved"):
        node.uploads.begin(ANN, {9: 1}, 1)
    node.uploads.begin(BOB, {9: 1}, 1).end(stored=False)
    lazy[0].received(3 * MIB)
    node.uploads.begin(ANN, {9: 3 * MIB}, 3 * MIB)
    lazy[1].end(stored=False)
    lazy[1].end(stored=False)
    assert node.uploads.ahead.of(ANN) == (1 + 4 + 4 + 3) * MIB
    node.uploads.check_invariants()


def test_one_upload_may_be_larger_than_the_bound() -> None:
    node = Node()
    node.uploads.begin(ANN, {1: 2 * EACH}, 2 * EACH).received(1)
    with pytest.raises(BusyError):
        node.uploads.begin(ANN, {2: 1}, 1)


def test_an_upload_that_stands_still_is_given_up() -> None:
    async def main() -> None:
        node, told = Node(), []
        upload = node.uploads.begin(ANN, {1: 4 * MIB}, 4 * MIB)
        upload.watch(told.append)
        for total in (1, 2, 3):
            await asyncio.sleep(limits.UPLOAD_STALLED_SECONDS - 0.1)
            upload.received(total)
        assert told == []
        await asyncio.sleep(2 * limits.UPLOAD_STALLED_SECONDS)
        assert len(told) == 1 and "nothing of an upload" in told[0]
        done = node.uploads.begin(ANN, {1: 4 * MIB}, 4 * MIB)
        done.watch(told.append)
        done.end(stored=True)
        await asyncio.sleep(2 * limits.UPLOAD_STALLED_SECONDS)
        assert len(told) == 1

    run(main())


def test_files_that_exist_do_not_count() -> None:
    async def main() -> None:
        node = Node()
        node.known = {1, 2}
        for _ in range(100):
            node.store(ANN, 1, MIB)
            node.store(ANN, 2, MIB)
            await asyncio.sleep(0.01)
        assert node.uploads.unknown.of(ANN) <= EACH
        assert len(node.asked) < 100, "the usual block costs no question"

    run(main())


def test_files_that_do_not_exist_cannot_fill_the_node() -> None:
    async def main() -> None:
        node = Node()
        stored = 0
        for number in range(100):
            try:
                node.store(ANN, number, MIB)
                stored += 1
            except BusyError as error:
                assert "files that do not exist" in str(error)
            await asyncio.sleep(0.01)
        assert stored == EACH // MIB
        node.store(BOB, 1000, MIB)
        node.gone = set(range(8))  # the sweep forgot some
        with pytest.raises(BusyError):
            node.store(ANN, 200, MIB)
        await asyncio.sleep(2 * PAUSE_SECONDS)
        with pytest.raises(BusyError):
            node.store(ANN, 200, MIB)
        await asyncio.sleep(2 * PAUSE_SECONDS)
        node.store(ANN, 200, MIB)
        node.known = set(range(300))  # ... and the rest was published
        await asyncio.sleep(2 * PAUSE_SECONDS)
        for number in range(200, 220):
            node.store(ANN, number, MIB)
            await asyncio.sleep(2 * PAUSE_SECONDS)

    run(main())


def test_of_many_small_files_a_few_are_asked_about() -> None:
    async def main() -> None:
        node = Node()
        count = EACH // LEAST_COUNTED // 2 + 1
        node.known = set(range(count))
        for number in range(count):
            node.store(ANN, number, 100)
        await asyncio.sleep(5)
        assert len(node.asked) == 2 * ASKED_AT_ONCE
        assert node.uploads.unknown.total == 0

    run(main())


def test_small_files_count_as_what_they_cost() -> None:
    node = Node()
    upload = node.uploads.begin(ANN, {1: 1, 2: 10 * KIB}, 10 * KIB)
    upload.end(stored=False)
    assert (node.uploads.unknown.total, node.uploads.ahead.total) == (0, 0)
