"""Counts as ``head``, ``tail`` and ``truncate`` take them: a number with a unit, and its sign.

The grammar is that of xstrtoumax of gnulib, which coreutils use: blanks, digits, a unit, where a
unit alone is one of it. What is too large for 64 bits is refused, as it is there.
"""

from __future__ import annotations

import re
from typing import Final

import click

_POWERS: Final = {"K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6, "Z": 7, "Y": 8}
_NUMBER: Final = re.compile(r"\s*(\d*)(?:(b)|([a-zA-Z])(iB|B|D)?)?", re.ASCII)
_BLOCK_BYTES: Final = 512
UNITS: Final = "bkKmMGTPEZY"
"""Of head and tail."""
SIZE_UNITS: Final = "kKmMgGtTPEZY"
"""Of truncate."""
UNSIGNED_MOST: Final = (1 << 64) - 1
SIGNED_MOST: Final = (1 << 63) - 1


def parse_count(text: str, units: str = UNITS, most: int = UNSIGNED_MOST) -> int:
    """``10``, ``1K``, ``1KiB`` (1024), ``1kB`` (1000), ``b`` (512), if these are among ``units``.

    Raises ValueError for anything else, OverflowError for more than ``most``.
    """
    found = _NUMBER.fullmatch(text)
    if found is None or not text.strip():
        raise ValueError(text)
    digits, block, letter, form = found.groups()
    unit = block or letter or ""
    if unit not in units:
        raise ValueError(text)
    if block:
        factor = _BLOCK_BYTES
    elif letter:
        factor = (1000 if form in ("B", "D") else 1024) ** _POWERS[letter.upper()]
    else:
        factor = 1
    if len(digits.lstrip("0")) > len(str(most)) or (number := int(digits or 1) * factor) > most:
        raise OverflowError(text)
    return number


class Count(click.ParamType[tuple[str, int]]):
    """``10``, or a number with a sign, whose meaning is the command's."""

    name = "count"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        try:
            return self.parse(str(value))
        except ValueError:
            self.fail(f"invalid number: {value!r}", param, ctx)
        except OverflowError:
            self.fail(f"invalid number: {value!r}: it is too large", param, ctx)

    def parse(self, text: str) -> tuple[str, int]:
        """Sign and number. Raises ValueError, OverflowError."""
        sign = text[0] if text[:1] in ("-", "+") else ""
        if sign == "+" and not text[1:2].isdigit():
            raise ValueError(text)
        return sign, parse_count(text[len(sign) :])


class NewSize(Count):
    """A length for ``truncate``, or what to do with the present one: ``+N``, ``<N``, ``%N``."""

    def parse(self, text: str) -> tuple[str, int]:
        text = text.lstrip()
        sign = text[0] if text[:1] in tuple("-+<>/%") else ""
        rest = text[len(sign) :]
        if sign and sign in "<>/%":
            rest = rest.lstrip()
            if rest[:1] in ("-", "+"):
                raise click.UsageError("a size has one sign: multiple relative modifiers")
        elif sign and not rest[:1].isdigit():
            raise ValueError(text)  # blanks and units alone have no sign
        return sign, parse_count(rest, SIZE_UNITS, SIGNED_MOST + (sign == "-"))
