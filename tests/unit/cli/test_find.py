"""The criteria of find."""

from __future__ import annotations

import click
import pytest

from memfs.cli.find import _Range, compile_tests
from memfs.client.stat import Stat
from memfs.quantities import parse_size
from memfs.types import Attributes, FileKind

NOW = 1_000_000_000.0


def made(kind: FileKind = FileKind.FILE, **fields: object) -> Stat:
    base = Attributes(5, kind, 0o644, 1, "ada", "users", 0, int(NOW * 1e9), 0, 0, 0, 0, 0, 0, 0)
    return Stat(base._replace(**fields))


def accepts(path: str, found: Stat, **criteria: object) -> bool:
    return all(test(path, found) for test in compile_tests(NOW, **criteria))


def amount(text: str) -> object:
    return _Range(parse_size).convert(text, None, None)


def test_without_criteria_everything() -> None:
    assert accepts("/", made(), name=None, empty=False)


@pytest.mark.parametrize(
    ("criteria", "wanted"),
    [
        ({"name": "*.csv"}, True),
        ({"name": "*.CSV"}, False),
        ({"iname": "*.CSV"}, True),
        ({"name": "data*"}, False),
        ({"path_pattern": "/data/*"}, True),
        ({"user": "ada"}, True),
        ({"group": "nobody"}, False),
    ],
)
def test_names_and_owners(criteria: dict[str, str], wanted: bool) -> None:
    assert accepts("/data/a.csv", made(), **criteria) is wanted


def test_the_root_has_the_name_slash() -> None:
    assert accepts("/", made(FileKind.DIRECTORY), name="/")


def test_kinds() -> None:
    assert accepts("/a", made(), kind="f") and not accepts("/a", made(), kind="d")
    assert accepts("/a", made(FileKind.SYMLINK), kind="l")


@pytest.mark.parametrize(
    ("text", "size", "wanted"),
    [
        ("10", 10, True),
        ("10", 11, False),
        ("+1K", 1025, True),
        ("+1K", 1024, False),
        ("-5", 4, True),
    ],
)
def test_sizes(text: str, size: int, wanted: bool) -> None:
    assert accepts("/a", made(size=size), size=amount(text)) is wanted


def test_ages() -> None:
    days = _Range(float).convert("-7", None, None)
    assert accepts("/a", made(modified_ns=int((NOW - 6 * 86_400) * 1e9)), days=days)
    assert not accepts("/a", made(modified_ns=int((NOW - 8 * 86_400) * 1e9)), days=days)
    minutes = _Range(float).convert("+5", None, None)
    assert accepts("/a", made(modified_ns=int((NOW - 400) * 1e9)), minutes=minutes)


def test_empty() -> None:
    assert accepts("/a", made(), empty=True)
    assert not accepts("/a", made(size=1), empty=True)
    assert accepts("/a", made(FileKind.DIRECTORY), empty=True)
    assert not accepts("/a", made(FileKind.DIRECTORY, children=1), empty=True)
    assert not accepts("/a", made(FileKind.SYMLINK), empty=True)


@pytest.mark.parametrize("text", ["", "+", "x", "+x"])
def test_bad_numbers(text: str) -> None:
    with pytest.raises(click.BadParameter):
        amount(text)
