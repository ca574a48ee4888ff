"""Inodes as packed arrays: one slot per inode, 91 bytes each and no object.

Owns the allocation of slots and the meaning of inode ids. Knows nothing of names, trees or
permissions. What path walks read of directories lies in arrays of its own; what stat reads of one
inode lies together, since a cold line of memory costs more than all the work on it.

Invariant (IdNoReuse): an id is ``incarnation << 32 | slot``; the incarnation of a slot grows each
time it is freed, so no id ever means two inodes. What else is left of an inode that was freed means
nothing to later commands. So the memory of parts without inodes can go: their incarnations are kept
compressed until a slot of the part is handed out again.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from memfs.node.namespace.containers.growing import Cells, Growing
from memfs.node.namespace.containers.images import TableImage, TableImages
from memfs.node.namespace.containers.slot_stack import SlotStack
from memfs.types import ROOT_INODE, Buffer, FileKind

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

COLUMNS: Final = {"kind": 1, "mode": 1, "parent": 1, "extra": 1, "rows": 20}
"""Name and items per slot of every array, in the order in which snapshots number them."""

_CODES: Final = "BHIII"
"""Of each, as of an ``array``."""

# A row: incarnation, owner, links, layout, generation (words); size, modified, changed, change,
# accessed (quads); generation, sequence, length, crc and replica set of block 0 (words).
_ROW: Final = struct.Struct("=5I5q5I")
_STAT: Final = struct.Struct("=5I5q")
_BLOCK: Final = struct.Struct("=5I")
_WHOLE: Final = struct.Struct("=I16xq32x5I")  # incarnation, size and block 0
_HEADER: Final = struct.Struct("=I8xI44x5I")  # incarnation, layout and block 0
_FILE: Final = struct.Struct("=5Iq32x5I")  # all but the times
_TOUCH: Final = struct.Struct("=3q")
_QUAD: Final = struct.Struct("=q")
_WORDS: Final = 20
_BYTES: Final = 80
_OWNER_AT: Final = 1
_LINKS_AT: Final = 2
_TOUCH_AT: Final = 28  # modified, changed, change
_BLOCK_AT: Final = _STAT.size
_REPLICAS_AT: Final = _WORDS - 1
assert (
    _HEADER.size == _WHOLE.size == _FILE.size == _ROW.size == _BYTES == _WORDS * array("I").itemsize
)

PART_BITS: Final = 11
"""Of the number of slots that are copied together for a snapshot: 182 KiB, 20 us."""
_PART: Final = 1 << PART_BITS
_ALL_FREE: Final = bytes([FREE]) * _PART
_EMPTIED: Final = ("mode", "parent", "extra", "rows")
"""Columns whose memory goes where a part has no inodes: whole pages of 4 or 8 KiB."""
_LOOKED_AT: Final = 64  # parts, in 20 us

SLOTS_MOST: Final = 1 << 32
"""An id has so many bits for its slot."""
_GROWTH: Final = 4096  # slots added at once, microseconds
_INCARNATION_MAX: Final = (1 << 32) - 1


def is_named(kind: int) -> bool:
    """Is it the kind of what has names, or had?"""
    return kind <= SYMLINK or FIFO <= kind <= SOCKET


Part = list[bytes]
"""Of each column, the bytes of ``1 << PART_BITS`` slots."""

Stat = tuple[int, int, int, int, int, int, int, int, int, int]
Whole = tuple[int, int, int, int, int, int, int]
FileRow = tuple[int, int, int, int, int, int, int, int, int, int, int]
Header = tuple[int, int, int, int, int, int, int]


class Column32:
    """A 32-bit field of all rows: reads and writes like an array of its own."""

    __slots__ = ("_at", "_images", "_rows")

    def __init__(self, rows: Cells, at: int, images: TableImages[Part]) -> None:
        self._rows = rows
        self._at = at
        self._images = images

    def __getitem__(self, slot: int) -> int:
        return self._rows[slot * _WORDS + self._at]

    def __setitem__(self, slot: int, value: int) -> None:
        if self._images:
            self._images.keep(slot >> PART_BITS)
        self._rows[slot * _WORDS + self._at] = value


class Column64:
    """A 64-bit signed field of all rows: reads and writes like an array of its own."""

    __slots__ = ("_at", "_images", "_rows")

    def __init__(self, rows: Cells, at: int, images: TableImages[Part]) -> None:
        self._rows = rows
        self._at = at
        self._images = images

    def __getitem__(self, slot: int) -> int:
        value: int = _QUAD.unpack_from(self._rows, slot * _BYTES + self._at)[0]
        return value

    def __setitem__(self, slot: int, value: int) -> None:
        if self._images:
            self._images.keep(slot >> PART_BITS)
        _QUAD.pack_into(self._rows, slot * _BYTES + self._at, value)


class Inodes:
    """The arrays. A slot is an index into each; words and quads name what rows hold.

    Only methods and columns write to the arrays: what an image still has to see is kept before.
    """

    __slots__ = (
        "_columns",
        "_emptied",
        "_extra",
        "_kind",
        "_mode",
        "_parent",
        "_rows",
        "accessed",
        "change",
        "changed",
        "extra",
        "free_slots",
        "generation",
        "images",
        "incarnation",
        "kind",
        "layout",
        "links",
        "mode",
        "modified",
        "owner",
        "parent",
        "retired",
        "size",
        "used",
    )

    def __init__(self, most: int = SLOTS_MOST) -> None:
        """There will be ``most`` slots at most."""
        self.images: TableImages[Part] = TableImages()
        widths = zip(_CODES, COLUMNS.values(), strict=True)
        self._columns = tuple([Growing(code, most * count) for code, count in widths])
        """In the order of COLUMNS."""
        self._kind, self._mode, self._parent, self._extra, self._rows = [
            column.cells for column in self._columns
        ]
        self.kind: Sequence[int] = self._kind
        """A :class:`FileKind`, RESERVED, ABSORBED or FREE."""
        self.mode: Sequence[int] = self._mode
        """Mode bits, and HAS_ACL."""
        self.parent: Sequence[int] = self._parent
        """Slot of the directory; of a file with several links, that of its home."""
        self.extra: Sequence[int] = self._extra
        """Number of the directory, symlink target or block table, 0: none; of a device, its own."""
        self._emptied: dict[int, bytes] = {}
        """Compressed incarnations of the parts whose memory was given back."""
        rows = self._rows
        self.incarnation = Column32(rows, 0, self.images)
        self.owner = Column32(rows, 1, self.images)
        """Number of the (user, group) pair."""
        self.links = Column32(rows, 2, self.images)
        self.layout = Column32(rows, 3, self.images)
        """Number of the (block size, group blocks, replication) triple; files only."""
        self.generation = Column32(rows, 4, self.images)
        self.size = Column64(rows, 20, self.images)
        self.modified = Column64(rows, 28, self.images)
        self.changed = Column64(rows, 36, self.images)
        self.change = Column64(rows, 44, self.images)
        self.accessed = Column64(rows, 52, self.images)
        self.free_slots = SlotStack(most)
        """Freed slots, the last one first."""
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
        rows = self._rows
        return [rows[slot * _WORDS + _OWNER_AT] for slot in slots]

    # --- coming and going --------------------------------------------------------------------

    def allocate(self) -> int:
        """A slot to fill in; its incarnation is set already."""
        if self.free_slots:
            slot = self.free_slots.pop()
        else:
            slot = self.used
            if slot == self._columns[0].length:
                self._grow()
            self.used = slot + 1
        if slot >> PART_BITS in self._emptied:
            self._fetch(slot >> PART_BITS)
        return slot

    def free(self, slot: int) -> None:
        """Forget the inode. The slot will come back under another id."""
        assert self.kind[slot] != FREE, f"slot {slot} is freed twice"
        if self.images:
            self.images.keep(slot >> PART_BITS)
        self._kind[slot] = FREE
        self._extra[slot] = 0  # a reserved slot is written to before it is filled
        self.set_block(slot, 0, 0, 0, 0, 0)
        incarnation = self.incarnation[slot]
        if incarnation < _INCARNATION_MAX:
            self.incarnation[slot] = incarnation + 1
            self.free_slots.push(slot)
        else:
            self.retired += 1

    def free_file(self, slot: int, incarnation: int) -> None:
        """As :meth:`free`, of a file that nothing but its row says anything of; it has no name and
        no directory any more."""
        if self.images:
            self.images.keep(slot >> PART_BITS)
        self._kind[slot] = FREE
        self._parent[slot] = NOWHERE
        rows, at = self._rows, slot * _WORDS
        rows[at + _LINKS_AT] = 0
        _BLOCK.pack_into(rows, slot * _BYTES + _BLOCK_AT, 0, 0, 0, 0, 0)
        if incarnation < _INCARNATION_MAX:
            rows[at] = incarnation + 1
            self.free_slots.push(slot)
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
        if self.images:
            self.images.keep(slot >> PART_BITS)
        self._kind[slot] = kind
        self._mode[slot] = mode
        self._parent[slot] = parent
        self._extra[slot] = 0
        rows = self._rows
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
        return self._rows[slot * _WORDS] << 32 | slot

    def slot_of(self, inode: int) -> int:
        """The slot of an id, NOWHERE when there is no such inode (any more)."""
        slot = inode & 0xFFFFFFFF
        if inode <= 0 or slot >= self.used or self._rows[slot * _WORDS] != inode >> 32:
            return NOWHERE
        return slot if self.kind[slot] != FREE else NOWHERE

    def slots(self) -> Iterator[int]:
        """Slots in use, in order."""
        kinds = self.kind
        return (slot for slot in range(ROOT, self.used) if kinds[slot] != FREE)

    def of_kind(self, kind: int) -> Iterator[int]:
        """Slots of a kind, in order."""
        kinds = self._kind[: self.used].tobytes()
        slot = NOWHERE
        while (slot := kinds.find(kind, slot + 1)) >= 0:
            yield slot

    # --- one field ---------------------------------------------------------------------------

    def set_kind(self, slot: int, kind: int) -> None:
        """The inode is of another kind now."""
        if self.images:
            self.images.keep(slot >> PART_BITS)
        self._kind[slot] = kind

    def set_mode(self, slot: int, mode: int) -> None:
        """Set what ``mode`` says of the inode."""
        if self.images:
            self.images.keep(slot >> PART_BITS)
        self._mode[slot] = mode

    def set_parent(self, slot: int, parent: int) -> None:
        """Set what ``parent`` says of the inode."""
        if self.images:
            self.images.keep(slot >> PART_BITS)
        self._parent[slot] = parent

    def set_extra(self, slot: int, extra: int) -> None:
        """Set what ``extra`` says of the inode."""
        if self.images:
            self.images.keep(slot >> PART_BITS)
        self._extra[slot] = extra

    # --- several fields at once --------------------------------------------------------------

    def stat(self, slot: int) -> Stat:
        """What a row says but for block 0, in its order."""
        row: Stat = _STAT.unpack_from(self._rows, slot * _BYTES)
        return row

    def touch(self, slot: int, now: int, change: int) -> None:
        """The content changed: set the times that say so."""
        if self.images:
            self.images.keep(slot >> PART_BITS)
        _TOUCH.pack_into(self._rows, slot * _BYTES + _TOUCH_AT, now, now, change)

    def block(self, slot: int) -> tuple[int, int, int, int, int]:
        """generation, sequence, length, crc, replica set of block 0; set 0: a hole."""
        row: tuple[int, int, int, int, int] = _BLOCK.unpack_from(
            self._rows, slot * _BYTES + _BLOCK_AT
        )
        return row

    def file_row(self, slot: int) -> FileRow:
        """Incarnation, owner, links, layout, generation, size, and what :meth:`block` returns."""
        row: FileRow = _FILE.unpack_from(self._rows, slot * _BYTES)
        return row

    def whole(self, slot: int) -> Whole:
        """Incarnation, size, and what :meth:`block` returns."""
        row: Whole = _WHOLE.unpack_from(self._rows, slot * _BYTES)
        return row

    @property
    def wholes(self) -> tuple[Callable[[Buffer, int], Whole], Buffer, int]:
        """How :meth:`whole` reads: it is called with the rows and, for a slot, so many times it."""
        return _WHOLE.unpack_from, self._rows, _BYTES  # type: ignore[return-value]

    @property
    def header_reader(self) -> tuple[Callable[[Buffer, int], Header], Buffer, int]:
        """As :attr:`wholes`, to read incarnation, layout, and what :meth:`block` returns."""
        return _HEADER.unpack_from, self._rows, _BYTES  # type: ignore[return-value]

    def headers(self, first: int, end: int) -> Iterator[tuple[int, int, int, Header]]:
        """Of the slots from ``first`` to ``end`` - 1, as they are now: kind, parent, extra; and
        incarnation, layout, and what :meth:`block` returns."""
        slots = slice(first, end)
        rows: Iterator[Header] = _HEADER.iter_unpack(
            self._rows[first * _WORDS : end * _WORDS].tobytes()
        )
        return zip(
            *(column[slots].tolist() for column in (self._kind, self._parent, self._extra)),
            rows,
            strict=True,
        )

    def set_block(
        self, slot: int, generation: int, sequence: int, length: int, crc: int, replicas: int
    ) -> None:
        """Store what :meth:`block` returns."""
        if self.images:
            self.images.keep(slot >> PART_BITS)
        at = slot * _BYTES + _BLOCK_AT
        _BLOCK.pack_into(self._rows, at, generation, sequence, length, crc, replicas)

    def set_replicas(self, slot: int, replicas: int) -> None:
        """Set the number of the replica set of block 0."""
        if self.images:
            self.images.keep(slot >> PART_BITS)
        self._rows[slot * _WORDS + _REPLICAS_AT] = replicas

    def _grow(self) -> None:
        for column, count in zip(self._columns, COLUMNS.values(), strict=True):
            column.grow(_GROWTH * count, FREE if column.cells is self._kind else 0)

    # --- memory ------------------------------------------------------------------------------

    @property
    def emptied(self) -> int:
        """Slots that take no memory but for their kinds and incarnations."""
        return len(self._emptied) << PART_BITS

    def give_back(self) -> Iterator[None]:
        """Give the memory of parts without inodes back to the system, in steps of 0.1 ms or so;
        inodes may come and go between them."""
        if not all(column.reserved for column in self._columns):
            return
        part = 0
        while (part + 1) << PART_BITS <= min(self._columns[0].length, self.used + _PART - 1):
            if self._is_free(part) and part not in self._emptied:
                self._empty(part)
                yield
            elif not part % _LOOKED_AT:
                yield
            part += 1
        self.free_slots.give_back()

    def _is_free(self, part: int) -> bool:
        first = part << PART_BITS
        return self._kind[first : first + _PART].tobytes() == _ALL_FREE

    def _empty(self, part: int) -> None:
        first, end = part << PART_BITS, (part + 1) << PART_BITS
        incarnations = self._rows[first * _WORDS : end * _WORDS : _WORDS].tobytes()
        self._emptied[part] = zlib.compress(incarnations, level=1)
        for column, (name, count) in zip(self._columns, COLUMNS.items(), strict=True):
            if name in _EMPTIED:
                column.zero(first * count, end * count)

    def _fetch(self, part: int) -> None:
        """Write the incarnations of an emptied part to where they belong."""
        first, end = part << PART_BITS, (part + 1) << PART_BITS
        incarnations = array("I", zlib.decompress(self._emptied.pop(part)))
        self._rows[first * _WORDS : end * _WORDS : _WORDS] = incarnations

    # --- snapshots ---------------------------------------------------------------------------

    def image(self) -> TableImage[Part]:
        """The slots as they are now, in parts; each has the bytes of its columns."""
        used = self.used
        return self.images.begin(
            -(-used // _PART),
            lambda part: self._copy(part, min(used, (part + 1) << PART_BITS)),
        )

    def _copy(self, part: int, end: int) -> Part:
        first = part << PART_BITS
        copied = [
            column.cells[first * count : end * count].tobytes()
            for column, count in zip(self._columns, COLUMNS.values(), strict=True)
        ]
        if part in self._emptied:
            rows = array("I", copied[-1])
            incarnations = array("I", zlib.decompress(self._emptied[part]))
            rows[::_WORDS] = incarnations[: end - first]
            copied[-1] = rows.tobytes()
        return copied

    def begin_restoring(self) -> None:
        """Forget all slots: those of a snapshot follow by :meth:`restore`."""
        self._emptied.clear()
        for column in self._columns:
            column.clear()

    def restore(self, column: int, raw: memoryview) -> None:
        """The next bytes of a column."""
        self._columns[column].extend(raw)

    def end_restoring(self, used: int) -> bool:
        """Whether all columns have as many slots as there are."""
        self.used = used
        return all(
            column.length == used * count
            for column, count in zip(self._columns, COLUMNS.values(), strict=True)
        )
