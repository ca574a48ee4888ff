"""Replies with many small files: bytes in the payload, places in segments, or where they are."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import PathNotFoundError
from memfs.limits import MIB
from memfs.node.block_service.whole_files import WholeFileReads
from memfs.node.blocks import BlockStore
from memfs.node.namespace.whole_files import WholeFiles
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.types import BlockRef, Member, WholeBlock
from tests.unit.node.blocks.test_segments import one, put
from tests.unit.node.blocks.writing import some_bytes, store_derived, store_whole

HERE = Member(3, "here", 77, "localhost", 1, "", "", 1.0, "", 0)
EMPTY: WholeBlock = (0, 0, 0, 0, 0, ())
OTHER: WholeBlock = (0, 0, 0, -1, 0, ())
MISSING = m.FileReply(PathNotFoundError.code, "no such file")


def whole(inode: int, data: bytes, *replicas: int) -> WholeBlock:
    return inode, 1, 1, len(data), crc32c(data), replicas or (HERE.number,)


@pytest.fixture
def store() -> BlockStore:
    return BlockStore(64 * MIB)


def answer(
    store: BlockStore, *blocks: WholeBlock, lend: bool = False, lends: bool = True
) -> tuple[m.ReadManyReply, bytes]:
    found = WholeFiles(list(blocks), [MISSING for block in blocks if block[3] < 0])
    reply = WholeFileReads(store, lambda: HERE, lambda: lends).reply(found, lend)
    record = records.decode(m.ReadManyReply, records.encode(reply.record))
    return record, b"".join(reply.payload)


def test_bytes_that_are_here_come_one_after_the_other(store: BlockStore) -> None:
    put(store, {one(1): b"first", one(2): b"second"})
    reply, payload = answer(store, whole(2, b"second"), OTHER, EMPTY, whole(1, b"first"))
    assert (reply.lengths, payload) == ((6, -1, 0, 5), b"secondfirst")
    assert reply.crcs[0] == crc32c(b"second") and reply.others == (MISSING,)
    assert not reply.places and not reply.lender


def test_what_is_not_here_is_told_of_by_its_block(store: BlockStore) -> None:
    put(store, {one(1): b"first", one(2): b"second"})
    store.discard(one(1))
    reply, payload = answer(
        store, whole(1, b"first"), OTHER, whole(2, b"second", 4), whole(2, b"other!")
    )
    assert (reply.lengths, payload) == ((-1, -1, -1, 6), b"second"), "its reader compares the CRC"
    gone, error, there = reply.others
    assert error == MISSING
    ref = BlockRef(1, 0, 1, 1, 5, crc32c(b"first"), (HERE.number,))
    assert gone == m.FileReply(0, "", None, blocks=(ref,))
    assert there.blocks[0].replicas == (4,)


def test_a_version_of_another_length_is_not_sent(store: BlockStore) -> None:
    put(store, {one(1): b"short", one(2): b"the neighbour"})
    reply, payload = answer(store, whole(1, b"longer than that"))
    assert (reply.lengths, payload) == ((-1,), b"")


def test_a_full_payload_leaves_the_rest_elsewhere(store: BlockStore) -> None:
    data = some_bytes(limits.SMALL_FILE_BYTES)
    count = limits.WHOLE_REPLY_BYTES // len(data) + 1
    for inode in range(1, count + 1):
        put(store, {one(inode): data})
    reply, payload = answer(store, *[whole(inode, data) for inode in range(1, count + 1)])
    assert reply.lengths == (len(data),) * (count - 1) + (-1,)
    assert len(payload) == limits.WHOLE_REPLY_BYTES


def test_a_usual_batch_of_images_is_one_answer(store: BlockStore) -> None:
    """64 of 4 to 150 KiB: a second question would cost as much as a dozen of the files."""
    sizes = [(4 + number * 146 // 63) * limits.KIB for number in range(64)]
    for inode, size in enumerate(sizes, 1):
        put(store, {one(inode): some_bytes(size)})
    blocks = [whole(inode, some_bytes(size)) for inode, size in enumerate(sizes, 1)]
    reply, payload = answer(store, *blocks)
    assert list(reply.lengths) == sizes and len(payload) == sum(sizes)


def test_places_instead_of_bytes_for_who_maps_them(store: BlockStore) -> None:
    put(store, {one(1): b"first", one(2): b"second"})
    blocks = whole(2, b"second"), OTHER, EMPTY, whole(1, b"first"), whole(1, b"first", 4)
    reply, payload = answer(store, *blocks, lend=True)
    assert reply.lengths == (6, -1, 0, 5, -1) and payload == b""
    assert reply.lender == HERE.incarnation
    assert [place >= 0 for place in reply.places] == [True, False, False, True, False]


def test_what_is_not_packed_is_sent_to_who_maps_the_rest(store: BlockStore) -> None:
    first, second = one(1), one(1, 2)
    store_whole(store, first, b"first")
    store_derived(store, second, first, 9, [(5, b"more")])  # two versions of one block
    put(store, {one(2): b"packed"})
    blocks = whole(1, b"first"), whole(2, b"packed")
    reply, payload = answer(store, *blocks, lend=True)
    assert (reply.lengths, payload, reply.places[0]) == ((5, 6), b"first", -1)
    assert reply.places[1] >= 0
    reply, payload = answer(store, blocks[1], lend=True, lends=False)
    assert (reply.places, reply.lender, payload) == ((), 0, b"packed")
    reply, payload = answer(store, blocks[0], lend=True)
    assert (reply.places, reply.lender, payload) == ((), 0, b"first")


@pytest.mark.parametrize("lends", [True, False])
def test_places_of_whole_first_blocks_only(store: BlockStore, lends: bool) -> None:
    put(store, {one(1): b"first", one(2): b"second"})
    ranges = [
        m.BlockRange(1, 0, 1, 1, 0, 5),
        m.BlockRange(1, 0, 1, 1, 2, 3),
        m.BlockRange(1, 1, 1, 1, 0, 5),
        m.BlockRange(9, 0, 1, 1, 0, 5),
        m.BlockRange(2, 0, 1, 1, 0, 6),
    ]
    places = WholeFileReads(store, lambda: HERE, lambda: lends).places(ranges)
    assert [place >= 0 for place in places] == [lends, False, False, False, lends]
