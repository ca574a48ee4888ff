"""The rules of the block store one by one: limits, retries, fences, reads, batches."""

from __future__ import annotations

import errno

import pytest

from memfs import errors, limits
from memfs.checksum import crc32c
from memfs.limits import CHUNK_BYTES, MIB
from memfs.node.blocks import BlockStore
from memfs.node.blocks.block_records import extent_for
from memfs.node.blocks.region import VERSION_BYTES
from memfs.protocol.messages import (
    BlockRange,
    BlockVersion,
    Extent,
    SmallBlock,
    WriteBlock,
    WriteBlocks,
)
from memfs.protocol.segment_records import OFFSET_BITS

from .writing import (
    BLOCK,
    GROUP,
    SUCCESSOR,
    V1,
    V2,
    V3,
    content,
    derived,
    fill_group,
    receive,
    record_charge,
    some_bytes,
    store_derived,
    store_whole,
    used,
    whole,
)

# --- whole writes ----------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 4096, CHUNK_BYTES, CHUNK_BYTES + 1, BLOCK])
def test_what_is_written_is_read(store: BlockStore, length: int) -> None:
    data = some_bytes(length)
    assert store_whole(store, V1, data) == (length, crc32c(data))
    assert content(store, V1) == data
    assert used(store) == length
    assert store.verify(V1) == 0


def test_a_damaged_payload_leaves_nothing(store: BlockStore) -> None:
    write = store.begin(whole(V1, some_bytes(1000)))
    receive(write, some_bytes(1000, seed=2))
    with pytest.raises(errors.CorruptBlockError):
        write.finish()
    assert store.used == 0
    assert store.list(None, 10) == []


def test_room_is_reserved_before_anything_arrives() -> None:
    store = BlockStore(BLOCK + 2 * VERSION_BYTES)
    first = store.begin(whole(V1, some_bytes(BLOCK)))
    with pytest.raises(errors.NoSpaceError, match=rf"of {store.limit} bytes") as caught:
        store.begin(whole(V2, some_bytes(100)))
    assert caught.value.errno == errno.ENOSPC
    first.abort()
    assert store.used == 0
    store_whole(store, V2, some_bytes(100))


def test_warm_memory_is_lent_once_at_a_time_and_little_of_it_where_the_limit_is_small() -> None:
    store = BlockStore(64 * MIB)  # a buffer for each 64 MiB
    lent = store.lend(BLOCK)
    assert lent is not None and store.lend(1) is None
    lent[:] = some_bytes(BLOCK)
    part = lent[:10]
    del lent
    assert store.lend(1) is None, "somebody still looks at a part of it"
    del part
    assert store.lend(1) is not None
    assert store.lend(limits.BLOCK_BYTES_DEFAULT + 1) is None


def test_a_full_store_still_truncates_and_discards() -> None:
    store = BlockStore(extent_for(BLOCK) + 2 * VERSION_BYTES)
    store_whole(store, V1, some_bytes(BLOCK))
    store_derived(store, V2, V1, 10, [])
    with pytest.raises(errors.NoSpaceError):
        store_derived(store, V3, V2, 11, [(10, b"x")])
    store.discard(V1)
    assert used(store) == 10
    store_derived(store, V3, V2, 11, [(10, b"x")])


def test_abort_after_finish_takes_the_version_back(store: BlockStore) -> None:
    write = store.begin(whole(V1, b"abc"))
    receive(write, b"abc")
    write.finish()
    write.abort()
    write.abort()
    assert (store.count, store.used) == (0, 0)


def test_abort_does_not_take_back_what_a_retry_was_told_is_stored(store: BlockStore) -> None:
    first = store.begin(whole(V1, b"abc"))
    receive(first, b"abc")
    first.finish()
    retry = store.begin(whole(V1, b"abc"))
    receive(retry, b"abc")
    retry.finish()
    first.abort()
    assert content(store, V1) == b"abc"
    retry.abort()
    assert store.count == 0


