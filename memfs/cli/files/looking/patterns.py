r"""Patterns as fnmatch(3) reads them, for ``find -name``: ``\*`` is a star, ``[^a]`` is ``[!a]``.

Pure.
"""

from __future__ import annotations

import re

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t-\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_PIECE = re.compile(
    r"\*+|\?|\[([!^]?)(\]?(?:\[:\w+:\]|\\.|[^\]\\])*)\]|\\(.)|.", re.DOTALL | re.ASCII
)
_ITEM = re.compile(r"\[:(\w+):\]|\\?(.)-\\?(.)|\\?(.)", re.DOTALL | re.ASCII)


def pattern(text: str) -> str:
    """A regular expression that matches, as a whole, what ``text`` matches."""
    return "(?s:" + "".join(map(_translated, _PIECE.finditer(text))) + ")"


def _translated(piece: re.Match[str]) -> str:
    if piece[0][0] == "*":
        return ".*"
    if piece[0] == "?":
        return "."
    if piece[3]:
        return re.escape(piece[3])
    if not piece[2]:
        return re.escape(piece[0])
    items = "".join(map(_item, _ITEM.finditer(piece[2])))
    return f"[{'^' * bool(piece[1])}{items}]" if items else "." if piece[1] else "(?!)"


def _item(item: re.Match[str]) -> str:
    name, first, last, single = item.groups()
    if name is not None:
        return _CLASSES.get(name, "")
    if single is not None:
        return re.escape(single)
    return f"{re.escape(first)}-{re.escape(last)}" if first <= last else ""
