"""Sizes and durations, as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.quantities import counted, parse_duration, parse_size, show_short, show_size


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (0, 0),
        ("4096", 4096),
        ("1k", 1024),
        ("1K", 1024),
        ("1KiB", 1024),
        ("1KB", 1000),
        ("1.5G", 3 << 29),
        (".5M", 1 << 19),
        ("8GiB", 8 << 30),
        (" 2 MB ", 2_000_000),
        ("1T", 1 << 40),
        ("10B", 10),
        (2.0, 2),
    ],
)
def test_sizes(given_: object, wanted: int) -> None:
    assert parse_size(given_) == wanted


BAD = [
    "",
    "G",
    "1X",
    "-1",
    "1 2",
    "1..5",
    None,
    True,
    [],
    -1,
    float("inf"),
    "9" * 30,
    "0x10",
    "1e3",
    "\uff11",
]


@pytest.mark.parametrize("text", [*BAD, "5s"])
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [("500ms", 0.5), ("5s", 5), ("5", 5), (5, 5), ("1.5m", 90), ("2h", 7200), ("10us", 1e-5)],
)
def test_durations(given_: object, wanted: float) -> None:
    assert parse_duration(given_) == pytest.approx(wanted)


@pytest.mark.parametrize("text", [*BAD, "5GiB"])
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (64 << 20, "64 MiB"),
        (123 << 30, "123 GiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_show_size(count: int, wanted: str) -> None:
    assert show_size(count) == wanted


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.0K"),
        (1025, "1.1K"),
        (10 * 1024, "10K"),
        (10 * 1024 + 1, "11K"),
        (1023 * 1024, "1.0M"),
        (64 << 20, "64M"),
        (1 << 40, "1.0T"),
    ],
)
def test_show_short(count: int, wanted: str) -> None:
    assert show_short(count) == wanted


@given(st.integers(0, 1 << 62))
def test_short_never_shows_less(count: int) -> None:
    text = show_short(count)
    assert len(text) <= 5
    assert parse_size(text) >= count * (1 - 1e-9)


@given(st.integers(0, 1 << 50), st.sampled_from(["", "K", "M", "KiB", "MB"]))
def test_sizes_scale(count: int, unit: str) -> None:
    assert parse_size(f"{count}{unit}") == count * parse_size(f"1{unit}")


def test_a_number_and_its_noun() -> None:
    assert [counted(count, "file") for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [counted(n, "copy is", "copies are") for n in (1, 3)] == ["1 copy is", "3 copies are"]
