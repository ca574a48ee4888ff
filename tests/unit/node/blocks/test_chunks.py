"""Checksums by chunks: whatever the order, they are those of the bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memfs.checksum import crc32c
from memfs.limits import CHUNK_BYTES
from memfs.node.blocks import chunks

from .writing import some_bytes

EDGES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES)
LENGTHS = st.one_of(st.sampled_from(EDGES), st.integers(0, 3 * CHUNK_BYTES))
DATA = memoryview(some_bytes(12 * CHUNK_BYTES))


def expected(length: int) -> tuple[list[int], chunks.Checks]:
    data = DATA[:length]
    whole = length // CHUNK_BYTES * CHUNK_BYTES
    crcs = [crc32c(data[at : at + CHUNK_BYTES]) for at in range(0, whole, CHUNK_BYTES)]
    return crcs, chunks.Checks(crc32c(data), crc32c(data[whole:]))


def read(start: int, stop: int) -> memoryview:
    return DATA[start:stop]


@given(LENGTHS, st.lists(LENGTHS, max_size=3), st.integers(1_000, 200_000))
def test_appending_is_as_computing_anew(first: int, added: list[int], step: int) -> None:
    crcs, checks = chunks.rebuild(lambda _: None, first, (), read)
    assert (list(crcs), checks) == expected(first)
    length = first
    for count in added:
        arriving = chunks.PieceCrcs([(length, DATA[length : length + count])])
        for total in range(step, count, step):
            arriving.advance(total)
        arriving.advance(count, complete=True)
        assert arriving.crc() == crc32c(DATA[length : length + count])
        crcs, checks = chunks.append(crcs, length, checks, arriving.pieces)
        length += count
        assert (list(crcs), checks) == expected(length)


@given(LENGTHS, LENGTHS)
def test_a_prefix_needs_one_chunk(length: int, kept: int) -> None:
    kept = min(length, kept)
    crcs, _ = chunks.rebuild(lambda _: None, length, (), read)
    assert chunks.prefix(crcs, kept, read) == expected(kept)[1]


def test_appending_extends_the_list_it_is_given() -> None:
    arriving = chunks.PieceCrcs([(CHUNK_BYTES, DATA[CHUNK_BYTES : 3 * CHUNK_BYTES])])
    arriving.advance(2 * CHUNK_BYTES, complete=True)
    crcs, checks = chunks.rebuild(lambda _: None, CHUNK_BYTES, (), read)
    assert chunks.append(crcs, CHUNK_BYTES, checks, arriving.pieces)[0] is crcs
    assert chunks.NO_CHUNKS == ()


def test_what_is_known_is_not_read_again() -> None:
    known, checks = expected(3 * CHUNK_BYTES)

    def refuse(start: int, stop: int) -> memoryview:
        raise AssertionError(f"bytes {start} to {stop} are read")

    assert chunks.rebuild(known.__getitem__, 3 * CHUNK_BYTES, (), refuse)[1] == checks
