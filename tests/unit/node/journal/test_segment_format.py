"""Framing: every cut and every flipped bit is told from the other, whatever was written."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memfs.checksum import crc32c
from memfs.errors import DataLossError
from memfs.node.journal import segment_format
from memfs.node.journal.series import LogRecord, Series
from memfs.testing.simulation.disk import HostDisk
from tests.support.examples import examples

CLUSTER = "0123456789abcdef"
batches = st.lists(st.lists(st.binary(max_size=60), min_size=1, max_size=4), min_size=1, max_size=5)


def record(body, kind=1):
    return LogRecord(kind, b"meta", (body,), len(body), crc32c(body))


def series(disk, **settings):
    given_settings = {"segment_bytes": 1 << 20, "check_bodies": True} | settings
    return Series(disk, "/j", kind=1, cluster=CLUSTER, dice=random.Random(1), **given_settings)


def written(content, **settings):
    """A disk with batches in it, and the position of each batch's end."""
    disk = HostDisk()
    writer = series(disk, **settings)
    ends = []
    for batch in content:
        writer.commit([record(body) for body in batch])
        ends.append(writer.segments[-1].end)
    return disk, ends


def bodies(disk, **settings):
    reader = series(disk, **settings)
    result = []
    for found in reader.recover():
        file = disk.open(found.segment.path)
        result += [file.read(frame.body_at, frame.length) for frame in found.frames]
    return result


def flat(content):
    return [body for batch in content for body in batch]


@given(batches)
def test_what_is_written_is_found(content):
    disk, _ = written(content)
    assert bodies(disk) == flat(content)
    assert bodies(disk, check_bodies=False) == flat(content)


@given(batches, st.data())
@settings(max_examples=examples(25))
def test_cut_at_every_byte_a_prefix_remains(content, data):
    disk, ends = written(content)
    (path,) = disk.files
    whole = disk.read(path)
    for size in range(len(whole) + 1):
        if size > 400 and data.draw(st.booleans()):
            continue
        cut = HostDisk()
        cut.replace(path, whole[:size])
        found = bodies(cut)
        complete = flat(content[: sum(end <= size for end in ends)])
        assert found[: len(complete)] == complete, "a whole batch is lost"
        assert found == flat(content)[: len(found)]


@given(batches, st.data())
@settings(max_examples=examples(100))
def test_a_flipped_bit_is_noticed_unless_it_can_be_a_torn_tail(content, data):
    disk, ends = written(content)
    (path,) = disk.files
    whole = bytearray(disk.read(path))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    disk.replace(path, bytes(whole))
    before = ends[-2] if len(ends) > 1 else 0
    if at < before:
        with pytest.raises(DataLossError) as caught:
            bodies(disk)
        assert caught.value.filename == path
        return
    found = bodies(disk)
    assert found == flat(content)[: len(found)] and len(found) < len(flat(content))
    assert len(found) >= len(flat(content[:-1])) or len(content) == 1


@given(batches, st.data())
@settings(max_examples=examples(60))
def test_without_checking_bodies_the_last_batch_is_checked_all_the_same(content, data):
    disk, ends = written(content)
    (path,) = disk.files
    whole = bytearray(disk.read(path))
    at = data.draw(st.integers(ends[-2] if len(ends) > 1 else 72, len(whole) - 1))
    whole[at] ^= 1
    disk.replace(path, bytes(whole))
    found, records = bodies(disk, check_bodies=False), flat(content)
    assert len(found) < len(records)
    without = [records[:number] + records[number + 1 :] for number in range(len(records))]
    assert found == records[: len(found)] or found in without


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1))
def test_rubbish_holds_no_frame(rubbish, salt):
    assert (
        segment_format.frame_at(lambda at, n: rubbish[at : at + n], salt, 0, len(rubbish)) is None
    )
    assert segment_format.unpack_header(rubbish, "f") is None


def test_a_frame_of_another_place_is_none():
    disk, _ = written([[b"a" * 100]])
    (path,) = disk.files
    header = segment_format.unpack_header(disk.read(path)[:72], path)
    moved = bytes(100) + disk.read(path)
    found = list(
        segment_format.frames_behind(lambda at, n: moved[at : at + n], header.salt, 0, len(moved))
    )
    assert found == []


def test_another_version_is_refused():
    import struct

    raw = bytearray(
        segment_format.pack_header(segment_format.RecordHeader(1, CLUSTER, 1, 0, 7, 0, 0))
    )
    raw[10:12] = struct.pack(">H", 9)
    raw[-4:] = struct.pack(">I", crc32c(bytes(raw[:-4])))
    with pytest.raises(DataLossError, match="version 9"):
        segment_format.unpack_header(bytes(raw), "file")


def test_a_header_whose_checksum_is_right_and_whose_cluster_is_no_name():
    raw = bytearray(
        segment_format.pack_header(segment_format.RecordHeader(1, CLUSTER, 1, 1, 7, 0, 0))
    )
    raw[12] = 0xFF
    raw[68:] = crc32c(raw[:68]).to_bytes(4, "big")
    with pytest.raises(DataLossError, match="a journal of no cluster"):
        segment_format.unpack_header(bytes(raw), "/j")
