"""Segments and the cleaner against a dictionary; readers that keep what they were given."""

from __future__ import annotations

import gc
import os
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memfs import errors
from memfs.checksum import crc32c
from memfs.limits import CHUNK_BYTES, KIB, MIB
from memfs.node.blocks import BlockStore
from memfs.node.blocks.block_records import (
    HEADER,
    capacity_of,
    data_offset,
    extent_for,
)
from memfs.node.blocks.region import VERSION_BYTES
from memfs.node.blocks.segments import (
    PIECES_WRITTEN_AT_ONCE,
    SEGMENT_BYTES_LEAST,
    MemorySegment,
    segment_bytes,
)
from memfs.protocol.messages import BlockVersion, SmallBlock, WriteBlocks
from tests.support.examples import examples

from .writing import content, derived, receive, record_charge, some_bytes, store_whole, whole


def put(store: BlockStore, files: dict[BlockVersion, bytes]) -> None:
    """Store many small versions in one batch."""
    blocks = [SmallBlock(*version, len(data), crc32c(data)) for version, data in files.items()]
    payload = b"".join(files.values())
    write = store.begin_many(WriteBlocks(tuple(blocks), ()), len(payload))
    write.buffers()[0][:] = payload
    write.finish()


def one(inode: int, sequence: int = 1) -> BlockVersion:
    return BlockVersion(inode, 0, 1, sequence)


def emptied(store: BlockStore) -> None:
    """Clean until nothing is worth it, the segments being filled among them."""
    store._holdings.segments.close_heads()
    while store.clean(3, MIB):
        store.check_invariants()


