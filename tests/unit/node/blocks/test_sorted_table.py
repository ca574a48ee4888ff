"""The ordered table against a dictionary."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.node.blocks import sorted_table
from memfs.node.blocks.sorted_table import SortedTable

KEYS = st.one_of(st.integers(0, 60), st.sampled_from([(1 << 64) - 1, 1 << 63]))


@pytest.fixture(autouse=True, scope="module")
def small_buckets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_table, "BUCKET_ENTRIES", 8)
        yield


@given(st.lists(st.tuples(st.sampled_from(["set", "set", "pop"]), KEYS, st.integers(0, 9))))
def test_it_is_an_ordered_dictionary(steps: list[tuple[str, int, int]]) -> None:
    table, model = SortedTable(), dict[int, int]()
    for step, key, value in steps:
        if step == "set":
            table.set(key, value)
            model[key] = value
        else:
            assert table.pop(key) == model.pop(key, None)
        table.check_invariants()
        assert table.get(key) == model.get(key)
        assert len(table) == len(model)
    assert list(table.keys(0, 1 << 64)) == sorted(model)
    for low, high in ((0, 30), (10, 11), (30, 1 << 64), (5, 5)):
        assert list(table.keys(low, high)) == sorted(k for k in model if low <= k < high)


@given(st.lists(st.dictionaries(KEYS, st.integers(0, 9))), st.booleans())
def test_many_are_set_as_one_by_one(batches: list[dict[int, int]], ordered: bool) -> None:
    table, model = SortedTable(), dict[int, int]()
    for batch in batches:
        keys = sorted(batch) if ordered else list(batch)
        table.set_many(keys, [batch[key] for key in keys])
        model |= batch
        table.check_invariants()
        assert len(table) == len(model)
    assert {key: table.get(key) for key in table.keys(0, 1 << 64)} == model


@given(st.sets(KEYS), st.data())
def test_many_are_forgotten_as_one_by_one(keys: set[int], data: st.DataObject) -> None:
    table = SortedTable()
    table.set_many(sorted(keys), [key & 7 for key in sorted(keys)])
    gone = data.draw(st.sets(st.sampled_from(sorted(keys)))) if keys else set()
    table.pop_many(gone)
    table.check_invariants()
    assert list(table.keys(0, 1 << 64)) == sorted(keys - gone)
    assert table.get_many(sorted(keys)) == [-1 if key in gone else key & 7 for key in sorted(keys)]


@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
def test_many_entries_in_any_order(order: str) -> None:
    keys = list(range(0, 3000, 3))
    if order == "descending":
        keys.reverse()
    elif order == "random":
        random.Random(1).shuffle(keys)
    table = SortedTable()
    for key in keys:
        table.set(key, key + 1)
    table.check_invariants()
    assert all(table.get(key) == key + 1 and table.get(key + 1) is None for key in keys)
    for key in keys:
        assert table.pop(key) == key + 1
    table.check_invariants()
    assert len(table) == 0


def test_ascending_keys_fill_their_buckets() -> None:
    table = SortedTable()
    for key in range(1000):
        table.set(key, key)
    assert len(table._keys) == 125
