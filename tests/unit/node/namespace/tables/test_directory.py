"""The ordered map of one directory against a sorted dictionary."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from memfs.node.namespace.tables.directory import Directory
from memfs.node.namespace.tables.leaf import LEAF, Leaf


def filled(names: list[bytes]) -> Directory:
    directory = Directory()
    for number, name in enumerate(names, 1):
        directory.insert(name, number)
    return directory


def _shown(leaves: Iterable[Leaf]) -> list[dict[bytes, int]]:
    return [dict(leaf.items()) for leaf in leaves]


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_names_come_in_order_whatever_the_order_of_arrival(order: str) -> None:
    names = [b"%05d" % number for number in range(5 * LEAF)]
    arrival = sorted(names, reverse=order == "descending")
    if order == "shuffled":
        random.Random(1).shuffle(arrival)
    directory = filled(arrival)
    directory.check_invariants()
    assert [name for name, _ in directory.after(b"")] == names
    assert all(directory.get(name) == number for number, name in enumerate(arrival, 1))
    assert directory.get(b"00000x") == directory.get(b"zz") == directory.get(b"") == 0


def test_after_begins_behind_any_name_there_or_not() -> None:
    names = [b"%05d" % number for number in range(0, 6 * LEAF, 2)]
    directory = filled(names)
    for after in (b"", b"00000", b"00001", b"01364", b"02048x", names[-1], b"z"):
        expected = [name for name in names if name > after]
        assert [name for name, _ in directory.after(after)] == expected
        assert directory.remaining(after) == len(expected)


def test_random_changes_agree_with_a_dictionary() -> None:
    dice = random.Random(2)
    directory, model = Directory(), dict[bytes, int]()
    for step in range(20_000):
        name = b"%04d" % dice.randrange(4000)
        growing = (step // 5000) % 2 == 0
        if name in model:
            if dice.random() < 0.5:
                directory.replace(name, step + 1)
                model[name] = step + 1
            elif not growing or dice.random() < 0.3:
                directory.remove(name)
                del model[name]
        elif growing:
            directory.insert(name, step + 1)
            model[name] = step + 1
        if step % 500 == 0:
            directory.check_invariants()
            assert list(directory.after(b"")) == sorted(model.items())
    assert directory.count == len(model)


def test_pop_empties_it() -> None:
    directory = filled([b"%05d" % number for number in range(3 * LEAF)])
    found = set()
    while directory.count:
        found.add(directory.pop())
        if directory.count % 200 == 0:
            directory.check_invariants()
    assert len(found) == 3 * LEAF
    directory.insert(b"again", 1)
    directory.check_invariants()


_CHANGES: dict[str, Callable[[Directory], object]] = {
    "insert": lambda directory: directory.insert(b"00010x", 1),
    "replace": lambda directory: directory.replace(b"00010", 7),
    "remove": lambda directory: directory.remove(b"00010"),
    "pop": lambda directory: directory.pop(),
}


@pytest.mark.parametrize("change", _CHANGES)
@pytest.mark.parametrize("count", [300, 2 * LEAF, 2 * LEAF + 9])
def test_what_is_frozen_does_not_change(change: str, count: int) -> None:
    """Of one leaf, of two (insert: the first is full), of two and a small one (pop)."""
    directory = filled([b"%05d" % number for number in range(count)])
    expected = _shown(directory.leaves())
    totals, frozen = directory.freeze()
    _CHANGES[change](directory)
    assert _shown(frozen) == expected != _shown(directory.leaves())
    assert totals == directory.totals
    directory.check_invariants()


def test_what_is_frozen_does_not_change_when_leaves_are_joined() -> None:
    directory = filled([b"%05d" % number for number in range(2 * LEAF)])
    for number in range(LEAF // 4, LEAF):
        directory.remove(b"%05d" % number)
    while len([*directory.leaves()][1]) > LEAF // 8 + 1:
        directory.pop()
    expected = _shown(directory.leaves())
    _, frozen = directory.freeze()
    directory.pop()
    assert len(expected) == 2 and len([*directory.leaves()]) == 1
    assert _shown(frozen) == expected


def test_leaves_of_names_in_order_stay_full() -> None:
    directory = filled([b"%06d" % number for number in range(4 * LEAF)])
    assert [len(leaf) for leaf in directory.leaves()] == [LEAF] * 4


def test_a_name_is_found_by_its_inode_with_its_neighbours() -> None:
    directory = filled([b"%05d" % number for number in range(3 * LEAF)])
    found = directory.names_beside(LEAF + 1)
    assert found[LEAF + 1] == directory.name_of(LEAF + 1) == b"%05d" % LEAF
    assert 1 < len(found) <= LEAF and all(directory.get(n) == slot for slot, n in found.items())
    assert directory.names_beside(3 * LEAF + 1) == {}
