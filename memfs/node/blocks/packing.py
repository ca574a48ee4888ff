"""Conversion of small versions between objects and the records of a segment.

Between two changes a small version is described by the header of its record alone. Objects are made
when it is looked up, and dropped again when only that version needs its region. Knows nothing of
indices and charges.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, starmap

from memfs.limits import CHUNK_BYTES
from memfs.node.blocks.block_records import FIELD_MAX, HEADER, BlockHeader
from memfs.node.blocks.chunks import NO_CHUNKS, Checks
from memfs.node.blocks.region import SegmentRegion, Version
from memfs.node.blocks.segments import MemorySegment, Segments
from memfs.protocol.segment_records import data_offset
from memfs.types import Buffer

_PADDING = [bytes(count) for count in range(8)]
"""Behind the bytes of a record, up to a multiple of 8."""


def read_header(segment: MemorySegment, offset: int) -> BlockHeader:
    """The header of a record that describes a version."""
    return BlockHeader._make(HEADER.unpack_from(segment.mapping, offset))


def load(segments: Segments, place: int) -> Version:
    """The objects of the version at ``place``; its region is not attached to the record."""
    segment, offset = segments.at(place)
    header = read_header(segment, offset)
    region = SegmentRegion(header.generation, segments, segment, offset, header.extent)
    region.written, region.holders = header.length, 1
    if header.length >= CHUNK_BYTES:
        start = offset + HEADER.size
        count = 4 * (header.length // CHUNK_BYTES)
        region.chunks = array("I", segment.mapping[start : start + count])
    checks = Checks(header.crc, header.tail)
    version = Version(
        header.generation, header.sequence, header.length, checks, region, header.writer
    )
    version.birth = header.birth
    return version


def write_record(
    segment: MemorySegment, offset: int, header: BlockHeader, crcs: Sequence[int] = NO_CHUNKS
) -> None:
    """Describe a version by its record; ``crcs`` of its whole chunks."""
    HEADER.pack_into(segment.mapping, offset, *header)
    if crcs:
        segment.store(offset + HEADER.size, array("I", crcs).tobytes())


def write_records(
    segment: MemorySegment, offset: int, headers: Sequence[BlockHeader], pieces: Iterable[Buffer]
) -> list[int]:
    """Describe versions by records that follow one another from ``offset`` on, and store their
    bytes; none has as much as a chunk. Returns where the records begin."""
    packed = starmap(HEADER.pack, headers)
    ends = [_PADDING[header[8] - HEADER.size - header[5]] for header in headers]
    segment.store_all(offset, [*chain.from_iterable(zip(packed, pieces, ends, strict=True))])
    starts = []
    for header in headers:
        starts.append(offset)
        offset += header[8]
    return starts


def is_packable(key: int, version: Version) -> bool:
    """Whether a record can represent all of a block's only version."""
    region = version.region
    return (
        isinstance(region, SegmentRegion)
        and region.holders == 1
        and not region.busy
        and version.claims == 1
        and version.older is None
        and region.written == version.length
        and key <= FIELD_MAX
        and version.sequence <= FIELD_MAX
        and 0 <= version.writer <= FIELD_MAX
    )


def header_of(key: int, version: Version, extent: int) -> BlockHeader:
    """What the record of a version says."""
    return BlockHeader(
        key,
        version.birth,
        version.generation,
        version.sequence,
        version.writer,
        version.length,
        version.crc,
        version.tail,
        extent,
    )


def move_record(
    segment: MemorySegment, offset: int, header: BlockHeader, crcs: memoryview, data: memoryview
) -> None:
    """Write a record with the CRCs and the bytes that it had elsewhere."""
    HEADER.pack_into(segment.mapping, offset, *header)
    start = offset + data_offset(header.extent)
    room = start - offset - HEADER.size
    if room:
        segment.store(offset + HEADER.size, crcs[:room])
    segment.store(start, data)


def whole(
    segment: MemorySegment, offset: int, generation: int, sequence: int, length: int
) -> tuple[memoryview, int] | None:
    """The bytes of a record and their CRC32C, if it is of that version and that long."""
    fields = HEADER.unpack_from(segment.mapping, offset)
    if (fields[2], fields[3], fields[5]) != (generation, sequence, length):
        return None
    start = offset + data_offset(fields[8])
    return segment.view(start, start + length), fields[6]


def whole_record(
    segment: MemorySegment, offset: int, header: BlockHeader
) -> tuple[memoryview, memoryview]:
    """The CRCs of a record's chunks, and its bytes."""
    start = offset + data_offset(header.extent)
    crcs = segment.view(offset + HEADER.size, start)
    return crcs, segment.view(start, start + header.length)
