"""Times as people write them: date(1) is the judge."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from memfs.cli.files.looking.moments import parse_moment

BILLION = 1_000_000_000
WRITTEN = """
2026-01-31
2026-01-31T12:00
2026-01-31t12:00:00z
2026-01-31 12:00:30.5
2026-01-31T12:00:30.123456789Z
2026-01-31T12:00:30,25+01:00
2026-01-31 12:00 +0530
2026-01-31 12:00:00-08
2026-01-31 12:00 UTC
2026-01-31 UTC
20260131
20260131 1:02
2026-1-5
@0
@-1
@1700000000.25
@1700000000.123456789
2026-01-31 1 month
2026-03-31 1 month ago
2024-02-29 1 year
2026-10-25 02:30
2026-03-29 02:30
2026-03-28 12:00 1 day
2026-03-28 12:00 24 hours
2026-01-31 12:00 1 hour
2026-01-31 12:00 +1 hour
2026-01-31 12:00 2 days 3 hours ago
2026-01-31 12:00 2 DAYS AGO
2026-01-31 next week
2026-01-31 last fortnight
2026-01-31 12:00 yesterday
2026-01-31 tomorrow
2026-01-31 - 2 days
2026-01-31 -1 week ago
2026-01-31 90 min ago
2026-01-31 10 secs
0001-01-01 12:00 UTC
9999-12-31 23:59:59
2020-02-30
2020-13-01
2020-01-01 25:00
2020-01-01 12:60
2020-01-01 12:00:60
2020-01-01 12:00 13:00
2026-01-31 2026-01-30
2026-01-01 12
2026-01-01 1230
1230 2026-01-01
2026-01-01 7 UTC
2026-01-01 24
2026-01-01 2460
2026-01-01 12345
2026-01-01 12 34
2026-01-01 12 days
2026-01-01T00:00+24:00
2026-01-01T00:00+24:30
2026-01-01T00:00+25:00
2026-01-01T00:00-25
@99999999999999999999
2026-01-31T
nonsense
2 nonsense
ago
@
@x
@1e3
@inf
@nan
\N{FULLWIDTH DIGIT ONE}2:00
""".strip().splitlines()
RELATIVE = ["now", "today", "yesterday", "tomorrow", "2 days ago", "+3 hours", "day", "this week"]


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def date(text: str) -> int | None:
    """Nanoseconds, as date(1) reads them."""
    command = ["date", "-d", text, "+%s %N"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    if done.returncode:
        return None
    seconds, fraction = map(int, done.stdout.split())
    return seconds * BILLION + fraction


def ours(text: str, now: int) -> int | None:
    try:
        return parse_moment(text).at(now)
    except (ValueError, OverflowError):
        return None


@pytest.mark.usefixtures("zone")
def test_as_date() -> None:
    found = {text: ours(text, 0) for text in WRITTEN}
    assert found == {text: date(text) for text in WRITTEN}
    assert None in found.values()


@pytest.mark.parametrize("text", RELATIVE)
def test_the_rest_is_that_of_the_moment_of_asking(text: str) -> None:
    before, said, after = time.time_ns(), date(text), time.time_ns()
    assert said is not None
    first, last = ours(text, before), ours(text, after)
    assert first is not None and last is not None and first <= said <= last


def test_relative_to_another_time() -> None:
    """As ``touch -r FILE -d '1 day ago'``."""
    base = 1_700_000_000 * BILLION + 5
    assert ours("1 day ago", base) == base - 86_400 * BILLION
    assert ours("12:00 UTC", base) == 1_699_963_200 * BILLION
    assert ours("2026-01-31 UTC", base) == 1_769_817_600 * BILLION
