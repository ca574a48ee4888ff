"""Patterns: fnmatch(3) of the C library is the judge."""

from __future__ import annotations

import ctypes
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.cli.files.looking.patterns import pattern

libc = ctypes.CDLL(None)
PIECES = [
    *"*?ab1]!-.{",
    "[a-c]",
    "[!a]",
    "[^a]",
    "[]a]",
    "[[:digit:]]",
    "[z-a]",
    r"\*",
    r"\a",
    "&&",
]
NAMES = ["", "a", "b", "ab", "1", "*", "]", "-", "a*", "!", "^", "a\nb", ".", "&", "&&", "[!a]"]


def as_libc(text: str, name: str) -> bool:
    return bool(libc.fnmatch(text.encode(), name.encode(), 0) == 0)


@given(st.lists(st.sampled_from(PIECES), max_size=4).map("".join))
def test_as_the_c_library(text: str) -> None:
    matches = re.compile(pattern(text)).fullmatch
    assert [name for name in NAMES if matches(name)] == [
        name for name in NAMES if as_libc(text, name)
    ]


@pytest.mark.parametrize(
    "name", ["alnum", "alpha", "blank", "digit", "lower", "punct", "space", "upper", "xdigit"]
)
def test_classes(name: str) -> None:
    for text in (f"[[:{name}:]]", f"[^[:{name}:]x]"):
        matches = re.compile(pattern(text)).fullmatch
        for code in range(1, 128):
            assert bool(matches(chr(code))) is as_libc(text, chr(code)), (text, code)
