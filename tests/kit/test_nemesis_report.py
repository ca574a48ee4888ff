"""The nemesis' pure parts: which fault comes next, and what the report says."""

from __future__ import annotations

import math

import pytest

from tests.support.nemesis.clients import Gap
from tests.support.nemesis.faults import FAULTS, Need
from tests.support.nemesis.report import Injected, Report, merged, percentile
from tests.support.nemesis.schedule import Schedule


def test_one_seed_gives_one_schedule():
    first, again = Schedule(3, [Need.HOSTS]), Schedule(3, [Need.HOSTS])
    names = [first.next().name for _ in range(100)]
    assert names == [again.next().name for _ in range(100)]
    assert names != [Schedule(4, [Need.HOSTS]).next().name for _ in range(100)]


def test_every_kind_comes_before_any_comes_again():
    schedule = Schedule(1, [Need.HOSTS, Need.JOURNAL])
    count = len(schedule.kinds)
    dealt = [schedule.next().name for _ in range(2 * count)]
    assert set(dealt[:count]) == set(dealt[count:]) == {kind.name for kind in schedule.kinds}


def test_what_a_cluster_cannot_do_is_not_asked_of_it():
    loopback = {kind.name for kind in Schedule(1, [Need.PROXIES]).kinds}
    assert "silent-node" in loopback and "isolate-primary" not in loopback
    hosts = {kind.name for kind in Schedule(1, [Need.HOSTS]).kinds}
    assert "isolate-primary" in hosts and "silent-node" not in hosts
    assert "kill-all" not in hosts
    assert loopback | hosts < set(FAULTS)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no such fault: kill-nobody"):
        Schedule(1, [], ["kill-nobody"])
    with pytest.raises(ValueError, match="none of the faults"):
        Schedule(1, [], ["isolate-primary"])


def test_percentiles():
    assert percentile([5.0], 50) == percentile([5.0], 99) == 5.0
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 50) == 50.0
    assert percentile(values, 99) == 99.0
    assert Gap(1.0, 3.5).seconds == 2.5


def test_reports_are_kept_and_added_up():
    report = Report(7, "loopback", 60.0, violations=[("lost", "/a", "story")], fsck=["", "bad"])
    report.faults = [Injected("split", 1.0, 2.0, 3.0, math.inf)]
    report.outcomes.update(ok=10)
    again = Report.from_json(report.to_json())
    assert again == report
    both = merged([report, again])
    assert both.seconds == 120.0
    assert both.outcomes["ok"] == 20
    assert len(both.faults) == len(both.violations) == 2
    assert "2 runs: loopback" in both.where


def test_a_clean_report():
    report = Report(7, "loopback", 120.0)
    report.faults = [Injected("kill-primary", 1.0, 2.0, 3.25, 4.0)]
    report.outcomes.update(ok=12345, fail=2)
    report.fsck = [""]
    text = "\n".join(report.lines())
    assert not report.failed
    assert "seed 7, 2.0 minutes, loopback" in text
    assert "| operations acknowledged | 12,345 |" in text
    assert "| lost | 0 |" in text
    assert "| fsck | 1 of 1 rounds clean |" in text
    assert "| kill-primary | 1 | 3.2 s, 3.2 s, 3.2 s | 4.0 s, 4.0 s, 4.0 s |" in text


@pytest.mark.parametrize(
    "fields",
    [
        {"violations": [("lost", "/a", "story")]},
        {"problems": ["no status"]},
        {"fsck": ["1 lost block"]},
    ],
)
def test_whatever_is_wrong_fails_the_run(fields):
    report = Report(7, "loopback", **fields)
    report.faults = [Injected("split", 1.0, 2.0, 0.0, math.inf)]
    assert report.failed
    text = "\n".join(report.lines())
    assert "never |" in text and "< 0.3 s" in text
    assert "story" in text or "no status" in text or "1 lost block" in text
