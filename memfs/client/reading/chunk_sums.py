"""Parts of a block that a node of this host lends, each compared when it is first read.

Owns the CRCs of the block's chunks of 64 KiB, as its node told them, and which chunks were
compared. What is told is believed only if it makes up the CRC that the block's writer computed. So
a reader of small parts looks at each byte once, not first at all of the block.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable

from memfs.checksum import combine, crc32c
from memfs.limits import CHUNK_BYTES

RUN_BYTES = 4 * CHUNK_BYTES
"""Read at a time: half of a second-level cache."""

ReadInto = Callable[[int, memoryview], None]
"""Fill a buffer from an offset."""


class _ChunkScratch(threading.local):
    """Memory of each thread for a chunk of which only a part is wanted."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(CHUNK_BYTES))


_scratch = _ChunkScratch()


class ChunkSums:
    """CRCs of the chunks of one block version. Any thread may use it."""

    __slots__ = ("_believed", "_compared", "_crcs", "_length")

    def __init__(self, told: bytes, length: int) -> None:
        """``told``: a CRC32C for each chunk, the last may be short; 4 bytes each, little-endian."""
        self._crcs = struct.unpack(f"<{-(-length // CHUNK_BYTES)}I", told)
        self._length = length
        self._compared = bytearray(-(-length // CHUNK_BYTES))
        self._believed: bool | None = None

    def make_up(self, crc: int) -> bool:
        """Whether they are those of a block with this CRC."""
        if self._believed is None:
            total = 0
            for chunk, each in enumerate(self._crcs):
                total = combine(total, each, self._size(chunk))
            self._believed = total == crc
        return self._believed

    @property
    def complete(self) -> bool:
        """Whether all of the block was compared."""
        return 0 not in self._compared

    def copy(self, read_into: ReadInto, base: int, start: int, into: memoryview) -> bool:
        """Fill ``into`` from byte ``start`` of the block, which reaches as far; False: corrupt.

        ``base``: where the block begins in what ``read_into`` reads.
        """
        done = 0
        while done < len(into):
            chunk, within = divmod(start + done, CHUNK_BYTES)
            rest, size = into[done:] if done else into, self._size(chunk)
            first = base + chunk * CHUNK_BYTES
            if within or len(rest) < size:
                count = min(len(rest), size - within)
                good = self._copy_part(read_into, first, chunk, within, rest[:count])
            else:
                count = min(RUN_BYTES, self._length - start - done, len(rest))
                if start + done + count < self._length:
                    count -= count % CHUNK_BYTES
                run = rest[:count]
                read_into(first, run)
                good = self._compare(chunk, run)
            if not good:
                return False
            done += count
        return True

    def _size(self, chunk: int) -> int:
        return min(CHUNK_BYTES, self._length - chunk * CHUNK_BYTES)

    def _copy_part(
        self, read_into: ReadInto, first: int, chunk: int, within: int, into: memoryview
    ) -> bool:
        if self._compared[chunk]:
            read_into(first + within, into)
            return True
        scratch = _scratch.memory[: self._size(chunk)]
        read_into(first, scratch)
        into[:] = scratch[within : within + len(into)]
        return self._compare(chunk, scratch)

    def _compare(self, chunk: int, data: memoryview) -> bool:
        """Compare whole chunks from ``chunk`` on that were not yet."""
        for at in range(0, len(data), CHUNK_BYTES):
            if not self._compared[chunk]:
                if crc32c(data[at : at + CHUNK_BYTES]) != self._crcs[chunk]:
                    return False
                self._compared[chunk] = True
            chunk += 1
        return True
