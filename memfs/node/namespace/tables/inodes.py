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
from collections.abc import Iterable, Iterator
from typing import Final

from memfs.types import ROOT_INODE, FileKind

FILE: Final = int(FileKind.FILE)
DIRECTORY: Final = int(FileKind.DIRECTORY)
SYMLINK: Final = int(FileKind.SYMLINK)
FIFO: Final = int(FileKind.FIFO)
"""From here on kinds, up to SOCKET, are special files: names with attributes, and nothing else."""
SOCKET: Final = int(FileKind.SOCKET)
RESERVED: Final = 3
"""Promised to a session that writes blocks under it (``ReserveInodes``)."""
ABSORBED: Final = 4
"""Has given its blocks to another file by concat; see ``namespace.tables.block_maps``."""
FREE: Final = 255

NOWHERE: Final = 0
"""The slot of no inode: parent of what is detached from the tree."""
ROOT: Final = ROOT_INODE

COLUMNS: Final = {
    "kind": ("B", 1),
    "mode": ("H", 1),
    "parent": ("I", 1),
    "extra": ("I", 1),
    "rows": ("I", 20),
}
"""Name, type code and items per slot of every array."""

# A row: incarnation, owner, links, layout, generation (words); size, modified, changed, change,
# accessed (quads); generation, sequence, length, crc and replica set of block 0 (words).
_ROW: Final = struct.Struct("=5I5q5I")
_STAT: Final = struct.Struct("=5I5q")
_BLOCK: Final = struct.Struct("=5I")
_WHOLE: Final = struct.Struct("=I16xq32x5I")  # incarnation, size and block 0
_TOUCH: Final = struct.Struct("=3q")
_QUAD: Final = struct.Struct("=q")
_WORDS: Final = 20
_BYTES: Final = 80
_OWNER_AT: Final = 1
_TOUCH_AT: Final = 28  # modified, changed, change
_BLOCK_AT: Final = _STAT.size
assert _WHOLE.size == _ROW.size == _BYTES == _WORDS * array("I").itemsize

_GROWTH: Final = 4096  # slots added at once: 370 KiB, microseconds
_INCARNATION_MAX: Final = (1 << 32) - 1


def is_named(kind: int) -> bool:
    """Is it the kind of what has names, or had?"""
    return kind <= SYMLINK or FIFO <= kind <= SOCKET


Stat = tuple[int, int, int, int, int, int, int, int, int, int]
Whole = tuple[int, int, int, int, int, int, int]


class Column32:
    """A 32-bit field of all rows: reads and writes like an array of its own."""

    __slots__ = ("_at", "_rows")

    def __init__(self, rows: array[int], at: int) -> None:
        self._rows = rows
        self._at = at

    def __getitem__(self, slot: int) -> int:
        return self._rows[slot * _WORDS + self._at]

    def __setitem__(self, slot: int, value: int) -> None:
        self._rows[slot * _WORDS + self._at] = value


class Column64:
    """A 64-bit signed field of all rows: reads and writes like an array of its own."""

    __slots__ = ("_at", "_rows")

    def __init__(self, rows: array[int], at: int) -> None:
        self._rows = rows
        self._at = at

    def __getitem__(self, slot: int) -> int:
        value: int = _QUAD.unpack_from(self._rows, slot * _BYTES + self._at)[0]
        return value

    def __setitem__(self, slot: int, value: int) -> None:
        _QUAD.pack_into(self._rows, slot * _BYTES + self._at, value)


