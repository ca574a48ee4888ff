"""TFRecord files without TensorFlow.

A record is its length (64 bits, little endian), the length's masked CRC32C, the bytes, and their
masked CRC32C: ``tensorflow/core/lib/io/record_writer.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from memfs.checksum import crc32c
from memfs.types import Buffer

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
MASK_DELTA = 0xA282EAD8


def masked(data: Buffer) -> int:
    """The CRC32C as it stands in such files."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def tfrecord(record: Buffer) -> bytes:
    """A record as it stands in such a file; a file is one after the other."""
    length = len(memoryview(record).cast("B"))
    header = HEADER.pack(length, masked(length.to_bytes(8, "little")))
    return b"".join((header, record, FOOTER.pack(masked(record))))


def tfrecords(file: Buffer) -> Iterator[memoryview]:
    """The records of a file's bytes (``fs.map``, ``fs.read_bytes``), as views of them.

    Raises ValueError, with the place, for a record that is damaged or cut off.
    """
    data, at = memoryview(file).cast("B"), 0
    while at < len(data):
        start = at + HEADER.size
        if start > len(data):
            raise ValueError(f"the record at byte {at} is cut off")
        length, crc = HEADER.unpack_from(data, at)
        if masked(data[at : at + 8]) != crc:
            raise ValueError(f"the length of the record at byte {at} is damaged")
        end = start + length
        if end + FOOTER.size > len(data):
            raise ValueError(f"the record at byte {at} is cut off")
        if masked(data[start:end]) != FOOTER.unpack_from(data, end)[0]:
            raise ValueError(f"the record at byte {at} is damaged")
        yield data[start:end]
        at = end + FOOTER.size
