"""The small parts: ids, windows, buffers, layout, modes, paths, suspicion."""

from __future__ import annotations

import asyncio
import io
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import errors, limits
from memfs.client.calls import modes
from memfs.client.calls.wire import wire
from memfs.client.reading import layout
from memfs.client.reading.buffers import BufferPool
from memfs.client.reading.reader import Memory
from memfs.client.session.request_ids import WINDOW, RequestIds
from memfs.client.session.suspects import REMEMBERED_SECONDS, Silent, Suspects
from memfs.client.writing.pending import EXTENTS_MAX, PendingBlock, overlay
from memfs.paths import Endpoint
from memfs.types import BlockRef

# --- request ids -----------------------------------------------------------------------------


async def test_no_command_pushes_an_unanswered_one_out_of_the_window():
    ids = RequestIds()
    first = await ids.begin()
    for _ in range(WINDOW - 1):
        ids.end(await ids.begin())
    waiting = [asyncio.ensure_future(ids.begin()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    await asyncio.sleep(0)
    ids.end(first)
    numbers = [await task for task in waiting[1:]]
    assert numbers == [first + WINDOW, first + WINDOW + 1]
    assert WINDOW < limits.RESULTS_PER_SESSION


def test_ids_of_queries_are_apart_from_those_of_commands():
    ids = RequestIds()
    assert ids.query() > 1 << 62
    assert ids.query() != ids.query()


# --- blocks being written --------------------------------------------------------------------

BLOCK = 64


@given(
    base=st.binary(max_size=BLOCK),
    writes=st.lists(
        st.tuples(st.integers(0, BLOCK - 1), st.binary(min_size=1, max_size=BLOCK)), max_size=12
    ),
)
def test_a_pending_block_is_its_base_with_the_writes_on_top(base, writes):
    ref = BlockRef(2, 0, 1, 1, len(base), 0, (1,) if base else ())
    pending = PendingBlock(0, ref)
    expected = bytearray(base)
    for start, data in writes:
        data = data[: BLOCK - start]
        pending.write(start, memoryview(data))
        expected.extend(bytes(max(0, start + len(data) - len(expected))))
        expected[start : start + len(data)] = data
    if not pending:
        return
    sealed = pending.seal()
    assert sealed.length == len(expected)
    if sealed.base is None:
        assert b"".join(sealed.payload) == expected
    else:
        assert overlay(sealed, memoryview(base)) == expected
        ends = [extent.offset + extent.length for extent in sealed.extents]
        starts = [extent.offset for extent in sealed.extents]
        assert all(end < start for end, start in zip(ends, starts[1:], strict=False))
        assert sum(map(len, sealed.payload)) <= len(expected)


@given(st.binary(max_size=40), st.lists(st.tuples(st.integers(0, 39), st.binary(min_size=1))))
def test_a_pending_block_of_lent_memory_is_the_same(base, writes):
    """What was lent may change as soon as it was given back, and no sooner."""
    ref = BlockRef(2, 0, 1, 1, len(base), 0, (1,) if base else ())
    pending, copies = PendingBlock(0, ref), PendingBlock(0, ref)
    lent = [bytearray(data[: BLOCK - start]) for start, data in writes]
    for (start, data), memory in zip(writes, lent, strict=True):
        at = pending.end if start % 2 else start
        data = data[: min(BLOCK - start, BLOCK - at)]
        copies.write(at, memoryview(data))
        borrowed = memoryview(memory)[: len(data)]
        if not pending.borrow(at, borrowed, lambda memory=memory: memory.__setitem__(0, 0)):
            pending.write(at, memoryview(data))
        assert (pending.end, pending.full) == (copies.end, copies.full)
        assert pending.complete(BLOCK) == copies.complete(BLOCK)
    if not copies:
        return
    sealed, expected = pending.seal(), copies.seal()
    assert sealed[:4] == expected[:4]
    assert b"".join(sealed.payload) == b"".join(expected.payload)
    whole = len(sealed.payload)
    pending.give_back()
    assert not pending.borrowed and len(sealed.payload) == whole


def test_memory_is_lent_to_a_block_until_it_has_to_be_copied():
    pending = PendingBlock(0, BlockRef(2, 0, 0, 0, 0, 0, ()))
    memory, back = [memoryview(bytearray(b"abcd")), memoryview(bytearray(b"efgh"))], []
    for at, each in enumerate(memory):
        assert pending.borrow(4 * at, each, lambda at=at: back.append(at))
    assert pending.seal().payload == tuple(memory) and pending.borrowed and not back
    pending.write(2, memoryview(b"XYZ"))
    assert back == [0, 1] and not pending.borrowed
    memory[0][0] = 0
    assert b"".join(pending.seal().payload) == b"abXYZfgh"
    assert not pending.borrow(20, memory[1], back.clear), "not where it ends"
    assert not pending.borrow(8, memory[1], back.clear), "what is here is copied"


def test_a_block_of_many_small_changes_is_full():
    pending = PendingBlock(0, BlockRef(2, 0, 1, 1, 4096, 0, (1,)))
    for number in range(EXTENTS_MAX):
        assert not pending.full
        pending.write(2 * number, memoryview(b"x"))
    assert pending.full


# --- arithmetic ------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(1, 5000))
def test_pieces_cover_a_range_once(offset, length, block_size):
    pieces = list(layout.split(offset, length, block_size))
    assert sum(piece.length for piece in pieces) == length
    at = offset
    for piece in pieces:
        assert piece.block * block_size + piece.start == at
        assert piece.at == at - offset
        assert 0 < piece.length <= block_size - piece.start
        at += piece.length


def test_block_count():
    assert layout.block_count(0, 4) == 0 and layout.block_count(9, 4) == 3


# --- buffers ---------------------------------------------------------------------------------


def test_buffers_are_used_again_within_a_bound():
    stock = BufferPool(limit=100)
    first = stock.take(60)
    stock.give(first)
    stock.give(bytearray(60))
    assert stock.held == 60
    assert stock.take(60) is first
    assert len(stock.take(60)) == 60
    assert stock.held == 0


@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_memory_becomes_bytes(size):
    memory = Memory(size)
    memory.view[:] = b"x" * size
    held = memory.view[:1]
    assert memory.finish(size) == b"x" * size
    held.release()
    memory = Memory(size)
    memory.view[:] = b"y" * size
    assert memory.finish(size // 2) == b"y" * (size // 2)


# --- suspicion -------------------------------------------------------------------------------


def test_every_feasible_chain_is_tried():
    suspects = Suspects(random.Random(1), Silent(lambda: 0.0))
    tried = set()
    for _ in range(6):
        avoided = suspects.to_avoid(members=3, wanted=2)
        assert len(avoided) <= 1
        chain = [number for number in (1, 2, 3) if number not in avoided][:2]
        tried.add(tuple(chain))
        suspects.blame(chain)
    assert tried == {(1, 2), (1, 3), (2, 3)}


def test_the_next_write_begins_with_what_was_silent():
    now = 0.0
    silent = Silent(lambda: now)
    silent.blame((1, 2))
    silent.blame((2, 3))
    later = Suspects(random.Random(1), silent)
    assert later.to_avoid(members=3, wanted=2) == [2]
    assert sorted(later.to_avoid(members=4, wanted=1)) == [1, 2, 3]
    silent.trust((1, 3))
    assert later.to_avoid(members=4, wanted=1) == [2]
    version = silent.version
    now = REMEMBERED_SECONDS + 1
    assert later.to_avoid(members=4, wanted=1) == []
    assert silent.version != version


# --- modes and paths -------------------------------------------------------------------------

MODES = ["r", "w", "x", "a", "rb", "r+", "rb+", "w+b", "a+", "xb", "rt", "wt+", "x+"]
WRONG = ["", "q", "rw", "b", "rr", "rbt", "r++", "U", "+"]


@pytest.mark.parametrize("mode", MODES)
def test_modes_mean_what_they_mean_to_the_builtin(mode: str, tmp_path: Path) -> None:
    parsed = modes.parse(mode)
    path = tmp_path / "file"
    if "x" not in mode:
        path.write_text("")
    with open(path, mode) as real:
        assert (parsed.reading, parsed.writing) == (real.readable(), real.writable())
        raw: Any = real
        while hasattr(raw, "buffer") or hasattr(raw, "raw"):
            raw = getattr(raw, "buffer", None) or raw.raw
        assert parsed.raw == raw.mode
        assert parsed.binary == (not isinstance(real, io.TextIOBase))


@pytest.mark.parametrize("mode", WRONG)
def test_wrong_modes_are_refused_with_the_same_words(mode: str) -> None:
    with pytest.raises(ValueError) as expected:
        open(tempfile.gettempdir() + "/never", mode).close()
    with pytest.raises(ValueError) as found:
        modes.parse(mode)
    assert str(found.value) == str(expected.value)


def test_arguments_that_contradict_each_other():
    binary, text = modes.parse("rb"), modes.parse("r")
    with pytest.raises(ValueError, match="encoding"):
        modes.check_text_arguments(binary, -1, "utf-8", None, None)
    with pytest.raises(ValueError, match="unbuffered"):
        modes.check_text_arguments(text, 0, None, None, None)
    with pytest.raises(ValueError, match="newline"):
        modes.check_text_arguments(text, -1, None, None, "x")


def test_seeks():
    assert modes.absolute(5, 3, os.SEEK_SET, 10) == 3
    assert modes.absolute(5, -3, os.SEEK_CUR, 10) == 2
    assert modes.absolute(5, -3, os.SEEK_END, 10) == 7
    for offset, whence in ((-1, 0), (-6, 1), (0, 9)):
        with pytest.raises(errors.InvalidArgumentError):
            modes.absolute(5, offset, whence, 10)


def test_paths_in_all_their_forms():
    assert wire("/a//b/./c")[1:3] == ("/a/b/c", b"/a/b/c")
    assert wire("/a//b/")[:3] == ("/a//b/", "/a/b", b"/a/b/"), "it insists on a directory"
    assert wire("/a/.").raw == b"/a/." and wire("/").raw == wire("//.").raw == b"/"
    assert wire(b"/\xc3\xa4").text == "/ä"
    with pytest.raises(errors.InvalidPathError):
        wire(b"/\xff")
    assert wire("a").text == "/a"
    assert wire(Path("/ä"))[:3] == ("/ä", "/ä", "/ä".encode())
    assert wire("memfs:///x/y").text == "/x/y"
    assert wire("memfs://h:1/x") == ("memfs://h:1/x", "/x", b"/x", (Endpoint("h", 1),))
    assert wire("/a/../b").raw == b"/a/../b", "only the walk knows what .. means"
    assert wire("/a/http://b").text == "/a/http:/b"
    with pytest.raises(errors.InvalidPathError):
        wire("/a\0b")
    with pytest.raises(errors.InvalidPathError):
        wire("/\ud800")
    with pytest.raises(errors.NameTooLongError):
        wire("/" + "x" * 256)
    with pytest.raises(TypeError):
        wire(5)  # type: ignore[arg-type]
