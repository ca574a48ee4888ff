"""The receiving end: what is copied and checked, who may ask, and late decisions to forget."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from memfs import errors
from memfs.checksum import crc32c
from memfs.limits import MIB
from memfs.node.blocks import BlockStore
from memfs.node.healing.copier import Copier
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.transport.pool import Pool
from memfs.transport.server import IncomingCall

from .fakes import FakeConnection, FakeMembership

BLOCK = 256 * 1024


class World:
    """A source with blocks, and a copier on member 2 of three; member 1 is the primary."""

    def __init__(self, memory: int = 64 * MIB) -> None:
        self.content: dict[m.BlockVersion, bytes] = {}
        self.store = BlockStore(memory)
        self.connection = FakeConnection(self.serve)
        self.membership = FakeMembership(1, 2, 3, number=2)
        pool = SimpleNamespace(blocks=self.reach, next_request_id=lambda: 1)
        self.copier = Copier(self.store, self.membership.real, cast(Pool, pool))

    async def reach(self, member: Any) -> FakeConnection:
        return self.connection

    async def serve(self, request: Any, into: Any) -> Answer:
        if isinstance(request, m.ReadBlock):
            data = self.content.get(request.version)
            if data is None:
                raise errors.BlockNotFoundError("gone")
            into[0][:] = data
            return Answer(m.ReadBlockReply(crc32c(data)), memoryview(b""), 0)
        results, payload = [], b""
        for wanted in request.ranges:
            data = self.content.get(wanted.version)
            code = errors.BlockNotFoundError.code if data is None else 0
            results.append(m.RangeResult(code, len(data or b""), crc32c(data or b"")))
            payload += data or b""
        return Answer(m.ReadBlocksReply(tuple(results)), memoryview(payload), 0)

    def block(self, index: int, data: bytes, generation: int = 1) -> m.CopyBlock:
        version = m.BlockVersion(1, index, generation, 1)
        self.content[version] = data
        return m.CopyBlock(*version, len(data), crc32c(data), BLOCK, 4)

    def call(self, request: Any, member: int = 1, epoch: int = 5) -> IncomingCall[object]:
        return cast(
            IncomingCall[object],
            SimpleNamespace(
                request=request,
                header=SimpleNamespace(epoch=epoch),
                connection=SimpleNamespace(peer=SimpleNamespace(member=0, incarnation=member)),
                remaining=lambda: 10.0,
            ),
        )

    async def copy(self, *blocks: m.CopyBlock, order: int = 1, **who: int) -> tuple[int, ...]:
        reply = await self.copier.copy(self.call(m.CopyBlocks(3, blocks, order), **who))
        return reply.codes

    def discard(self, block: m.CopyBlock, order: int, **who: int) -> None:
        version = block.version
        self.copier.discard(self.call(m.DiscardBlocks((version,), order), **who))

    def holds(self, block: m.CopyBlock) -> bool:
        return self.store.verify(block.version) == 0


async def test_small_and_large_blocks_are_copied_and_checked() -> None:
    world = World()
    blocks = [world.block(n, bytes([n % 256]) * 1000) for n in range(300)]
    blocks += [world.block(n, bytes([n % 256]) * BLOCK) for n in range(300, 320)]
    assert set(await world.copy(*blocks)) == {0}
    assert all(map(world.holds, blocks))
    world.store.check_invariants()


async def test_what_is_held_is_not_fetched_again() -> None:
    world = World()
    block = world.block(0, b"x" * BLOCK)
    assert await world.copy(block) == (0,)
    fetched = len(world.connection.requests)
    assert await world.copy(block) == (0,)
    assert len(world.connection.requests) == fetched


@pytest.mark.parametrize("length", [1000, BLOCK])
async def test_damaged_and_missing_sources_are_told(length: int) -> None:
    world = World()
    good, damaged, missing = (world.block(n, bytes(length)) for n in range(3))
    world.content[damaged.version] = b"?" * length
    del world.content[missing.version]
    codes = await world.copy(good, damaged, missing)
    assert codes == (0, errors.CorruptBlockError.code, errors.BlockNotFoundError.code)
    assert world.store.count == 1
    world.store.check_invariants()


async def test_without_room_nothing_is_kept() -> None:
    world = World(memory=MIB)
    codes = await world.copy(*(world.block(n, bytes(BLOCK)) for n in range(8)))
    assert set(codes) == {0, errors.NoSpaceError.code}
    world.store.check_invariants()


async def test_a_later_writer_is_no_reason_to_refuse_a_copy() -> None:
    world = World()
    newer = world.block(1, b"newer", generation=7)
    assert await world.copy(newer) == (0,)
    assert await world.copy(world.block(0, b"older", generation=2)) == (0,)


async def test_a_copy_survives_an_older_decision_to_forget() -> None:
    world = World()
    block = world.block(0, b"abc")
    await world.copy(block, order=8)
    world.discard(block, order=7)
    assert world.holds(block)
    world.discard(block, order=9)
    assert not world.holds(block)


async def test_the_epoch_of_sending_does_not_make_a_decision_younger() -> None:
    world = World()
    block = world.block(0, b"abc")
    await world.copy(block, order=8, epoch=5)
    world.discard(block, order=7, epoch=6)
    assert world.holds(block)


async def test_a_new_reign_begins_to_count_anew() -> None:
    world = World()
    block = world.block(0, b"abc")
    await world.copy(block, order=100)
    world.membership.latest = world.membership.view._replace(epoch=6, primary_since=6)
    world.discard(block, order=1, epoch=6)
    assert not world.holds(block)


@pytest.mark.parametrize("who", [{"member": 3}, {"epoch": 2}, {"member": 0}])
async def test_only_the_primary_of_this_reign_is_obeyed(who: dict[str, int]) -> None:
    world = World()
    block = world.block(0, b"abc")
    with pytest.raises(errors.StaleEpochError):
        await world.copy(block, **who)
    await world.copy(block)
    with pytest.raises(errors.StaleEpochError):
        world.discard(block, 5, **who)
    assert world.holds(block)


async def test_without_a_view_nobody_is() -> None:
    world = World()
    cast(Any, world.membership).latest = None
    with pytest.raises(errors.StaleEpochError):
        await world.copy(world.block(0, b"abc"))


@pytest.mark.parametrize("length", [1000, BLOCK])
async def test_what_is_here_with_other_bytes_is_fetched_anew(length: int) -> None:
    world = World()
    await world.copy(world.block(0, b"a" * length))
    block = world.block(0, b"b" * length)
    assert await world.copy(block) == (0,)
    assert world.store.whole(block.version) == b"b" * length
    world.store.check_invariants()


async def test_small_blocks_that_do_not_all_have_room_are_stored_as_far_as_it_goes() -> None:
    world = World(memory=2 * MIB)
    blocks = [world.block(n, bytes(60_000)) for n in range(60)]
    codes = await world.copy(*blocks)
    assert set(codes) == {0, errors.NoSpaceError.code}
    assert [world.holds(block) for block in blocks] == [code == 0 for code in codes]
    world.store.check_invariants()


async def test_two_versions_of_a_block_are_copied_side_by_side() -> None:
    world = World()
    older, newer = world.block(0, b"older", generation=1), world.block(0, b"newer", generation=2)
    assert await world.copy(older, newer) == (0, 0)
    assert world.holds(older) and world.holds(newer)
    assert world.store.count == 2
    world.store.check_invariants()
