"""Memory that nodes of the same host have lent: descriptors, and where in them blocks lie.

Owns the descriptors, and what is read, checked and mapped through them. Must not know who lends
or what is asked for. Copies are ``preadv`` in pieces, which lets other threads run; long ones are
shared with a second thread (:mod:`memfs.client.reading.shared_work`).
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memfs import limits
from memfs.checksum import combine, crc32c
from memfs.client.reading.chunk_sums import ChunkSums
from memfs.client.reading.shared_work import shared
from memfs.machine import descriptor_limit
from memfs.protocol.messages import BlockVersion, DescriptorsReply
from memfs.types import BlockRef

DESCRIPTORS = 96
"""Taken per generation, of which two are kept; with their mappings 400 of the usual 1024."""
DESCRIPTORS_MAX = 4096
"""The same where a process may have many more: a file that was changed block by block has one for
each, and a mount or a gateway reads many files."""
PIECE_BYTES = limits.MIB
"""Of a block at a time by one of two threads: smaller pieces have them wait for the interpreter."""
SCRATCH_BYTES = 256 * limits.KIB
"""What is only looked at, or goes into a file: half of a second-level cache at a time."""
PLACES = 16_384
"""Block versions remembered per generation."""


class Descriptor:
    """One borrowed descriptor, closed when nothing refers to it any more."""

    __slots__ = ("_mapping", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._mapping: memoryview | None = None

    def __del__(self) -> None:
        os.close(self.number)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Copy ``len(into)`` bytes from ``offset``."""
        done = 0
        while done < len(into):
            got = os.preadv(self.number, [into[done:]], offset + done)
            assert got, "a lent segment is longer than what it tells"
            done += got

    def map(self, offset: int, length: int) -> memoryview:
        """A read-only view of a range, valid as long as somebody holds it."""
        if self._mapping is None:
            self._mapping = memoryview(mmap.mmap(self.number, 0, prot=mmap.PROT_READ))
        return self._mapping[offset : offset + length]


class MemoryPlace(NamedTuple):
    """Where a block version lies."""

    descriptor: Descriptor
    offset: int
    checked: bool = False
    """Its bytes matched the CRC once."""
    sums: ChunkSums | None = None
    """For comparing parts of it, where they were told."""


class MemoryPlaces:
    """Where versions lie (None: not in memory that can be lent), for as long as they are used.

    Two generations: what is used moves into the young one, and the old one is forgotten when the
    young one is full or has had its time. Each step is one operation on a dictionary, so that
    any thread may look up while the event loop enters.
    """

    def __init__(self) -> None:
        self._young: dict[BlockVersion, MemoryPlace | None] = {}
        self._old: dict[BlockVersion, MemoryPlace | None] = {}
        self._descriptors = 0

    def __contains__(self, version: BlockVersion) -> bool:
        return version in self._young or version in self._old

    def __bool__(self) -> bool:
        return bool(self._young or self._old)

    def get(self, version: BlockVersion) -> MemoryPlace | None:
        """The place of ``version`` if it is known to have one."""
        found = self._young.get(version)
        if found is None:
            found = self._old.get(version)
            if found is not None:
                self._young[version] = found
        return found

    def enter(
        self, versions: Sequence[BlockVersion], reply: DescriptorsReply, numbers: list[int]
    ) -> None:
        """Take over what a node answered, and the descriptors."""
        descriptors = [Descriptor(number) for number in numbers]
        self._descriptors += len(descriptors)
        if self._descriptors > _descriptors_kept() or len(self._young) > PLACES:
            self.age()
        for version, segment in zip(versions, reply.segments, strict=True):
            self._young[version] = (
                MemoryPlace(
                    descriptors[segment.descriptor],
                    segment.offset,
                    sums=ChunkSums(segment.sums, segment.length) if segment.sums else None,
                )
                if segment.descriptor >= 0
                else None
            )

    def mark_checked(self, version: BlockVersion, place: MemoryPlace | None) -> None:
        """Note that a version was checked, or that its copy is corrupt and must be read over the
        network."""
        self._young[version] = place

    def forget_absent(self, version: BlockVersion) -> None:
        """Ask again where ``version`` lies, if it was in no memory that can be lent."""
        for places in (self._young, self._old):
            if places.get(version, self) is None:
                del places[version]

    def age(self) -> None:
        """Forget the old generation; the young one is old now."""
        self._old, self._young = self._young, {}
        self._descriptors = 0


def _descriptors_kept() -> int:
    """Per generation."""
    return max(DESCRIPTORS, min(DESCRIPTORS_MAX, descriptor_limit() // 16))


class BlockCopy(NamedTuple):
    """Bytes of one block from ``start`` on that are wanted elsewhere; all of them are in it."""

    ref: BlockRef
    place: MemoryPlace
    start: int
    length: int
    into: memoryview | None = None
    """Where they go; None: to ``file``."""
    file: int = -1
    """A descriptor that they are written to, at byte ``at``; -1: none, they are looked at."""
    at: int = 0

    @property
    def unchecked(self) -> bool:
        """Whether these bytes have to be compared with the CRC of the block: they are all of it."""
        return not self.place.checked and bool(self.ref.generation)  # 0: a store's, no CRC


class _Piece(NamedTuple):
    """A part of a :class:`BlockCopy`, one thread's work."""

    descriptor: Descriptor
    offset: int
    length: int
    into: memoryview | None
    file: int
    at: int
    check: bool


class _Scratch(threading.local):
    """Memory of each thread for what is only looked at, or on its way into a file."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(SCRATCH_BYTES))


_scratch = _Scratch()


def copy_blocks(copies: Sequence[BlockCopy]) -> list[bool]:
    """Make copies, and compare those with their CRCs that were not yet; which of them are good.

    What is not good has been copied, too, and is nothing. Raises OSError of the file written to.
    """
    pieces = [piece for copy in copies for piece in _pieces(copy)]
    crcs = iter(shared(_copy_piece, pieces))
    found = [list(itertools.islice(crcs, -(-copy.length // PIECE_BYTES))) for copy in copies]
    return [
        not copy.unchecked or _joined(copy.length, each) == copy.ref.crc
        for copy, each in zip(copies, found, strict=True)
    ]


def _pieces(copy: BlockCopy) -> Iterator[_Piece]:
    place, into, check = copy.place, copy.into, copy.unchecked
    assert not check or copy.length == copy.ref.length, "a part has no CRC"
    for done in range(0, copy.length, PIECE_BYTES):
        length = min(PIECE_BYTES, copy.length - done)
        yield _Piece(
            place.descriptor,
            place.offset + copy.start + done,
            length,
            None if into is None else into[done : done + length],
            copy.file,
            copy.at + done,
            check,
        )


def _copy_piece(piece: _Piece) -> int:
    """Its CRC, 0 where nobody asks."""
    descriptor, offset, length, into, file, at, check = piece
    if into is not None:
        descriptor.read_into(offset, into)
        return crc32c(into) if check else 0
    crc = 0
    for done in range(0, length, SCRATCH_BYTES):
        part = _scratch.memory[: length - done]
        descriptor.read_into(offset + done, part)
        if check:
            crc = crc32c(part, crc)
        if file >= 0:
            _write(file, part, at + done)
    return crc


def _write(file: int, data: memoryview, at: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], at + done)


def _joined(length: int, crcs: Sequence[int]) -> int:
    """The CRC of ``length`` bytes by those of their pieces."""
    total = 0
    for done, crc in zip(range(0, length, PIECE_BYTES), crcs, strict=True):
        total = combine(total, crc, min(PIECE_BYTES, length - done))
    return total
