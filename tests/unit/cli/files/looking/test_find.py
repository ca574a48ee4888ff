"""Expressions of find: what is no expression, and numbers. The rest is compared with find(1)."""

from __future__ import annotations

import asyncio

import pytest

from memfs.cli.files.looking.expressions import (
    ExpressionError,
    FoundFile,
    _plain,
    _sized,
    number,
    parse,
    permission_test,
)
from memfs.cli.files.looking.find_formats import compiled
from memfs.client.stat import Stat
from memfs.types import Attributes, FileKind


class Actions:
    now = 0.0

    def format(self, text: str) -> object:
        return compiled(text, str)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-nonsense"], "unknown predicate '-nonsense'"),
        (["-name"], "the argument of -name is missing"),
        (["-type", "x"], "unknown type 'x'"),
        (["-size", "x"], "invalid number 'x'"),
        (["-size", "+"], "invalid number"),
        (["-size", "inf"], "invalid number"),
        (["-mmin", "+nan"], "invalid number"),
        (["-newermt", "soon"], "invalid time 'soon': write"),
        (["-newermx", "/a"], "unknown predicate '-newermx'"),
        (["-maxdepth", "-1"], "invalid number"),
        (["-maxdepth", "\N{ARABIC-INDIC DIGIT TWO}"], "invalid number"),
        (["(", "-empty"], r"a \) is missing"),
        (["-empty", ")"], "unexpected"),
        (["-empty", "-o"], "an expression is missing"),
        (["-not"], "an expression is missing"),
        (["-perm", "u+q"], "invalid mode"),
        (["-regex", "("], "invalid regular expression"),
        (["-exec", "ls"], "the ; of -exec is missing"),
        (["-exec", ";"], "needs a command"),
        (["-printf"], "the argument of -printf is missing"),
        (["-printf", "%p%"], "ends in a %"),
        (["-printf", "%-5"], "ends in a %"),
        (["-samefile"], "the argument of -samefile is missing"),
    ],
)
def test_what_is_no_expression(words: list[str], says: str) -> None:
    with pytest.raises(ExpressionError, match=says):
        parse(words, Actions())  # type: ignore[arg-type]


@pytest.mark.parametrize("letter", ["p", "s", "b", "c", "p,f"])
def test_types_of_special_files(letter: str) -> None:
    parse(["-type", letter], Actions())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "size", "wanted"),
    [
        ("1", 512, True),
        ("1", 513, False),
        ("1", 0, False),
        ("+1", 513, True),
        ("+1", 512, False),
        ("10c", 10, True),
        ("-1M", 1, False),
        ("-1M", 0, True),
        ("+1k", 1025, True),
        ("2G", (1 << 30) + 1, True),
    ],
)
def test_sizes_are_counted_in_units_begun(text: str, size: int, wanted: bool) -> None:
    assert number(text, _sized)(size) is wanted


def test_numbers() -> None:
    assert number("+5", _plain)(6) and not number("+5", _plain)(5)
    assert number("-5", _plain)(4) and number("5", _plain)(5)


def matching(words: list[str], age: float) -> bool:
    at = -int(age * 1e9)
    found = Stat(Attributes(7, FileKind.FILE, 0o644, 1, "a", "a", 0, at, at, at, 16, 16, 1, 1, 1))
    expression = parse(words, Actions())  # type: ignore[arg-type]
    return asyncio.run(expression.test(FoundFile("/f", found, 0)))


@pytest.mark.parametrize(
    ("words", "ages"),
    [
        ("-mtime 1", [86_400, 129_600, 172_799]),
        ("-mtime +1", [172_800, 215_999, 300_000]),
        ("-mtime -1", [-5, 0, 239, 240, 299, 300, 301, 86_399]),
        ("-mtime 1.5", [129_600, 172_799, 172_800, 215_999]),
        ("-mmin 5", [240, 299]),
        ("-mmin +5", [300, 301, 86_399, 86_400, 129_600, 172_799, 172_800, 215_999, 300_000]),
        ("-mmin -5", [-5, 0, 239, 240, 299]),
    ],
)
def test_ages(words: str, ages: list[int]) -> None:
    """Spans as in GNU find: days that have passed, minutes that have begun."""
    every = [-5, 0, 239, 240, 299, 300, 301, 86_399, 86_400, 129_600, 172_799, 172_800, 215_999]
    assert [age for age in [*every, 300_000] if matching(words.split(), age)] == ages


def test_permissions() -> None:
    assert permission_test("644")(0o644) and not permission_test("644")(0o600)
    assert permission_test("-u+w")(0o644) and not permission_test("-222")(0o644)
    assert permission_test("/222")(0o644) and not permission_test("/111")(0o644)


@pytest.mark.parametrize("width", ["99999999999", "9" * 5000])
def test_widths_that_no_memory_holds_are_refused(width: str) -> None:
    for form in (f"%{width}d", f"%-{width}f", f"%.{width}f", f"%.{width}m"):
        with pytest.raises(ExpressionError, match="65535"):
            compiled(form, str)
    assert compiled("%65535f", str).odd == ()
