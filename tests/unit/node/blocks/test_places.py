"""Where versions lie: in place or apart, segment or memfd, and for how long."""

from __future__ import annotations

import errno
import gc
import mmap
import os
from collections.abc import Sequence

import pytest

from memfs import errors
from memfs.checksum import crc32c
from memfs.limits import CHUNK_BYTES, MIB
from memfs.node.blocks import BlockStore, placement
from memfs.node.blocks.region import VERSION_BYTES
from memfs.protocol.messages import BlockVersion

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
    kept,
    overlaid,
    receive,
    some_bytes,
    store_derived,
    store_whole,
    used,
    whole,
)


def lent(store: BlockStore, version: BlockVersion) -> tuple[int, int] | None:
    """Offset and length in the memfd, None when the version is in a segment."""
    (segment,), _ = store.descriptors([version])
    return None if segment.descriptor < 0 else (segment.offset, segment.length)


def memfds(store: BlockStore) -> tuple[int, int]:
    """Memfds of groups, and blocks that got none."""
    statistics = store.statistics()
    return statistics.memfds, statistics.unmappable


# --- derived in place ------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True])
def test_an_append_shares_its_base(store: BlockStore, large: bool) -> None:
    if large:
        fill_group(store)
    store_whole(store, V1, some_bytes(70_000))
    before = used(store)
    reply = store_derived(store, V2, V1, 140_000, [(70_000, some_bytes(70_000, 2))])
    assert reply.crc == crc32c(some_bytes(70_000) + some_bytes(70_000, 2))
    assert used(store) - before == (70_000 if large else 140_000)  # a record grows with some spare
    assert content(store, V1) == some_bytes(70_000)
    assert content(store, V2) == some_bytes(70_000) + some_bytes(70_000, 2)
    store.discard(V1)
    assert content(store, V2) == some_bytes(70_000) + some_bytes(70_000, 2)


def test_small_appends_grow_their_place_in_proportion(store: BlockStore) -> None:
    version, expected = V1, b"0"
    store_whole(store, version, expected)
    for sequence in range(2, 400):
        following = BlockVersion(1, 0, 1, sequence)
        line = some_bytes(500, sequence)
        store_derived(store, following, version, len(expected) + 500, [(len(expected), line)])
        store.discard(version)
        version, expected = following, expected + line
        assert used(store) <= max(1000, 1.5 * len(expected) + 8)
    assert content(store, version) == expected


@pytest.mark.parametrize("large", [False, True])
def test_a_gap_before_an_append_reads_as_zeros(store: BlockStore, large: bool) -> None:
    if large:
        fill_group(store)
    store_whole(store, V1, b"abc")
    store_derived(store, V2, V1, 9, [(3, b"LEFTOV")])
    successor = BlockVersion(1, 0, 2, 1)
    store_derived(store, successor, V1, 70_000, [(69_999, b"x")])
    assert content(store, successor) == b"abc" + bytes(69_996) + b"x"
    store_derived(store, BlockVersion(1, 0, 2, 2), successor, BLOCK, [])
    assert content(store, BlockVersion(1, 0, 2, 2)) == content(store, successor).ljust(BLOCK, b"\0")


