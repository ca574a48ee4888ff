"""Batches of copies: which blocks are put back without a look, and that none is left out."""

from __future__ import annotations

from collections import Counter

from memfs.node.healing.copies import BATCH_BLOCKS, BATCH_BYTES, COPIES_PER_NODE, _Batches
from memfs.node.healing.placement_check import Situation
from memfs.node.healing.repair_queue import CopyBatch, versions_of
from memfs.node.namespace.runs import Row
from memfs.protocol.messages import BlockVersion

ALONE = Situation((1,), (1,), 2, 1, 1, (1, 2))


def block(inode: int, length: int = 1) -> list[Row]:
    return [(inode, 0, 1, 1, length, 0)]


def batches(busy: Counter[int] | None = None) -> _Batches:
    in_flight: dict[BlockVersion, CopyBatch] = {}
    return _Batches(in_flight, busy or Counter(), False)


def test_ways_of_busy_nodes_are_refused_without_a_look() -> None:
    some = batches(Counter({1: COPIES_PER_NODE}))
    assert some.refuse(((1, 2), (3, 1)))
    assert not some.refuse(((1, 2), (3, 2)))


def test_what_was_not_looked_at_is_not_refused() -> None:
    assert not batches(Counter({1: COPIES_PER_NODE})).refuse(())


def test_an_open_batch_takes_more_until_it_is_full() -> None:
    some = batches(Counter({1: COPIES_PER_NODE - 1, 2: COPIES_PER_NODE - 1}))
    way = (1, 2)
    for number in range(BATCH_BLOCKS):
        assert not some.refuse((way,))
        assert some.add(ALONE, block(number + 1), way)
    assert some.refuse((way,))
    assert not some.add(ALONE, block(BATCH_BLOCKS + 1), way)


def test_a_batch_takes_as_many_blocks_as_fit() -> None:
    some, way = batches(Counter({1: COPIES_PER_NODE - 1})), (1, 2)
    many = [row for number in range(BATCH_BLOCKS + 9) for row in block(number + 1)]
    assert some.add(ALONE, many[:5], way) == versions_of(many[:5])
    assert some.add(ALONE, many[5:], way) == versions_of(many[5:BATCH_BLOCKS])
    assert not some.add(ALONE, many[BATCH_BLOCKS:], way), "the node is busy with it"
    assert [len(batch.blocks) for batch in some.filled] == [BATCH_BLOCKS]
    large = [(number, 0, 1, 1, BATCH_BYTES // 2, 0) for number in range(1, 6)]
    assert some.add(ALONE, large, (3, 4)) == versions_of(large[:2])
    assert some.add(ALONE, large[2:], (3, 4)) == versions_of(large[2:4]), "a batch of their own"
    huge = [(9, 0, 1, 1, 2 * BATCH_BYTES, 0)]
    assert some.add(ALONE, huge, (5, 6)) == versions_of(huge), "however large"


def test_refusing_never_contradicts_adding() -> None:
    """What is put back without a look would not have been added."""
    for busy in range(COPIES_PER_NODE + 1):
        for length in (1, BATCH_BYTES - 1, BATCH_BYTES):
            some = batches(Counter({1: busy}))
            some.add(ALONE, block(1, length), (1, 2))
            for way in ((1, 2), (2, 1), (1, 3), (3, 4)):
                refused = some.refuse((way,))
                assert not (refused and some.add(ALONE, block(2), way)), (busy, length, way)


def test_the_blocks_of_a_batch_are_known_by_their_situations() -> None:
    batch = CopyBatch(1, 2, False)
    elsewhere = ALONE._replace(placement=(1, 3))
    for number, situation in enumerate((ALONE, elsewhere, ALONE)):
        batch.add(situation, block(number * 2 + 1) + block(number * 2 + 2))
    every = [(ALONE, 0, 2), (elsewhere, 2, 4), (ALONE, 4, 6)]
    for start in range(7):
        for stop in range(start, 7):
            expected = [
                (situation, [n for n in range(first, end) if start <= n < stop])
                for situation, first, end in every
            ]
            found = [(situation, list(numbers)) for situation, numbers in batch.alike(start, stop)]
            assert found == [(situation, some) for situation, some in expected if some]
