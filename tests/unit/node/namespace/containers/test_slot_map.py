"""A map by slot is as a dictionary, and an image of it is as the map was."""

from __future__ import annotations

import random

import pytest

from memfs.node.namespace.containers.slot_map import SlotMap


@pytest.mark.parametrize("seed", range(20))
def test_it_does_what_a_dictionary_does(seed: int) -> None:
    dice, held, model = random.Random(seed), SlotMap[int](), dict[int, int]()
    for number in range(400):
        slot = dice.choice((1, 2047, 2048, 100_000)) + dice.randrange(3)
        if dice.random() < 0.5:
            held[slot] = model[slot] = number
        elif slot in model:
            assert held.pop(slot) == model.pop(slot)
        else:
            with pytest.raises(KeyError):
                del held[slot]
            assert held.pop(slot, -1) == -1 and slot not in held and held.get(slot) is None
        assert (
            len(held) == len(model) and held == model and held.get(slot, -2) == model.get(slot, -2)
        )
    assert sorted(held) == sorted(model) and "1" not in held


@pytest.mark.parametrize("seed", range(20))
def test_an_image_is_of_the_moment_it_was_made(seed: int) -> None:
    dice, held, taken = random.Random(seed), SlotMap[int](), []
    for number in range(400):
        slot = dice.choice((1, 2047, 2048, 100_000)) + dice.randrange(3)
        if dice.random() < 0.6:
            held[slot] = number
        else:
            held.pop(slot, None)
        if dice.random() < 0.05:
            taken.append((dict(held), iter(held.image()), dict[int, int]()))
        for _, parts, read in taken:
            if dice.random() < 0.2:
                read.update(next(parts, {}))
    for expected, parts, read in taken:
        for part in parts:
            read.update(part)
        assert read == expected
    taken.clear()
    del parts
    assert not held.images


def test_a_walk_goes_on_while_others_come_and_go() -> None:
    values: SlotMap[int] = SlotMap()
    values.update(dict.fromkeys((5000, 1, 9000, 7), 0))
    assert list(values.from_slot()) == [1, 7, 5000, 9000]
    assert list(values.from_slot(7)) == [7, 5000, 9000]
    assert list(values.from_slot(5001)) == [9000]
    seen = []
    for slot in values.from_slot():
        seen.append(slot)
        values.pop(5000, None)
        values[20_000] = 0
    assert seen == [1, 7, 9000], "what came is seen by the next walk"
