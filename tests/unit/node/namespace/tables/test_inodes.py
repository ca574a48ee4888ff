"""Slots and ids."""

from __future__ import annotations

from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, NOWHERE, Inodes


def test_an_id_is_never_used_twice() -> None:
    inodes = Inodes()
    seen = set()
    for _ in range(100):
        slot = inodes.allocate()
        inodes.fill(slot, FILE, 0o644, 0, 1, 5, 6)
        inode = inodes.id_of(slot)
        assert inode not in seen and inodes.slot_of(inode) == slot
        seen.add(inode)
        inodes.free(slot)
        assert inodes.slot_of(inode) == NOWHERE
    assert len({inode & 0xFFFFFFFF for inode in seen}) == 1, "the slot is reused"


def test_a_slot_whose_incarnations_are_used_up_is_retired() -> None:
    inodes = Inodes()
    slot = inodes.allocate()
    inodes.fill(slot, FILE, 0, 0, 1, 0, 0)
    inodes.incarnation[slot] = 0xFFFFFFFF
    inodes.free(slot)
    assert inodes.allocate() != slot
    assert inodes.slot_of(0xFFFFFFFF << 32 | slot) == NOWHERE and len(inodes) == 1


def test_ids_that_never_were_lead_nowhere() -> None:
    inodes = Inodes()
    for inode in (0, -1, 1, 99, 1 << 32, 1 << 64, -(1 << 63)):
        assert inodes.slot_of(inode) == NOWHERE


def test_a_row_keeps_its_fields_apart() -> None:
    inodes = Inodes()
    inodes.allocate()
    slots = [inodes.allocate() for _ in range(5000)]
    for slot in slots:
        inodes.fill(slot, DIRECTORY, 0o7777, slot, slot + 1, -5, 1 << 62)
        inodes.links[slot], inodes.size[slot] = 3, 1 << 48
        inodes.set_block(slot, 1, 2, 3, 4, 5)
        inodes.touch(slot, slot, slot)
    for slot in slots:
        row = (0, slot, 3, 0, 0, 1 << 48, slot, slot, slot, -5)
        assert inodes.stat(slot) == row
        assert inodes.block(slot) == (1, 2, 3, 4, 5)
        assert (inodes.kind[slot], inodes.mode[slot], inodes.parent[slot]) == (1, 0o7777, slot + 1)
        assert inodes.accessed[slot] == -5 and inodes.modified[slot] == slot
