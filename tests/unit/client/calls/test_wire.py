"""Paths as requests carry them: the short way for plain ones leads where the long one does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs import limits
from memfs.client.calls import wire
from memfs.errors import MemfsError

PARTS = st.sampled_from(
    [
        *["", "/", "//", ".", "..", "...", ".a", "a", "a.", "a..b", "é", "\0", "\udc80", "memfs:"],
        *[" ", "n" * 63, "n" * 64, "é" * 127, "é" * 128, "/d/f", "𝄞" * 63],
    ]
)
TEXTS = st.lists(PARTS, max_size=8).map("".join) | st.lists(PARTS, max_size=8).map("/".join)


def outcome(text: str) -> object:
    try:
        return wire.wire(text)
    except MemfsError as error:
        return type(error), error.message


@given(TEXTS)
def test_plain_paths_are_what_all_paths_are(text: str) -> None:
    wire._from_text.cache_clear()
    short = outcome(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_PLAIN_CHARACTERS", -1)
        wire._from_text.cache_clear()
        assert outcome(text) == short
    wire._from_text.cache_clear()


def test_the_longest_plain_path_is_no_longer_than_a_path_may_be() -> None:
    text = "/𝄞" * (limits.PATH_BYTES // 8)
    assert len(wire.wire(text).raw) <= limits.PATH_BYTES
    with pytest.raises(MemfsError):
        wire.wire("/n" * limits.PATH_BYTES)