@pytest.mark.parametrize(
    "change",
    [
        {"inode": 0},
        {"index": -1},
        {"index": 1 << 24},
        {"generation": -1},
        {"length": BLOCK + 1},
        {"length": -1},
        {"block_size": 0},
        {"block_size": 1 << 40},
        {"group_blocks": 0},
        {"group_blocks": 1 << 40},
        {"extents": (Extent(0, 1),)},
        {"base_generation": 2, "base_sequence": 0},
        {"base_generation": 1, "base_sequence": 1},
        {"base_generation": 0, "base_sequence": 0, "extents": (Extent(5, 5), Extent(9, 1))},
        {"base_generation": 0, "base_sequence": 0, "extents": (Extent(0, 0),)},
        {"base_generation": 0, "base_sequence": 0, "extents": (Extent(0, 101),)},
    ],
)
def test_senseless_requests_are_refused(store: BlockStore, change: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidArgumentError):
        store.begin(whole(V1, some_bytes(100))._replace(**change))  # type: ignore[arg-type]
    assert store.used == 0


# --- retries ---------------------------------------------------------------------------------


def test_a_repeat_is_answered_as_the_first_time(store: BlockStore) -> None:
    first = store_whole(store, V1, b"abc")
    assert store_whole(store, V1, b"abc") == first
    appended = store_derived(store, V2, V1, 4, [(3, b"d")])
    store.discard(V1)
    assert store_derived(store, V2, V1, 4, [(3, b"d")]) == appended
    assert store.count == 1


