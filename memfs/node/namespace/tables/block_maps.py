"""Block maps: which version each block of a file is, and which nodes hold it.

Owns the references from inodes to block versions and nothing of block data. Block 0 of most files
lies in the inode's row; a file with more has a table of packed rows, in chunks so that a hole
costs nothing. A block of length 0 without replicas is a hole and takes no row.

A version names the inode under which it was written. After a concat a file holds rows of other
inodes; those stay behind as ABSORBED, so that their versions can still be recognised: ``parent`` is
the file that has them now, ``size`` the position of their block 0 there, ``links`` the rows left.

Invariant (NoEarlyGC): :meth:`is_current` is true of exactly the versions some file refers to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from memfs.node.namespace.containers.interning import Arena, Interned
from memfs.node.namespace.tables.inodes import ABSORBED, FILE, NOWHERE, RESERVED, Inodes
from memfs.protocol.messages import BlockVersion
from memfs.types import BlockRef

ROW: Final = struct.Struct("<QIIIIII")
"""inode, index, generation, sequence, length, crc, number of the replica set"""
Row = tuple[int, int, int, int, int, int, int]

CHUNK_ROWS: Final = 256
_HOLE: Final = bytes(ROW.size)
_QUADS: Final = ROW.size // 8

Table = list[bytearray]
"""Chunks of up to CHUNK_ROWS rows each; a chunk's missing rows are holes."""


def _frozen(table: Table) -> list[bytes]:
    return list(map(bytes, table))


