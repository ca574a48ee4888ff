"""A leaf is as a dictionary from names to slots, and takes no object for a slot."""

from __future__ import annotations

import random
import sys

import pytest

from memfs.node.namespace.tables.leaf import LEAF, Leaf


@pytest.mark.parametrize("seed", range(20))
def test_it_does_what_a_dictionary_does(seed: int) -> None:
    dice, leaf, model = random.Random(seed), Leaf(), dict[bytes, int]()
    copies: list[tuple[Leaf, list[tuple[bytes, int]]]] = []
    for turn in range(3000):
        name, slot = b"%d" % dice.randrange(2 * LEAF), dice.randrange(1, 1 << 32)
        growing = turn // 1000 != 1
        if name in model:
            if dice.random() < 0.5:
                leaf.replace(name, slot)
                model[name] = slot
            elif not growing or dice.random() < 0.2:
                assert leaf.pop(name) == model.pop(name)
        elif not growing and model:
            assert leaf.popitem() == model.popitem()
        elif len(model) < LEAF:
            leaf.add(name, slot)
            model[name] = slot
        assert leaf.slots[leaf.places.get(name, 0)] == model.get(name, 0)
        if not dice.randrange(300):
            leaf.check_invariants()
            assert list(leaf.items()) == list(model.items()) and list(leaf) == list(model)
            assert list(leaf.values()) == list(model.values()) and len(leaf) == len(model)
            for held in (slot, *list(model.values())[:5]):
                named = next((each for each in model if model[each] == held), None)
                assert leaf.name_of(held) == named
            copies.append((leaf.copy(), list(model.items())))
    while model:
        assert leaf.popitem() == model.popitem()
    leaf.check_invariants()
    for copied, expected in copies:
        copied.check_invariants()
        assert list(copied.items()) == expected


def test_a_leaf_of_a_snapshot_has_as_many_slots_as_names_and_not_too_many() -> None:
    names = [b"%d" % number for number in range(LEAF + 1)]
    assert list(Leaf(names[:LEAF], range(5, LEAF + 5)).items()) == list(
        zip(names[:LEAF], range(5, LEAF + 5), strict=True)
    )
    for count, slots in ((3, 2), (2, 3), (LEAF + 1, LEAF + 1)):
        with pytest.raises(ValueError, match=r"a leaf of|shorter|longer"):
            Leaf(names[:count], range(slots))


def test_an_emptied_leaf_takes_as_little_as_a_new_one() -> None:
    leaf = Leaf()
    new = sys.getsizeof(leaf.places) + sys.getsizeof(leaf.slots)
    for number in range(LEAF):
        leaf.add(b"%d" % number, number + 1)
    full = sys.getsizeof(leaf.places) + sys.getsizeof(leaf.slots)
    assert full < 32 * LEAF
    while leaf:
        leaf.popitem()
    assert sys.getsizeof(leaf.places) + sys.getsizeof(leaf.slots) == new
