"""HDFS's checksums, against values written down from their definition."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.checksum import crc32c
from memfs.gateway.hadoop.checksum_rules import FileDigest, composite

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


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=12), st.integers(0, 511))
def test_zeros_need_not_be_read(chunks: list[tuple[int, bool]], rest: int) -> None:
    digest, whole = FileDigest(BLOCK), b""
    for count, hole in [*chunks, (0, True)]:
        if hole:
            digest.zeros(512 * count)
        else:
            for _ in range(count):
                digest.update(b"x" * 512)
        whole += (b"\0" if hole else b"x") * 512 * count
    digest.zeros(rest)
    assert digest.content()["FileChecksum"] == digest_of(whole + bytes(rest), 512)


def test_a_long_hole_takes_no_time_and_no_memory() -> None:
    block = 64 << 20
    digest = FileDigest(block)
    digest.zeros((1 << 40) + 1)
    zeros = hashlib.md5(struct.pack(">I", crc32c(bytes(512))) * (block // 512)).digest()
    last = hashlib.md5(struct.pack(">I", crc32c(b"\0"))).digest()
    blocks = 1 << 14
    whole = hashlib.md5((zeros * blocks + last).ljust(16 * blocks * 2, b"\0")).hexdigest()
    assert str(digest.content()["FileChecksum"]["bytes"])[24:] == whole


@given(st.binary(max_size=300))
def test_composite_is_the_crc_of_all(content: bytes) -> None:
    found = composite(crc32c(content))["FileChecksum"]
    assert found["bytes"] == struct.pack(">I", crc32c(content)).hex()
