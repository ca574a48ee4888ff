"""Formats of ``find -printf``: from the text to what is printed of one file after another. Pure.

Directives, widths, flags and escapes are those of GNU find, without what a cluster does not know
(``%S``, ``%Z``); what is no directive stays as it is written.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from memfs.cli.files.looking.columns import field_width, permissions
from memfs.cli.files.looking.expressions import ExpressionError, FoundFile
from memfs.client.stat import Stat
from memfs.types import FileKind

_PIECE = re.compile(
    r"\\(?P<octal>[0-7]{1,3})|\\(?P<escape>.?)"
    r"|%(?P<flags>[-+ #0]*)(?P<width>[0-9]*)(?:\.(?P<precision>[0-9]*))?(?P<letter>[ABCT].|.?)",
    re.DOTALL,
)
_ESCAPES = dict(zip("abfnrtv\\", "\a\b\f\n\r\t\v\\", strict=True))
_LETTERS = {
    FileKind.FILE: "f",
    FileKind.DIRECTORY: "d",
    FileKind.SYMLINK: "l",
    FileKind.FIFO: "p",
    FileKind.CHARACTER_DEVICE: "c",
    FileKind.BLOCK_DEVICE: "b",
    FileKind.SOCKET: "s",
}
_CLOCKS: dict[str, Callable[[Stat], int]] = {
    "A": lambda found: found.st_atime_ns,
    "C": lambda found: found.st_ctime_ns,
    "T": lambda found: found.st_mtime_ns,
}
_OF_TIMES = "HIklMprSTXZ+@aAbBcdDFhjmRUwWxyYGsgVue"


class FormattedFile(NamedTuple):
    """A file, with what its directory's entry does not say."""

    file: FoundFile
    target: str = ""
    """The text of a symbolic link."""
    leads_to: FileKind | str = ""
    """What it leads to; ``N``: nothing, ``L``: itself, ``?``: what cannot be looked at."""


