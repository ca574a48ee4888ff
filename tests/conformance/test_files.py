"""Whole files: writing, reading, appending, cutting, across block and group boundaries."""

from __future__ import annotations

import errno
import hashlib

import pytest

from .surface import Feature, needs


def pattern(size, salt=0):
    """Bytes that differ from block to block."""
    line = hashlib.sha256(b"%d" % salt).digest()
    return b"".join((number.to_bytes(4, "big") + line) for number in range(size // 36 + 1))[:size]


def test_what_was_written_is_read(surface, top):
    for number, size in enumerate((0, 1, 10, 1000, 100_000)):
        surface.write_bytes(f"{top}/{number}", pattern(size))
        assert surface.read_bytes(f"{top}/{number}") == pattern(size)
        assert surface.stat(f"{top}/{number}").size == size


def test_writing_again_replaces_all(surface, top):
    for size in (5000, 10, 20_000, 0, 3):
        surface.write_bytes(f"{top}/file", pattern(size, salt=size))
        assert surface.read_bytes(f"{top}/file") == pattern(size, salt=size)


def test_sizes_around_blocks_and_groups(surface, top):
    block = surface.block_size
    for blocks in (1, 2, 4, 5, 8):
        for extra in (-1, 0, 1):
            size = blocks * block + extra
            surface.write_bytes(f"{top}/file", pattern(size, salt=blocks))
            assert surface.read_bytes(f"{top}/file") == pattern(size, salt=blocks)


def test_a_file_of_many_groups(surface, top):
    data = pattern(37 * surface.block_size + 11)
    surface.write_bytes(f"{top}/big", data)
    assert surface.read_bytes(f"{top}/big") == data
    assert surface.stat(f"{top}/big").size == len(data)


def test_a_file_of_more_blocks_than_a_reply_holds(surface, top):
    data = pattern(1500 * surface.block_size + 11)
    surface.write_bytes(f"{top}/big", data)
    assert surface.read_bytes(f"{top}/big") == data


@needs(Feature.APPEND)
def test_append_in_pieces_of_any_size(surface, top):
    block = surface.block_size
    expected = b""
    surface.write_bytes(f"{top}/log", b"")
    for number, size in enumerate((1, 100, block - 101, block, 0, 3 * block + 1, 7, block - 8)):
        piece = pattern(size, salt=number)
        surface.append(f"{top}/log", piece)
        expected += piece
        assert surface.read_bytes(f"{top}/log") == expected


@needs(Feature.APPEND)
def test_append_creates(surface, top):
    surface.append(f"{top}/new", b"first")
    assert surface.read_bytes(f"{top}/new") == b"first"


@needs(Feature.TRUNCATE)
def test_truncate_to_any_size(surface, top):
    block = surface.block_size
    for start in (0, 10, block, 5 * block + 3):
        for size in (0, 1, block - 1, block, block + 1, 4 * block, 9 * block + 5):
            data = pattern(start)
            surface.write_bytes(f"{top}/file", data)
            surface.truncate(f"{top}/file", size)
            assert surface.read_bytes(f"{top}/file") == data[:size] + bytes(max(0, size - start))


@needs(Feature.TRUNCATE, Feature.APPEND)
def test_cut_bytes_never_come_back(surface, top):
    block = surface.block_size
    surface.write_bytes(f"{top}/file", pattern(2 * block))
    surface.truncate(f"{top}/file", 10)
    surface.truncate(f"{top}/file", block + 10)
    surface.append(f"{top}/file", b"tail")
    assert surface.read_bytes(f"{top}/file") == pattern(10) + bytes(block) + b"tail"


@needs(Feature.TRUNCATE, Feature.ERRORS)
def test_a_negative_size_is_refused(surface, top):
    surface.write_bytes(f"{top}/file", b"data")
    with pytest.raises((OSError, ValueError)):
        surface.truncate(f"{top}/file", -1)
    assert surface.read_bytes(f"{top}/file") == b"data"


@needs(Feature.RANDOM_WRITE)
def test_writes_at_any_place(surface, top):
    block = surface.block_size
    data = bytearray(pattern(6 * block))
    surface.write_bytes(f"{top}/file", bytes(data))
    spans = ((0, 1), (block - 3, 6), (block, block), (2 * block + 5, 3 * block), (6 * block - 1, 9))
    for number, (at, size) in enumerate(spans):
        piece = pattern(size, salt=number + 1)
        surface.write_at(f"{top}/file", at, piece)
        data[at : at + size] = piece
        assert surface.read_bytes(f"{top}/file") == bytes(data)


@needs(Feature.RANDOM_WRITE)
def test_a_write_past_the_end_leaves_zeros(surface, top):
    block = surface.block_size
    surface.write_bytes(f"{top}/file", b"abc")
    surface.write_at(f"{top}/file", 3 * block, b"end")
    assert surface.read_bytes(f"{top}/file") == b"abc" + bytes(3 * block - 3) + b"end"


@needs(Feature.CONCAT)
def test_concat_moves_the_blocks(surface, top):
    block = surface.block_size
    parts = [pattern(2 * block), pattern(block, 1), pattern(block + 7, 2)]
    for number, part in enumerate(parts):
        surface.write_bytes(f"{top}/{number}", part)
    surface.concat(f"{top}/0", [f"{top}/1", f"{top}/2"])
    assert surface.read_bytes(f"{top}/0") == b"".join(parts)
    assert surface.listdir(top) == ["0"]


@needs(Feature.CONCAT, Feature.ERRORS)
def test_concat_refuses_what_does_not_fit(surface, top):
    surface.write_bytes(f"{top}/odd", b"not a whole block")
    surface.write_bytes(f"{top}/more", b"more")
    for target, sources in (("odd", ["more"]), ("odd", ["odd"]), ("more", ["missing"])):
        with pytest.raises(OSError):
            surface.concat(f"{top}/{target}", [f"{top}/{source}" for source in sources])
    assert surface.listdir(top) == ["more", "odd"]


@needs(Feature.CONCAT)
def test_concat_names_what_is_missing(surface, top):
    surface.write_bytes(f"{top}/target", b"")
    surface.write_bytes(f"{top}/source", b"more")
    for target, sources, named in (
        ("target", ["missing"], "missing"),
        ("target", ["source", "missing"], "missing"),
        ("target", ["none/below"], "none/below"),
        ("nowhere", ["source"], "nowhere"),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            surface.concat(f"{top}/{target}", [f"{top}/{source}" for source in sources])
        error = caught.value
        said = str(error.strerror if surface.name == "webhdfs" else error)
        others = {"target", "source", "missing", "nowhere"} - {named}
        assert f"{top}/{named}" in said
        assert not any(f"{top}/{other}" in said for other in others)
    assert surface.listdir(top) == ["source", "target"]


@needs(Feature.ERRORS)
def test_what_is_missing_or_no_file(surface, top):
    surface.write_bytes(f"{top}/file", b"data")
    for path, number in (
        (f"{top}/missing", errno.ENOENT),
        (f"{top}/missing/file", errno.ENOENT),
        (f"{top}/file/below", errno.ENOTDIR),
        (top, errno.EISDIR),
    ):
        with pytest.raises(OSError) as caught:
            surface.read_bytes(path)
        assert caught.value.errno == number, path


@needs(Feature.ERRORS)
def test_writing_needs_a_directory(surface, top):
    surface.write_bytes(f"{top}/file", b"data")
    for path, number in (
        (f"{top}/missing/file", errno.ENOENT),
        (f"{top}/file/below", errno.ENOTDIR),
        (top, errno.EISDIR),
    ):
        with pytest.raises(OSError) as caught:
            surface.write_bytes(path, b"x")
        assert caught.value.errno == number, path


@needs(Feature.ERRORS)
def test_errors_are_the_builtin_ones(surface, top):
    with pytest.raises(FileNotFoundError) as caught:
        surface.read_bytes(f"{top}/missing")
    assert f"{top}/missing" in str(caught.value)
    with pytest.raises(FileExistsError):
        surface.mkdir(top)
    surface.write_bytes(f"{top}/file", b"")
    with pytest.raises(NotADirectoryError):
        surface.listdir(f"{top}/file")


@needs(Feature.DU)
def test_du_counts_what_is_there(surface, top):
    assert tuple(surface.du(top))[:3] == (0, 0, 1)
    surface.makedirs(f"{top}/a/b")
    surface.write_bytes(f"{top}/a/one", pattern(5000))
    surface.write_bytes(f"{top}/a/b/two", pattern(10))
    assert tuple(surface.du(top))[:3] == (5010, 2, 3)
    assert tuple(surface.du(f"{top}/a/b"))[:3] == (10, 1, 1)
    surface.rename(f"{top}/a/b", f"{top}/b")
    assert tuple(surface.du(f"{top}/a"))[:3] == (5000, 1, 1)
    surface.rmtree(f"{top}/a")
    assert tuple(surface.du(top))[:3] == (10, 1, 2)
