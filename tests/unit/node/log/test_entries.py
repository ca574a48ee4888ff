"""Log entries in a Replicate payload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.errors import ProtocolError
from memfs.node.log.entries import Entry, entry_bytes, pack_entries, unpack_entries
from memfs.types import Identity

_U64 = st.integers(0, (1 << 64) - 1)
_IDENTITIES = st.builds(
    Identity, st.text(max_size=20), st.lists(st.text(max_size=9), max_size=3).map(tuple)
)
_ENTRIES = st.builds(
    Entry,
    *[_U64] * 5,
    _IDENTITIES,
    st.integers(0, 0x7FFF),
    st.binary(max_size=99),
    st.lists(_U64, max_size=3).map(tuple),
)
SAMPLE = Entry(1, 2, 3, 4, 5, Identity("u", ("g", "h")), 128, b"record")


@given(st.lists(_ENTRIES, max_size=5))
def test_entries_survive(entries: list[Entry]) -> None:
    payload = pack_entries(entries)
    assert unpack_entries(payload) == unpack_entries(memoryview(payload)) == entries
    assert len(payload) == 4 + sum(map(entry_bytes, entries))


def test_every_flipped_byte_is_noticed() -> None:
    payload = pack_entries([SAMPLE, SAMPLE])
    for at in range(len(payload)):
        broken = bytearray(payload)
        broken[at] ^= 1
        with pytest.raises(ProtocolError):
            unpack_entries(broken)


def test_every_cut_is_noticed() -> None:
    payload = pack_entries([SAMPLE])
    for end in range(len(payload)):
        with pytest.raises(ProtocolError):
            unpack_entries(payload[:end])


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    from memfs.checksum import crc32c

    sealed = crc32c(noise).to_bytes(4, "big") + noise
    try:
        entries = unpack_entries(sealed)
    except ProtocolError:
        return
    assert pack_entries(entries) == sealed
