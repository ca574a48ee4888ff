"""Guards of blocks: copies, garbage, healing, checksums, memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from memfs.node.block_service.service import IncomingBlock
from memfs.node.blocks.account import Account
from memfs.node.healing.copier import Copier
from memfs.node.healing.excess_replicas import ExcessReplicas
from memfs.node.healing.placement_check import PlacementCheck
from memfs.node.journal.journal import Journal
from memfs.node.namespace import Namespace
from memfs.testing.patches import replaced
from tests.support.mutants.registry import mutant, nothing, without


@mutant("AckedR", "the first node of a chain answers for all of them")
def acks_before_the_chain() -> Iterator[None]:
    async def confirm(self: Any, reply: Any) -> Any:
        if self._forwarding is not None:
            self._forwarding.cancel()  # nobody is sent anything
        return reply

    with replaced(IncomingBlock, "_confirm", confirm):
        yield


@mutant("NoEarlyGC", "blocks that are not committed yet are swept as orphans")
def sweeps_uncommitted_blocks() -> Iterator[None]:
    def referenced(self: Any, version: Any) -> bool:
        return self.block(version) is not None

    with replaced(Namespace, "is_live", referenced):
        yield


without(
    "NoEarlyGC",
    "blocks of no file are never swept",
    "orphans-stay",
    "memfs.node.namespace.Namespace.is_live",
    lambda self, version: True,
)


async def _idle(self: Any) -> None:
    await asyncio.Event().wait()


without(
    "NoHoarding",
    "what a commit replaces stays on the nodes until it is swept",
    "replaced-blocks-stay",
    "memfs.node.healing.discards.Discards.decide",
    lambda self, refs: nothing,
    shown_by="WholeFileRegister FillAndFree wall_clock drift",
)


without(
    "EventuallyR",
    "lost copies are not made again",
    "no-healing",
    "memfs.node.healing.copies.Copies.run",
    _idle,
    shown_by="crash power_cut leave",
)
without(
    "EventuallyR",
    "corrupt copies that nobody reads are not looked for",
    "no-scrubbing",
    "memfs.node.healing.scrubber.Scrubber.run",
    _idle,
    shown_by="bit_rot",
)


@mutant(
    "AckedOnDisk",
    "under ack = journal a block counts before it is on the disk",
    shown_by="total_power_cut",
)
def blocks_before_the_disk() -> Iterator[None]:
    async def at_once(self: Any) -> None:
        return

    with replaced(Journal, "until_blocks_durable", at_once):
        yield


@mutant(
    "RingChangeNoHole",
    "the old copy goes before the new one is there",
    shown_by="join leave decommission",
)
def trims_before_copies() -> Iterator[None]:
    async def unverified(self: Any, wanted: Any) -> set[Any]:
        return set()

    def wanted_by_the_ring(self: Any, situation: Any) -> tuple[int, ...]:
        return tuple(situation.placement)

    with (
        replaced(PlacementCheck, "kept", wanted_by_the_ring),
        replaced(PlacementCheck, "missing", lambda self, situation: 0),
        replaced(ExcessReplicas, "_verify", unverified),
    ):
        yield


@mutant(
    "NoResurrection",
    "a late word to forget a copy undoes the copy made after it",
    shown_by="join decommission lost_replies resets one_link flapping slow_host",
)
def late_discards_win() -> Iterator[None]:
    def forget(self: Any, versions: Any, *_order: Any) -> None:
        for version in versions:
            self._store.discard(version)

    with replaced(Copier, "forget", forget):
        yield


class _Anything:
    """Equal to every checksum."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


without(
    "NoPartialVisible",
    "a reader does not compare what it got with the checksum",
    "unchecked-reads",
    "memfs.client.reading.block_reader.crc32c",
    lambda data, *_rest: _Anything(),
    shown_by="bit_rot",
)


@mutant(
    "MemoryBound",
    "a node takes more than its limit",
    shown_by="FillAndFree",
)
def no_memory_limit() -> Iterator[None]:
    def reserve(self: Any, count: int, spare: int = 0) -> None:
        self.used += count
        self.spend(spare)

    with replaced(Account, "reserve", reserve):
        yield