# --- layout ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "length", [0, 1, 7, 8, 9, CHUNK_BYTES - HEADER.size, CHUNK_BYTES, CHUNK_BYTES + 1, MIB - 1]
)
def test_a_record_has_room_for_its_bytes_and_the_crcs_of_their_chunks(length: int) -> None:
    extent = extent_for(length)
    assert extent % 8 == 0
    assert length <= capacity_of(extent) < length + 24
    assert data_offset(extent) - HEADER.size >= 4 * (length // CHUNK_BYTES)
    assert all(extent_for(length) <= extent_for(length + more) for more in range(1, 20))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("lent", [True, False])
def test_more_pieces_than_the_system_writes_at_once(shared: bool, lent: bool) -> None:
    segment = MemorySegment(1 << 20, shared)
    if shared and lent:
        segment.lend()
    pieces = [some_bytes(number % 700, number) for number in range(2 * PIECES_WRITTEN_AT_ONCE + 1)]
    segment.store_all(5, pieces)
    together = b"".join(pieces)
    assert bytes(segment.view(0, 6 + len(together))) == bytes(5) + together + b"\0"
    del segment


def test_small_nodes_have_small_segments() -> None:
    sizes = [segment_bytes(limit) for limit in (1, MIB, 64 * MIB, 300 * MIB, 1 << 40)]
    assert sizes == [SEGMENT_BYTES_LEAST, SEGMENT_BYTES_LEAST, MIB, 4 * MIB, 8 * MIB]


def test_what_a_small_block_counts_for_beside_its_bytes(store: BlockStore) -> None:
    files = {one(inode): some_bytes(100, inode) for inode in range(1, 1001)}
    for inode in range(1, 1001, 100):
        put(store, {one(n): files[one(n)] for n in range(inode, inode + 100)})
    store.check_invariants()
    assert store.used == 1000 * record_charge(100)
    assert record_charge(100) - 100 <= 96
    assert store._index.packed == 1000


# --- life of a record ------------------------------------------------------------------------


def test_a_version_alone_with_its_block_is_a_record_again(store: BlockStore) -> None:
    store_whole(store, one(1), b"abc")
    alone = store.used
    assert store._index.packed == 1
    store_whole(store, one(1, 2), b"abcd")
    assert store._index.packed == 0
    store.discard(one(1, 2))
    assert (store._index.packed, store.used) == (1, alone)
    write = store.begin(derived(one(1, 3), one(1), 5, [(3, b"de")]))
    assert store._index.packed == 0
    write.abort()
    assert (store._index.packed, store.used) == (1, alone)
    store.check_invariants()


def test_a_retry_and_its_end_leave_a_record(store: BlockStore) -> None:
    store_whole(store, one(1), b"abc")
    alone = store.used
    retry = store.begin(whole(one(1), b"abc"))
    receive(retry, b"abc")
    retry.finish()
    assert store.used == alone + VERSION_BYTES - record_charge(0) + extent_for(0)
    retry.abort()
    assert (store._index.packed, store.used) == (1, alone)


def test_who_takes_back_a_version_does_not_meet_its_successor(store: BlockStore) -> None:
    """The same identity, discarded and stored anew meanwhile, is another version."""
    first = store.begin(whole(one(1), b"abc"))
    receive(first, b"abc")
    first.finish()
    store.discard(one(1))
    store_whole(store, one(1), b"abc")
    first.abort()
    assert content(store, one(1)) == b"abc"


def test_the_generation_of_a_record_is_the_fence(store: BlockStore) -> None:
    put(store, {BlockVersion(1, 0, 5, 1): b"abc"})
    assert store.generation(1) == 5
    with pytest.raises(errors.LeaseLostError):
        store.begin(whole(BlockVersion(1, 1, 4, 1), b"x"))
    later = store.begin(whole(BlockVersion(1, 1, 7, 1), b"x"))
    later.abort()
    assert store.generation(1) == 7
    store.discard(BlockVersion(1, 0, 5, 1))
    assert store.generation(1) == -1


def test_identities_that_no_record_can_say_are_held_as_well(store: BlockStore) -> None:
    versions = [BlockVersion(1 << 40, 3, 1, 1), BlockVersion((1 << 64) - 1, 0, 1, 1)]
    put(store, dict.fromkeys(versions, b"abc"))
    assert [block.version for block in store.list(None, 10)] == versions
    assert (store._index.packed, store.count) == (0, 2)
    store.check_invariants()


# --- the cleaner -----------------------------------------------------------------------------


def test_the_cleaner_moves_what_lives_and_frees_the_segment(store: BlockStore) -> None:
    files = {one(inode): some_bytes(5000, inode) for inode in range(1, 1001)}
    for inode in range(1, 1001, 20):
        put(store, {one(n): files[one(n)] for n in range(inode, inode + 20)})
    for inode in range(1, 1001):
        if inode % 10:
            store.discard(one(inode))
            del files[one(inode)]
    assert store.sparse
    before, segments = store.used, store.statistics().segments
    emptied(store)
    assert store.used == before, "no version changed"
    assert store.statistics().segments <= segments // 4
    assert store.statistics().dead < MIB
    assert all(content(store, version) == data for version, data in files.items())
    store.give_back(store.spare)
    assert store.spare < 2 * MIB


def test_views_of_what_was_moved_stay_as_they_were(store: BlockStore) -> None:
    for inode in range(1, 400):
        store_whole(store, one(inode), some_bytes(9000, inode))
    views = {inode: store.read(one(inode), 0, 9000)[0] for inode in range(1, 400, 7)}
    for inode in range(1, 400):
        if inode % 5:
            store.discard(one(inode))
    emptied(store)
    for inode in range(1000, 2000):  # into all the room that there is now
        store_whole(store, one(inode), some_bytes(9000, 5))
    for inode, view in views.items():
        assert view == some_bytes(9000, inode)
    assert all(content(store, one(n)) == some_bytes(9000, n) for n in range(5, 400, 5))
    store.check_invariants()


def test_a_segment_that_somebody_views_is_not_used_again(store: BlockStore) -> None:
    store_whole(store, one(1), some_bytes(9000))
    view = store.read(one(1), 0, 9000)[0][5:10]
    store.discard(one(1))
    assert store.spare == 0, "it is the kernel's with the last view"
    store_whole(store, one(2), some_bytes(9000, 2))
    assert view == some_bytes(9000)[5:10]
    del view
    store.discard(one(2))
    assert store.spare == extent_for(9000)
    store_whole(store, one(3), some_bytes(9000, 3))
    assert store.spare == 0


def test_what_is_being_written_stays_where_it_is(store: BlockStore) -> None:
    small, large = some_bytes(1000), some_bytes(3 * CHUNK_BYTES, 2)
    for inode in range(1, 300):
        store_whole(store, one(inode), some_bytes(4000, inode))
    arriving = [store.begin(whole(one(1000), small)), store.begin(whole(one(1001), large))]
    append = store.begin(derived(one(300 - 1, 2), one(300 - 1), 4500, [(4000, b"y" * 500)]))
    for inode in range(1, 299):
        store.discard(one(inode))
    receive(arriving[1], large)
    emptied(store)
    receive(arriving[0], small)
    receive(append, b"y" * 500)
    for write in (*arriving, append):
        write.finish()
    assert content(store, one(1000)) == small
    assert content(store, one(1001)) == large
    assert content(store, one(299, 2)) == some_bytes(4000, 299) + b"y" * 500
    store.check_invariants()


def test_damage_is_noticed_when_it_is_moved(store: BlockStore) -> None:
    for inode in range(1, 300):
        store_whole(store, one(inode), some_bytes(4000, inode))
    for inode in range(1, 300):
        if inode != 7:
            store.discard(one(inode))
    store._find(one(7)).view(0, 4000)[17] ^= 1
    emptied(store)
    assert store.pop_damaged() == [one(7)]
    assert store.pop_damaged() == []
    assert store.verify(one(7)) == errors.CorruptBlockError.code


def test_old_segments_go_before_young_ones_that_are_as_sparse(store: BlockStore) -> None:
    size = store._holdings.segments.size
    for inode in range(1, 1001):
        store_whole(store, one(inode), some_bytes(8000, inode))
    for inode in range(1, 1001, 2):
        store.discard(one(inode))
    chosen = store._holdings.cleaner._choose()
    assert chosen is not None and chosen.number == min(store._holdings.segments.used)
    assert chosen.size == size


def test_freed_memory_returns_to_the_system(store: BlockStore) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for inode in range(1, 1001):
        store_whole(store, one(inode), some_bytes(8000, inode))
    for inode in range(1, 1001):
        store.discard(one(inode))
    assert store.used == 0
    assert store.spare > 0
    store.give_back(store.spare)
    assert store.spare == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_store_makes_room_of_dead_bytes() -> None:
    store = BlockStore(4 * MIB)
    dice = random.Random(3)
    held: dict[BlockVersion, int] = {}
    refused = 0
    for step in range(3000):
        version, length = one(step + 1), dice.choice([100, 3000, 40 * KIB, 90 * KIB])
        try:
            store_whole(store, version, some_bytes(length, step))
            held[version] = length
        except errors.NoSpaceError:
            refused += 1
            gone = dice.choice(sorted(held))
            store.discard(gone)
            del held[gone]
        if step % 100 == 0:
            store.check_invariants()
    assert refused > 100
    data = sum(held.values())
    assert data > 0.85 * store.limit, f"only {data} bytes fit into {store.limit}"
    for version, length in held.items():
        assert content(store, version) == some_bytes(length, version.inode - 1)


class SegmentMachine(RuleBasedStateMachine):
    """A small store under small files, with the cleaner running all the time."""

    @initialize(limit=st.sampled_from([MIB, 2 * MIB]))
    def begin(self, limit: int) -> None:
        self.store = BlockStore(limit)
        self.model: dict[BlockVersion, bytes] = {}
        self.views: list[tuple[memoryview, bytes]] = []
        self.inode = 0

    @rule(count=st.integers(1, 60), length=st.integers(0, 9000), seed=st.integers(0, 99))
    def batch(self, count: int, length: int, seed: int) -> None:
        dice = random.Random(seed)
        files = {}
        for _ in range(count):
            self.inode += 1
            files[one(self.inode)] = dice.randbytes(dice.randint(0, length))
        used = self.store.used
        try:
            put(self.store, files)
        except errors.NoSpaceError:
            assert self.store.used == used
        else:
            self.model |= files

    @precondition(lambda self: self.model)
    @rule(data=st.data(), length=st.integers(0, 3 * CHUNK_BYTES))
    def append(self, data: st.DataObject, length: int) -> None:
        base = data.draw(st.sampled_from(sorted(self.model)))
        old = self.model[base]
        length = min(length, 256 * KIB - len(old))
        version = base._replace(sequence=base.sequence + 1)
        added = random.Random(length).randbytes(length)
        extents = [(len(old), added)] if added else []
        try:
            write: Any = self.store.begin(derived(version, base, len(old) + length, extents))
        except errors.NoSpaceError:
            return
        receive(write, added)
        write.finish()
        self.store.discard(base)
        del self.model[base]
        self.model[version] = old + added

    @precondition(lambda self: self.model)
    @rule(seed=st.integers(0, 99), share=st.floats(0, 1))
    def discard(self, seed: int, share: float) -> None:
        dice = random.Random(seed)
        for version in sorted(self.model):
            if dice.random() < share:
                self.store.discard(version)
                del self.model[version]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def view(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.model)))
        expected = self.model[version]
        self.views.append((self.store.read(version, 0, len(expected))[0], expected))

    @rule()
    def forget_views(self) -> None:
        self.views.clear()

    @rule(records=st.integers(1, 50), heads=st.booleans())
    def clean(self, records: int, heads: bool) -> None:
        if heads:
            self.store._holdings.segments.close_heads()
        used = self.store.used
        self.store.clean(records, 20_000)
        assert self.store.used <= used, "less where an append had left room behind it"

    @rule(count=st.integers(0, MIB))
    def give_back(self, count: int) -> None:
        self.store.give_back(count)

    @invariant()
    def all_is_as_it_was_written(self) -> None:
        self.store.check_invariants()
        assert [block.version for block in self.store.list(None, 1 << 20)] == sorted(self.model)
        for version, data in self.model.items():
            assert self.store.read(version, 0, len(data))[0] == data
        for view, data in self.views:
            assert view == data


SegmentMachine.TestCase.settings = settings(max_examples=examples(30), stateful_step_count=30)
TestSegments = SegmentMachine.TestCase
