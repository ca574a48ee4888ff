"""The memory of parts without inodes goes back to the system, and nobody sees a difference."""

from __future__ import annotations

import gc
import random
from array import array
from collections.abc import Iterator

import pytest

from memfs.machine import footprint, trim_malloc
from memfs.node.namespace.tables.inodes import (
    COLUMNS,
    FILE,
    FREE,
    NOWHERE,
    PART_BITS,
    RESERVED,
    ROOT,
    Inodes,
    Part,
)

ROOM, REFUSED = 1 << 32, 1 << 55
"""Most slots; the latter are more than a process has addresses for: the columns are arrays."""
PART = 1 << PART_BITS
AT, ROWS = tuple(COLUMNS).index, tuple(COLUMNS).index("rows")


class Model:
    """What slots hold, in dictionaries."""

    def __init__(self, inodes: Inodes) -> None:
        self.inodes = inodes
        self.held: dict[int, tuple[int, ...]] = {}
        self.incarnations: dict[int, int] = {}
        self.free: list[int] = []
        self.used = ROOT

    def add(self, size: int) -> None:
        slot = self.free.pop() if self.free else self.used
        self.used = max(self.used, slot + 1)
        assert self.inodes.allocate() == slot
        incarnation = self.incarnations.setdefault(slot, 0)
        assert self.inodes.id_of(slot) == incarnation << 32 | slot
        if size % 5:
            self.inodes.fill(slot, FILE, 0o644, 3, ROOT, size, size + 1, 2, 1, size)
            self.inodes.set_block(slot, 1, 2, size, 4, 5)
            self.held[slot] = (FILE, 0o644, ROOT, 3, 1, 2, 1, size, 1, 2, size, 4, 5)
        else:
            self.inodes.set_kind(slot, RESERVED)
            self.held[slot] = (RESERVED,)

    def remove(self, slot: int) -> None:
        self.inodes.free(slot)
        del self.held[slot]
        self.incarnations[slot] += 1
        self.free.append(slot)

    def check(self) -> None:
        inodes = self.inodes
        assert len(inodes) == len(self.held) and list(inodes.free_slots) == self.free
        assert list(inodes.slots()) == sorted(self.held)
        for slot, (kind, *row) in self.held.items():
            inode = self.incarnations[slot] << 32 | slot
            assert (inodes.id_of(slot), inodes.slot_of(inode)) == (inode, slot)
            found = inodes.stat(slot)[1:6]
            assert inodes.kind[slot] == kind and not inodes.extra[slot]
            if row:
                assert row == [inodes.mode[slot], inodes.parent[slot], *found, *inodes.block(slot)]
        for slot in self.free:
            incarnation = self.incarnations[slot]
            assert inodes.kind[slot] == FREE and not any(inodes.block(slot))
            for each in (incarnation, incarnation - 1, 0):
                assert inodes.slot_of(each << 32 | slot) == NOWHERE


class Look:
    """An image, and what it has to show."""

    def __init__(self, model: Model) -> None:
        self.parts: Iterator[Part] = iter(model.inodes.image())
        self.read: list[Part] = []
        self.held = dict(model.held)
        self.incarnations = dict(model.incarnations)
        self.used = model.used

    def check(self) -> None:
        self.read += self.parts
        kinds, sizes, rows = (
            b"".join(part[AT("kind")] for part in self.read),
            b"".join(part[AT("mode")] for part in self.read),
            array("I", b"".join(part[ROWS] for part in self.read)),
        )
        assert len(kinds) == len(sizes) // 2 == len(rows) // 20 == self.used
        for slot in range(ROOT, self.used):
            kind, *row = self.held.get(slot, (FREE,))
            assert kinds[slot] == kind
            assert rows[slot * 20] == self.incarnations[slot]
            if row:
                assert rows[slot * 20 + 1 : slot * 20 + 5].tolist() == row[2:6]
                assert rows[slot * 20 + 15 : slot * 20 + 20].tolist() == row[7:]
            else:
                assert rows[slot * 20 + 15 : slot * 20 + 20].tolist() == [0] * 5


@pytest.mark.parametrize("most", [ROOM, REFUSED])
@pytest.mark.parametrize("seed", range(4))
def test_inodes_are_as_in_a_dictionary(seed: int, most: int) -> None:
    dice, inodes = random.Random(seed), Inodes(most)
    model, looks, emptied = Model(inodes), list[Look](), 0
    steps = inodes.give_back()
    for turn in range(24):
        if dice.random() < 0.55:
            for _ in range(dice.randrange(PART)):
                model.add(dice.randrange(1 << 30))
        else:
            part = dice.randrange(model.used >> PART_BITS) if model.used >= PART else 0
            few = range(part << PART_BITS, (part + 2) << PART_BITS) if turn % 7 else range(1 << 30)
            gone = [slot for slot in model.held if slot in few]
            dice.shuffle(gone)
            for slot in gone:
                model.remove(slot)
        for _ in range(dice.randrange(4)):
            if next(steps, steps) is steps:
                steps = inodes.give_back()
        emptied = max(emptied, inodes.emptied)
        if dice.random() < 0.3:
            model.check()
            looks.append(Look(model))
        if looks and dice.random() < 0.5:
            look = dice.choice(looks)
            look.read += [part for part in [next(look.parts, None)] if part is not None]
        if len(looks) > 2:
            looks.pop(0).check()
    assert bool(emptied) == (most == ROOM)
    for look in looks:
        look.check()
    _restored(model, most)


def _restored(model: Model, most: int) -> None:
    """A restored copy is equal, whether or not it had inodes and empty parts before."""
    copy = Inodes(most)
    other = Model(copy)
    for number in range(3 * PART):
        other.add(number)
    for slot in list(other.held):
        other.remove(slot)
    list(copy.give_back())
    list(model.inodes.give_back())
    parts = list(model.inodes.image())
    copy.begin_restoring()
    for number in range(len(COLUMNS)):
        for part in parts:
            copy.restore(number, memoryview(part[number]))
    while copy.free_slots:
        copy.free_slots.pop()
    copy.free_slots.extend(model.free)
    assert copy.end_restoring(model.used)
    model.inodes = copy
    model.check()
    list(copy.give_back())
    for number in range(2 * PART):
        model.add(number)
    model.check()


def _anonymous() -> int:
    gc.collect()
    trim_malloc()
    return footprint().anonymous


def test_memory_goes_when_everything_is_gone() -> None:
    inodes, count = Inodes(), 200_000
    slots = [inodes.allocate() for _ in range(count)]
    for slot in slots:
        inodes.fill(slot, FILE, 0o644, 1, ROOT, 1, 1)
    for slot in slots:
        inodes.free(slot)
    del slots
    full = _anonymous()
    steps = len(list(inodes.give_back()))
    assert full - _anonymous() > 85 * count
    assert inodes.emptied == count // PART * PART + PART, "the last part is partly fresh"
    assert steps >= inodes.emptied >> PART_BITS, "a part at a time"
    assert len(list(inodes.give_back())) < steps / 16, "nothing more to give"


def test_memory_above_the_top_of_the_stack_goes_unless_an_image_reads_it() -> None:
    inodes, count = Inodes(), 1 << 20
    for slot in range(count):
        inodes.free_slots.push(slot)
    before = _anonymous()
    image = iter(inodes.free_slots.image())
    while inodes.free_slots:
        inodes.free_slots.pop()
    list(inodes.give_back())
    assert sorted(slot for part in image for slot in part) == list(range(count))
    del image
    list(inodes.give_back())
    assert before - _anonymous() > 3 * count
    inodes.free_slots.push(7)
    assert list(inodes.free_slots) == [7]
