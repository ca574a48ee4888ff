"""HDFS's file checksums, computed as HDFS computes them. Pure.

MD5-of-MD5-of-CRC32C: the CRC32C of every 512 bytes, big-endian; the MD5 of those of a block; the
MD5 of those of the file, taken over the buffer that held them, padding included (a quirk of
``DataOutputBuffer`` that became the format). COMPOSITE-CRC: the CRC32C of the whole content, which
follows from those of its blocks.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from typing import Final

from memfs.checksum import crc32c, crc_of_zeros
from memfs.types import Buffer

BYTES_PER_CRC: Final = 512
_FIRST_BUFFER: Final = 32
_JOINED: Final = 4096
"""Digests of equal blocks that are hashed at once: 64 KiB."""


class FileDigest:
    """Takes a file's bytes in order, in pieces; ``block`` is the size of HDFS's block."""

    def __init__(self, block: int) -> None:
        assert block % BYTES_PER_CRC == 0, "chunks do not straddle blocks"
        self._block = block
        self.left = block
        """Bytes up to the end of the block: a piece is no longer."""
        self._current = _md5()
        self._blocks = 0
        self._whole = _md5()

    def update(self, piece: Buffer) -> None:
        """The next bytes; every piece but the last is a multiple of 512 and within one block."""
        view = memoryview(piece)
        starts = range(0, len(view), BYTES_PER_CRC)
        crcs = [crc32c(view[start : start + BYTES_PER_CRC]) for start in starts]
        self._add(struct.pack(f">{len(crcs)}I", *crcs), len(view))

    def zeros(self, length: int) -> None:
        """The next ``length`` bytes, all zero, of any number of blocks: nothing is read."""
        if self.left < self._block:
            length -= self._zeros_in_block(min(length, self.left))
        whole, rest = divmod(length, self._block)
        digest = _digest_of_zeros(self._block) if whole else b""
        for start in range(0, whole, _JOINED):
            self._whole.update(digest * min(_JOINED, whole - start))
        self._blocks += whole
        self._zeros_in_block(rest)

    def _zeros_in_block(self, length: int) -> int:
        self._add(_crcs_of_zeros(length), length)
        return length

    def _add(self, crcs: bytes, length: int) -> None:
        """The CRCs of the next ``length`` bytes, which lie in one block."""
        assert length <= self.left, "a piece lies within one block"
        self._current.update(crcs)
        self.left -= length
        if not self.left:
            self._end_block()

    def _end_block(self) -> None:
        self._whole.update(self._current.digest())
        self._blocks += 1
        self._current = _md5()
        self.left = self._block

    def content(self) -> dict[str, object]:
        """The answer to GETFILECHECKSUM."""
        if self.left < self._block:
            self._end_block()
        blocks = self._blocks
        per_crc = BYTES_PER_CRC if blocks else 0
        per_block = self._block // BYTES_PER_CRC if blocks > 1 else 0
        self._whole.update(bytes(_padding(blocks * self._whole.digest_size)))
        kind = "CRC32C" if blocks else "CRC32"
        return _answer(
            f"MD5-of-{per_block}MD5-of-{per_crc}{kind}",
            struct.pack(">iq", per_crc, per_block) + self._whole.digest(),
        )


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _crcs_of_zeros(length: int) -> bytes:
    """Of every 512 of ``length`` zero bytes."""
    chunks, rest = divmod(length, BYTES_PER_CRC)
    crcs = struct.pack(">I", crc_of_zeros(BYTES_PER_CRC)) * chunks
    return crcs + struct.pack(">I", crc_of_zeros(rest)) if rest else crcs


@functools.lru_cache(64)
def _digest_of_zeros(block: int) -> bytes:
    """The digest of a block of zeros."""
    return hashlib.md5(_crcs_of_zeros(block), usedforsecurity=False).digest()


def _padding(length: int) -> int:
    """The zeros that follow ``length`` bytes in a buffer that began with 32 and doubled."""
    size = _FIRST_BUFFER
    while size < length:
        size *= 2
    return size - length


def composite(crc: int) -> dict[str, object]:
    """The answer to GETFILECHECKSUM for content with this CRC32C."""
    return _answer("COMPOSITE-CRC32C", struct.pack(">I", crc))


def _answer(algorithm: str, content: bytes) -> dict[str, object]:
    found = {"algorithm": algorithm, "bytes": content.hex(), "length": len(content)}
    return {"FileChecksum": found}
