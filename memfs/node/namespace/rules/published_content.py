"""Checks of what a writer publishes: sizes and block references, before anything changes.

Pure functions over a block map; the one place that says which references a file may hold. The
message of a refusal tells the writer what is wrong: a writer that meets one has a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from memfs import limits
from memfs.errors import FileTooLargeError, InvalidArgumentError
from memfs.node.namespace.tables.block_maps import Row
from memfs.node.namespace.tables.volume import Settings, Volume, check_replication
from memfs.types import BlockRef

_UINT32_MAX: Final = (1 << 32) - 1
_INT64: Final = range(-(1 << 63), 1 << 63)

Layout = tuple[int, int, int]
"""(block size, group blocks, replication)"""


def layout_of(settings: Settings, replication: int, block_size: int, group_blocks: int) -> Layout:
    """The layout of a new file; 0 stands for the cluster's value. Raises InvalidArgumentError."""
    block_size = block_size or settings.block_size
    group_blocks = group_blocks or settings.group_blocks
    replication = replication or settings.replication
    check_replication(replication)
    if not limits.BLOCK_BYTES_MIN <= block_size <= limits.BLOCK_BYTES_MAX:
        raise InvalidArgumentError(
            f"blocks of {block_size} bytes: {limits.BLOCK_BYTES_MIN} to {limits.BLOCK_BYTES_MAX}"
        )
    if block_size % limits.BLOCK_BYTES_MIN:
        raise InvalidArgumentError(f"a block is a multiple of {limits.BLOCK_BYTES_MIN} bytes")
    if group_blocks < 1 or group_blocks * block_size > limits.GROUP_BYTES_MAX:
        raise InvalidArgumentError(f"a group has 1 block to {limits.GROUP_BYTES_MAX} bytes")
    return block_size, group_blocks, replication


def check_size(size: int, block_size: int) -> int:
    """The positions of a file of ``size`` bytes. Raises InvalidArgumentError, FileTooLargeError."""
    if size < 0:
        raise InvalidArgumentError("a file cannot have fewer than 0 bytes")
    count = -(-size // block_size)
    if size > limits.FILE_BYTES_MAX or count > limits.BLOCKS_PER_FILE:
        raise FileTooLargeError(f"a file of {size} bytes in blocks of {block_size} is too large")
    return count


def check_blocks(
    volume: Volume,
    slot: int,
    block_size: int,
    size: int,
    blocks: Iterable[BlockRef],
    generation: int,
) -> dict[int, BlockRef]:
    """What to put where so that the file has ``blocks`` and ``size`` bytes.

    A reference is a new version of lease ``generation``, a hole, or exactly what the file holds
    already (then it is not among the result). Raises InvalidArgumentError, FileTooLargeError.
    """
    count = check_size(size, block_size)
    maps = volume.blocks
    inode = volume.tree.inodes.id_of(slot)
    puts: dict[int, BlockRef] = {}
    kept: set[int] = set()
    for ref in blocks:
        hole = not ref.length and not ref.replicas
        position = ref.index if hole or ref.inode == inode else maps.position_of(slot, ref)
        if not 0 <= position < count:
            raise InvalidArgumentError(f"block {ref.index} does not belong to {size} bytes")
        if position in puts or position in kept:
            raise InvalidArgumentError(f"block {position} is given twice")
        old = maps.row(slot, position)
        if old is not None and old[:6] == ref[:6]:
            kept.add(position)
        elif hole:
            puts[position] = BlockRef(inode, position, 0, 0, 0, 0, ())
        else:
            room = min(block_size, size - position * block_size)
            _check_version(ref, inode, generation, room, old)
            puts[position] = ref
    last = count - 1
    if count and last not in puts:
        old = maps.row(slot, last)
        if old is not None and old[4] > size - last * block_size:
            raise InvalidArgumentError(f"block {last} straddles the new end: write it anew")
    return puts


def _check_version(ref: BlockRef, inode: int, generation: int, room: int, old: Row | None) -> None:
    _, index, written_under, sequence, length, crc, replicas = ref
    if ref.inode != inode:
        raise InvalidArgumentError(f"block {index} was written under another inode")
    if written_under != generation:
        raise InvalidArgumentError(f"block {index} was not written under this lease")
    if not 0 <= sequence <= _UINT32_MAX or not 0 <= crc <= _UINT32_MAX:
        raise InvalidArgumentError(f"block {index}: sequence or CRC is out of range")
    if old is not None and old[:3] == ref[:3] and sequence <= old[3]:
        raise InvalidArgumentError(f"block {index}: a later version is published already")
    if not 0 <= length <= room:
        raise InvalidArgumentError(f"block {index} does not fit its place")
    check_replicas(replicas)


def check_replicas(replicas: tuple[int, ...]) -> None:
    """Raise InvalidArgumentError unless these can be the holders of a block."""
    if not 1 <= len(replicas) <= limits.REPLICAS_MAX or len(set(replicas)) != len(replicas):
        raise InvalidArgumentError(f"a block has 1 to {limits.REPLICAS_MAX} different replicas")
    if min(replicas) < 1:
        raise InvalidArgumentError("replicas are member numbers, from 1")


def check_time(time_ns: int) -> None:
    """Raise InvalidArgumentError for a time outside 64 bits."""
    if time_ns not in _INT64:
        raise InvalidArgumentError(f"{time_ns} ns is no time")
