"""CRC32C, whole and in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.checksum import combine, crc32c, crc_of_zeros


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_vectors_of_rfc_3720(data: bytes, wanted: int) -> None:
    assert crc32c(data) == wanted


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind: type) -> None:
    assert crc32c(kind(b"123456789")) == 0xE3069283


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_pieces(first: bytes, second: bytes) -> None:
    whole = crc32c(first + second)
    assert crc32c(second, crc32c(first)) == whole
    assert combine(crc32c(first), crc32c(second), len(second)) == whole


@pytest.mark.parametrize("length", [0, 1, 2, 511, 65_535, 65_536, 200_000])
def test_zeros(length: int) -> None:
    assert crc_of_zeros(length) == crc32c(bytes(length))


def test_zeros_are_not_read() -> None:
    half = crc_of_zeros(1 << 47)
    assert crc_of_zeros(1 << 48) == combine(half, half, 1 << 47)