def test_a_repeat_that_differs_is_refused(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    with pytest.raises(errors.InvalidArgumentError):
        store.begin(whole(V1, b"abd"))
    store_derived(store, V2, V1, 4, [(3, b"d")])
    with pytest.raises(errors.InvalidArgumentError):
        store.begin(derived(V2, V1, 5, [(3, b"de")]))


def test_a_repeat_checks_its_payload(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    retry = store.begin(whole(V1, b"abc"))
    receive(retry, b"abd")
    with pytest.raises(errors.CorruptBlockError):
        retry.finish()
    assert content(store, V1) == b"abc"


def test_two_attempts_at_once_store_one_version(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    for request, payload in ((whole(V3, b"xyz"), b"xyz"), (derived(V2, V1, 4, [(3, b"d")]), b"d")):
        first, second = store.begin(request), store.begin(request)
        receive(first, payload)
        receive(second, payload)
        assert first.finish() == second.finish()
        store.check_invariants()
    assert store.count == 3


def test_a_repeat_of_what_was_discarded_meanwhile_may_be_sent_again(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    retry = store.begin(whole(V1, b"abc"))
    store.discard(V1)
    receive(retry, b"abc")
    with pytest.raises(errors.BlockNotFoundError):
        retry.finish()


# --- fences ----------------------------------------------------------------------------------


def test_lower_generations_are_refused(store: BlockStore) -> None:
    late = store.begin(whole(V1, b"abc"))
    store_whole(store, SUCCESSOR, b"new")
    with pytest.raises(errors.LeaseLostError):
        store.begin(whole(V2, b"abc"))
    receive(late, b"abc")
    with pytest.raises(errors.LeaseLostError):
        late.finish()
    with pytest.raises(errors.LeaseLostError):
        store.begin_many(WriteBlocks((SmallBlock(*V2, 0, 0),), ()), 0)
    store.check_invariants()
    assert store.count == 1


def test_a_writer_that_has_begun_fences_its_predecessor(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    store.begin(whole(SUCCESSOR, b"new"))
    with pytest.raises(errors.LeaseLostError):
        store.begin(derived(V2, V1, 4, [(3, b"d")]))


def test_the_fence_lasts_while_blocks_are_held(store: BlockStore) -> None:
    store_whole(store, BlockVersion(1, 5, 2, 1), b"x")
    with pytest.raises(errors.LeaseLostError):
        store.begin(whole(V1, b"abc"))
    store.discard(BlockVersion(1, 5, 2, 1))
    store_whole(store, V1, b"abc")


def test_leftovers_of_a_fenced_writer_make_way(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    store_derived(store, V2, V1, CHUNK_BYTES + 9, [(3, some_bytes(CHUNK_BYTES + 6))])
    store_derived(store, SUCCESSOR, V1, 5, [(3, b"de")])
    assert [block.version for block in store.list(None, 9)] == [V1, SUCCESSOR]
    assert content(store, SUCCESSOR) == b"abcde"
    end = BlockVersion(1, 0, 2, 2)
    tail = some_bytes(CHUNK_BYTES, 3)
    store_derived(store, end, SUCCESSOR, 5 + CHUNK_BYTES, [(5, tail)])
    assert content(store, end) == b"abcde" + tail
    assert store.read(end, 5, 9)[0] == tail[:9]
    assert store.read(end, CHUNK_BYTES, 5)[0] == tail[-5:]


def test_leftovers_stay_until_the_successor_is_complete(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    store_derived(store, V2, V1, 4, [(3, b"d")])
    write = store.begin(derived(SUCCESSOR, V1, 4, [(3, b"e")]))
    receive(write, b"e")
    write.abort()
    assert content(store, V2) == b"abcd"


# --- reads -----------------------------------------------------------------------------------


def test_ranges_outside_a_version(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    for offset, length in ((-1, 1), (0, 4), (3, 1), (0, -1)):
        with pytest.raises(errors.InvalidArgumentError):
            store.read(V1, offset, length)
    assert store.read(V1, 3, 0)[0] == b""
    for missing in (V2, BlockVersion(1, 1 << 24, 1, 1), BlockVersion(1, -1, 1, 1)):
        with pytest.raises(errors.BlockNotFoundError):
            store.read(missing, 0, 1)


def test_a_damaged_copy_is_noticed(store: BlockStore) -> None:
    data = some_bytes(3 * CHUNK_BYTES + 100)
    store_whole(store, V1, data)
    store._index.find(*V1).view(0, BLOCK)[CHUNK_BYTES + 5] ^= 1  # type: ignore[union-attr]
    assert store.verify(V1) == errors.CorruptBlockError.code
    for offset in (CHUNK_BYTES, CHUNK_BYTES - 1, 2 * CHUNK_BYTES - 1):
        with pytest.raises(errors.CorruptBlockError):
            store.read(V1, offset, 10)
    for offset in (0, 2 * CHUNK_BYTES, len(data) - 10):
        assert store.read(V1, offset, 10)[0] == data[offset : offset + 10]
    whole_copy, crc = store.read(V1, 0, len(data))
    assert crc == crc32c(data) != crc32c(whole_copy)


def test_damage_is_not_inherited_silently(store: BlockStore) -> None:
    """An overwrite copies the base's chunks with their CRCs, and so carries the damage visibly."""
    data = some_bytes(3 * CHUNK_BYTES)
    store_whole(store, V1, data)
    store._index.find(*V1).view(0, BLOCK)[5] ^= 1  # type: ignore[union-attr]
    store_derived(store, V2, V1, len(data), [(2 * CHUNK_BYTES, b"x")])
    assert store.verify(V2) == errors.CorruptBlockError.code


def test_nobody_builds_on_what_another_writer_left_damaged(store: BlockStore) -> None:
    data = some_bytes(3 * CHUNK_BYTES)
    store_whole(store, V1, data)
    before = used(store)
    store._index.find(*V1).view(0, BLOCK)[5] ^= 1  # type: ignore[union-attr]
    for length, extents in ((len(data) + 1, [(len(data), b"x")]), (5, [])):
        with pytest.raises(errors.CorruptBlockError, match="does not match"):
            store.begin(derived(SUCCESSOR, V1, length, extents))
    assert used(store) == before


def test_verify_knows_what_is_missing(store: BlockStore) -> None:
    assert store.verify(V1) == errors.BlockNotFoundError.code


# --- batches ---------------------------------------------------------------------------------


def batch(files: dict[BlockVersion, bytes]) -> tuple[WriteBlocks, bytes]:
    blocks = tuple(SmallBlock(*v, len(data), crc32c(data)) for v, data in files.items())
    return WriteBlocks(blocks, ()), b"".join(files.values())


FILES = {BlockVersion(inode, 0, 0, 0): some_bytes(inode * 9000, inode) for inode in range(1, 12)}


def test_a_batch_stores_all(store: BlockStore) -> None:
    request, payload = batch(FILES)
    write = store.begin_many(request, len(payload))
    write.buffers()[0][:] = payload
    write.received(len(payload))
    write.finish()
    assert {version: content(store, version) for version in FILES} == FILES
    assert used(store) == len(payload)
    assert all(store.verify(version) == 0 for version in FILES)
    middle = BlockVersion(11, 0, 0, 0)
    assert store.read(middle, 70_000, 9)[0] == FILES[middle][70_000:70_009]


def test_a_block_of_a_batch_can_be_appended_to(store: BlockStore) -> None:
    request, payload = batch({V1: b"abc"})
    write = store.begin_many(request, 3)
    write.buffers()[0][:] = payload
    write.finish()
    store_derived(store, V2, V1, 5, [(3, b"de")])
    assert (content(store, V1), content(store, V2)) == (b"abc", b"abcde")


def test_a_batch_stores_all_or_nothing(store: BlockStore) -> None:
    request, payload = batch(FILES)
    write = store.begin_many(request, len(payload))
    write.buffers()[0][:] = payload[:-1] + b"?"
    with pytest.raises(errors.CorruptBlockError):
        write.finish()
    store.check_invariants()
    assert (store.count, store.used) == (0, 0)


KINDS = {
    BlockVersion(1, 0, 1, 1): 8000,
    BlockVersion(2, 0, 1, 1): 0,
    BlockVersion(3, 0, 1, 1): 65_400,
    BlockVersion(3, 1, 1, 1): 1,
    BlockVersion(4, 0, 1, 1): 65_536,
    BlockVersion(5, 0, 2, 1): 77,
    BlockVersion(6, 0, 1, 1): 300,
    BlockVersion(1 << 41, 0, 1, 1): 9,
    BlockVersion(7, 2, 1, 1): 4000,
    BlockVersion(8, 0, 0, 0): 5,
}
"""Lengths: some that records describe from the start, some with checksums of chunks, beside another
version of their block, here already, of a key that no record can say."""


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("memfds", [0, 100])
def test_blocks_of_all_kinds_in_one_batch(memfds: int, lent: bool) -> None:
    store = BlockStore(64 << 20, memfds)
    files = {v: some_bytes(length, number) for number, (v, length) in enumerate(KINDS.items())}
    older = BlockVersion(5, 0, 1, 1)
    store_whole(store, older, b"older")
    repeated = BlockVersion(6, 0, 1, 1)
    store_whole(store, repeated, files[repeated])
    if lent:
        store.lend_segments([store.locate([(5, 1, 1, 5, 0, 0)])[0] >> OFFSET_BITS])
    request, payload = batch(files)
    store.put_copies(request.blocks, payload)
    store.check_invariants()
    assert {version: content(store, version) for version in files} == files
    assert content(store, older) == b"older"
    listed = {block.version: (block.length, block.crc) for block in store.list(None, 100)}
    assert listed == {
        version: (len(data), crc32c(data)) for version, data in {**files, older: b"older"}.items()
    }
    for version in files:
        store.discard(version)
        store.discard(version)
    store.check_invariants()
    assert store.count == 1


def test_of_many_blocks_those_that_are_asked_for_whole_are_read(store: BlockStore) -> None:
    files = {v: some_bytes(length, number) for number, (v, length) in enumerate(KINDS.items())}
    request, payload = batch(files)
    store.put_copies(request.blocks, payload)
    store_derived(store, BlockVersion(1, 0, 1, 2), BlockVersion(1, 0, 1, 1), 8001, [(8000, b"x")])
    whole = [BlockRange(*version, 0, len(data)) for version, data in files.items()]
    others = [
        BlockRange(99, 0, 1, 1, 0, 5),
        *[each._replace(length=each.length + 1) for each in whole],
        *[each._replace(length=each.length - 1, offset=1) for each in whole],
        *[each._replace(generation=each.generation + 1) for each in whole],
        *[each._replace(inode=each.inode - 1, index=each.index + (1 << 24)) for each in whole],
        *[each._replace(index=-1) for each in whole],
    ]
    found = store.wholes([*whole, *others])
    assert found[len(whole) :] == [None] * len(others)
    objects = {BlockVersion(1, 0, 1, 1), BlockVersion(1 << 41, 0, 1, 1)}
    for each, one in zip(whole, found, strict=False):
        assert one == (
            None if each.version in objects else store.read(each.version, 0, each.length)
        )


def test_a_batch_can_be_repeated_and_taken_back(store: BlockStore) -> None:
    request, payload = batch(FILES)
    store_whole(store, BlockVersion(1, 0, 0, 0), FILES[BlockVersion(1, 0, 0, 0)])
    writes = []
    for _ in range(2):
        write = store.begin_many(request, len(payload))
        write.buffers()[0][:] = payload
        write.finish()
        store.check_invariants()
        writes.append(write)
    writes[0].abort()
    assert store.count == len(FILES)
    writes[1].abort()
    assert store.count == 1
    store.check_invariants()


def test_a_batch_reserves_first() -> None:
    request, payload = batch(FILES)
    store = BlockStore(len(payload))
    with pytest.raises(errors.NoSpaceError):
        store.begin_many(request, len(payload))
    assert store.used == 0
    store = BlockStore(sum(record_charge(len(data)) for data in FILES.values()))
    write = store.begin_many(request, len(payload))
    assert store.used == store.limit
    write.abort()
    assert store.used == 0


def test_senseless_batches_are_refused(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    block = SmallBlock(2, 0, 0, 0, 3, crc32c(b"abc"))
    for blocks, length in (
        ((block,), 4),
        ((block, block), 6),
        ((block._replace(length=-1),), -1),
        ((block._replace(inode=0),), 3),
        ((block._replace(index=1 << 24),), 3),
        ((block._replace(sequence=-1),), 3),
    ):
        with pytest.raises(errors.InvalidArgumentError):
            store.begin_many(WriteBlocks(blocks, ()), length)
    write = store.begin_many(WriteBlocks((SmallBlock(*V1, 3, crc32c(b"xyz")),), ()), 3)
    write.buffers()[0][:] = b"xyz"
    with pytest.raises(errors.InvalidArgumentError):
        write.finish()
    store.check_invariants()


# --- the rest --------------------------------------------------------------------------------


def test_listing_is_ordered_and_resumes(store: BlockStore) -> None:
    versions = [
        BlockVersion(inode, index, 1, sequence)
        for inode in (1, 2, 1 << 40)
        for index in (0, 3)
        for sequence in (1, 2)
    ]
    for version in reversed(versions):
        store_whole(store, version, b"x")
    assert [block[:4] for block in store.list(None, 100)] == versions
    for number, version in enumerate(versions):
        assert [block[:4] for block in store.list(version, 2)] == versions[number + 1 : number + 3]
    gone = BlockVersion(1, 3, 1, 0)
    assert store.list(gone, 1)[0][:4] == versions[2]


def test_discarding_the_unknown_is_no_error(store: BlockStore) -> None:
    store.discard(V1)
    store_whole(store, V1, b"abc")
    store.discard(V1)
    store.discard(V1)
    assert store.used == 0


def test_statistics(store: BlockStore) -> None:
    fill_group(store)
    store.begin(whole(V1, some_bytes(BLOCK)))
    statistics = store.statistics()
    assert statistics.versions == store.count == 4
    assert statistics.used == 5 * BLOCK + 5 * VERSION_BYTES
    assert (statistics.limit, statistics.memfds, statistics.arriving) == (64 * MIB, 1, 1)


def test_geometry_that_changes_is_served_elsewhere(store: BlockStore) -> None:
    fill_group(store)
    store_whole(store, V1, b"abc", block=BLOCK, group=GROUP * 2)
    store_whole(store, BlockVersion(1, 0, 1, 7), b"abc", block=5000, group=1000)
    assert content(store, V1) == b"abc"
    store.check_invariants()


def test_a_request_without_geometry_of_pages_stays_on_the_heap(store: BlockStore) -> None:
    data = some_bytes(1_500_001)
    version = BlockVersion(3, 1, 0, 0)
    request: WriteBlock = whole(version, data, block=1_500_001, group=8)
    write = store.begin(request)
    receive(write, data)
    write.finish()
    assert content(store, version) == data


# --- copies for healing ----------------------------------------------------------------------


@pytest.mark.parametrize("length", [100, BLOCK])
def test_a_copy_of_an_older_generation_is_taken(store: BlockStore, length: int) -> None:
    store_whole(store, SUCCESSOR, b"the next writer's")
    data = some_bytes(length)
    with pytest.raises(errors.LeaseLostError):
        store.begin(whole(V1, data))
    write = store.begin_copy(whole(V1, data))
    receive(write, data)
    write.finish()
    assert content(store, V1) == data
    assert content(store, SUCCESSOR) == b"the next writer's"
    used(store)


def test_a_copy_that_fails_leaves_nothing(store: BlockStore) -> None:
    write = store.begin_copy(whole(V1, b"abc"))
    receive(write, b"abd")
    with pytest.raises(errors.CorruptBlockError):
        write.finish()
    assert store.used == 0


def test_clearing_forgets_everything(store: BlockStore) -> None:
    fill_group(store)
    store_whole(store, V1, b"abc")
    arriving = store.begin(whole(V2, some_bytes(1000)))
    store.clear()
    assert store.list(None, 10) == []
    store.check_invariants()
    arriving.abort()
    assert store.used == 0
