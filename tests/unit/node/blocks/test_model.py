"""The store against a dictionary: any order of writes, appends, truncations, reads, discards."""

from __future__ import annotations

import itertools
import os
import random
import struct
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from memfs import errors
from memfs.checksum import crc32c
from memfs.limits import CHUNK_BYTES, MIB
from memfs.node.blocks import BlockStore
from memfs.protocol.messages import BlockVersion, SmallBlock, WriteBlock, WriteBlocks
from tests.support.examples import examples

from .writing import BLOCK, GROUP, derived, overlaid, receive, whole

LENGTHS = st.one_of(
    st.sampled_from([0, 1, 4096, 65_535, 65_536, 65_537, 131_072, BLOCK - 1, BLOCK]),
    st.integers(0, BLOCK),
)
SEEDS = st.integers(0, 1 << 32)
INODES = st.sampled_from([1, 1, 1, 2])
INDICES = st.sampled_from([0, 0, 0, 1, 2, 3, GROUP])  # mostly one block; two groups
GENERATIONS = st.integers(0, 2)


class Pending:
    """A write under way and what it should leave."""

    def __init__(
        self, write: Any, request: WriteBlock, payload: bytes, result: bytes, base_length: int
    ) -> None:
        self.write = write
        self.request = request
        self.payload = payload
        self.result = result
        self.base_length = base_length
        self.base = request.base_generation, request.base_sequence


