"""Expressions of ``find``: from words to something that can be asked about one file after another.

The grammar and the primaries are those of GNU find, without what a cluster does not have. Must not
know how trees are walked or how actions are carried out: a :class:`Actions` does that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from memfs.cli.files.looking.moments import parse_moment
from memfs.cli.files.looking.patterns import pattern
from memfs.cli.files.looking.symbolic_modes import parse_mode
from memfs.client.stat import Stat, known
from memfs.types import FileKind

DAY, MINUTE = 86_400, 60
_DECIMAL = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_NEWER = re.compile("-newer([acm])([acmt])")
_UNITS = {"c": 1, "w": 2, "b": 512, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_KINDS: dict[str, Callable[[Stat], bool]] = {
    "f": Stat.is_file,
    "d": Stat.is_dir,
    "l": Stat.is_symlink,
    "p": lambda found: found.kind == FileKind.FIFO,
    "s": lambda found: found.kind == FileKind.SOCKET,
    "b": lambda found: found.kind == FileKind.BLOCK_DEVICE,
    "c": lambda found: found.kind == FileKind.CHARACTER_DEVICE,
}


class FoundFile(NamedTuple):
    """One file that the search visits."""

    path: str
    listed: Stat
    """Its directory's entry."""
    depth: int
    top: str = ""
    """The operand below which it was found."""

    @property
    def stat(self) -> Stat:
        """Its attributes. Raises AccessDeniedError when they were not told."""
        return known(self.listed, self.path)

    @property
    def name(self) -> str:
        """The last component; that of the root is ``/``."""
        return self.path.rstrip("/").rpartition("/")[2] or "/"


class Actions(Protocol):
    """The actions of an expression."""

    now: float

    async def print(self, found: FoundFile, end: str) -> bool:
        """Show the path."""

    async def show(self, found: FoundFile) -> bool:
        """Show a long line."""

    async def delete(self, found: FoundFile) -> bool:
        """Remove it; whether that worked."""

    async def execute(self, found: FoundFile, command: Sequence[str], gathered: bool) -> bool:
        """Run a command; ``gathered``: later, with as many paths as fit."""

    def format(self, text: str) -> Callable[[FoundFile], Awaitable[bool]]:
        """What prints files by a format."""

    def prune(self, found: FoundFile) -> bool:
        """Do not descend into it."""

    def quit(self) -> bool:
        """End the search."""


Test = Callable[[FoundFile], Awaitable[bool]]


