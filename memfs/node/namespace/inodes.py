"""Inodes as packed arrays: one slot per inode, 91 bytes each and no object.

Owns the allocation of slots and the meaning of inode ids. Knows nothing of names, trees or
permissions. What path walks read of directories lies in arrays of its own; what stat reads of one
inode lies together, since a cold line of memory costs more than all the work on it.

Invariant (IdNoReuse): an id is ``incarnation << 32 | slot``; the incarnation of a slot grows each
time it is freed, so no id ever means two inodes.
"""

from __future__ import annotations

import struct
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
    "kind": ("B", 1),
    "mode": ("H", 1),
    "parent": ("I", 1),
    "extra": ("I", 1),
    "words": ("I", 10),
    "quads": ("q", 5),
}
"""Name, type code and items per slot of every array."""

_WORDS: Final = struct.Struct("=10I")
_STAT_WORDS: Final = struct.Struct("=5I")
_BLOCK: Final = struct.Struct("=5I")
_QUADS: Final = struct.Struct("=5q")
_TOUCH: Final = struct.Struct("=3q")
_ROW_BYTES: Final = 40
_BLOCK_AT: Final = _STAT_WORDS.size
_TOUCH_AT: Final = 8  # modified, changed, change
assert _WORDS.size == _QUADS.size == _ROW_BYTES
assert array("I").itemsize == 4 and array("q").itemsize == 8

_GROWTH: Final = 4096  # slots added at once: 370 KiB, microseconds
_INCARNATION_MAX: Final = (1 << 32) - 1


class Field:
    """One number per slot, inside rows of several: reads and writes like an array of its own."""

    __slots__ = ("_at", "_cells", "_stride")

    def __init__(self, cells: array[int], stride: int, at: int) -> None:
        self._cells = cells
        self._stride = stride
        self._at = at

    def __getitem__(self, slot: int) -> int:
        return self._cells[slot * self._stride + self._at]

    def __setitem__(self, slot: int, value: int) -> None:
        self._cells[slot * self._stride + self._at] = value


class Inodes:
    """The arrays. A slot is an index into each; :class:`Field` names what rows hold."""

    __slots__ = (
        "accessed",
        "change",
        "changed",
        "extra",
        "free_slots",
        "generation",
        "incarnation",
        "kind",
        "layout",
        "links",
        "mode",
        "modified",
        "owner",
        "parent",
        "quads",
        "size",
        "used",
        "words",
    )

    def __init__(self) -> None:
        self.kind = array("B")
        """A :class:`FileKind`, RESERVED, ABSORBED or FREE."""
        self.mode = array("H")
        self.parent = array("I")
        """Slot of the directory; of a file with several links, that of its home."""
        self.extra = array("I")
        """Number of the directory, symlink target or block table; 0: none."""
        self.words = array("I")
        """Rows of five fields and of block 0 (:meth:`block`)."""
        self.quads = array("q")
        """Rows of five fields."""
        self.incarnation = Field(self.words, 10, 0)
        self.owner = Field(self.words, 10, 1)
        """Number of the (user, group) pair."""
        self.links = Field(self.words, 10, 2)
        self.layout = Field(self.words, 10, 3)
        """Number of the (block size, group blocks, replication) triple; files only."""
        self.generation = Field(self.words, 10, 4)
        self.size = Field(self.quads, 5, 0)
        self.modified = Field(self.quads, 5, 1)
        self.changed = Field(self.quads, 5, 2)
        self.change = Field(self.quads, 5, 3)
        self.accessed = Field(self.quads, 5, 4)
        self.free_slots = array("I")
        """A stack of freed slots."""
        self.used = ROOT
        """Slots ever handed out, slot 0 included; those from here on are fresh."""
        self._grow()

    def __len__(self) -> int:
        """Inodes in use, whatever their kind."""
        return self.used - 1 - len(self.free_slots)

    # --- coming and going --------------------------------------------------------------------

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
        incarnation = self.incarnation[slot]
        if incarnation < _INCARNATION_MAX:
            self.incarnation[slot] = incarnation + 1
            self.free_slots.append(slot)

    def fill(
        self, slot: int, kind: int, mode: int, owner: int, parent: int, now: int, change: int
    ) -> None:
        """Write the rows of a new inode: no content, one link, never leased."""
        self.kind[slot] = kind
        self.mode[slot] = mode
        self.parent[slot] = parent
        self.extra[slot] = 0
        at = slot * _ROW_BYTES
        incarnation = self.words[slot * 10]
        _WORDS.pack_into(self.words, at, incarnation, owner, 1, 0, 0, 0, 0, 0, 0, 0)
        _QUADS.pack_into(self.quads, at, 0, now, now, change, now)

    # --- ids ---------------------------------------------------------------------------------

    def id_of(self, slot: int) -> int:
        """The id of the inode in ``slot``."""
        return self.words[slot * 10] << 32 | slot

    def slot_of(self, inode: int) -> int:
        """The slot of an id, NOWHERE when there is no such inode (any more)."""
        slot = inode & 0xFFFFFFFF
        if inode <= 0 or slot >= self.used or self.words[slot * 10] != inode >> 32:
            return NOWHERE
        return slot if self.kind[slot] != FREE else NOWHERE

    def slots(self) -> Iterator[int]:
        """Slots in use, in order."""
        kinds = self.kind
        return (slot for slot in range(ROOT, self.used) if kinds[slot] != FREE)

    # --- several fields at once --------------------------------------------------------------

    def stat_words(self, slot: int) -> tuple[int, int, int, int, int]:
        """incarnation, owner, links, layout, generation."""
        row: tuple[int, int, int, int, int] = _STAT_WORDS.unpack_from(self.words, slot * _ROW_BYTES)
        return row

    def stat_quads(self, slot: int) -> tuple[int, int, int, int, int]:
        """size, modified, changed, change, accessed."""
        row: tuple[int, int, int, int, int] = _QUADS.unpack_from(self.quads, slot * _ROW_BYTES)
        return row

    def touch(self, slot: int, now: int, change: int) -> None:
        """The content changed: set the times that say so."""
        _TOUCH.pack_into(self.quads, slot * _ROW_BYTES + _TOUCH_AT, now, now, change)

    def block(self, slot: int) -> tuple[int, int, int, int, int]:
        """generation, sequence, length, crc, replica set of block 0; set 0: a hole."""
        row: tuple[int, int, int, int, int] = _BLOCK.unpack_from(
            self.words, slot * _ROW_BYTES + _BLOCK_AT
        )
        return row

    def set_block(
        self, slot: int, generation: int, sequence: int, length: int, crc: int, replicas: int
    ) -> None:
        """Store what :meth:`block` returns."""
        at = slot * _ROW_BYTES + _BLOCK_AT
        _BLOCK.pack_into(self.words, at, generation, sequence, length, crc, replicas)

    def _grow(self) -> None:
        for name, (code, count) in COLUMNS.items():
            cells: array[int] = getattr(self, name)
            fill = b"\xff" if name == "kind" else b"\0"
            cells.frombytes(fill * (_GROWTH * count * array(code).itemsize))