class BlockMaps:
    """The block map of every file."""

    __slots__ = ("absorbed", "dropped", "inodes", "replica_sets", "tables")

    def __init__(self, inodes: Inodes) -> None:
        self.inodes = inodes
        self.replica_sets: Interned[tuple[int, ...]] = Interned(())
        self.tables: Arena[Table, list[bytes]] = Arena([], _frozen)
        self.absorbed: dict[int, list[int]] = {}
        """Slots that a file has absorbed, in order."""
        self.dropped: list[bytearray] = []
        """Chunks cut from files whose rows are still to be released: work for Reclaim."""

    # --- reading -----------------------------------------------------------------------------

    def row(self, slot: int, position: int) -> Row | None:
        """The packed reference at a position; None: a hole or past the end."""
        inodes = self.inodes
        number = inodes.extra[slot]
        if not number:
            first = inodes.block(slot)
            return (inodes.id_of(slot), 0, *first) if first[4] and not position else None
        table = self.tables.items[number]
        chunk, at = divmod(position, CHUNK_ROWS)
        if chunk >= len(table) or at * ROW.size >= len(table[chunk]):
            return None
        row: Row = ROW.unpack_from(table[chunk], at * ROW.size)
        return row if row[6] else None

    def get(self, slot: int, position: int) -> BlockRef:
        """The reference at a position; a hole names the position itself."""
        row = self.row(slot, position)
        if row is None:
            return BlockRef(self.inodes.id_of(slot), position, 0, 0, 0, 0, ())
        return self._ref(row)

    def refs(self, slot: int, first: int, end: int) -> tuple[BlockRef, ...]:
        """References of positions ``first`` to ``end`` - 1, holes included."""
        return tuple([self.get(slot, position) for position in range(first, end)])

    def positions(self, slot: int, first: int = 0) -> Iterator[int]:
        """Positions from ``first`` that are no holes."""
        number = self.inodes.extra[slot]
        if not number:
            if not first and self.inodes.block(slot)[4]:
                yield 0
            return
        table = self.tables.items[number]
        for chunk in range(first // CHUNK_ROWS, len(table)):
            for at in range(len(table[chunk]) // ROW.size):
                position = chunk * CHUNK_ROWS + at
                if position >= first and ROW.unpack_from(table[chunk], at * ROW.size)[6]:
                    yield position

    @staticmethod
    def rows_of(chunk: bytes | bytearray) -> list[Row]:
        """The rows of a chunk that are no holes."""
        return [row for row in ROW.iter_unpack(chunk) if row[6]]

    # --- writing -----------------------------------------------------------------------------

    def put(self, slot: int, position: int, ref: BlockRef, discards: list[BlockRef]) -> None:
        """Let a position refer to ``ref`` (length 0 without replicas: a hole)."""
        old = self.row(slot, position)
        if old is not None:
            discards.append(self._release(old))
        number = self.replica_sets.acquire(ref.replicas)
        self._write(slot, position, (*ref[:6], number))

    def cut(self, slot: int, count: int, discards: list[BlockRef], at_once: int) -> None:
        """Drop all positions from ``count`` on.

        Whole chunks beyond the first ``at_once`` rows are left to :meth:`release_dropped`.
        """
        number = self.inodes.extra[slot]
        if not number:
            old = self.row(slot, 0)
            if old is not None and not count:
                self.inodes.set_block(slot, 0, 0, 0, 0, 0)
                discards.append(self._release(old))
            return
        table = self.tables.changing(number)
        whole, at = divmod(count, CHUNK_ROWS)
        if at and whole < len(table):
            tail = table[whole][at * ROW.size :]
            del table[whole][at * ROW.size :]
            discards += self._release_all(tail)
            whole += 1
        cut = table[whole:]
        del table[whole:]
        if not count:
            self.tables.remove(number)
            self.inodes.set_extra(slot, 0)
        for chunk in cut:
            if len(discards) < at_once:
                discards += self._release_all(chunk)
            elif chunk:
                self.dropped.append(chunk)

    def forget(self, slot: int, discards: list[BlockRef], at_once: int) -> None:
        """Drop all blocks of a file that is freed."""
        self.cut(slot, 0, discards, at_once)
        for source in self.absorbed.pop(slot, ()):
            if self.inodes.kind[source] == ABSORBED:
                self.inodes.set_parent(source, NOWHERE)

    def release_dropped(self, rows: int, discards: list[BlockRef]) -> int:
        """Release up to ``rows`` rows of :attr:`dropped`; returns how many."""
        done = 0
        while self.dropped and done < rows:
            chunk = self.dropped[-1]
            take = min(rows - done, len(chunk) // ROW.size) * ROW.size
            discards += self._release_all(chunk[len(chunk) - take :])
            del chunk[len(chunk) - take :]
            done += take // ROW.size
            if not chunk:
                self.dropped.pop()
        return done

    def set_replicas(
        self,
        versions: Sequence[BlockVersion],
        replicas: Sequence[tuple[int, ...]],
        discards: list[BlockRef],
    ) -> int:
        """Replace the holders of versions; how many of these are current: the others are left out.

        Former holders get theirs as a discard.
        """
        sets, inodes, changed = self.replica_sets, self.inodes, 0
        gone: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, ...]] = {}
        found = self.find_rows(versions)
        for holders, (slot, position, _, row) in zip(replicas, found, strict=True):
            if row is None:
                continue
            changed += 1
            before = sets.values[row[6]]
            number = sets.acquire(holders)
            if inodes.extra[slot]:
                self._write(slot, position, (*row[:6], number))
            else:
                inodes.set_replicas(slot, number)
            sets.release(row[6])
            left = gone.get((before, holders))
            if left is None:
                left = tuple([member for member in before if member not in holders])
                gone[before, holders] = left
            if left:
                discards.append(BlockRef(*row[:6], left))
        return changed

    # --- identity ----------------------------------------------------------------------------

    def current(self, version: BlockVersion) -> BlockRef | None:
        """The reference to a version, None when no file refers to it."""
        return self.find(version)[1]

    def is_outdated(self, version: BlockVersion) -> bool:
        """Has the file a later version of the block, written under the same lease?"""
        where = self._where(version)
        row = self.row(*where) if where else None
        return row is not None and row[:3] == version[:3] and row[3] > version.sequence

    def find(self, version: BlockVersion) -> tuple[int, BlockRef | None]:
        """The slot of the file that refers to a version, and the reference; None: no file does."""
        slot, _, row = self.find_row(version)
        return (NOWHERE, None) if row is None else (slot, self._ref(row))

    def find_row(self, version: BlockVersion) -> tuple[int, int, Row | None]:
        """As :meth:`find`, with the position in the file, and no object made."""
        slot, position, _, row = next(self.find_rows((version,)))
        return slot, position, row

    def find_rows(
        self, versions: Iterable[BlockVersion]
    ) -> Iterator[tuple[int, int, int, Row | None]]:
        """As :meth:`find_row` of many, each as it is when it is its turn; with the number of the
        file's layout before the row."""
        inodes = self.inodes
        kinds, extra = inodes.kind, inodes.extra
        read, cells, size = inodes.header_reader
        for version in versions:
            inode, index, generation, sequence = version
            slot = inode & 0xFFFFFFFF
            if not index and 0 < slot < inodes.used and not extra[slot] and kinds[slot] == FILE:
                # Nearly every block is that of a file which has no other.
                incarnation, layout, written, order, length, crc, replicas = read(
                    cells, slot * size
                )
                if (incarnation, written, order) == (
                    inode >> 32,
                    generation,
                    sequence,
                ) and replicas:
                    yield slot, 0, layout, (inode, 0, generation, sequence, length, crc, replicas)
                    continue
            where = self._where(version)
            found = self.row(*where) if where else None
            if where is None or found is None or found[:4] != version:
                yield NOWHERE, 0, 0, None
            else:
                yield *where, inodes.layout[where[0]], found

    def position_of(self, slot: int, ref: BlockRef) -> int:
        """Where in a file a reference belongs by the inode and index it names; -1: nowhere."""
        where = self._where(ref.version)
        return where[1] if where is not None and where[0] == slot else -1

    def _where(self, version: BlockVersion) -> tuple[int, int] | None:
        slot = self.inodes.slot_of(version[0])
        kind = self.inodes.kind[slot] if slot and version[1] >= 0 else RESERVED
        if kind == FILE:
            return slot, version[1]
        if kind == ABSORBED and self.inodes.parent[slot]:
            return self.inodes.parent[slot], self.inodes.size[slot] + version[1]
        return None

    # --- concat ------------------------------------------------------------------------------

    def absorb(self, target: int, at: int, source: int) -> None:
        """Move the positions of ``source`` to ``at`` and after in ``target``.

        The source becomes ABSORBED, or is left without blocks when it has holes only. What it
        had absorbed itself now belongs to the target.
        """
        inodes = self.inodes
        own = 0
        for first, rows in self._stored(source):
            own += memoryview(rows).cast("Q")[::_QUADS].tolist().count(inodes.id_of(source))
            self._append(target, at + first, rows)
        if inodes.extra[source]:
            self.tables.remove(inodes.extra[source])
        inodes.set_extra(source, 0)
        inodes.set_block(source, 0, 0, 0, 0, 0)
        inherited = self.absorbed.pop(source, [])
        for slot in inherited:
            inodes.set_parent(slot, target)
            inodes.size[slot] += at
        if own:
            inodes.set_kind(source, ABSORBED)
            inodes.set_parent(source, target)
            inodes.size[source] = at
            inodes.links[source] = own
            inherited.append(source)
        if inherited:
            self.absorbed.setdefault(target, []).extend(inherited)

    def _stored(self, slot: int) -> list[tuple[int, bytes | bytearray]]:
        """The rows of a file by chunks that hold any, each with its first position."""
        number = self.inodes.extra[slot]
        if not number:
            row = self.row(slot, 0)
            return [(0, ROW.pack(*row))] if row is not None else []
        table = self.tables.items[number]
        return [(at * CHUNK_ROWS, chunk) for at, chunk in enumerate(table) if chunk]

    def _append(self, slot: int, position: int, rows: bytes | bytearray) -> None:
        """Write packed rows to ``position`` and after, where the file has none yet."""
        table = self.tables.changing(self.inodes.extra[slot] or self._make_table(slot))
        while rows:
            chunk, at = divmod(position, CHUNK_ROWS)
            part = rows[: (CHUNK_ROWS - at) * ROW.size]
            table.extend(bytearray() for _ in range(chunk + 1 - len(table)))
            held = table[chunk]
            assert len(held) <= at * ROW.size, "rows would be overwritten"
            held += bytes(at * ROW.size - len(held)) + part
            rows = rows[len(part) :]
            position += len(part) // ROW.size

    # --- rows --------------------------------------------------------------------------------

    def _ref(self, row: Row) -> BlockRef:
        inode, index, generation, sequence, length, crc, replicas = row
        return BlockRef(
            inode, index, generation, sequence, length, crc, self.replica_sets.values[replicas]
        )

    def _write(self, slot: int, position: int, row: Row) -> None:
        inodes = self.inodes
        number = inodes.extra[slot]
        if not number:
            if not position and row[0] == inodes.id_of(slot):
                inodes.set_block(slot, *row[2:])
                return
            if not row[6]:
                return
            number = self._make_table(slot)
        table = self.tables.changing(number)
        chunk, at = divmod(position, CHUNK_ROWS)
        table.extend(bytearray() for _ in range(chunk + 1 - len(table)))
        rows = table[chunk]
        if row[6]:
            rows += _HOLE * (at + 1 - len(rows) // ROW.size)
            ROW.pack_into(rows, at * ROW.size, *row)
        elif at * ROW.size < len(rows):
            rows[at * ROW.size : (at + 1) * ROW.size] = _HOLE

    def _make_table(self, slot: int) -> int:
        first = self.row(slot, 0)
        table = [bytearray(ROW.pack(*first) if first else b"")]
        number = self.tables.add(table)
        self.inodes.set_extra(slot, number)
        self.inodes.set_block(slot, 0, 0, 0, 0, 0)
        return number

    def _release_all(self, rows: bytearray) -> list[BlockRef]:
        return [self._release(row) for row in self.rows_of(rows)]

    def _release(self, row: Row) -> BlockRef:
        """Give up a row; returns what it referred to."""
        ref = self._ref(row)
        self.replica_sets.release(row[6])
        inodes = self.inodes
        slot = row[0] & 0xFFFFFFFF
        if inodes.kind[slot] == ABSORBED and inodes.slot_of(row[0]):
            inodes.links[slot] -= 1
            if not inodes.links[slot]:
                self._forget_absorbed(slot)
        return ref

    def _forget_absorbed(self, slot: int) -> None:
        siblings = self.absorbed.get(self.inodes.parent[slot])
        if siblings is not None:
            siblings.remove(slot)
            if not siblings:
                del self.absorbed[self.inodes.parent[slot]]
        self.inodes.free(slot)
