"""Two minutes of the faults that matter most, on real processes; `make nemesis` does them all.

In network namespaces where root allows it, else on loopback behind proxies.
"""

from __future__ import annotations

import pytest

from tests.support.hosts import Hosts
from tests.support.nemesis.run import Nemesis, Plan

pytestmark = pytest.mark.alone

ALWAYS = (
    "kill-primary",
    "pause-primary",
    "kill-etcd-leader",
    "restart-faster-than-the-lease",
    "rolling-restart",
)
PARTITIONS = ("mute-primary", "isolate-primary")
PROXIED = ("silent-node", "unreachable-node")


def test_two_minutes_of_faults(capsys):
    obstacle = Hosts.obstacle()
    faults = (*(PROXIED if obstacle else PARTITIONS), *ALWAYS)
    with capsys.disabled():
        print(f"\nnemesis: {obstacle or 'in network namespaces'}")
        report = Nemesis(Plan(seed=1, fixed=faults), lambda line: print(f"  {line}")).run()
    assert not report.failed, "\n".join(report.lines())
    assert len(report.faults) == len(faults)
    assert report.outcomes["ok"] > 1000
    assert report.fsck == [""]
