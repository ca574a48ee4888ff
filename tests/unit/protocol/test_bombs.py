"""No record of 64 KiB costs 2 MB, and no record that the protocol needs is refused."""

from __future__ import annotations

import contextlib
import random
import tracemalloc

import msgpack
import pytest

from memfs import limits
from memfs.errors import ProtocolError
from memfs.protocol import messages as m
from memfs.protocol.bombs import check_cost
from memfs.protocol.records import decode, encode
from memfs.types import Attributes, BlockRef, DirectoryEntry

SIZE = limits.RECORD_BYTES
COST_LIMIT = 2_000_000

ATTRIBUTES = Attributes(
    7 << 32 | 5,
    0,
    0o644,
    1,
    "alice",
    "users",
    1 << 40,
    2**60,
    2**60,
    2**60,
    1 << 22,
    16,
    2,
    9,
    10**6,
)


def filled(unit: bytes) -> bytes:
    """A record full of units, in arrays as long as they may be."""
    page = b"\xdc\x04\x00" + unit * 1024
    pages = min(15, SIZE // len(page))
    if pages:
        return bytes([0x90 + pages]) + page * pages
    count = (SIZE - 3) // len(unit)
    return b"\xdc" + count.to_bytes(2, "big") + unit * count


BOMBS = {
    "nested long arrays": b"\xdc\x04\x00" * 1000,
    "nested longer arrays": b"\xdd\x00\x00\x04\x00" * 1000,
    "arrays that announce 65,535": b"\xdc\xff\xff" * 1000,
    "arrays that announce 4 billion": b"\xdd\xff\xff\xff\xff" * 1000,
    "nested middling arrays": b"\xdc\x00\x1f" * 1000,
    "nested arrays of fifteen": b"\x9f" * 1000,
    "towers of arrays": filled(b"\x91" * 60 + b"\xc0"),
    "pairs of arrays": filled(b"\x91\xc0"),
    "empty arrays": filled(b"\x90"),
    "short wide texts": filled(b"\xa2" + "Ā".encode()),
    "short wider texts": filled(b"\xa4" + "\N{GRINNING FACE}".encode()),
    "texts with their length apart": filled(b"\xd9\x02" + "Ā".encode()),
    "short binaries": filled(b"\xc4\x02ab"),
    "negative numbers": filled(b"\xe0"),
    "two-byte numbers": filled(b"\xd0\x80"),
    "doubles": filled(b"\xcb" + b"\x40" * 8),
    "long text with one emoji": b"\x91" + msgpack.packb("\N{GRINNING FACE}" + "a" * (SIZE - 100)),
    "maps": b"\x81" * 1000,
    "large maps": b"\xdf\xff\xff\xff\xff" * 1000,
    "truncated": b"\xdc\x04\x00" + b"\x91" * 60_000,
}


@pytest.mark.parametrize("cls", [m.Lookup, m.ReadFiles, m.ListReply])
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little(name, cls):
    assert len(BOMBS[name]) <= SIZE
    assert cost_of(cls, BOMBS[name]) < COST_LIMIT


UNITS = (
    b"\xdc\x04\x00",
    b"\xdc\x00\x1f",
    b"\x9f",
    b"\x91",
    b"\x92\x91\xc0",
    b"\xe5",
    b"\xa2\xc4\x80",
    b"\xa4\xf0\x9f\x98\x80",
    b"\xd0\x80",
    b"\xd9\x02\xc4\x80",
    b"\xcd\x80\x80",
)


@pytest.mark.parametrize("seed", range(8))
def test_mixtures_cost_little(seed):
    dice = random.Random(seed)
    few = dice.sample(UNITS, dice.randint(1, 4))
    raw = b"".join(dice.choices(few, k=SIZE))[:SIZE]
    assert cost_of(m.ReadFiles, raw) < COST_LIMIT


def names(alphabet: str, length: int) -> list[bytes]:
    dice = random.Random(1)
    return ["".join(dice.choices(alphabet, k=length)).encode() for _ in range(1000)]


@pytest.mark.parametrize(
    "alphabet", ["abc", "漢字文件夾測試", "ܐܒܓܕ", "привет", "\N{GRINNING FACE}x"]
)
@pytest.mark.parametrize("length", [1, 3, 8, 40])
def test_full_listings_pass(alphabet, length):
    dice = random.Random(2)
    check_cost(page_of([entry(name, dice) for name in names(alphabet, length)]))


def test_listings_of_tiny_entries_pass():
    tiny = Attributes(2, 1, 7, 2, "a", "b", 0, 0, 0, 0, 0, 0, 0, 0, 1)
    reply = m.ListReply(tuple(DirectoryEntry(b"%d" % index, tiny) for index in range(1000)), 0)
    assert decode(m.ListReply, encode(reply)) == reply


def test_full_block_maps_pass():
    refs = tuple(
        BlockRef(2**62 + 1, index, 2**33, 2**31, 1 << 22, 2**32 - 1, (2**31,) * 8)
        for index in range(limits.BLOCKS_PER_RECORD)
    )
    reply = m.BlocksReply(ATTRIBUTES, 0, refs)
    assert decode(m.BlocksReply, encode(reply)) == reply


@pytest.mark.parametrize("seed", range(5))
def test_binary_attributes_pass(seed):
    value = random.Random(seed).randbytes(limits.XATTR_VALUE_BYTES)
    for data in (value, b"\xdc\x04\x00" * (len(value) // 3), b"\x91" * len(value)):
        request = m.SetXattr(b"/a", "user.x", data)
        logged = encode(request, limits.LOGGED_BYTES)
        assert decode(m.SetXattr, logged, limits.LOGGED_BYTES) == request


def test_the_longest_arrays_pass():
    reply = m.ReserveReply(tuple(range(2**62, 2**62 + limits.INODES_PER_RESERVATION)))
    assert decode(m.ReserveReply, encode(reply)) == reply
    versions = tuple(m.BlockVersion(2**62, 2**23, 2**32, index) for index in range(1000))
    request = m.DiscardBlocks(versions)
    assert decode(m.DiscardBlocks, encode(request)) == request


def cost_of(cls, raw) -> int:
    """Most bytes that decoding ``raw`` held at once."""
    with contextlib.suppress(ProtocolError):
        decode(cls, b"\x90")  # compiles the class
    tracemalloc.start()
    try:
        with contextlib.suppress(ProtocolError):
            decode(cls, raw)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def entry(name: bytes, dice: random.Random) -> DirectoryEntry:
    """An entry whose numbers and times are as random as real ones."""
    modified, changed, accessed = (2**60 + dice.getrandbits(58) for _ in range(3))
    return DirectoryEntry(
        name,
        ATTRIBUTES._replace(
            inode=dice.getrandbits(40),
            change=dice.getrandbits(30),
            modified_ns=modified,
            changed_ns=changed,
            accessed_ns=accessed,
        ),
    )


def page_of(entries: list[DirectoryEntry]) -> bytes:
    """As many of them as fit one record."""
    while True:
        try:
            return encode(m.ListReply(tuple(entries), 0))
        except ProtocolError:
            entries = entries[: len(entries) * 9 // 10]