class Inodes:
    """The arrays. A slot is an index into each; words and quads name what rows hold."""

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
        "retired",
        "rows",
        "size",
        "used",
    )

    def __init__(self) -> None:
        self.kind = array("B")
        """A :class:`FileKind`, RESERVED, ABSORBED or FREE."""
        self.mode = array("H")
        """Mode bits, and HAS_ACL."""
        self.parent = array("I")
        """Slot of the directory; of a file with several links, that of its home."""
        self.extra = array("I")
        """Number of the directory, symlink target or block table, 0: none; of a device, its own."""
        self.rows = array("I")
        self.incarnation = Column32(self.rows, 0)
        self.owner = Column32(self.rows, 1)
        """Number of the (user, group) pair."""
        self.links = Column32(self.rows, 2)
        self.layout = Column32(self.rows, 3)
        """Number of the (block size, group blocks, replication) triple; files only."""
        self.generation = Column32(self.rows, 4)
        self.size = Column64(self.rows, 20)
        self.modified = Column64(self.rows, 28)
        self.changed = Column64(self.rows, 36)
        self.change = Column64(self.rows, 44)
        self.accessed = Column64(self.rows, 52)
        self.free_slots = array("I")
        """A stack of freed slots."""
        self.retired = 0
        """Slots whose incarnations are used up; an endless create and delete gets there."""
        self.used = ROOT
        """Slots ever handed out, slot 0 included; those from here on are fresh."""
        self._grow()

    def __len__(self) -> int:
        """Inodes in use, whatever their kind."""
        return self.used - 1 - len(self.free_slots) - self.retired

    def owners_of(self, slots: Iterable[int]) -> list[int]:
        """The numbers of the owners of several inodes."""
        rows = self.rows
        return [rows[slot * _WORDS + _OWNER_AT] for slot in slots]

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
        self.extra[slot] = 0  # a reserved slot is written to before it is filled
        self.set_block(slot, 0, 0, 0, 0, 0)
        incarnation = self.incarnation[slot]
        if incarnation < _INCARNATION_MAX:
            self.incarnation[slot] = incarnation + 1
            self.free_slots.append(slot)
        else:
            self.retired += 1

    def fill(
        self,
        slot: int,
        kind: int,
        mode: int,
        owner: int,
        parent: int,
        now: int,
        change: int,
        layout: int = 0,
        generation: int = 0,
        size: int = 0,
    ) -> None:
        """Write the row of a new inode: one link, no blocks."""
        self.kind[slot] = kind
        self.mode[slot] = mode
        self.parent[slot] = parent
        self.extra[slot] = 0
        rows = self.rows
        incarnation = rows[slot * _WORDS]
        _ROW.pack_into(
            rows,
            slot * _BYTES,
            *(incarnation, owner, 1, layout, generation),
            *(size, now, now, change, now),
            *(0, 0, 0, 0, 0),
        )

    # --- ids ---------------------------------------------------------------------------------

    def id_of(self, slot: int) -> int:
        """The id of the inode in ``slot``."""
        return self.rows[slot * _WORDS] << 32 | slot

    def slot_of(self, inode: int) -> int:
        """The slot of an id, NOWHERE when there is no such inode (any more)."""
        slot = inode & 0xFFFFFFFF
        if inode <= 0 or slot >= self.used or self.rows[slot * _WORDS] != inode >> 32:
            return NOWHERE
        return slot if self.kind[slot] != FREE else NOWHERE

    def slots(self) -> Iterator[int]:
        """Slots in use, in order."""
        kinds = self.kind
        return (slot for slot in range(ROOT, self.used) if kinds[slot] != FREE)

    # --- several fields at once --------------------------------------------------------------

    def stat(self, slot: int) -> Stat:
        """What a row says but for block 0, in its order."""
        row: Stat = _STAT.unpack_from(self.rows, slot * _BYTES)
        return row

    def touch(self, slot: int, now: int, change: int) -> None:
        """The content changed: set the times that say so."""
        _TOUCH.pack_into(self.rows, slot * _BYTES + _TOUCH_AT, now, now, change)

    def block(self, slot: int) -> tuple[int, int, int, int, int]:
        """generation, sequence, length, crc, replica set of block 0; set 0: a hole."""
        row: tuple[int, int, int, int, int] = _BLOCK.unpack_from(
            self.rows, slot * _BYTES + _BLOCK_AT
        )
        return row

    def whole(self, slot: int) -> Whole:
        """Incarnation, size, and what :meth:`block` returns."""
        row: Whole = _WHOLE.unpack_from(self.rows, slot * _BYTES)
        return row

    def set_block(
        self, slot: int, generation: int, sequence: int, length: int, crc: int, replicas: int
    ) -> None:
        """Store what :meth:`block` returns."""
        at = slot * _BYTES + _BLOCK_AT
        _BLOCK.pack_into(self.rows, at, generation, sequence, length, crc, replicas)

    def _grow(self) -> None:
        for name, (code, count) in COLUMNS.items():
            cells: array[int] = getattr(self, name)
            fill = b"\xff" if name == "kind" else b"\0"
            cells.frombytes(fill * (_GROWTH * count * array(code).itemsize))
