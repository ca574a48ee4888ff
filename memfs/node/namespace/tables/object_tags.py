"""Version tags of external stores' objects, by the slot of their file: 17 bytes for most.

A quoted MD5, as most ETags are, lies as its 16 bytes, also with the number of parts that an object
in parts has behind it (``"...-12"``), up to 253; other tags lie beside.

Owns their encoding, and images of them for snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from memfs.node.namespace.containers.images import TableImage, TableImages

_SLOTS: Final = 1024
"""Of a chunk."""
_WIDTH: Final = 17
"""Bytes of an entry: one for the kind of tag, 16 for its digest."""
_MD5: Final = 34  # of an ETag in its quotes, 32 hexadecimal digits

_NONE: Final = 0
_DIGEST: Final = 1
_OTHER: Final = 2
_IN_PARTS: Final = 2
"""The kind of a tag with a number of parts is this plus that number."""
_PARTS_MAX: Final = 255 - _IN_PARTS


class Chunk(NamedTuple):
    """Tags of slots that follow one another."""

    rows: bytearray | bytes
    others: dict[int, bytes]
    """Those of another form, by slot; the empty one is not here."""

    def tag(self, slot: int) -> bytes | None:
        """The tag of a slot in this chunk."""
        at = slot % _SLOTS * _WIDTH
        kind = self.rows[at]
        if kind == _NONE:
            return None
        if kind == _OTHER:
            return self.others.get(slot, b"")
        parts = b"-%d" % (kind - _IN_PARTS) if kind > _IN_PARTS else b""
        return b'"' + self.rows[at + 1 : at + _WIDTH].hex().encode() + parts + b'"'


_EMPTY: Final = Chunk(bytes(_SLOTS * _WIDTH), {})


class Tags:
    """Tags by slot; memory goes to chunks of slots that have some."""

    __slots__ = ("_chunks", "count", "images")

    def __init__(self) -> None:
        self._chunks: dict[int, Chunk] = {}
        self.images: TableImages[Chunk] = TableImages()
        self.count = 0

    def __contains__(self, slot: int) -> bool:
        chunk = self._chunks.get(slot // _SLOTS)
        return chunk is not None and chunk.rows[slot % _SLOTS * _WIDTH] != _NONE

    def get(self, slot: int) -> bytes | None:
        """The tag, None: the store has nothing under the name, as far as is known."""
        chunk = self._chunks.get(slot // _SLOTS)
        return None if chunk is None else chunk.tag(slot)

    def set(self, slot: int, tag: bytes) -> None:
        """The store has this version of it."""
        rows, others = self._changing(slot)
        at = slot % _SLOTS * _WIDTH
        self.count += rows[at] == _NONE
        others.pop(slot, None)
        packed = _packed(tag)
        if packed:
            rows[at : at + _WIDTH] = packed
            return
        rows[at] = _OTHER
        if tag:
            others[slot] = tag

    def pop(self, slot: int) -> None:
        """Forget it."""
        if slot not in self:
            return
        rows, others = self._changing(slot)
        rows[slot % _SLOTS * _WIDTH] = _NONE
        others.pop(slot, None)
        self.count -= 1
        if not self.count:
            self._chunks.clear()

    def items(self) -> Iterator[tuple[int, bytes]]:
        """All of them, by slot."""
        return listed((number, self._chunks[number]) for number in sorted(self._chunks))

    def image(self) -> TableImage[Chunk]:
        """The chunks as they are now; many may be empty."""
        return self.images.begin(max(self._chunks, default=-1) + 1, self._copy)

    def _changing(self, slot: int) -> tuple[bytearray, dict[int, bytes]]:
        number = slot // _SLOTS
        if self.images:
            self.images.keep(number)
        rows, others = self._chunks.setdefault(number, Chunk(bytearray(_EMPTY.rows), {}))
        assert isinstance(rows, bytearray), "an image's chunk"
        return rows, others

    def _copy(self, number: int) -> Chunk:
        chunk = self._chunks.get(number)
        return _EMPTY if chunk is None else Chunk(bytes(chunk.rows), chunk.others.copy())


def listed(chunks: Iterable[tuple[int, Chunk]]) -> Iterator[tuple[int, bytes]]:
    """Slots and tags of numbered chunks."""
    for number, chunk in chunks:
        if chunk is not _EMPTY:
            for slot in range(number * _SLOTS, (number + 1) * _SLOTS):
                tag = chunk.tag(slot)
                if tag is not None:
                    yield slot, tag


def _packed(tag: bytes) -> bytes:
    """A quoted MD5, with a number of parts perhaps, as 17 bytes; empty: it is something else."""
    digits, dash, count = tag[1:-1].partition(b"-")
    if len(tag) < _MD5 or tag[:1] != b'"' or tag[-1:] != b'"' or len(digits) != _MD5 - 2:
        return b""
    if dash and not (count.isdigit() and 0 < int(count) <= _PARTS_MAX and count[:1] != b"0"):
        return b""
    try:
        raw = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""
    if raw.hex().encode() != digits:
        return b""
    return bytes([_IN_PARTS + int(count) if dash else _DIGEST]) + raw
