"""Times as people write them: the part of GNU date's language that is used. Pure.

``2026-01-31``, ``2026-01-31T12:00:30.5+01:00``, ``12:00``, ``1200``, ``@1700000000.25``,
``yesterday``, ``2 days ago``, ``next month``, ``tomorrow 12:00``; what stands for the rest of a
time is taken from the moment of asking, local time unless a zone is given. Fractions are exact.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import NamedTuple

_BILLION = 1_000_000_000
_SECONDS_DIGITS = 18
"""As many digits fit 64 bits whatever they are."""
_DATE = r"(?P<year>\d{4})(?:-(?P<month>\d{1,2})-(?P<day>\d{1,2})|(?P<compact>\d{4}))"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
_ZONE = r"(?P<zone>z|utc|gmt|[+-]\s*\d{1,2}(?::?\d\d)?)"
_SECONDS = re.compile(r"\s*@([+-]?)(\d+)(?:[.,](\d+))?\s*", re.ASCII)
_UNITS = {
    "year": ("months", 12),
    "month": ("months", 1),
    "fortnight": ("days", 14),
    "week": ("days", 7),
    "day": ("days", 1),
    "hour": ("seconds", 3600),
    "minute": ("seconds", 60),
    "min": ("seconds", 60),
    "second": ("seconds", 1),
    "sec": ("seconds", 1),
}
_AMOUNTS = "|".join(_UNITS)
_WORDS = re.compile(
    rf"\s*(?:{_DATE}(?:t(?=\d)|(?!\S))|{_CLOCK}(?:\s*{_ZONE}(?!\S))?(?!\S)"
    rf"|(?P<number>\d{{1,4}})(?!\S)(?!\s*(?:{_AMOUNTS})s?\b)"
    r"|(?P<count>[+-]?\s*\d+|next\b|last\b|this\b)?\s*(?P<unit>[a-z]+)(?!\S))",
    re.ASCII | re.IGNORECASE,
)
_NAMED = {"now": 0, "today": 0, "yesterday": -1, "tomorrow": 1}
_COUNTS = {"": 1, "next": 1, "last": -1, "this": 0}


class GivenTime(NamedTuple):
    """A time that was written; :meth:`at` says which one that is."""

    absolute_ns: int | None = None
    date: tuple[int, int, int] | None = None
    clock: tuple[int, int, int] | None = None
    fraction_ns: int = 0
    zone: int | None = None
    """Seconds east of Greenwich; None: local time."""
    months: int = 0
    days: int = 0
    seconds: int = 0

    def at(self, now_ns: int) -> int:
        """Nanoseconds since the epoch, when ``now_ns`` is the time from which the rest is taken.

        Raises ValueError for what no clock shows, OverflowError for years that no calendar has.
        """
        if self.absolute_ns is not None:
            return self.absolute_ns
        whole, fraction = divmod(now_ns, _BILLION)
        now = time.localtime(whole) if self.zone is None else time.gmtime(whole + self.zone)
        today = time.localtime(whole) if self.clock else now
        year, month, day = self.date or today[:3]
        hour, minute, second = self.clock or ((0, 0, 0) if self.date else now[3:6])
        if self.date or self.clock:
            fraction = self.fraction_ns
        year, month = year + (month - 1 + self.months) // 12, (month - 1 + self.months) % 12 + 1
        if self.zone is None:
            parts = year, month, day + self.days, hour, minute, second
            found = int(time.mktime((*parts, 0, 0, -1)))
            if not self.months and not self.days and time.localtime(found)[:6] != parts:
                raise ValueError("the clocks are put forward over that time")
        else:
            found = calendar.timegm((year, month, 1, hour, minute, second)) - self.zone
            found += (day - 1 + self.days) * 86_400
        return (found + self.seconds) * _BILLION + fraction


def parse_moment(text: str) -> GivenTime:
    """Read a time. Raises ValueError."""
    if exact := _SECONDS.fullmatch(text):
        sign, seconds, fraction = exact.groups(default="")
        if len(seconds.lstrip("0")) > _SECONDS_DIGITS:
            raise ValueError(text)
        value = int(seconds) * _BILLION + _nanoseconds(fraction)
        return GivenTime(absolute_ns=-value if sign == "-" else value)
    found, at, end = GivenTime(clock=(0, 0, 0)) if not text.strip() else GivenTime(), 0, len(text)
    last: GivenTime | None = None  # before the amount that an "ago" would turn round
    while at < end and text[at:].strip():
        words = _WORDS.match(text, at)
        if words is None:
            raise ValueError(text)
        found, last = _with(found, last, words)
        at = words.end()
    return found


def _with(
    found: GivenTime, last: GivenTime | None, words: re.Match[str]
) -> tuple[GivenTime, GivenTime | None]:
    """With one more date, clock, or amount; and what it was before, if that was an amount."""
    if words["year"]:
        if found.date is not None:
            raise ValueError(words[0])
        return found._replace(date=_date(words)), None
    if words["hour"] or words["number"]:
        if found.clock is not None:
            raise ValueError(words[0])
        clock = int(words["hour"] or 0), int(words["minute"] or 0), int(words["second"] or 0)
        if number := words["number"]:  # 12 or 1200
            clock = (*divmod(int(number), 100), 0) if len(number) > 2 else (int(number), 0, 0)
        if clock[0] > 23 or clock[1] > 59 or clock[2] > 59:
            raise ValueError(words[0])
        fraction = _nanoseconds(words["fraction"] or "")
        zone = None if words["zone"] is None else _zone(words["zone"].lower())
        return found._replace(clock=clock, fraction_ns=fraction, zone=zone), None
    count, unit = (words["count"] or "").lower(), words["unit"].lower()
    if not count and unit == "ago" and last is not None:
        return _reversed(found, last), None
    if not count and unit in _NAMED:
        return found._replace(days=found.days + _NAMED[unit]), None
    if not count and unit in ("utc", "gmt", "z"):
        return found._replace(zone=0), None
    unit = unit if unit in _UNITS else unit.removesuffix("s")
    if unit not in _UNITS:
        raise ValueError(words[0])
    field, factor = _UNITS[unit]
    amount = _COUNTS[count] if count in _COUNTS else int("".join(count.split()))
    return found._replace(**{field: getattr(found, field) + amount * factor}), found


def _reversed(found: GivenTime, last: GivenTime) -> GivenTime:
    return found._replace(
        months=2 * last.months - found.months,
        days=2 * last.days - found.days,
        seconds=2 * last.seconds - found.seconds,
    )


def _date(words: re.Match[str]) -> tuple[int, int, int]:
    compact = words["compact"]
    month, day = (compact[:2], compact[2:]) if compact else (words["month"], words["day"])
    year, found = int(words["year"]), (int(month), int(day))
    if not 1 <= found[0] <= 12 or year < 1:
        raise ValueError(words[0])
    if not 1 <= found[1] <= calendar.monthrange(year, found[0])[1]:
        raise ValueError(words[0])
    return year, *found


def _nanoseconds(digits: str) -> int:
    return int(digits[:9].ljust(9, "0"))


def _zone(text: str) -> int:
    if text in ("z", "utc", "gmt"):
        return 0
    digits = text[1:].replace(":", "").strip()
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    seconds = int(hours) * 3600 + int(minutes) * 60
    if int(minutes) > 59 or seconds > 86_400:
        raise ValueError(text)
    return -seconds if text[0] == "-" else seconds
