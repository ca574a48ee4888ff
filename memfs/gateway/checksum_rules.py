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
from collections.abc import Iterable
from typing import Any, Final

from memfs.checksum import combine, crc32c
from memfs.types import Buffer

BYTES_PER_CRC: Final = 512
_FIRST_BUFFER: Final = 32
_ZEROS: Final = bytes(64 * 1024)


class FileDigest:
    """Takes a file's bytes in order, in pieces; ``block`` is the size of HDFS's block."""

    def __init__(self, block: int) -> None:
        assert block % BYTES_PER_CRC == 0, "chunks do not straddle blocks"
        self._block = block
        self._left = block
        self._current = hashlib.md5(usedforsecurity=False)
        self._blocks: list[bytes] = []
        self._empty = True

    def update(self, piece: Buffer) -> None:
        """The next bytes; every piece but the last is a multiple of 512 and within one block."""
        view = memoryview(piece)
        assert len(view) <= self._left, "a piece lies within one block"
        starts = range(0, len(view), BYTES_PER_CRC)
        crcs = [crc32c(view[start : start + BYTES_PER_CRC]) for start in starts]
        self._current.update(struct.pack(f">{len(crcs)}I", *crcs))
        self._left -= len(view)
        self._empty = self._empty and not crcs
        if not self._left:
            self._end_block()

    def _end_block(self) -> None:
        self._blocks.append(self._current.digest())
        self._current = hashlib.md5(usedforsecurity=False)
        self._left = self._block
        self._empty = True

    def content(self) -> dict[str, Any]:
        """The answer to GETFILECHECKSUM."""
        if not self._empty:
            self._end_block()
        blocks = self._blocks
        per_crc = BYTES_PER_CRC if blocks else 0
        per_block = self._block // BYTES_PER_CRC if len(blocks) > 1 else 0
        digest = hashlib.md5(_padded(b"".join(blocks)), usedforsecurity=False).digest()
        kind = "CRC32C" if blocks else "CRC32"
        return _answer(
            f"MD5-of-{per_block}MD5-of-{per_crc}{kind}",
            struct.pack(">iq", per_crc, per_block) + digest,
        )


def _padded(digests: bytes) -> bytes:
    """With the zeros of a buffer that began with 32 bytes and doubled."""
    size = _FIRST_BUFFER
    while size < len(digests):
        size *= 2
    return digests + bytes(size - len(digests))


def composite(parts: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """The answer for a file whose parts have these (CRC32C, length)."""
    whole = 0
    for crc, length in parts:
        whole = combine(whole, crc, length)
    return _answer("COMPOSITE-CRC32C", struct.pack(">I", whole))


def _answer(algorithm: str, content: bytes) -> dict[str, Any]:
    found = {"algorithm": algorithm, "bytes": content.hex(), "length": len(content)}
    return {"FileChecksum": found}


@functools.lru_cache(1024)
def crc_of_zeros(length: int) -> int:
    """CRC32C of ``length`` zero bytes."""
    crc = 0
    while length:
        step = min(length, len(_ZEROS))
        crc = crc32c(_ZEROS[:step], crc)
        length -= step
    return crc
