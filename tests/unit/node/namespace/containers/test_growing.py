"""Numbers that grow in place: nothing that is there is copied, and the fallback is the same."""

from __future__ import annotations

import random
import resource
import tracemalloc
from array import array

import pytest

from memfs.node.namespace.containers.growing import Growing
from memfs.node.namespace.tables.inodes import FILE, FREE, Inodes

RESERVED, REFUSED = 1 << 32, 1 << 55
"""Most numbers; the latter are more than a process has addresses for."""


@pytest.mark.parametrize("most", [RESERVED, REFUSED])
@pytest.mark.parametrize("code", "BHIQ")
def test_it_holds_what_an_array_holds(code: str, most: int) -> None:
    numbers, model = Growing(code, most), array(code)
    cells = numbers.cells
    assert isinstance(cells, array) == (most == REFUSED)
    for _ in range(2):
        numbers.grow(3)
        model.extend((0, 0, 0))
        numbers.extend(memoryview(array(code, (5, 6))).cast("B"))
        model.extend((5, 6))
        numbers.grow(2, 0xFF)
        model.frombytes(b"\xff" * (2 * model.itemsize))
        cells[1] = model[1] = 9
        assert numbers.length == len(model)
        assert cells[: numbers.length].tolist() == model.tolist()
        assert cells[: numbers.length].tobytes() == model.tobytes()
        numbers.clear()
        del model[:]
        assert numbers.length == 0
    numbers.grow(4)
    assert cells[:4].tolist() == [0] * 4, "what was forgotten is 0 again"
    assert numbers.cells is cells


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("code", "BIQ")
def test_numbers_that_are_0_again_keep_their_neighbours(code: str, seed: int) -> None:
    dice, numbers = random.Random(seed), Growing(code, RESERVED)
    model = array(code, [dice.randrange(1, 256) for _ in range(dice.randrange(30_000))])
    numbers.extend(memoryview(model).cast("B"))
    for _ in range(20):
        first = dice.randrange(len(model) + 1)
        end = min(len(model), first + dice.choice((0, 1, 100, 4096, 20_000)))
        assert numbers.reserved
        numbers.zero(first, end)
        for at in range(first, end):
            model[at] = 0
        assert numbers.cells[: numbers.length].tolist() == model.tolist()
        at = dice.randrange(len(model)) if model else 0
        if model:
            numbers.cells[at] = model[at] = 77
    assert not Growing(code, REFUSED).reserved


def test_growing_touches_only_what_is_added() -> None:
    """Each page that is written to for the first time is a fault: of 64 MiB there would be 16,384
    if they were copied or moved to fresh memory."""
    numbers = Growing("B", 1 << 36)
    numbers.grow(64 << 20, 1)
    address = memoryview(numbers.cells)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tracemalloc.start()
    try:
        for _ in range(100):
            numbers.grow(4096, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2000
    assert peak < 64 << 10, "a copy on the heap"
    assert address[(64 << 20) + 1] == 1, "it has moved"


@pytest.mark.parametrize("most", [RESERVED, REFUSED])
def test_inodes_do_not_depend_on_what_can_be_reserved(most: int) -> None:
    inodes = Inodes(most)
    slots = [inodes.allocate() for _ in range(10_000)]
    for slot in slots:
        inodes.fill(slot, FILE, slot & 0o777, slot, 1, slot, slot, size=slot)
    for slot in slots[::3]:
        inodes.free(slot)
    kept = sorted(set(slots) - set(slots[::3]))
    assert list(inodes.slots()) == list(inodes.of_kind(FILE)) == kept
    assert [inodes.size[slot] for slot in kept] == kept == inodes.owners_of(kept)
    assert [inodes.kind[slot] for slot in slots[::3]] == [FREE] * len(slots[::3])
    columns = [b"".join(parts) for parts in zip(*inodes.image(), strict=True)]
    copy = Inodes(most)
    copy.begin_restoring()
    for number, column in enumerate(columns):
        copy.restore(number, memoryview(column))
    copy.free_slots.extend(inodes.free_slots)
    assert copy.end_restoring(inodes.used) and not copy.end_restoring(inodes.used + 1)
    copy.end_restoring(inodes.used)
    assert list(copy.slots()) == kept and len(copy) == len(inodes)
    for each in (copy, inodes):
        assert [each.allocate() for _ in range(2)] == [slots[9999], slots[9996]]
        assert list(each.headers(1, 50)) == list(inodes.headers(1, 50))
