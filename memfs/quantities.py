"""Sizes and durations as people write them: pure functions between text and numbers."""

from __future__ import annotations

import re

_SUFFIXES = {"": 1, "B": 1} | {
    letter + form: base**power
    for power, letter in enumerate("KMGTPE", start=1)
    for form, base in (("", 1024), ("IB", 1024), ("B", 1000))
}
_SECONDS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"\s*(\d{1,20}(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", re.ASCII)


def parse_size(raw: object) -> int:
    """Bytes from ``4096``, ``"512M"``, ``"8GiB"`` (K, M, G and KiB, ... are 1024; KB, ... 1000).

    Raises ValueError.
    """
    number, unit = _split(raw)
    factor = _SUFFIXES.get(unit.upper())
    if number is None or factor is None:
        raise ValueError(f"{raw!r} is no size: write bytes, or a number with K, M, G, KiB, GiB")
    return int(number * factor)


def parse_duration(raw: object) -> float:
    """Seconds from ``5``, ``0.5``, ``"500ms"``, ``"5s"``, ``"2m"``, ``"1h"``. Raises ValueError."""
    number, unit = _split(raw)
    factor = _SECONDS.get(unit.lower())
    if number is None or factor is None:
        raise ValueError(f"{raw!r} is no duration: write seconds, or a number with ms, s, m, h")
    return float(number * factor)


def _split(raw: object) -> tuple[int | float | None, str]:
    """Number and unit; no number where ``raw`` is not a quantity at all."""
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return (raw if 0 <= raw < float("inf") else None), ""
    found = _QUANTITY.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        return None, ""
    return (float(found[1]) if "." in found[1] else int(found[1])), found[2]


def counted(count: int, one: str, many: str = "") -> str:
    """``1 file``, ``2 files``; ``many`` is what ``one`` with an s is not."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def show_size(count: float) -> str:
    """``512 B``, ``1.5 KiB``, ``64 MiB``: three digits at most before the unit."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    digits = 0 if unit == "B" or count >= 100 or count == int(count) else 1
    return f"{count:.{digits}f} {unit}"


def show_duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``5 min``, ``3 h``, ``2 days``: what a person wants to know of it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for factor, unit, most in ((1, "s", 120), (60, "min", 120), (3600, "h", 48)):
        if seconds < most * factor:
            return f"{seconds / factor:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def show_short(count: int) -> str:
    """The form of ``ls -h`` and ``du -h``: ``512``, ``1.5K``, ``64M``, rounded up as they do."""
    if count < 1024:
        return str(count)
    scale, letter = 1024, "K"
    for letter in "KMGTP":
        if count <= 999 * scale or letter == "P":
            break
        scale *= 1024
    tenths = -(-count * 10 // scale)
    return f"{tenths / 10:.1f}{letter}" if tenths < 100 else f"{-(-count // scale)}{letter}"
