"""Headers: every bit is checked before anything is allocated."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import ProtocolError
from memfs.protocol import frames

FRAME = frames.pack_frame(frames.REQUEST, 64, 1 << 63, 9, 30_000, b"record", 123)


@given(
    flags=st.sampled_from((frames.REQUEST, frames.REPLY, frames.ERROR)),
    opcode=st.integers(0, (1 << 16) - 1),
    request_id=st.integers(0, (1 << 64) - 1),
    epoch=st.integers(0, (1 << 64) - 1),
    timeout_ms=st.integers(0, (1 << 32) - 1),
    record=st.binary(max_size=100),
    payload_length=st.integers(0, limits.PAYLOAD_BYTES),
)
def test_round_trip(flags, opcode, request_id, epoch, timeout_ms, record, payload_length):
    frame = frames.pack_frame(flags, opcode, request_id, epoch, timeout_ms, record, payload_length)
    header = frames.unpack_header(b"before" + frame, 6)
    assert header[:6] == (flags, opcode, request_id, epoch, timeout_ms, len(record))
    assert header.payload_length == payload_length
    assert frame[frames.HEADER_BYTES :] == record
    frames.check_record(header, record)


@given(st.integers(0, frames.HEADER_BYTES * 8 - 1))
def test_any_flipped_bit_is_noticed(bit):
    damaged = bytearray(FRAME)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        frames.unpack_header(damaged)


@given(st.integers(0, 6 * 8 - 1))
def test_any_flipped_bit_of_the_record_is_noticed(bit):
    damaged = bytearray(FRAME[frames.HEADER_BYTES :])
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError, match="record fails its checksum"):
        frames.check_record(frames.unpack_header(FRAME), damaged)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "complaint"),
    [
        (0, ">2s", b"GE", "magic"),
        (2, ">B", 0, "version 0"),
        (2, ">B", 2, "version 2"),
        (3, ">B", 2, "flags"),
        (3, ">B", 4, "flags"),
        (6, ">H", 1, "reserved"),
        (28, ">I", limits.RECORD_BYTES + 1, "record of 65537 bytes"),
        (32, ">I", limits.PAYLOAD_BYTES + 1, "payload of 67108865 bytes"),
    ],
)
def test_a_well_signed_header_may_still_be_wrong(offset, layout, value, complaint):
    header = bytearray(FRAME[: frames.HEADER_BYTES])
    struct.pack_into(layout, header, offset, value)
    struct.pack_into(">I", header, 40, crc32c(header[:40]))
    with pytest.raises(ProtocolError, match=complaint):
        frames.unpack_header(header)
