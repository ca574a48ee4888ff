"""Times as ``ls``, ``stat`` and ``find`` show them: local ones, by GNU's styles. Pure."""

from __future__ import annotations

import time

_HALF_YEAR_SECONDS = 31_556_952 // 2
_BILLION = 1_000_000_000
STYLES = {
    "full-iso": ("%Y-%m-%d %H:%M:%S.%N %z",) * 2,
    "long-iso": ("%Y-%m-%d %H:%M",) * 2,
    "iso": ("%Y-%m-%d ", "%m-%d %H:%M"),
    "locale": ("%b %e  %Y", "%b %e %H:%M"),
}
"""By the names of ``--time-style``: the format of what is over half a year away, and of others."""


def formats_of(style: str) -> tuple[str, str]:
    """The formats of a style; ``+FORMAT`` is one or, on two lines, two of them. Raises
    ValueError."""
    if style.startswith("+"):
        old, _, recent = style[1:].partition("\n")
        return old, recent or old
    known = STYLES.get(style.removeprefix("posix-"))
    if known is None:
        raise ValueError(f"{style!r} is none of {', '.join(STYLES)}, +FORMAT")
    return STYLES["locale"] if style.startswith("posix-") else known  # POSIX's is the only locale


def show_time(nanoseconds: int, now: float, style: str = "locale") -> str:
    """``Jan 31 12:00``, or ``Jan 31  2024`` when that is over half a year away; local time."""
    seconds = nanoseconds / _BILLION
    recent = now - _HALF_YEAR_SECONDS < seconds <= now + 60
    return formatted(formats_of(style)[recent], nanoseconds)


def iso_time(nanoseconds: int) -> str:
    """``2026-01-31 12:00:00.000000000 +0000``, as ``stat`` prints it; local time."""
    return formatted(STYLES["full-iso"][0], nanoseconds)


def formatted(form: str, nanoseconds: int) -> str:
    """``form`` as strftime(3) has it, with ``%N`` for the nanoseconds; local time."""
    seconds, fraction = divmod(nanoseconds, _BILLION)
    pieces = (piece.replace("%N", f"{fraction:09d}") for piece in form.split("%%"))
    return time.strftime("%%".join(pieces), time.localtime(seconds))
