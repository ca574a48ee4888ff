"""HDFS's checksums, against values written down from their definition."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.checksum import crc32c
from memfs.gateway.checksum_rules import FileDigest, composite, crc_of_zeros

BLOCK = 4096


def digest_of(data: bytes, piece: int = 1024) -> dict[str, object]:
    digest = FileDigest(BLOCK)
    for start in range(0, len(data), piece):
        digest.update(data[start : start + piece])
    return dict(digest.content()["FileChecksum"])


def test_an_empty_file() -> None:
    found = digest_of(b"")
    assert found["algorithm"] == "MD5-of-0MD5-of-0CRC32"
    assert found["bytes"] == "00" * 12 + "70bc8f4b72a86921468bf8e8441dce51"
    assert found["length"] == 28


def test_one_chunk() -> None:
    block = hashlib.md5(struct.pack(">I", crc32c(b"abc"))).digest()
    wanted = struct.pack(">iq", 512, 0) + hashlib.md5(block.ljust(32, b"\0")).digest()
    assert digest_of(b"abc")["bytes"] == wanted.hex()
    assert digest_of(b"abc")["algorithm"] == "MD5-of-0MD5-of-512CRC32C"


@pytest.mark.parametrize(("blocks", "padded"), [(2, 32), (3, 64), (4, 64), (5, 128)])
def test_the_padding_doubles(blocks: int, padded: int) -> None:
    crcs = struct.pack(">8I", *[crc32c(bytes(512))] * 8)
    digests = hashlib.md5(crcs).digest() * blocks
    wanted = hashlib.md5(digests.ljust(padded, b"\0")).hexdigest()
    found = digest_of(bytes(BLOCK * blocks))
    assert str(found["bytes"])[24:] == wanted
    assert found["algorithm"] == "MD5-of-8MD5-of-512CRC32C"


@given(st.binary(max_size=10_000), st.sampled_from([512, 1024, 4096]))
def test_pieces_do_not_matter(data: bytes, piece: int) -> None:
    assert digest_of(data, piece) == digest_of(data, 512)


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_composite_is_the_crc_of_all(parts: list[bytes]) -> None:
    found = composite((crc32c(part), len(part)) for part in parts)["FileChecksum"]
    assert found["bytes"] == struct.pack(">I", crc32c(b"".join(parts))).hex()


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 200_000])
def test_zeros(length: int) -> None:
    assert crc_of_zeros(length) == crc32c(bytes(length))