class StoreMachine(RuleBasedStateMachine):
    pending: Bundle[Any] = Bundle("pending")

    @initialize(limit=st.sampled_from([1 << 20, 3 << 20, 64 << 20]))
    def begin(self, limit: int) -> None:
        self.store = BlockStore(limit)
        self.model: dict[BlockVersion, bytes] = {}
        self.views: list[tuple[BlockVersion, memoryview, bytes]] = []
        self.leftovers: set[BlockVersion] = set()
        """What a fenced writer left and a later one dropped: nobody derives from it any more."""
        self.sequence = 0

    # --- writes ------------------------------------------------------------------------------

    @rule(
        target=pending,
        inode=INODES,
        index=INDICES,
        generation=GENERATIONS,
        length=LENGTHS,
        seed=SEEDS,
    )
    def begin_whole(self, inode: int, index: int, generation: int, length: int, seed: int) -> Any:
        data = random.Random(seed).randbytes(length)
        return self._begin(whole(self._new(inode, index, generation), data), data, data)

    @precondition(lambda self: self.model)
    @rule(
        target=pending,
        data=st.data(),
        later=st.integers(0, 1),
        lengths=st.lists(LENGTHS, min_size=1, max_size=3),
        seed=SEEDS,
    )
    def begin_append(self, data: st.DataObject, later: int, lengths: list[int], seed: int) -> Any:
        base, old = self._draw(data)
        extents, at = [], len(old)
        for number, length in enumerate(lengths):
            length = min(length, BLOCK - at)
            if length:
                extents.append((at, random.Random(seed + number).randbytes(length)))
            at += length
        return self._derive(base, later, at, extents)

    @precondition(lambda self: self.model)
    @rule(
        target=pending,
        data=st.data(),
        later=st.integers(0, 1),
        length=LENGTHS,
        edges=st.lists(LENGTHS, max_size=6, unique=True),
        seed=SEEDS,
    )
    def begin_overwrite(
        self, data: st.DataObject, later: int, length: int, edges: list[int], seed: int
    ) -> Any:
        base, _ = self._draw(data)
        edges = sorted(min(edge, length) for edge in edges)
        extents = [
            (low, random.Random(seed + low).randbytes(high - low))
            for low, high in zip(edges[::2], edges[1::2], strict=False)
            if low < high
        ]
        return self._derive(base, later, length, extents)

    @precondition(lambda self: self.model)
    @rule(target=pending, data=st.data(), length=LENGTHS)
    def begin_truncate(self, data: st.DataObject, length: int) -> Any:
        base, _ = self._draw(data)
        return self._derive(base, 0, length, [])

    @rule(pending=consumes(pending), step=st.sampled_from([5_000, 100_000, 1 << 20]))
    def complete(self, pending: Pending | None, step: int) -> None:
        self.finish(pending, step)

    def finish(self, pending: Pending | None, step: int) -> None:
        if pending is None:
            return
        version = pending.request.version
        if BlockVersion(*version[:2], *pending.base) in self.leftovers:
            pending.write.abort()
            return
        receive(pending.write, pending.payload, step)
        try:
            reply = pending.write.finish()
        except errors.LeaseLostError:
            assert self._highest(version.inode) > version.generation
            return
        assert reply == (len(pending.result), crc32c(pending.result))
        self._forget_leftovers(pending)
        self.model[version] = pending.result

    @precondition(lambda self: self.model)
    @rule(data=st.data(), later=st.integers(0, 1), length=LENGTHS, gap=st.sampled_from([0, 0, 9]))
    def append(self, data: st.DataObject, later: int, length: int, gap: int) -> None:
        base, old = self._draw(data)
        start = min(len(old) + gap, BLOCK)
        added = random.Random(length).randbytes(min(length, BLOCK - start))
        extents = [(start, added)] if added else []
        self.finish(self._derive(base, later, start + len(added), extents), 1 << 20)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), later=st.integers(0, 1), kept=st.floats(0, 1))
    def truncate(self, data: st.DataObject, later: int, kept: float) -> None:
        base, old = self._draw(data)
        self.finish(self._derive(base, later, int(kept * len(old)), []), 1 << 20)

    @rule(pending=consumes(pending), part=st.floats(0, 1))
    def abort(self, pending: Pending | None, part: float) -> None:
        if pending is not None:
            self._receive_part(pending, part)
            pending.write.abort()

    @rule(pending=consumes(pending), at=st.integers(0))
    def finish_damaged(self, pending: Pending | None, at: int) -> None:
        if pending is None:
            return
        damaged = bytearray(pending.payload)
        if not damaged:
            pending.write.abort()
            return
        damaged[at % len(damaged)] ^= 1
        receive(pending.write, bytes(damaged))
        try:
            pending.write.finish()
        except errors.CorruptBlockError:
            return
        raise AssertionError("a damaged payload was accepted")

    @rule(pending=consumes(pending))
    def finish_and_undo(self, pending: Pending | None) -> None:
        if pending is None:
            return
        receive(pending.write, pending.payload)
        try:
            pending.write.finish()
        except errors.LeaseLostError:
            return
        self._forget_leftovers(pending)
        pending.write.abort()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        version, bytes_ = self._draw(data)
        if version.generation < self._highest(version.inode):
            return
        write = self.store.begin(whole(version, bytes_))
        receive(write, bytes_)
        assert write.finish() == (len(bytes_), crc32c(bytes_))

    @rule(
        inode=st.integers(3, 5), count=st.integers(1, 5), length=st.integers(0, 100_000), seed=SEEDS
    )
    def batch(self, inode: int, count: int, length: int, seed: int) -> None:
        payload = random.Random(seed).randbytes(length)
        cuts = [length * n // count for n in range(count + 1)]
        files = [payload[a:b] for a, b in itertools.pairwise(cuts)]
        generation = max(0, self._highest(inode))
        versions = [self._new(inode, index, generation) for index in range(count)]
        blocks = tuple(
            SmallBlock(*version, len(data), crc32c(data))
            for version, data in zip(versions, files, strict=True)
        )
        before = self.store.used
        try:
            write = self.store.begin_many(WriteBlocks(blocks, ()), length)
        except errors.NoSpaceError:
            assert self.store.used == before
            return
        write.buffers()[0][:] = payload
        write.finish()
        self.model.update(zip(versions, files, strict=True))

    # --- the rest ----------------------------------------------------------------------------

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        version, _ = self._draw(data)
        self.store.discard(version)
        del self.model[version]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        (inode, *_), _ = self._draw(data)
        for version in [version for version in self.model if version.inode == inode]:
            self.store.discard(version)
            del self.model[version]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def discard_many(self, data: st.DataObject) -> None:
        """Some that are held, some of them twice, and what is not held (any more)."""
        held = st.sampled_from(sorted(self.model))
        gone = data.draw(st.lists(held, max_size=20))
        later = [version._replace(sequence=version.sequence + 1000) for version in gone[::3]]
        self.store.discard_many([*gone, *later])
        for version in gone:
            self.model.pop(version, None)

    @rule(count=st.integers(0, 4 << 20))
    def give_back(self, count: int) -> None:
        spare = self.store.spare
        segments = self.store._holdings.segments
        used = sum(each.resident - each.live for each in segments.used.values())
        given = self.store.give_back(count)
        assert self.store.spare == spare - given
        assert given >= min(count, spare - used)

    @rule(records=st.integers(1, 5))
    def clean(self, records: int) -> None:
        self.store._holdings.segments.close_heads()
        self.store.clean(records, MIB)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), low=st.floats(0, 1), high=st.floats(0, 1))
    def read(self, data: st.DataObject, low: float, high: float) -> None:
        version, expected = self._draw(data)
        start, stop = sorted((int(low * len(expected)), int(high * len(expected))))
        view, crc = self.store.read(version, start, stop - start)
        assert view == expected[start:stop]
        assert crc == crc32c(view)
        if len(self.views) < 5:
            self.views.append((version, view, expected[start:stop]))

    @rule()
    def release_views(self) -> None:
        self.views.clear()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def lend(self, data: st.DataObject) -> None:
        version, expected = self._draw(data)
        (segment,), descriptors = self.store.descriptors([version])
        if segment.descriptor >= 0:
            assert len(expected) == segment.length
            assert len(descriptors) == 1
            chunks = [
                crc32c(expected[at : at + CHUNK_BYTES])
                for at in range(0, len(expected), CHUNK_BYTES)
            ]
            assert segment.sums == struct.pack(f"<{len(chunks)}I", *chunks)
            for slot in self.store._index.find(*version).region.slot.memfd._slots.values():
                behind = slot.memfd.slot_bytes - slot.touched
                assert not any(os.pread(descriptors[0], behind, slot.offset + slot.touched))

    @rule(limit=st.integers(1, 4))
    def list_pages(self, limit: int) -> None:
        listed, after = [], None
        while page := self.store.list(after, limit):
            listed += page
            after = page[-1].version
        assert [(block.version, *block[4:]) for block in listed] == [
            (version, len(data), crc32c(data)) for version, data in sorted(self.model.items())
        ]

    # --- after each step ---------------------------------------------------------------------

    @invariant()
    def accounts_are_exact(self) -> None:
        self.store.check_invariants()
        assert self.store.count == len(self.model)

    @invariant()
    def every_version_is_intact(self) -> None:
        for version, data in self.model.items():
            view, crc = self.store.read(version, 0, len(data))
            assert view == data and crc == crc32c(data)
            assert self.store.verify(version) == 0

    @invariant()
    def views_never_change(self) -> None:
        for version, view, data in self.views:
            assert view == data, version

    def teardown(self) -> None:
        if hasattr(self, "store"):
            for version in list(self.model):
                self.store.discard(version)
            self.store.check_invariants()
            assert self.store.count == 0

    # --- shared by the rules -----------------------------------------------------------------

    def _new(self, inode: int, index: int, generation: int) -> BlockVersion:
        self.sequence += 1
        return BlockVersion(inode, index, generation, self.sequence)

    def _draw(self, data: st.DataObject) -> tuple[BlockVersion, bytes]:
        version = data.draw(st.sampled_from(sorted(self.model)))
        return version, self.model[version]

    def _highest(self, inode: int) -> int:
        return self.store._index.generation(inode)

    def _derive(
        self, base: BlockVersion, later: int, length: int, extents: list[tuple[int, bytes]]
    ) -> Pending | None:
        version = self._new(base.inode, base.index, base.generation + later)
        request = derived(version, base, length, extents)
        payload = b"".join(data for _, data in extents)
        old = self.model[base]
        return self._begin(request, payload, overlaid(old, length, extents), len(old))

    def _begin(
        self, request: WriteBlock, payload: bytes, result: bytes, base_length: int = -1
    ) -> Pending | None:
        before, highest = self.store.used, self._highest(request.inode)
        try:
            write = self.store.begin(request)
        except errors.NoSpaceError:
            assert self.store.used <= before
            return None
        except errors.LeaseLostError:
            assert highest > request.generation
            return None
        assert highest <= request.generation
        return Pending(write, request, payload, result, base_length)

    def _receive_part(self, pending: Pending, part: float) -> None:
        count = int(part * len(pending.payload))
        buffers = pending.write.buffers()
        if len(buffers) == 1:
            buffers[0][:count] = pending.payload[:count]
            pending.write.received(count)

    def _forget_leftovers(self, pending: Pending) -> None:
        """Versions that a fenced writer left behind the base may be gone, and no others."""
        held = {block.version for block in self.store.list(None, 1 << 20)}
        for version in [version for version in self.model if version not in held]:
            assert version[:2] == pending.request[:2]
            assert version.generation < pending.request.generation
            assert version[2:] > pending.base, "what came before the base may be in use"
            assert len(self.model[version]) > pending.base_length >= 0
            del self.model[version]
            self.leftovers.add(version)
            self.views = [held for held in self.views if held[0] != version]


StoreMachine.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=30)
TestStore = StoreMachine.TestCase
