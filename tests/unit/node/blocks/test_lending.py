"""Segments that were lent: who has places and mappings reads what was there, whatever goes on."""

from __future__ import annotations

import os
import random

import pytest

from memfs.checksum import crc32c
from memfs.client.reading.small_segments import SmallSegments, copy_blocks
from memfs.errors import NoSpaceError
from memfs.limits import CHUNK_BYTES, MIB
from memfs.node.blocks import BlockStore
from memfs.protocol.messages import BlockVersion
from memfs.protocol.segment_records import OFFSET_BITS
from memfs.types import WholeBlock

from .test_segments import emptied, one, put
from .writing import some_bytes, store_whole

LENDER = 7


class Reader:
    """A process of the node's host: it maps what it is lent, and remembers places."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._mapped = SmallSegments()
        self.told: list[tuple[memoryview, int, bytes]] = []
        """Segments, places and what the blocks were that lay there."""

    def ask(self, files: dict[BlockVersion, bytes]) -> int:
        """Have places told, map their segments, and read; how many are to be read so."""
        places = self._store.lent_records([_whole(*each) for each in files.items()])
        _, unknown = self._mapped.find(LENDER, places)
        lent, descriptors = self._store.lend_segments(unknown)
        copies = [os.dup(number) for number in descriptors]  # as the kernel passes them on
        self._mapped.enter(LENDER, unknown, lent, copies)
        found, unknown = self._mapped.find(LENDER, places)
        assert not unknown
        for place, data in zip(places, files.values(), strict=True):
            if place >= 0:
                self.told.append((found[place >> OFFSET_BITS], place, data))
        return sum(place >= 0 for place in places)

    def check(self) -> None:
        """Everything that was ever told is still there."""
        for segment, place, data in self.told:
            found = copy_blocks({place >> OFFSET_BITS: segment}, [place], [len(data)])
            assert found == [data]


def _whole(version: BlockVersion, data: bytes) -> WholeBlock:
    return version.inode, version.generation, version.sequence, len(data), crc32c(data), (1,)


@pytest.fixture
def small() -> BlockStore:
    """A store with segments of 64 KiB."""
    return BlockStore(2 * MIB)


@pytest.mark.parametrize("seed", range(8))
def test_old_places_keep_their_bytes_under_the_cleaner(seed: int, small: BlockStore) -> None:
    dice, store, reader = random.Random(seed), small, Reader(small)
    files: dict[BlockVersion, bytes] = {}
    told = 0
    for inode in range(1, 300):
        data = some_bytes(dice.randrange(1, 9000), inode)
        try:
            put(store, {one(inode): data})
        except NoSpaceError:
            pass
        else:
            files[one(inode)] = data
        for version in dice.sample(list(files), len(files) // 8):
            store.discard(version)
            del files[version]
        if dice.random() < 0.3:
            some = dice.sample(list(files), len(files) // 3)
            told += reader.ask({version: files[version] for version in some})
        store.clean(dice.randrange(1, 20), MIB)
        if len(reader.told) > 300:
            reader.check()
            del reader.told[:200]
    store.check_invariants()
    emptied(store)
    reader.check()
    assert told and store.cleaned
    assert all(bytes(store.whole(version)) == data for version, data in files.items())


def test_a_lent_segment_is_closed_and_not_used_again(small: BlockStore) -> None:
    reader = Reader(small)
    files = {one(inode): some_bytes(3000, inode) for inode in range(1, 21)}
    put(small, files)
    assert reader.ask(files) == len(files)
    numbers = {place >> OFFSET_BITS for _, place, _ in reader.told}
    for version in files:
        small.discard(version)
    assert small.lend_segments(numbers) == ([-1] * len(numbers), [])
    assert small.spare == 0, "what others may be reading is no memory for new blocks"
    put(small, {one(inode, 2): some_bytes(3000, -inode) for inode in range(1, 21)})
    small.check_invariants()
    reader.check()


def test_what_moves_can_be_read_at_its_new_place(small: BlockStore) -> None:
    reader = Reader(small)
    files = {one(inode): some_bytes(3000, inode) for inode in range(1, 101)}
    for version, data in files.items():
        put(small, {version: data})
    reader.ask(files)
    for version in list(files)[::2]:
        small.discard(version)
        del files[version]
    emptied(small)
    assert small.cleaned
    assert reader.ask(files) == len(files)
    reader.check()


def test_blocks_are_written_into_segments_that_are_lent_already(small: BlockStore) -> None:
    reader = Reader(small)
    for inode in range(1, 20):
        data = some_bytes(inode * 1500, inode)  # by the mapping, and what would go by pwrite
        put(small, {one(inode): data})
        assert reader.ask({one(inode): data}) == 1
        reader.check()
    small.check_invariants()


def test_a_record_with_chunks_says_where_its_bytes_begin(store: BlockStore) -> None:
    reader, data = Reader(store), some_bytes(3 * CHUNK_BYTES + 5)
    store_whole(store, one(1), data)
    assert reader.ask({one(1): data}) == 1
    reader.check()


def test_nobody_can_write_to_what_was_lent(small: BlockStore) -> None:
    put(small, {one(1): b"x"})
    (place,) = small.lent_records([_whole(one(1), b"x")])
    (index,), (descriptor,) = small.lend_segments([place >> OFFSET_BITS])
    assert index == 0
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"y", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)


def test_places_outside_a_segment_read_as_nothing() -> None:
    segment = memoryview(bytes(100))
    places = [98, 1 << 31, 40, 1 << OFFSET_BITS]
    nothing, nor_there, few, unknown = copy_blocks({0: segment}, places, [10] * 4)
    assert nothing == nor_there == b""
    assert few is not None and len(few) < 10
    assert unknown is None
