"""A stack of slots is as a list, and an image of it is as the stack was."""

from __future__ import annotations

import random

import pytest

from memfs.node.namespace.containers.slot_stack import PART, SlotStack


@pytest.mark.parametrize("most", [1 << 32, 1 << 55])
@pytest.mark.parametrize("seed", range(10))
def test_it_does_what_a_list_does_and_images_stay(seed: int, most: int) -> None:
    dice, stack, model, taken = random.Random(seed), SlotStack(most), list[int](), []
    for _ in range(60):
        few = [dice.randrange(1 << 32) for _ in range(dice.randrange(2 * PART))]
        if dice.random() < 0.5:
            stack.extend(few)
            model.extend(few)
        else:
            gone = min(len(few), len(model))
            assert [stack.pop() for _ in range(gone)] == model[len(model) - gone :][::-1]
            del model[len(model) - gone :]
        assert len(stack) == len(model) and list(stack) == model
        if dice.random() < 0.2:
            taken.append((model[:], iter(stack.image()), list[list[int]]()))
        for _, parts, read in taken:
            if dice.random() < 0.3:
                read += [part for part in [next(parts, None)] if part is not None]
    assert taken
    for expected, parts, read in taken:
        read += parts
        assert [slot for part in read for slot in part] == expected
        assert read and all(len(part) <= PART for part in read)


def test_an_empty_stack_has_nothing_on_top() -> None:
    with pytest.raises(AssertionError):
        SlotStack(10).pop()
