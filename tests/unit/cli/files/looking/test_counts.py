"""Counts with units and signs; the expected values are those of coreutils 9.1."""

from __future__ import annotations

import click
import pytest

from memfs.cli.files.looking.counts import Count, NewSize

MOST = 18446744073709551615
COUNTS = {
    "10": ("", 10),
    " 2": ("", 2),
    "010": ("", 10),
    "1b": ("", 512),
    "K": ("", 1024),
    "1k": ("", 1024),
    "1KiB": ("", 1024),
    "1kB": ("", 1000),
    "1KD": ("", 1000),
    "1m": ("", 1 << 20),
    "1E": ("", 1 << 60),
    "-1": ("-", 1),
    "-K": ("-", 1024),
    "+1": ("+", 1),
    str(MOST): ("", MOST),
    f"-000{MOST}": ("-", MOST),
}
WRONG_COUNTS = [
    "1.5",
    "1B",
    "1Ki",
    "2 ",
    "",
    "0x1",
    "1R",
    "1g",
    "1e",
    "1t",
    "--1",
    "1KB1",
    "١",
    "+K",
    "+ 2",
]
LARGE_COUNTS = [str(MOST + 1), f"-{MOST + 1}", "99999999999999999999", "1Z", "9" * 10_000]
SIZES = {
    "K": ("", 1024),
    "kB": ("", 1000),
    "1g": ("", 1 << 30),
    "1MD": ("", 1_000_000),
    "< 5": ("<", 5),
    " 5": ("", 5),
    "%K": ("%", 1024),
    "-5": ("-", 5),
    "/0": ("/", 0),
    "9223372036854775807": ("", 9223372036854775807),
    "-9223372036854775808": ("-", 9223372036854775808),
}
WRONG_SIZES = ["1.5", "- 1", "1B", "1b", "1e", "+ 5", "-K", "", "+", "+-5", "--5", "1 "]
LARGE_SIZES = ["9223372036854775808", "1Y", "16E"]


@pytest.mark.parametrize(
    ("kind", "good", "wrong", "large"),
    [(Count(), COUNTS, WRONG_COUNTS, LARGE_COUNTS), (NewSize(), SIZES, WRONG_SIZES, LARGE_SIZES)],
)
def test_as_coreutils(
    kind: Count, good: dict[str, tuple[str, int]], wrong: list[str], large: list[str]
) -> None:
    assert {text: kind.convert(text, None, None) for text in good} == good
    for text in wrong:
        with pytest.raises(click.BadParameter, match="invalid number"):
            kind.convert(text, None, None)
    for text in large:
        with pytest.raises(click.BadParameter, match="too large"):
            kind.convert(text, None, None)


@pytest.mark.parametrize("text", ["<+5", "% -5"])
def test_a_size_has_one_sign(text: str) -> None:
    with pytest.raises(click.UsageError, match="one sign"):
        NewSize().convert(text, None, None)
