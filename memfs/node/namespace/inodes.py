"""Inodes as columns: one typed array per attribute, one slot per inode.

Owns the allocation of slots and the meaning of inode ids. Knows nothing of names, trees or
permissions. A million inodes are twenty arrays, not a million objects: 91 bytes each.

Invariant (IdNoReuse): an id is ``incarnation << 32 | slot``; the incarnation of a slot grows each
time it is freed, so no id ever means two inodes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

from memfs.types import ROOT_INODE, FileKind

FILE: Final = int(FileKind.FILE)
DIRECTORY: Final = int(FileKind.DIRECTORY)
SYMLINK: Final = int(FileKind.SYMLINK)
RESERVED: Final = 3
"""Promised to a session that writes blocks under it (``ReserveInodes``)."""
ABSORBED: Final = 4
"""Has given its blocks to another file by concat; see ``memfs.node.namespace.blocks``."""
FREE: Final = 255

NOWHERE: Final = 0
"""The slot of no inode: parent of what is detached from the tree."""
ROOT: Final = ROOT_INODE

COLUMNS: Final = {
    "incarnation": "I",
    "kind": "B",
    "mode": "H",
    "owner": "I",
    "parent": "I",
    "links": "I",
    "size": "Q",
    "modified": "q",
    "changed": "q",
    "accessed": "q",
    "change": "Q",
    "generation": "I",
    "layout": "I",
    "extra": "I",
    "block_generation": "I",
    "block_sequence": "I",
    "block_length": "I",
    "block_crc": "I",
    "block_replicas": "I",
}
"""Name and type code of every column."""

_GROWTH: Final = 4096  # rows added at once: 370 KiB, microseconds
_INCARNATION_MAX: Final = (1 << 32) - 1


class Inodes:
    """The columns. A slot is an index into each of them."""

    __slots__ = (*COLUMNS, "free_slots", "used")

    incarnation: array[int]
    kind: array[int]
    """A :class:`FileKind`, RESERVED, ABSORBED or FREE."""
    mode: array[int]
    owner: array[int]
    """Number of the (user, group) pair."""
    parent: array[int]
    """Slot of the directory; of a file with several links, that of its home."""
    links: array[int]
    size: array[int]
    modified: array[int]
    changed: array[int]
    accessed: array[int]
    change: array[int]
    generation: array[int]
    layout: array[int]
    """Number of the (block size, group blocks, replication) triple; files only."""
    extra: array[int]
    """Number of the directory, symlink target or block table; 0: none."""
    block_generation: array[int]
    block_sequence: array[int]
    block_length: array[int]
    block_crc: array[int]
    block_replicas: array[int]
    """Number of the replica set of block 0 kept in the row; 0: the block is a hole."""
    used: int
    """Slots ever handed out, slot 0 included; those from here on are fresh."""
    free_slots: array[int]
    """A stack of freed slots."""

    def __init__(self) -> None:
        for name, code in COLUMNS.items():
            setattr(self, name, array(code))
        self.free_slots = array("I")
        self.used = ROOT
        self._grow()

    def __len__(self) -> int:
        """Inodes in use, whatever their kind."""
        return self.used - 1 - len(self.free_slots)

    def allocate(self) -> int:
        """A slot to fill in; its incarnation is set already."""
        if self.free_slots:
            return self.free_slots.pop()
        slot = self.used
        if slot == len(self.kind):
            self._grow()
        self.used = slot + 1
        return slot

    def free(self, slot: int) -> None:
        """Forget the inode. The slot will come back under another id."""
        assert self.kind[slot] != FREE, f"slot {slot} is freed twice"
        self.kind[slot] = FREE
        self.extra[slot] = self.block_replicas[slot] = 0
        if self.incarnation[slot] < _INCARNATION_MAX:
            self.incarnation[slot] += 1
            self.free_slots.append(slot)

    def id_of(self, slot: int) -> int:
        """The id of the inode in ``slot``."""
        return self.incarnation[slot] << 32 | slot

    def slot_of(self, inode: int) -> int:
        """The slot of an id, NOWHERE when there is no such inode (any more)."""
        slot = inode & 0xFFFFFFFF
        if inode <= 0 or slot >= self.used or self.incarnation[slot] != inode >> 32:
            return NOWHERE
        return slot if self.kind[slot] != FREE else NOWHERE

    def fill(
        self, slot: int, kind: int, mode: int, owner: int, parent: int, now: int, change: int
    ) -> None:
        """Write the row of a new inode: no content, one link, never leased."""
        self.kind[slot] = kind
        self.mode[slot] = mode
        self.owner[slot] = owner
        self.parent[slot] = parent
        self.links[slot] = 1
        self.size[slot] = 0
        self.modified[slot] = self.changed[slot] = self.accessed[slot] = now
        self.change[slot] = change
        self.generation[slot] = self.layout[slot] = 0

    def slots(self) -> Iterator[int]:
        """Slots in use, in order."""
        kinds = self.kind
        return (slot for slot in range(ROOT, self.used) if kinds[slot] != FREE)

    def _grow(self) -> None:
        for name, code in COLUMNS.items():
            column = getattr(self, name)
            fill = b"\xff" if name == "kind" else b"\0"
            column.frombytes(fill * (_GROWTH * array(code).itemsize))
