"""What vanished writers left is looked for at once, by inode, and nothing else is touched."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from memfs import errors
from memfs.node.healing import sweep
from memfs.node.healing.sweep import OrphanSweep
from memfs.protocol import messages as m
from memfs.types import BlockRef

from .fakes import FakeMembership, FakePeers


class World:
    """A primary, its namespace, and what three members hold."""

    def __init__(self) -> None:
        self.membership = FakeMembership(1, 2, 3)
        self.held: dict[int, list[m.BlockVersion]] = defaultdict(list)
        self.named: dict[m.BlockVersion, tuple[int, ...]] = {}
        self.live: set[int] = set()
        """Inodes with a writer."""
        self.silent: set[int] = set()
        self.settled = 0
        self.forgotten: list[tuple[int, int]] = []
        """Member and inode."""
        self.peers = FakePeers(self.listed)
        namespace = SimpleNamespace(block=self.block, is_live=lambda v: v.inode in self.live)
        primary = SimpleNamespace(namespace=namespace, settle=self.settle)
        self.role: Any = SimpleNamespace(membership=self.membership, leads=True, primary=primary)
        discards: Any = SimpleNamespace(
            add_one=lambda number, version: self.forgotten.append((number, version.inode))
        )
        peers: Any = self.peers
        self.sweep = OrphanSweep(
            self.role, peers, discards, lambda *_: False, lambda *_: None, 600.0
        )

    def listed(self, number: int, request: m.ListBlocks) -> m.ListBlocksReply:
        if number in self.silent:
            raise errors.UnavailableError("silent")
        after = request.after or m.BlockVersion(0, 0, 0, 0)
        found = [version for version in sorted(self.held[number]) if version > after]
        blocks = tuple(m.StoredBlock(*version, 1, 0) for version in found[: request.limit])
        return m.ListBlocksReply(blocks, len(found) > request.limit)

    def block(self, version: m.BlockVersion) -> BlockRef | None:
        holders = self.named.get(version)
        return BlockRef(*version, 1, 0, holders) if holders else None

    async def settle(self) -> None:
        self.settled += 1

    def hold(self, inode: int, *numbers: int, blocks: int = 1) -> None:
        for number in numbers:
            self.held[number] += [m.BlockVersion(inode, n, 1, n + 1) for n in range(blocks)]

    async def look(self, *inodes: int) -> None:
        """Suspect writers of these, and wait until they were looked for."""
        looking = asyncio.create_task(self.sweep.run_suspects())
        self.sweep.suspect(inodes)
        await turns()
        assert not looking.done()
        looking.cancel()


async def turns() -> None:
    """All that needs no time is done: nothing here waits for more than a turn of the loop."""
    for _ in range(1000):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SUSPECT_SECONDS", 0.0)


async def test_only_what_nobody_names_or_writes_goes() -> None:
    world = World()
    for inode in (5, 6, 7, 8):
        world.hold(inode, 1, 2)
    world.live.add(6)
    world.named[m.BlockVersion(7, 0, 1, 1)] = (1,)  # its other copy is nobody's
    await world.look(5, 6, 7)
    assert sorted(world.forgotten) == [(1, 5), (2, 5), (2, 7)]
    assert world.settled == 2
    assert world.sweep.swept == 3


async def test_only_the_suspected_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAGE", 10)
    world = World()
    for inode in range(1, 1000):
        world.hold(inode, 1)
    world.hold(500, 1, blocks=25)
    await world.look(3, 500, 998)
    assert {inode for _, inode in world.forgotten} == {3, 500, 998}
    pages = [request for number, request in world.peers.asked if number == 1]
    assert len(pages) <= 3 + 3
    assert world.settled <= 5


async def test_a_silent_member_keeps_the_others_from_nothing() -> None:
    world = World()
    world.hold(5, 1, 2, 3)
    world.silent.add(2)
    await world.look(5)
    assert sorted(world.forgotten) == [(1, 5), (3, 5)]


async def test_another_primary_looks_for_nothing() -> None:
    world = World()
    world.hold(5, 1)
    world.role.leads = False
    await world.look(5)
    assert not world.peers.asked


async def test_so_many_are_looked_for_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SUSPECTS_MAX", 2)
    world = World()
    for inode in (5, 6, 7):
        world.hold(inode, 1)
    await world.look(5, 6, 7)
    assert world.forgotten == [(1, 5), (1, 6)]  # the next sweep finds the other one


async def test_nobody_is_no_reason_to_look() -> None:
    world = World()
    await world.look()
    assert not world.peers.asked
