"""What clients reserve and what they store that no file has."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from memfs import limits
from memfs.errors import BusyError
from memfs.limits import KIB, MIB
from memfs.node.block_service.uploads import (
    ASKED_AT_ONCE,
    LEAST_COUNTED,
    PAUSE_SECONDS,
    PENDING_VERSIONS,
    Uploads,
)
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.testing.simulation.virtual import run
from memfs.transport.bounds.ledgers import UserAtAddress

ANN, BOB = UserAtAddress("ann", "1.2.3.4"), UserAtAddress("bob", "1.2.3.4")
MEMORY = 64 * MIB
EACH = MEMORY // 4


class Node:
    """A store that holds what is not ``gone``, and a primary that knows the files in ``known``.

    Of those in ``leased`` ann may publish what is stored.
    """

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.leased: set[int] = set()
        self.gone: set[int] = set()
        self.held: dict[int, list[tuple[m.BlockVersion, int]]] = {}
        self.asked: list[int] = []
        self.uploads = Uploads(self, self.ask, Tasks(), random.Random(1), MEMORY)

    def sizes(self, inode: int) -> list[tuple[m.BlockVersion, int]]:
        return [] if inode in self.gone else self.held.get(inode, [])

    async def ask(self, request: m.CheckVersions) -> m.CheckVersionsReply:
        await asyncio.sleep(0.001)
        (inode,) = {version.inode for version in request.versions}
        self.asked.append(inode)
        state = m.VersionState.UNKNOWN
        if inode in self.known:
            state = m.VersionState.NAMED
        elif inode in self.leased and request.user == "ann":
            state = m.VersionState.PENDING
        return m.CheckVersionsReply(bytes([state]) * len(request.versions))

    def store(self, who: UserAtAddress, inode: int, size: int, index: int = 0) -> None:
        upload = self.uploads.begin(who, {inode: size}, size)
        upload.received(size)
        upload.end(stored=True)
        held = self.held.setdefault(inode, [])
        held.insert(0, (m.BlockVersion(inode, index, 1, len(held)), size))
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


def stored_until_refused(node: Node, who: UserAtAddress, count: int, **where: Any) -> int:
    """How many of ``count`` blocks of 1 MiB of inode 1 are taken, one after the other."""

    async def main() -> int:
        for number in range(count):
            try:
                node.store(who, 1, MIB, **{key: at(number) for key, at in where.items()})
            except BusyError:
                return number
            await asyncio.sleep(0.01)
        return count

    return run(main())


def test_who_has_the_lease_may_store_what_a_file_is_to_have() -> None:
    node = Node()
    node.leased = {1}
    assert stored_until_refused(node, ANN, 100, index=lambda number: number) == 100
    assert stored_until_refused(node, BOB, 100, index=lambda number: 100 + number) == EACH // MIB


def test_versions_of_one_block_that_nobody_publishes_are_bounded() -> None:
    node = Node()
    node.leased = {1}
    taken = stored_until_refused(node, ANN, 100)
    assert taken == EACH // MIB + PENDING_VERSIONS


def test_files_that_do_not_exist_cannot_fill_the_node() -> None:
    async def main() -> None:
        node = Node()
        stored = 0
        for number in range(100):
            try:
                node.store(ANN, number, MIB)
                stored += 1
            except BusyError as error:
                assert "bytes that no file has" in str(error)
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
