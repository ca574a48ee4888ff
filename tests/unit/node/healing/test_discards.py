"""Discards: what is decided first counts as first, whenever it is committed and delivered."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from memfs.cluster import view as rules
from memfs.node.healing.discards import Discards
from memfs.protocol import messages as m
from memfs.testing.simulation.virtual import run
from memfs.types import BlockRef, Member

VIEW = rules.form("c", Member(0, "a", 7, "127.0.0.1", 10500))
SELF = 1


class FakeCopier:
    """Remembers what it was told to forget, and how old the decision was."""

    def __init__(self) -> None:
        self.forgotten: list[tuple[int, int]] = []
        """Inode and order."""

    def forget(self, versions: tuple[m.BlockVersion, ...], term: int, order: int) -> None:
        self.forgotten += [(version.inode, order) for version in versions]


def refs(inode: int) -> tuple[BlockRef, ...]:
    return (BlockRef(inode, 0, 1, 1, 10, 0, (SELF,)),)


async def deliver(discards: Discards) -> None:
    task = asyncio.create_task(discards.run())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def make() -> tuple[Discards, FakeCopier]:
    copier = FakeCopier()
    membership = SimpleNamespace(view=VIEW, number=SELF)
    return Discards(cast(Any, copier), cast(Any, membership)), copier


def test_a_decision_is_as_old_as_its_command_not_as_its_commit() -> None:
    async def main() -> None:
        discards, copier = make()
        commit = discards.decide(refs(5))
        copy = discards.next_order()
        commit()
        await deliver(discards)
        ((inode, order),) = copier.forgotten
        assert inode == 5 and order < copy

    run(main())


def test_a_batch_is_as_old_as_its_oldest_decision() -> None:
    async def main() -> None:
        discards, copier = make()
        commit = discards.decide(refs(5))
        discards.add_one(SELF, m.BlockVersion(6, 0, 1, 1))
        commit()
        oldest = discards.next_order() - 2
        await deliver(discards)
        assert copier.forgotten == [(6, oldest), (5, oldest)]

    run(main())


def test_what_is_not_committed_is_not_forgotten() -> None:
    async def main() -> None:
        discards, copier = make()
        discards.decide(refs(5))
        await deliver(discards)
        assert copier.forgotten == []

    run(main())
