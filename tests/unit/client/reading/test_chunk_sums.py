"""Parts of a block against its chunks' CRCs: nothing damaged passes, nothing is read twice."""

from __future__ import annotations

import random

import pytest

from memfs.checksum import crc32c
from memfs.client.reading.chunk_sums import RUN_BYTES, ChunkSums
from memfs.limits import CHUNK_BYTES
from memfs.node.blocks.chunks import chunk_sums

BASE = 4096
LENGTH = 9 * CHUNK_BYTES + 77
BLOCK = random.Random(7).randbytes(LENGTH)
CHUNKS = [crc32c(BLOCK[at : at + CHUNK_BYTES]) for at in range(0, LENGTH, CHUNK_BYTES)]


def told(length: int = LENGTH) -> bytes:
    """What a node tells of the first ``length`` bytes."""
    whole = length // CHUNK_BYTES
    return chunk_sums(CHUNKS, crc32c(BLOCK[whole * CHUNK_BYTES : length]), length)


class Memory:
    """Lent memory in which the block lies at ``BASE``; counts what is read of it."""

    def __init__(self, block: bytes = BLOCK) -> None:
        self._bytes = bytes(BASE) + block
        self.read = 0

    def read_into(self, offset: int, into: memoryview) -> None:
        assert BASE <= offset <= offset + len(into) <= len(self._bytes)
        into[:] = self._bytes[offset : offset + len(into)]
        self.read += len(into)


def copied(sums: ChunkSums, memory: Memory, start: int, length: int) -> bytes | None:
    """A part of the block, None: it is corrupt."""
    into = bytearray(length)
    return bytes(into) if sums.copy(memory.read_into, BASE, start, memoryview(into)) else None


@pytest.mark.parametrize("length", [1, CHUNK_BYTES - 1, CHUNK_BYTES, RUN_BYTES, LENGTH])
def test_what_is_told_has_to_make_up_the_crc_of_the_block(length: int) -> None:
    assert ChunkSums(told(length), length).make_up(crc32c(BLOCK[:length]))
    assert not ChunkSums(told(length), length).make_up(crc32c(BLOCK[:length]) ^ 1)
    forged = bytes([told(length)[0] ^ 1]) + told(length)[1:]
    assert not ChunkSums(forged, length).make_up(crc32c(BLOCK[:length]))


def test_parts_of_any_size_are_what_the_block_has_there() -> None:
    dice = random.Random(1)
    sums, memory = ChunkSums(told(), LENGTH), Memory()
    for _ in range(300):
        start = dice.randrange(LENGTH)
        length = min(LENGTH - start, dice.choice((1, 100, CHUNK_BYTES, 3 * CHUNK_BYTES, LENGTH)))
        assert copied(sums, memory, start, length) == BLOCK[start : start + length]
    assert sums.complete


@pytest.mark.parametrize("size", [CHUNK_BYTES, 2 * CHUNK_BYTES, RUN_BYTES, 5 * CHUNK_BYTES, LENGTH])
def test_who_reads_on_in_whole_chunks_reads_each_byte_once(size: int) -> None:
    sums, memory = ChunkSums(told(), LENGTH), Memory()
    for start in range(0, LENGTH, size):
        assert not sums.complete
        part = BLOCK[start : start + size]
        assert copied(sums, memory, start, len(part)) == part
    assert sums.complete
    assert memory.read == LENGTH


@pytest.mark.parametrize("damaged", [0, 5 * CHUNK_BYTES + 9, LENGTH - 1])
def test_a_damaged_chunk_is_found_by_whoever_touches_it_and_by_nobody_else(damaged: int) -> None:
    block = bytearray(BLOCK)
    block[damaged] ^= 4
    memory = Memory(bytes(block))
    for size in (1000, CHUNK_BYTES, RUN_BYTES, LENGTH):
        sums = ChunkSums(told(), LENGTH)
        for start in range(0, LENGTH, size):
            part = BLOCK[start : start + size]
            chunks = range(start // CHUNK_BYTES, (start + len(part) - 1) // CHUNK_BYTES + 1)
            touched = damaged // CHUNK_BYTES in chunks
            assert copied(sums, memory, start, len(part)) == (None if touched else part)
        assert not sums.complete
