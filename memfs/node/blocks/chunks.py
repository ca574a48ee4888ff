"""CRC32C of blocks by 64 KiB chunks: kept, extended and checked.

Owns the arithmetic that makes the cost of an append independent of the block's length, and lets a
small read verify only the chunks it touches. Pure: it reads buffers and returns numbers.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from memfs.checksum import combine, crc32c
from memfs.limits import CHUNK_BYTES

Reader = Callable[[int, int], memoryview]
"""The bytes from a start to a stop offset of a block."""

NO_CHUNKS: Sequence[int] = ()
"""What a block below 64 KiB has; shared, so that a small block costs no list."""


class Piece(NamedTuple):
    """A range of a block that lies within one chunk."""

    offset: int
    length: int
    crc: int


class Checks(NamedTuple):
    """The checksums of ``length`` bytes of a block."""

    crc: int
    """CRC32C of all of them."""
    tail: int
    """CRC32C of the last, incomplete chunk; 0 when it is empty."""


class PieceCrcs:
    """CRCs of a payload as it arrives, cut where the chunks of its block are."""

    __slots__ = ("_at", "_done", "_parts", "pieces")

    def __init__(self, parts: Sequence[tuple[int, memoryview]]) -> None:
        """``parts``: block offset and buffer of each extent, in the payload's order."""
        self._parts = [part for part in reversed(parts) if len(part[1])]
        self._at = 0
        self._done = 0
        self.pieces: list[Piece] = []

    @classmethod
    def known(cls, length: int, crcs: Sequence[int]) -> PieceCrcs:
        """Of a whole block of ``length`` bytes, with the CRC32C of each chunk."""
        found = cls(())
        starts = range(0, length, CHUNK_BYTES)
        found.pieces = [
            Piece(start, min(CHUNK_BYTES, length - start), crc)
            for start, crc in zip(starts, crcs, strict=True)
        ]
        return found

    def advance(self, total: int, *, complete: bool = False) -> None:
        """``total`` bytes are here: check their whole chunks; with ``complete``, the rest too."""
        while self._parts and (self._done < total or complete):
            offset, buffer = self._parts[-1]
            start = offset + self._at
            length = min(CHUNK_BYTES - start % CHUNK_BYTES, len(buffer) - self._at)
            if self._done + length > total:
                assert not complete, "a payload that is not complete"
                return
            crc = crc32c(buffer[self._at : self._at + length])
            self.pieces.append(Piece(start, length, crc))
            self._done += length
            self._at += length
            if self._at == len(buffer):
                self._parts.pop()
                self._at = 0

    def crc(self) -> int:
        """CRC32C of the payload so far."""
        total = 0
        for piece in self.pieces:
            total = combine(total, piece.crc, piece.length)
        return total


def append(
    chunks: Sequence[int], length: int, base: Checks, pieces: Sequence[Piece]
) -> tuple[Sequence[int], Checks]:
    """Extend the chunks and checks of ``length`` bytes by what directly follows them.

    O(bytes appended): ``chunks`` is extended in place, once it is an array.
    """
    crc, tail, filled = base.crc, base.tail, length % CHUNK_BYTES
    for piece in pieces:
        crc = combine(crc, piece.crc, piece.length)
        tail = combine(tail, piece.crc, piece.length) if filled else piece.crc
        filled += piece.length
        assert filled <= CHUNK_BYTES, "a piece across the boundary of a chunk"
        if filled == CHUNK_BYTES:
            chunks = extended(chunks, tail)
            tail = filled = 0
    return chunks, Checks(crc, tail)


def rebuild(
    known: Callable[[int], int | None], length: int, pieces: Sequence[Piece], read: Reader
) -> tuple[Sequence[int], Checks]:
    """Chunks and checks of a block of ``length`` bytes.

    A chunk's CRC comes from a piece that is all of it, or from ``known(index)``, or from the
    bytes.
    """
    given = {piece.offset: piece for piece in pieces if piece.offset % CHUNK_BYTES == 0}
    chunks, crc, tail = NO_CHUNKS, 0, 0
    for start, stop in spans(length):
        piece = given.get(start)
        value: int | None = None
        if piece is not None and piece.length == stop - start:
            value = piece.crc
        elif stop - start == CHUNK_BYTES:
            value = known(start // CHUNK_BYTES)
        if value is None:
            value = crc32c(read(start, stop))
        crc = combine(crc, value, stop - start)
        if stop - start == CHUNK_BYTES:
            chunks = extended(chunks, value)
        else:
            tail = value
    return chunks, Checks(crc, tail)


def prefix(chunks: Sequence[int], length: int, read: Reader) -> Checks:
    """Checks of the first ``length`` bytes, whose whole chunks are known; reads the last one."""
    whole = length // CHUNK_BYTES
    crc = tail = 0
    for value in chunks[:whole]:
        crc = combine(crc, value, CHUNK_BYTES)
    rest = length - whole * CHUNK_BYTES
    if rest:
        tail = crc32c(read(whole * CHUNK_BYTES, length))
        crc = combine(crc, tail, rest)
    return Checks(crc, tail)


def intact(
    chunks: Sequence[int], tail: int, length: int, start: int, stop: int, read: Reader
) -> bool:
    """Whether the chunks that hold bytes ``start`` to ``stop`` match their CRCs."""
    for index in range(start // CHUNK_BYTES, -(-stop // CHUNK_BYTES)):
        first = index * CHUNK_BYTES
        last = min(first + CHUNK_BYTES, length)
        expected = chunks[index] if last - first == CHUNK_BYTES else tail
        if crc32c(read(first, last)) != expected:
            return False
    return True


def truncated(chunks: Sequence[int], length: int) -> Sequence[int]:
    """The same list without the chunks that are not whole in ``length`` bytes."""
    if isinstance(chunks, array):
        del chunks[length // CHUNK_BYTES :]
    return chunks


def extended(chunks: Sequence[int], crc: int) -> Sequence[int]:
    """``chunks`` with one more: the same array, unless it is the shared empty one."""
    if isinstance(chunks, array):
        chunks.append(crc)
        return chunks
    return array("I", (*chunks, crc))


def spans(length: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each chunk of ``length`` bytes."""
    for start in range(0, length, CHUNK_BYTES):
        yield start, min(start + CHUNK_BYTES, length)


def chunk_sums(chunks: Sequence[int], tail: int, length: int) -> bytes:
    """The CRCs of all chunks of a block for a reader: 4 bytes each, little-endian."""
    whole, rest = divmod(length, CHUNK_BYTES)
    return struct.pack(f"<{whole}I", *chunks[:whole]) + (struct.pack("<I", tail) if rest else b"")
