"""The conformance suite of coordinators, for those that need no process: under virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from memfs.cluster.coordinator import Coordinator
from memfs.cluster.embedded import EmbeddedCoordinator
from memfs.cluster.etcd import EtcdCoordinator
from memfs.cluster.etcd_gateway import EtcdGateway
from memfs.paths import Endpoint
from memfs.testing.simulation.coordinator import FakeCoordinator
from memfs.testing.simulation.network import Fabric
from memfs.testing.simulation.virtual import run
from tests.conformance.coordinators import CHECKS, Bench, Check, closing_is_for_oneself
from tests.unit.cluster.fake_etcd import FakeEtcd, FakeHttp
from tests.unit.cluster.remote_bench import RemoteBench, environment
from tests.unit.transport.loopback import LoopClock


class EmbeddedBench:
    """The one that everybody on its node uses."""

    def __init__(self) -> None:
        self._coordinator = EmbeddedCoordinator(environment(Fabric(1), "host"), "log")

    async def client(self) -> Coordinator:
        return self._coordinator


class FakeBench:
    """The simulator's, with its faults off."""

    def __init__(self) -> None:
        self._shared = FakeCoordinator(random.Random(1))
        self._count = 0

    async def client(self) -> Coordinator:
        self._count += 1
        return self._shared.client(f"n{self._count}")


class EtcdBench:
    """etcd's client on a gateway without sockets."""

    def __init__(self) -> None:
        self._etcd = FakeEtcd()

    async def client(self) -> Coordinator:
        endpoints = [Endpoint(f"etcd-{n}", 2379) for n in (1, 2, 3)]
        gateway = EtcdGateway(LoopClock(), FakeHttp(self._etcd), endpoints)
        return EtcdCoordinator(LoopClock(), gateway, "memfs")


CASES = [
    (bench, check)
    for bench in (EmbeddedBench, RemoteBench, FakeBench, EtcdBench)
    for check in CHECKS
    if (bench, check) != (EmbeddedBench, closing_is_for_oneself)  # which has one client
]


@pytest.mark.parametrize(("bench", "check"), CASES, ids=lambda part: part.__name__)
def test_conformance(bench: Callable[[], Bench], check: Check) -> None:
    async def main() -> None:
        await check(bench())

    run(main())
