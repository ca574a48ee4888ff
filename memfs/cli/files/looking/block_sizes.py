"""Units of sizes as ``df -B`` and ``du -B`` take them. Pure, but for the parameter's type."""

from __future__ import annotations

import re
from typing import NamedTuple

import click

_LETTERS = "KMGTPE"
_FORM = re.compile(r"(\d{0,20})(?:([KMGTPE])(i?B)?|(B))?", re.IGNORECASE | re.ASCII)


class BlockSize(NamedTuple):
    """Bytes that count as one unit; a unit that is begun counts whole."""

    unit: int
    suffix: str = ""
    """The suffix of each number when the unit was given as a letter alone."""

    def shown(self, size: int) -> str:
        """``size`` bytes."""
        return f"{-(-size // self.unit)}{self.suffix}"

    @property
    def title(self) -> str:
        """``1K-blocks``, as df has it in its first line."""
        if self.suffix.endswith("iB"):
            return f"1{self.suffix}-blocks"
        unit, power = self.unit, 0
        base = 1024 if unit % 1024 == 0 or unit % 1000 else 1000
        while unit % base == 0 and power < len(_LETTERS):
            unit, power = unit // base, power + 1
        letter = ("B", *_LETTERS)[power]
        if base == 1000 and power:
            letter = ("k" if power == 1 else letter) + "B"
        return f"{unit}{letter}-blocks"


class _BlockSizeType(click.ParamType[BlockSize]):
    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> BlockSize:
        """Raises a usage error."""
        if isinstance(value, BlockSize):
            return value
        text = str(value)
        found = _FORM.fullmatch(text)
        if not text or not found or not int(found[1] or "1") or (found[4] and not found[1]):
            self.fail(f"{text!r} is no size: write 4096, 1K, 1M, 1G or 1MB", param, ctx)
        number, letter, kind, _ = found.groups()
        decimal = kind in ("B", "b")
        power = _LETTERS.index(letter.upper()) + 1 if letter else 0
        suffix = "" if number else letter.upper() + (kind or "")
        if decimal and suffix == "KB":
            suffix = "kB"
        return BlockSize(int(number or "1") * (1000 if decimal else 1024) ** power, suffix)


BLOCK_SIZE = _BlockSizeType()
