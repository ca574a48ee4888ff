"""Permission bits as ``chmod`` takes them: octal, or symbolic clauses. Pure.

The grammar is GNU chmod's: ``[ugoa]*([-+=][rwxXst]*|[-+=][ugo])+`` or ``[-+=]OCTAL``, comma
separated.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_OCTAL = re.compile(r"[0-7]+")
_OCTAL_ACT = re.compile(r"([-+=])([0-7]+)")
_SET_ID = 0o6000
_ALL = 0o7777
_CLAUSE = re.compile(r"(?P<who>[ugoa]*)(?P<acts>(?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACT = re.compile(r"([-+=])([ugo]|[rwxXst]*)")

_SHIFT = {"u": 6, "g": 3, "o": 0}
_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0}
_STICKY = 0o1000

Change = Callable[[int, bool], int]
"""New permission bits from the old ones, and from whether it is a directory."""


def parse_mode(text: str, umask: int = 0o022) -> Change:
    """Compile ``text``. Clauses without ``ugoa`` mean all, less what ``umask`` holds back.

    Raises ValueError.
    """
    if _OCTAL.fullmatch(text):
        return _absolute(_octal(text, text), len(text))
    steps = [step for clause in text.split(",") for step in _steps(clause, text, umask)]

    def change(mode: int, directory: bool) -> int:
        for step in steps:
            mode = step(mode, directory)
        return mode

    return change


def _octal(digits: str, text: str) -> int:
    bits = int(digits, 8)
    if bits > _ALL:
        raise ValueError(f"invalid mode: {text!r}")
    return bits


def _absolute(bits: int, digits: int) -> Change:
    """A directory's set-id bits stay, as in chmod, where four digits or less do not name them."""
    if digits > 4:
        return lambda mode, directory: bits
    return lambda mode, directory: bits | (mode & _SET_ID if directory else 0)


def _steps(clause: str, text: str, umask: int) -> list[Change]:
    if found := _OCTAL_ACT.fullmatch(clause):
        bits, operator = _octal(found[2], text), found[1]
        if operator == "=":
            return [lambda mode, directory: bits]
        return [lambda mode, directory: mode | bits if operator == "+" else mode & ~bits]
    whole = _CLAUSE.fullmatch(clause)
    if whole is None:
        raise ValueError(f"invalid mode: {text!r}")

    def step(operator: str, what: str) -> Change:
        who = whole["who"]
        return lambda mode, directory: _apply(mode, directory, who, operator, what, umask)

    return [step(*act) for act in _ACT.findall(whole["acts"])]


def _apply(mode: int, directory: bool, who: str, operator: str, what: str, umask: int) -> int:
    classes = "ugo" if not who or "a" in who else who
    bits = affected = 0
    for each in classes:
        bits |= _bits(mode, directory, each, what)
        affected |= 0o7 << _SHIFT[each] | _SPECIAL[each]
    if "o" in classes:
        affected |= _STICKY
        bits |= _STICKY if "t" in what else 0
    if not who:
        bits &= ~umask
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    if directory:  # as chmod: "=" keeps the set-id bits of a directory unless they are named
        affected &= ~0o6000 | bits
    return mode & ~affected | bits


def _bits(mode: int, directory: bool, each: str, what: str) -> int:
    """Bits of class ``each`` that ``what`` (letters, or a class to copy from) stands for."""
    if what in _SHIFT and what:
        return (mode >> _SHIFT[what] & 0o7) << _SHIFT[each]
    low = 0
    for letter, value in (("r", 4), ("w", 2), ("x", 1)):
        low |= value if letter in what else 0
    if "X" in what and (directory or mode & 0o111):
        low |= 1
    return low << _SHIFT[each] | (_SPECIAL[each] if "s" in what else 0)
