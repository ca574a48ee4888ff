"""Memory that is closed while somebody reads there counts until it is free."""

from __future__ import annotations

import os

import pytest

from memfs.limits import MIB
from memfs.node.blocks import BlockStore
from memfs.node.blocks.departed import LENT_LOOKS
from memfs.protocol.messages import BlockVersion

from .writing import V1, some_bytes, store_whole

SMALL, LARGE = 700_000, 3 * MIB
"""Lengths: a segment of its own, a memfd of its group."""


@pytest.fixture
def store() -> BlockStore:
    return BlockStore(16 * MIB)


def stored(store: BlockStore, length: int) -> bytes:
    data = some_bytes(length)
    store_whole(store, V1, data, block=4 * MIB)
    return data


def given_back(store: BlockStore) -> None:
    store.give_back(store.spare)
    assert store.spare == 0


@pytest.mark.parametrize("length", [SMALL, LARGE])
def test_what_a_reply_still_holds_counts(store: BlockStore, length: int) -> None:
    data = stored(store, length)
    view, _ = store.read(V1, 0, length)
    store.discard(V1)
    given_back(store)
    store.measured(0)
    assert length <= store.used == store.overhead == store.shared <= length + 4096
    store.measured(0)
    assert store.used >= length and view == data
    del view
    store.measured(0)
    assert store.used == store.overhead == store.shared == 0


@pytest.mark.parametrize("length", [SMALL, LARGE])
def test_what_was_lent_counts_for_as_long_as_others_keep_it(store: BlockStore, length: int) -> None:
    stored(store, length)
    descriptor = os.dup(lent(store, length))
    store.discard(V1)
    given_back(store)
    kernel = os.fstat(descriptor).st_blocks * 512
    for _ in range(LENT_LOOKS):
        store.measured(0)
        assert kernel - 4096 <= store.shared == store.used <= kernel
    os.close(descriptor)
    store.measured(0)
    assert store.shared == store.used == 0


def test_nothing_closed_counts_where_nobody_measures(store: BlockStore) -> None:
    stored(store, LARGE)
    view, _ = store.read(V1, 0, LARGE)
    store.discard(V1)
    given_back(store)
    store.measured(None)
    assert store.used == store.overhead == store.shared == 0 and len(view) == LARGE


def lent(store: BlockStore, length: int) -> int:
    if length < MIB:
        (number,) = store._holdings.segments.used
        return store.lend_segments([number])[1][0]
    return store.descriptors([V1])[1][0]


def test_what_nobody_reads_is_free_at_once(store: BlockStore) -> None:
    for number, length in enumerate((SMALL, LARGE), 1):
        version = BlockVersion(number, 0, 1, 1)
        store_whole(store, version, some_bytes(length), block=4 * MIB)
        store.discard(version)
    given_back(store)
    assert store.shared == 0


def test_room_that_a_reader_still_has_is_not_given_to_writers(store: BlockStore) -> None:
    stored(store, LARGE)
    view, _ = store.read(V1, 0, LARGE)
    store.discard(V1)
    store.measured(0)
    assert not store._holdings.account.fits(14 * MIB)
    del view
    store.measured(0)
    assert store._holdings.account.fits(14 * MIB)
