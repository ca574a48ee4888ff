"""The order of names with numbers in them: ``ls -v``. Pure.

As GNU's ``filevercmp`` has it: numbers by their value, whatever follows a dot and a letter at the
end counts only between names that are otherwise equal, ``~`` comes before the end of a name.
"""

from __future__ import annotations

import functools
import re
from itertools import zip_longest

_SUFFIX = re.compile(r"(?:\.[A-Za-z~][A-Za-z0-9~]*)*\Z", re.ASCII)
_PIECES = re.compile(r"([^0-9]*)([0-9]*)")
_BEYOND_LETTERS = 256


def _weight(character: str) -> int:
    if character == "~":
        return -2
    letter = character.isascii() and character.isalpha()
    return ord(character) + (0 if letter else _BEYOND_LETTERS)


def _parts(name: str) -> list[int]:
    """Weights of what is no digit, then 0 and the value of the digits; as often as needed."""
    return [
        part
        for text, digits in _PIECES.findall(name)
        for part in (*map(_weight, text), 0, int(digits or "0"))
    ]


def _dots(name: str) -> int:
    """``.``, ``..``, other hidden names, and the rest."""
    return {"": 0, ".": 1, "..": 2}.get(name, 3 if name.startswith(".") else 4)


def _without_suffix(name: str) -> str:
    found = _SUFFIX.search(name, 1)
    return name[: found.start()] if found and name else name


@functools.total_ordering
class VersionKey:
    """What names are sorted by."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dots = _dots(name)
        self._parts = (_parts(_without_suffix(name)), _parts(name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VersionKey) and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __lt__(self, other: VersionKey) -> bool:
        if self._dots != other._dots:
            return self._dots < other._dots
        for ours, theirs in zip(self._parts, other._parts, strict=True):
            for one, another in zip_longest(ours, theirs, fillvalue=0):
                if one != another:
                    return one < another
        return self._name < other._name
