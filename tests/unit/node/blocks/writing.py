"""Writing into a block store as the transport does: buffers, pieces, finish."""

from __future__ import annotations

import random

from memfs.checksum import crc32c
from memfs.node.blocks import BlockStore
from memfs.node.blocks.arrival import BlockWrite, RepeatedWrite
from memfs.node.blocks.block_records import INDEX_BYTES, extent_for
from memfs.node.blocks.region import VERSION_BYTES, SegmentRegion
from memfs.protocol.messages import BlockVersion, Extent, WriteBlock, WriteBlockReply

BLOCK = 256 * 1024
GROUP = 8
"""Blocks of a group: 2 MiB, so that tests meet both the heap and memfds."""


V1, V2, V3 = (BlockVersion(1, 0, 1, sequence) for sequence in (1, 2, 3))
"""Versions of one block by one writer."""
SUCCESSOR = BlockVersion(1, 0, 2, 1)
"""The first version of the next writer."""


def some_bytes(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def whole(version: BlockVersion, data: bytes, block: int = BLOCK, group: int = GROUP) -> WriteBlock:
    return WriteBlock(*version, len(data), crc32c(data), (), block, group)


def derived(
    version: BlockVersion,
    base: BlockVersion,
    length: int,
    extents: list[tuple[int, bytes]],
    block: int = BLOCK,
    group: int = GROUP,
) -> WriteBlock:
    payload = b"".join(data for _, data in extents)
    ranges = tuple(Extent(offset, len(data)) for offset, data in extents)
    return WriteBlock(
        *version,
        length,
        crc32c(payload),
        (),
        block,
        group,
        base.generation,
        base.sequence,
        ranges,
    )


def overlaid(base: bytes, length: int, extents: list[tuple[int, bytes]]) -> bytes:
    """What a derived version reads as."""
    result = bytearray(base[:length].ljust(length, b"\0"))
    for offset, data in extents:
        result[offset : offset + len(data)] = data
    return bytes(result)


def receive(write: BlockWrite | RepeatedWrite, payload: bytes, step: int = 100_000) -> None:
    """Fill the buffers in steps, as a socket would."""
    total = 0
    for buffer in write.buffers():
        at = 0
        while at < len(buffer):
            count = min(step - total % step, len(buffer) - at)
            buffer[at : at + count] = payload[total : total + count]
            at, total = at + count, total + count
            write.received(total)
    assert total == len(payload)


def store_whole(
    store: BlockStore, version: BlockVersion, data: bytes, block: int = BLOCK, group: int = GROUP
) -> WriteBlockReply:
    write = store.begin(whole(version, data, block, group))
    receive(write, data)
    return write.finish()


def store_derived(
    store: BlockStore,
    version: BlockVersion,
    base: BlockVersion,
    length: int,
    extents: list[tuple[int, bytes]],
) -> WriteBlockReply:
    write = store.begin(derived(version, base, length, extents))
    receive(write, b"".join(data for _, data in extents))
    return write.finish()


def content(store: BlockStore, version: BlockVersion) -> bytes:
    """All bytes of a version, checked against its CRC."""
    length = next(b.length for b in store.list(None, 1 << 30) if b[:4] == version)
    data, crc = store.read(version, 0, length)
    assert crc32c(data) == crc
    return bytes(data)


def record_charge(length: int) -> int:
    """Bytes charged for a version of ``length`` bytes that is packed."""
    return extent_for(length) + INDEX_BYTES


def used(store: BlockStore) -> int:
    """Bytes of memory for data alone, without headers; every account is checked."""
    store.check_invariants()
    regions = {version.region for _, version in store._index.after(None)}
    records = [region for region in regions if isinstance(region, SegmentRegion)]
    packed = store._index.packed
    objects = (store.count - packed) * VERSION_BYTES + packed * INDEX_BYTES
    return store.used - objects - sum(region.extent - _room(region) for region in records)


def kept(store: BlockStore) -> int:
    """Spare bytes of memfds of groups."""
    return store._holdings.placement.spare


def _room(region: SegmentRegion) -> int:
    """A record is a multiple of 8 bytes long: what that leaves empty does not count."""
    return region.written if region.capacity - region.written < 8 else region.capacity


def fill_group(store: BlockStore, inode: int = 1) -> None:
    """Give an inode's first group more than 1 MiB, in blocks 1 to 4, so that it is a memfd."""
    for index in range(1, 5):
        store_whole(store, BlockVersion(inode, index, 1, 1), some_bytes(BLOCK, index))
