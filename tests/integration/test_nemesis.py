"""The faults that matter most, on real processes; `make nemesis` does them all.

In network namespaces where root allows it, else on loopback behind proxies.
"""

from __future__ import annotations

import pytest

from tests.support.hosts import Hosts
from tests.support.nemesis.run import Nemesis, Plan

pytestmark = pytest.mark.alone

ALWAYS = ("kill-primary", "kill-etcd-leader", "restart-faster-than-the-lease")
NIGHTLY = ("pause-primary", "rolling-restart")
PARTITIONS = ("isolate-primary", "mute-primary")
PROXIED = ("unreachable-node", "silent-node")


@pytest.mark.parametrize(
    "length", ["a minute", pytest.param("two minutes", marks=pytest.mark.nightly)]
)
def test_faults(capsys, length):
    obstacle = Hosts.obstacle()
    always, nightly = PROXIED if obstacle else PARTITIONS
    faults = (always, *ALWAYS) if length == "a minute" else (always, nightly, *ALWAYS, *NIGHTLY)
    with capsys.disabled():
        print(f"\nnemesis: {obstacle or 'in network namespaces'}")
        report = Nemesis(Plan(seed=1, fixed=faults), lambda line: print(f"  {line}")).run()
    assert not report.failed, "\n".join(report.lines())
    assert len(report.faults) == len(faults)
    assert report.outcomes["ok"] > 100 * len(faults)
    assert report.fsck == [""]