Render = Callable[[FormattedFile], str]
_VALUES: dict[str, Render] = {
    "p": lambda known: known.file.path,
    "f": lambda known: known.file.name,
    "h": lambda known: known.file.path.rstrip("/").rpartition("/")[0],
    "H": lambda known: known.file.top,
    "P": lambda known: known.file.path[len(known.file.top.rstrip("/")) :].lstrip("/"),
    "s": lambda known: str(known.file.stat.st_size),
    "b": lambda known: str(-(-_content(known) // 512)),
    "k": lambda known: str(-(-_content(known) // 1024)),
    "M": lambda known: permissions(known.file.stat.attributes._replace(acl=False)),
    "u": lambda known: known.file.stat.owner,
    "g": lambda known: known.file.stat.group,
    "U": lambda known: str(known.file.stat.st_uid),
    "G": lambda known: str(known.file.stat.st_gid),
    "n": lambda known: str(known.file.stat.st_nlink),
    "i": lambda known: str(known.file.listed.st_ino),
    "D": lambda known: str(known.file.listed.st_dev),
    "F": lambda known: "memfs",
    "l": lambda known: known.target,
    "y": lambda known: _LETTERS[known.file.listed.kind],
    "Y": lambda known: (
        _LETTERS[known.leads_to]
        if isinstance(known.leads_to, FileKind)
        else known.leads_to or _LETTERS[known.file.listed.kind]
    ),
    "a": lambda known: _plain_time(known.file.stat.st_atime_ns),
    "c": lambda known: _plain_time(known.file.stat.st_ctime_ns),
    "t": lambda known: _plain_time(known.file.stat.st_mtime_ns),
}
_NAMES = "pfhHPl"
_NUMBERS: dict[str, tuple[Callable[[FormattedFile], int], str]] = {
    "d": (lambda known: known.file.depth, "d"),
    "m": (lambda known: known.file.stat.attributes.mode, "o"),
}


class Format(NamedTuple):
    """A parsed format."""

    pieces: tuple[Render, ...]
    asks_link: bool
    """It shows what symbolic links say."""
    asks_target: bool
    """It shows what they lead to."""
    odd: tuple[str, ...]
    """Unknown directives and escapes."""

    def filled(self, known: FormattedFile) -> str:
        """What is printed of one file."""
        return "".join(render(known) for render in self.pieces)


def compiled(text: str, shown: Callable[[str], str]) -> Format:
    """Parse a format. Every text is valid: what is no directive is printed as it is.

    ``shown`` makes a name safe for a terminal. Raises ExpressionError for a ``%`` at the end.
    """
    pieces: list[Render] = []
    odd: list[str] = []
    letters: set[str] = set()
    at = 0
    for found in _PIECE.finditer(text):
        pieces.append(_constant(text[at : found.start()]))
        at = found.end()
        if found["escape"] == "c":
            return Format(tuple(pieces), "l" in letters, "Y" in letters, tuple(odd))
        if found["letter"] == "":
            raise ExpressionError(f"{text!r} ends in a % with nothing behind it")
        render = _escape(found) if found["letter"] is None else _directive(found, shown)
        if render is None:
            odd.append(found[0])
        letters.add(found["letter"] or "")
        pieces.append(render or _constant(found[0]))
    pieces.append(_constant(text[at:]))
    return Format(tuple(pieces), "l" in letters, "Y" in letters, tuple(odd))


def _constant(text: str) -> Render:
    return lambda known: text


def _escape(found: re.Match[str]) -> Render | None:
    if found["octal"] is not None:
        return _constant(os.fsdecode(bytes([int(found["octal"], 8) & 0xFF])))
    shown = _ESCAPES.get(found["escape"])
    return None if shown is None else _constant(shown)


def _directive(found: re.Match[str], shown: Callable[[str], str]) -> Render | None:
    letter, flags = found["letter"], found["flags"]
    if letter == "%":
        return _constant("%")
    precision = found["precision"]
    try:
        width, most = field_width(found["width"]), field_width(precision)
    except ValueError as error:
        raise ExpressionError(str(error)) from None
    if letter in _NUMBERS:
        return _number(*_NUMBERS[letter], flags, width, None if precision is None else most)
    if letter[:1] in _CLOCKS and letter[1:] in _OF_TIMES and len(letter) == 2:
        value = _clock(_CLOCKS[letter[0]], letter[1])
    elif letter in _VALUES:
        value = _VALUES[letter]
    else:
        return None

    def render(known: FormattedFile) -> str:
        text = shown(value(known)) if letter in _NAMES else value(known)
        text = text if precision is None else text[:most]
        return text.ljust(width) if "-" in flags else text.rjust(width)

    return render


def _number(
    of: Callable[[FormattedFile], int], base: str, flags: str, width: int, precision: int | None
) -> Render:
    def render(known: FormattedFile) -> str:
        digits = f"{of(known):{base}}".zfill(precision or 0)
        if base == "o" and "#" in flags and not digits.startswith("0"):
            digits = "0" + digits
        if base == "d":
            digits = ("+" if "+" in flags else " " if " " in flags else "") + digits
        if "-" in flags:
            return digits.ljust(width)
        return digits.zfill(width) if "0" in flags and precision is None else digits.rjust(width)

    return render


def _clock(of: Callable[[Stat], int], letter: str) -> Render:
    return lambda known: _part_of_time(of(known.file.stat), letter)


def _part_of_time(nanoseconds: int, letter: str) -> str:
    """One directive of strftime(3); seconds have ten places behind the point, as find has them."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    behind = f".{fraction:09d}0"
    if letter == "@":
        return f"{seconds}{behind}"
    local = time.localtime(seconds)
    if letter == "+":
        return time.strftime("%Y-%m-%d+%H:%M:%S", local) + behind
    shown = time.strftime("%" + letter, local)
    return shown + behind if letter in "STX" else shown


def _plain_time(nanoseconds: int) -> str:
    """``Mon Feb  3 04:05:06.1234567890 2020``; local time, English names, as ctime(3) has them."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    before, _, year = time.asctime(time.localtime(seconds)).rpartition(" ")
    return f"{before}.{fraction:09d}0 {year}"


def _content(known: FormattedFile) -> int:
    found = known.file.stat
    return found.st_size if found.is_file() else 0