class Reference:
    """A file that the expression compares with. It has to be looked at before anything is found."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: Stat | None = None

    @property
    def known(self) -> Stat:
        """Its attributes."""
        assert self.found is not None, "looked at before the walk"
        return self.found


class Expression(NamedTuple):
    """What was asked for."""

    test: Test
    low: int
    high: int
    deepest_first: bool
    acts: bool
    """It has an action; without one every match is printed."""
    references: Sequence[Reference]
    """Files to be looked at first."""


class ExpressionError(ValueError):
    """The words do not form an expression."""


def parse(words: Sequence[str], actions: Actions) -> Expression:
    """Compile the words behind the paths. Raises ExpressionError."""
    parser = _Parser(words, actions)
    test = parser.either() if words else _constant(True)
    if parser.left():
        raise ExpressionError(f"unexpected {parser.word()!r}")
    return Expression(
        test, parser.low, parser.high, parser.deepest_first, parser.acts, parser.references
    )


def number(text: str, scale: Callable[[str], tuple[str, float]]) -> Callable[[float], bool]:
    """``N``, ``+N`` (more) or ``-N`` (less) of what ``scale`` takes for the unit."""
    sign, rest = signed(text)
    digits, unit = scale(rest)
    if not digits.isascii() or not digits.isdecimal():
        raise ExpressionError(f"invalid number {text!r}")
    wanted = int(digits)
    if sign == "+":
        return lambda actual: math.ceil(actual / unit) > wanted
    if sign == "-":
        return lambda actual: math.ceil(actual / unit) < wanted
    return lambda actual: math.ceil(actual / unit) == wanted


def signed(text: str) -> tuple[str, str]:
    """The sign and what follows it."""
    return (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)


def _age(text: str, unit: int, lead: int) -> Callable[[float], bool]:
    """Of seconds since then, as find counts them: ``N`` is a span of one unit.

    It begins ``lead`` units before N; what is more lies behind its end for days (``lead`` 0: whole
    days that have passed), behind N for minutes (``lead`` 1).
    """
    sign, digits = signed(text)
    if not _DECIMAL.fullmatch(digits):
        raise ExpressionError(f"invalid number {text!r}")
    wanted = float(digits) * unit
    if sign == "+":
        return lambda age: age >= wanted + (1 - lead) * unit
    if sign == "-":
        return lambda age: age < wanted
    return lambda age: wanted - lead * unit <= age < wanted + (1 - lead) * unit


def _sized(text: str) -> tuple[str, float]:
    """Sizes are counted in units, the last one begun being one: 512 bytes unless a letter says."""
    return (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 512)


def _plain(text: str) -> tuple[str, float]:
    return text, 1


def permission_test(text: str) -> Callable[[int], bool]:
    """``644`` exactly, ``-u+w`` all of these bits, ``/222`` any of them."""
    kind = text[:1] if text[:1] in "-/" else ""
    try:
        bits = parse_mode(text[len(kind) :], 0)(0, False)
    except ValueError as error:
        raise ExpressionError(str(error)) from None
    if kind == "-":
        return lambda mode: mode & bits == bits
    if kind == "/":
        return lambda mode: not bits or bool(mode & bits)
    return lambda mode: mode == bits


def _constant(value: bool) -> Test:
    async def test(found: FoundFile) -> bool:
        return value

    return test


def _is(check: Callable[[FoundFile], bool]) -> Test:
    async def test(found: FoundFile) -> bool:
        return bool(check(found))

    return test


def _matching(text: str, of: Callable[[FoundFile], str], *, fold: bool = False) -> Test:
    matches = re.compile(pattern(text), re.IGNORECASE * fold).fullmatch
    return _is(lambda found: matches(of(found)) is not None)


def _name(found: FoundFile) -> str:
    return found.name


def _path(found: FoundFile) -> str:
    return found.path


def _regex(text: str, flags: re.RegexFlag | int = 0) -> Test:
    try:
        pattern = re.compile(text, flags)
    except re.error as error:
        raise ExpressionError(f"invalid regular expression {text!r}: {error}") from None
    return _is(lambda found: pattern.fullmatch(found.path) is not None)


def _kind(text: str) -> Test:
    letters = text.split(",")
    if not all(letter in _KINDS for letter in letters):
        raise ExpressionError(f"unknown type {text!r}: write f, d, l, p, s, b or c, with commas")
    return _is(lambda found: any(_KINDS[letter](found.listed) for letter in letters))


def _is_empty(found: FoundFile) -> bool:
    if found.stat.is_dir():
        return found.stat.children == 0
    return found.stat.is_file() and found.stat.st_size == 0


_TESTS: dict[str, Callable[[str], Test]] = {
    "-name": lambda text: _matching(text, _name),
    "-iname": lambda text: _matching(text, _name, fold=True),
    "-path": lambda text: _matching(text, _path),
    "-wholename": lambda text: _matching(text, _path),
    "-ipath": lambda text: _matching(text, _path, fold=True),
    "-iwholename": lambda text: _matching(text, _path, fold=True),
    "-regex": _regex,
    "-iregex": lambda text: _regex(text, re.IGNORECASE),
    "-type": _kind,
    "-user": lambda text: _is(lambda found: found.stat.owner == text),
    "-group": lambda text: _is(lambda found: found.stat.group == text),
}
_NUMBERS: dict[str, tuple[Callable[[Stat], float], Callable[[str], tuple[str, float]]]] = {
    "-size": (lambda found: found.st_size, _sized),
    "-links": (lambda found: found.st_nlink, _plain),
    "-inum": (lambda found: found.st_ino, _plain),
}
_OTHER_NAMES = {"-newer": "-newermm", "-anewer": "-neweram", "-cnewer": "-newercm"}
_TIME_OF: dict[str, Callable[[Stat], int]] = {
    "a": lambda found: found.st_atime_ns,
    "c": lambda found: found.st_ctime_ns,
    "m": lambda found: found.st_mtime_ns,
}
_TIMES: dict[str, tuple[Callable[[Stat], int], int]] = {
    "-mtime": (lambda found: found.st_mtime_ns, DAY),
    "-mmin": (lambda found: found.st_mtime_ns, MINUTE),
    "-atime": (lambda found: found.st_atime_ns, DAY),
    "-amin": (lambda found: found.st_atime_ns, MINUTE),
    "-ctime": (lambda found: found.st_ctime_ns, DAY),
    "-cmin": (lambda found: found.st_ctime_ns, MINUTE),
}


class _Parser:
    """Descends the grammar: either, both, one, primary."""

    def __init__(self, words: Sequence[str], actions: Actions) -> None:
        self._words = list(words)
        self._at = 0
        self._actions = actions
        self.low, self.high = 0, 1 << 30
        self.deepest_first = self.acts = False
        self.references: list[Reference] = []

    def left(self) -> bool:
        return self._at < len(self._words)

    def word(self) -> str:
        return self._words[self._at] if self.left() else ""

    def _next(self, what: str = "an expression") -> str:
        if not self.left():
            raise ExpressionError(f"{what} is missing at the end")
        self._at += 1
        return self._words[self._at - 1]

    def either(self) -> Test:
        tests = [self._both()]
        while self.word() in ("-o", "-or"):
            self._at += 1
            tests.append(self._both())

        async def test(found: FoundFile) -> bool:
            for each in tests:
                if await each(found):
                    return True
            return False

        return test

    def _both(self) -> Test:
        tests = [self._one()]
        while self.left() and self.word() not in ("-o", "-or", ")"):
            self._at += self.word() in ("-a", "-and")
            tests.append(self._one())

        async def test(found: FoundFile) -> bool:
            for each in tests:
                if not await each(found):
                    return False
            return True

        return test

    def _one(self) -> Test:
        word = self._next()
        if word in ("!", "-not"):
            inner = self._one()

            async def test(found: FoundFile) -> bool:
                return not await inner(found)

            return test
        if word == "(":
            whole = self.either()
            if self._next("a )") != ")":
                raise ExpressionError("a ) is missing")
            return whole
        return self._primary(word)

    def _primary(self, word: str) -> Test:
        if word in _TESTS:
            return _TESTS[word](self._next(f"the argument of {word}"))
        if word in _NUMBERS:
            of, scale = _NUMBERS[word]
            holds = number(self._next(f"the argument of {word}"), scale)
            return _is(lambda found: holds(of(found.stat)))
        if word in _TIMES:
            return self._age(*_TIMES[word], self._next(f"the argument of {word}"))
        if word == "-perm":
            allowed = permission_test(self._next("the argument of -perm"))
            return _is(lambda found: allowed(found.stat.attributes.mode))
        if word == "-empty":
            return _is(_is_empty)
        if word in ("-true", "-false"):
            return _constant(word == "-true")
        word = _OTHER_NAMES.get(word, word)
        if word == "-samefile" or _NEWER.fullmatch(word):
            return self._compared(word)
        return self._option(word) or self._action(word)

    def _option(self, word: str) -> Test | None:
        """Options for the whole search; always true, wherever they stand in the expression."""
        if word in ("-mindepth", "-maxdepth"):
            text = self._next(f"the argument of {word}")
            if not (text.isascii() and text.isdecimal()):
                raise ExpressionError(f"invalid number {text!r}")
            setattr(self, "low" if word == "-mindepth" else "high", int(text))
        elif word in ("-depth", "-d"):
            self.deepest_first = True
        else:
            return None
        return _constant(True)

    def _action(self, word: str) -> Test:
        actions = self._actions
        if word == "-prune":
            return _is(actions.prune)
        self.acts = True
        if word in ("-print", "-print0"):
            end = "\n" if word == "-print" else "\0"
            return lambda found: actions.print(found, end)
        if word == "-ls":
            return actions.show
        if word == "-printf":
            return actions.format(self._next("the argument of -printf"))
        if word == "-delete":
            self.deepest_first = True
            return actions.delete
        if word == "-quit":
            return _is(lambda found: actions.quit())
        if word == "-exec":
            return self._execution()
        raise ExpressionError(f"unknown predicate {word!r}")

    def _execution(self) -> Test:
        command: list[str] = []
        while (word := self._next("the ; of -exec")) != ";":
            if word == "+" and command[-1:] == ["{}"]:
                return lambda found: self._actions.execute(found, command[:-1], True)
            command.append(word)
        if not command:
            raise ExpressionError("-exec needs a command")
        return lambda found: self._actions.execute(found, command, False)

    def _age(self, of: Callable[[Stat], int], unit: int, text: str) -> Test:
        holds = _age(text, unit, 0 if unit == DAY else 1)
        now = self._actions.now
        return _is(lambda found: holds(now - of(found.stat) / 1e9))

    def _compared(self, word: str) -> Test:
        """With another file: a symbolic link itself, not what it leads to."""
        text = self._next(f"the argument of {word}")
        newer = _NEWER.fullmatch(word)
        if newer and newer[2] == "t":
            of, since = _TIME_OF[newer[1]], self._moment(text)
            return _is(lambda found: of(found.stat) > since)
        other = Reference(text)
        self.references.append(other)
        if newer:
            of, theirs = _TIME_OF[newer[1]], _TIME_OF[newer[2]]
            return _is(lambda found: of(found.stat) > theirs(other.known))
        return _is(lambda found: found.listed.st_ino == other.known.st_ino)

    def _moment(self, text: str) -> int:
        try:
            return parse_moment(text).at(int(self._actions.now * 1e9))
        except (ValueError, OverflowError):
            known = "2026-01-31T12:00, '2 days ago' or @SECONDS"
            raise ExpressionError(f"invalid time {text!r}: write {known}") from None