def test_a_second_append_to_the_same_base_goes_apart(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    store_derived(store, V2, V1, 4, [(3, b"d")])
    store_derived(store, V3, V1, 4, [(3, b"e")])
    assert (content(store, V2), content(store, V3)) == (b"abcd", b"abce")


def test_a_discarded_append_that_may_have_been_read_is_not_overwritten(store: BlockStore) -> None:
    """WriterFence: only a higher generation proves that it was never committed."""
    fill_group(store)
    store_whole(store, V1, b"abc")
    store_derived(store, V2, V1, 4, [(3, b"d")])
    view, _ = store.read(V2, 0, 4)
    lent(store, V2)
    store.discard(V2)
    store_derived(store, V3, V1, 4, [(3, b"e")])
    assert view == b"abcd"
    assert content(store, V3) == b"abce"


def test_appends_under_way_at_once_do_not_meet(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    first = store.begin(derived(V2, V1, 4, [(3, b"d")]))
    second = store.begin(derived(V3, V1, 4, [(3, b"e")]))
    receive(first, b"d")
    receive(second, b"e")
    second.finish()
    first.finish()
    assert (content(store, V2), content(store, V3)) == (b"abcd", b"abce")
    assert content(store, V1) == b"abc"


@pytest.mark.parametrize("large", [False, True])
def test_a_failed_append_leaves_the_base_extensible(store: BlockStore, large: bool) -> None:
    if large:
        fill_group(store)
    store_whole(store, V1, b"abc")
    before = store.used
    for end in ("abort", "damage"):
        write = store.begin(derived(V2, V1, 6, [(3, b"xyz")]))
        receive(write, b"xyZ")
        if end == "abort":
            write.abort()
        else:
            with pytest.raises(errors.CorruptBlockError):
                write.finish()
        assert store.used == before
        store.check_invariants()
    store_derived(store, V2, V1, 6, [(3, b"xyz")])
    assert content(store, V2) == b"abcxyz"
    store.check_invariants()


def test_a_base_may_be_discarded_while_its_successor_arrives(store: BlockStore) -> None:
    for later in ([(3, b"d")], [(0, b"d")], []):
        store_whole(store, V1, b"abc")
        length = 4 if later and later[0][0] == 3 else 3
        payload = b"d" if later else b""
        write = store.begin(derived(V2, V1, length, later))
        store.discard(V1)
        store.check_invariants()
        receive(write, payload)
        write.finish()
        store.check_invariants()
        store.discard(V2)
        assert store.used == 0


def test_derived_from_what_is_not_here(store: BlockStore) -> None:
    with pytest.raises(errors.BlockNotFoundError):
        store.begin(derived(V2, V1, 4, [(3, b"d")]))


# --- truncation ------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("length", [0, 10, CHUNK_BYTES, CHUNK_BYTES + 10])
def test_a_truncation_takes_no_memory_and_gives_some_back(
    store: BlockStore, large: bool, length: int
) -> None:
    if large:
        fill_group(store)
    before = used(store)
    data = some_bytes(BLOCK)
    store_whole(store, V1, data)
    store_derived(store, V2, V1, length, [])
    assert used(store) - before == BLOCK
    assert (content(store, V1), content(store, V2)) == (data, data[:length])
    store.discard(V1)
    assert used(store) - before == length
    store_derived(store, V3, V2, length + 4, [(length, b"tail")])
    assert content(store, V3) == data[:length] + b"tail"


@pytest.mark.parametrize("generation", [1, 2])
def test_what_was_truncated_is_not_overwritten_while_it_is_held(
    store: BlockStore, generation: int
) -> None:
    """NoPartialVisible: the longer version may be the committed one, and mapped by a reader."""
    store_whole(store, V1, b"abcdef")
    store_derived(store, V2, V1, 3, [])
    later = BlockVersion(1, 0, generation, 9)
    store_derived(store, later, V2, 6, [(3, b"XYZ")])
    assert content(store, V1) == b"abcdef"
    assert content(store, later) == b"abcXYZ"


def test_what_was_truncated_is_not_overwritten_while_it_is_viewed(store: BlockStore) -> None:
    for large in (False, True):
        if large:
            fill_group(store)
        store_whole(store, V1, b"abcdef")
        view, _ = store.read(V1, 0, 6)
        store_derived(store, V2, V1, 3, [])
        store.discard(V1)
        store_derived(store, V3, V2, 6, [(3, b"XYZ")])
        assert view == b"abcdef"
        assert content(store, V3) == b"abcXYZ"
        store.discard(V2)
        store.discard(V3)


# --- written anew ----------------------------------------------------------------------------


def large_versions(generation: int) -> list[BlockVersion]:
    return [BlockVersion(1, index, generation, 1) for index in range(GROUP)]


def write_large(store: BlockStore, versions: list[BlockVersion]) -> None:
    for version in versions:
        store_whole(store, version, some_bytes(MIB, version.generation), block=MIB)


def places_of(store: BlockStore, versions: list[BlockVersion]) -> tuple[set[int], list[int]]:
    """Descriptors and offsets that versions are lent by."""
    segments, _ = store.descriptors(versions)
    return {each.descriptor for each in segments}, [each.offset for each in segments]


@pytest.mark.parametrize("order", [range(GROUP), (0, 2, 1, 3, 5, 7, 6, 4)])
def test_a_group_written_anew_lies_together_again(order: Sequence[int]) -> None:
    store = BlockStore(64 * MIB)
    former, latter = large_versions(1), large_versions(2)
    write_large(store, former)
    assert len(places_of(store, former)[0]) == 1  # lent: nothing there may be overwritten
    write_large(store, [latter[index] for index in order])
    assert memfds(store) == (2, 0)
    assert places_of(store, latter)[1] == [index * MIB for index in range(GROUP)]
    for version in former:
        store.discard(version)
    assert memfds(store) == (1, 0)
    write_large(store, large_versions(3))  # what was second is first now
    assert memfds(store) == (2, 0)
    assert content(store, latter[3]) == some_bytes(MIB, 2)


def test_single_blocks_that_are_replaced_lie_apart_and_go_alone() -> None:
    store = BlockStore(64 * MIB)
    former = large_versions(1)
    write_large(store, former)
    places_of(store, former)
    before = used(store)
    for generation in range(2, 6):
        version = BlockVersion(1, 5, generation, 1)
        write_large(store, [version])
        places_of(store, [version])
        store.discard(BlockVersion(1, 5, generation - 1, 1))
        assert used(store) == before + MIB  # one more than was lent at first


def test_what_was_lent_takes_no_more_of_a_group_written_anew() -> None:
    """Whoever reads while a file is written anew would keep what is replaced next."""
    store = BlockStore(64 * MIB)
    former, latter = large_versions(1), large_versions(2)
    write_large(store, former)
    write_large(store, latter[:4])
    places_of(store, latter[:1])
    write_large(store, latter[4:])
    assert [len(places_of(store, each)[0]) for each in (latter[:4], latter[4:])] == [1, 4]


# --- derived apart ---------------------------------------------------------------------------


def test_an_overwrite_goes_apart(store: BlockStore) -> None:
    data = some_bytes(BLOCK)
    fill_group(store)
    store_whole(store, V1, data)
    view, _ = store.read(V1, 0, BLOCK)
    store_derived(store, V2, V1, BLOCK, [(10, b"new"), (100_000, b"newer")])
    expected = data[:10] + b"new" + data[13:100_000] + b"newer" + data[100_005:]
    assert content(store, V2) == expected
    assert view == data


def test_an_overwrite_alternates_between_two_places(store: BlockStore) -> None:
    """The natural offset is used again once the version that lay there is gone."""
    fill_group(store)
    version, expected = V1, some_bytes(BLOCK)
    store_whole(store, version, expected)
    before = used(store)
    for sequence in range(2, 8):
        following = BlockVersion(1, 0, 1, sequence)
        store_derived(store, following, version, BLOCK, [(7, bytes([sequence]))])
        store.discard(version)
        version = following
        expected = expected[:7] + bytes([sequence]) + expected[8:]
        assert content(store, version) == expected
        assert used(store) == before


# --- memfds ----------------------------------------------------------------------------------


def test_small_groups_lie_in_segments_and_large_ones_in_one_memfd(store: BlockStore) -> None:
    versions = [BlockVersion(1, index, 1, 1) for index in range(5)]
    for version in versions[:3]:
        store_whole(store, version, some_bytes(BLOCK, version.index))
    assert store.statistics().memfds == 0
    assert lent(store, versions[0]) is None
    for version in versions[3:]:
        store_whole(store, version, some_bytes(BLOCK, version.index))
    assert store.statistics().memfds == 1
    segments, descriptors = store.descriptors(versions)
    assert [segment.offset for segment in segments] == [index * BLOCK for index in range(5)]
    assert len(descriptors) == 1
    for version in versions:
        assert os.pread(descriptors[0], BLOCK, version.index * BLOCK) == content(store, version)
    assert used(store) == 5 * BLOCK


def test_views_survive_the_move_into_a_memfd(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    store_derived(store, V2, V1, 4, [(3, b"d")])
    view, _ = store.read(V2, 0, 4)
    fill_group(store)
    assert lent(store, V1) == (0, 3)
    assert lent(store, V2) == (0, 4)
    assert view == b"abcd" == content(store, V2)


def test_a_group_that_is_being_appended_to_is_not_moved(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    write = store.begin(derived(V2, V1, 4, [(3, b"d")]))
    fill_group(store)
    store.check_invariants()
    receive(write, b"d")
    write.finish()
    store.check_invariants()
    assert content(store, V2) == b"abcd"


def test_what_a_writer_took_over_whole_is_not_a_leftover_to_it(store: BlockStore) -> None:
    store_whole(store, V1, b"abc")
    store_derived(store, V2, V1, 5, [(3, b"de")])
    store_derived(store, SUCCESSOR, V2, 5, [])
    another = BlockVersion(1, 0, 2, 2)
    store_derived(store, another, V1, 4, [(3, b"x")])
    assert content(store, SUCCESSOR) == b"abcde"
    assert content(store, another) == b"abcx"


def test_a_discarded_block_leaves_its_pages_to_the_next(store: BlockStore) -> None:
    fill_group(store)
    store_whole(store, V1, some_bytes(BLOCK))
    memfd = next(iter(store._holdings.placement._memfds))
    pages = os.fstat(memfd.descriptor).st_blocks
    store.discard(V1)
    assert (used(store), kept(store)) == (4 * BLOCK, BLOCK)
    assert os.fstat(memfd.descriptor).st_blocks == pages
    store_whole(store, V2, some_bytes(BLOCK, 2))
    assert (used(store), kept(store)) == (5 * BLOCK, 0)
    assert os.fstat(memfd.descriptor).st_blocks == pages
    store.discard(V2)
    assert store.give_back(store.spare) >= BLOCK
    assert os.fstat(memfd.descriptor).st_blocks == pages - BLOCK // 512
    store.check_invariants()


def test_a_deleted_group_leaves_its_memfd_to_the_next(store: BlockStore) -> None:
    fill_group(store)
    (memfd,) = store._holdings.placement._memfds
    for index in range(1, 5):
        store.discard(BlockVersion(1, index, 1, 1))
    assert (used(store), kept(store)) == (0, 4 * BLOCK)
    other = [BlockVersion(2, index, 1, 1) for index in range(GROUP)]
    for version in other:
        store_whole(store, version, some_bytes(BLOCK, version.index))
    assert list(store._holdings.placement._memfds) == [memfd]
    assert (used(store), kept(store)) == (GROUP * BLOCK, 0)
    assert all(content(store, v) == some_bytes(BLOCK, v.index) for v in other)
    store.check_invariants()


def test_spare_memory_gives_way() -> None:
    store = BlockStore(6 * (BLOCK + VERSION_BYTES))
    fill_group(store)
    for index in range(1, 5):
        store.discard(BlockVersion(1, index, 1, 1))
    assert kept(store) == 4 * BLOCK
    small = [BlockVersion(inode, 0, 1, 1) for inode in range(2, 8)]
    for version in small:  # each of a file of its own, in a segment
        store_whole(store, version, some_bytes(BLOCK - 1))
        store.check_invariants()
    assert store.spare == 0


def test_what_nobody_needed_for_a_while_is_a_surplus(store: BlockStore) -> None:
    fill_group(store)
    for index in range(1, 5):
        store.discard(BlockVersion(1, index, 1, 1))
    spare = store.spare
    assert spare >= 4 * BLOCK
    assert [store.surplus(), store.surplus()] == [0, spare]
    store_whole(store, BlockVersion(2, 0, 1, 1), some_bytes(BLOCK))
    store_whole(store, BlockVersion(2, 1, 1, 1), some_bytes(BLOCK))
    fill_group(store)
    left = store.spare
    assert left < spare
    assert left - BLOCK < store.surplus() <= left


def test_nothing_of_a_deleted_file_is_lent_with_the_next(store: BlockStore) -> None:
    fill_group(store)
    for index in range(1, 5):
        store.discard(BlockVersion(1, index, 1, 1))
    version, ending = BlockVersion(2, 0, 1, 1), BlockVersion(2, 2, 1, 1)
    data, end = some_bytes(BLOCK, 8), some_bytes(BLOCK - 5, 9)
    for each in (version, BlockVersion(2, 3, 1, 1), BlockVersion(2, 4, 1, 1)):
        store_whole(store, each, data)
    store_whole(store, ending, end)
    late = store.begin(whole(BlockVersion(2, 1, 1, 1), data))
    (segment,), _ = store.descriptors([version])
    assert segment.descriptor == -1, "the place of the late one holds what was there before"
    late.abort()
    (segment,), (descriptor,) = store.descriptors([version])
    assert segment[:3] == (0, 0, BLOCK)
    shown = os.pread(descriptor, GROUP * BLOCK, 0)
    rest = bytes(BLOCK * (GROUP - 5))
    assert shown == data + bytes(BLOCK) + end + bytes(5) + data + data + rest
    store.check_invariants()


def test_what_a_sparse_version_does_not_say_reads_as_zeros(store: BlockStore) -> None:
    fill_group(store)
    for index in range(1, 5):
        store.discard(BlockVersion(1, index, 1, 1))
    fill_group(store, inode=2)
    first, second = BlockVersion(2, 1, 1, 1), BlockVersion(2, 1, 1, 2)
    store_derived(store, second, first, 100, [])
    third = BlockVersion(2, 1, 1, 3)
    store_derived(store, third, second, BLOCK, [(50, b"x"), (BLOCK - 200, b"y" * 100)])
    expected = overlaid(content(store, second), BLOCK, [(50, b"x"), (BLOCK - 200, b"y" * 100)])
    assert content(store, third) == expected
    assert store.verify(third) == 0


def test_a_hole_waits_for_the_last_view(store: BlockStore) -> None:
    fill_group(store)
    store_whole(store, V1, some_bytes(BLOCK))
    view, _ = store.read(V1, 0, BLOCK)
    part = view[10:20]
    store.discard(V1)
    store_whole(store, V2, some_bytes(BLOCK, 2))
    assert view == some_bytes(BLOCK)
    assert used(store) == 6 * BLOCK
    del view
    assert used(store) == 6 * BLOCK
    assert part == some_bytes(BLOCK)[10:20]
    del part
    assert used(store) == 5 * BLOCK


@pytest.mark.parametrize("size", [MIB, 8 * MIB])  # through scratch buffers, and too large for them
def test_an_aborted_block_gives_its_pages_back(store: BlockStore, size: int) -> None:
    store_whole(store, BlockVersion(1, 1, 1, 1), some_bytes(size), block=size)
    write = store.begin(whole(V1, some_bytes(size, 2), block=size))
    receive(write, some_bytes(size, 2))
    assert used(store) == 2 * size + VERSION_BYTES
    write.abort()
    assert used(store) == size
    store_whole(store, V2, some_bytes(size, 3), block=size)
    assert content(store, V2) == some_bytes(size, 3)


def test_what_is_still_being_forwarded_is_not_overwritten(store: BlockStore) -> None:
    fill_group(store)
    write = store.begin(whole(V1, some_bytes(BLOCK)))
    (buffer,) = write.buffers()
    receive(write, some_bytes(BLOCK))
    write.finish()
    store_whole(store, V2, some_bytes(BLOCK, 2))
    assert buffer == some_bytes(BLOCK)


def test_a_lent_place_is_not_used_again(store: BlockStore) -> None:
    fill_group(store)
    store_whole(store, V1, some_bytes(BLOCK))
    (segment,), (descriptor,) = store.descriptors([V1])
    reader = os.dup(descriptor)
    store.discard(V1)
    store_whole(store, V2, some_bytes(BLOCK, 2))
    assert os.pread(reader, BLOCK, segment.offset) == some_bytes(BLOCK)
    os.close(reader)
    assert used(store) == 6 * BLOCK


def test_a_lent_memfd_takes_further_blocks(store: BlockStore) -> None:
    fill_group(store)
    lent(store, BlockVersion(1, 1, 1, 1))
    store_whole(store, V1, some_bytes(BLOCK))
    assert lent(store, V1) == (0, BLOCK)
    assert content(store, V1) == some_bytes(BLOCK)


def test_views_survive_the_whole_group(store: BlockStore) -> None:
    fill_group(store)
    views = [store.read(BlockVersion(1, index, 1, 1), 0, BLOCK)[0] for index in range(1, 5)]
    for index in range(1, 5):
        store.discard(BlockVersion(1, index, 1, 1))
    assert store.statistics().memfds == 0
    assert store.used == 0
    assert [bytes(view) for view in views] == [some_bytes(BLOCK, index) for index in range(1, 5)]


def test_without_descriptors_the_heap_serves(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    size = 2 * MIB
    base = BlockVersion(1, 0, 1, 0)
    data = some_bytes(size)
    store_whole(store, base, data[:-10], block=size)
    request = derived(V1, base, size, [(size - 10, data[-10:])], block=size)
    write = store.begin(request)
    receive(write, data[-10:])
    write.finish()
    assert content(store, V1) == data
    assert store.statistics().memfds == 0
    store.check_invariants()


def test_no_more_memfds_than_allowed() -> None:
    store = BlockStore(64 * MIB, memfds=1)
    fill_group(store, 1)
    assert memfds(store) == (1, 0)
    fill_group(store, 2)
    assert memfds(store) == (1, 1), "the block that would have opened the memfd"
    assert lent(store, BlockVersion(1, 1, 1, 1)) and not lent(store, BlockVersion(2, 1, 1, 1))
    assert content(store, BlockVersion(2, 1, 1, 1)) == content(store, BlockVersion(1, 1, 1, 1))
    for index in range(1, 5):
        store.discard(BlockVersion(1, index, 1, 1))
    fill_group(store, 3)
    assert memfds(store) == (1, 1), "a kept memfd gives way"
    assert lent(store, BlockVersion(3, 1, 1, 1))
    store.check_invariants()


def test_a_system_without_memory_is_no_space(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(size: int) -> bytearray:
        raise MemoryError

    def refuse(*arguments: object, **options: object) -> int:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(placement, "bytearray", exhausted, raising=False)
    monkeypatch.setattr(mmap, "mmap", refuse)
    for size in (1000, 2 * MIB):
        with pytest.raises(errors.NoSpaceError, match="the system gives"):
            store.begin(whole(V1, some_bytes(size), block=2 * MIB))
        assert store.used == 0
        store.check_invariants()


def test_descriptors_are_closed(store: BlockStore) -> None:
    gc.collect()  # those of other tests' stores
    before = len(os.listdir("/proc/self/fd"))
    fill_group(store)
    assert len(os.listdir("/proc/self/fd")) > before
    for index in range(1, 5):
        store.discard(BlockVersion(1, index, 1, 1))
    assert store.give_back(store.spare) >= 4 * BLOCK
    assert store.spare == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_abandoned_store_closes_its_descriptors() -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    store = BlockStore(64 * MIB)
    fill_group(store)
    del store
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
