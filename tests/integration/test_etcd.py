"""The coordinator on real etcd members: conformance, lost leaders, lost quorums, lost replies.

The members run with an election timeout of 0.5 s, so a lost leader is replaced within about one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import memfs
from memfs import errors
from memfs.cluster import view as rules
from memfs.cluster.coordinator import Coordinator, StoredView
from memfs.cluster.etcd import EtcdCoordinator, open_etcd
from memfs.config import NodeConfig
from memfs.paths import Endpoint
from memfs.testing.processes import Processes
from memfs.transport.environment import SystemClock
from memfs.types import View
from tests.conformance.coordinators import CHECKS, FIRST, SECOND, Check, following, node
from tests.support.certificates import Certificates
from tests.support.etcd import EtcdCluster
from tests.support.patience import PATIENCE_SECONDS
from tests.support.proxy import Proxy

pytestmark = pytest.mark.long

TIMEOUT = 2.0
Opener = Callable[..., EtcdCoordinator]
_prefixes = itertools.count(1)


def fresh_prefix() -> str:
    return f"tests/{next(_prefixes)}"


def open_at(url: str, seconds: float = TIMEOUT, **settings: Any) -> EtcdCoordinator:
    config = NodeConfig(
        coordinator=url,
        member_timeout_seconds=seconds,
        **settings,
    )
    return open_etcd(SystemClock(), config)


def url_of(endpoints: tuple[Endpoint, ...], prefix: str) -> str:
    return f"etcd://{','.join(map(str, endpoints))}/{prefix}"


class EtcdBench:
    """Clients of a record of their own on the shared members, each beginning with another one."""

    def __init__(self, etcd: EtcdCluster) -> None:
        self.etcd = etcd
        self.prefix = fresh_prefix()
        self._open: list[Coordinator] = []

    async def client(self) -> EtcdCoordinator:
        turn = len(self._open) % len(self.etcd.endpoints)
        endpoints = self.etcd.endpoints[turn:] + self.etcd.endpoints[:turn]
        return self.at(url_of(endpoints, self.prefix))

    def at(self, url: str, **settings: Any) -> EtcdCoordinator:
        self._open.append(coordinator := open_at(url, **settings))
        return coordinator

    async def close(self) -> None:
        for coordinator in self._open:
            await coordinator.close()


@pytest.fixture(scope="module")
def members() -> Iterator[EtcdCluster]:
    with EtcdCluster(3) as etcd:
        yield etcd


@pytest.fixture
async def bench(members: EtcdCluster) -> AsyncIterator[EtcdBench]:
    """Every member is up again after a test."""
    bench = EtcdBench(members)
    yield bench
    await bench.close()
    for member in members.members:
        member.resume()
        if not member.running:
            member.start()
    members.wait_healthy()


async def until_swapped(coordinator: Coordinator, view: View, seconds: float) -> StoredView:
    """Bring ``view`` in as a careful node does: doubt is ended by reading, never by hope."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            stored = await coordinator.read_view()
            if stored.view == view:
                return stored
            await coordinator.swap_view(stored.revision, view)
        except (errors.UnavailableError, errors.OutcomeUnknownError):
            assert time.monotonic() < deadline, "etcd did not come back"


# --- conformance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check: Check, bench: EtcdBench) -> None:
    await check(bench)


async def test_two_clusters_share_the_members_under_two_prefixes(bench: EtcdBench) -> None:
    mine, other = bench.at(bench.etcd.url), bench.at(f"{bench.etcd.url}/another")
    stored = await mine.swap_view(0, FIRST)
    assert await other.read_view() == (0, None)
    formed = await other.swap_view(0, rules.form("another", node("b")))
    assert formed is not None
    assert await mine.read_view() == stored
    assert bench.etcd.value("memfs/view") is not None
    assert bench.etcd.value("another/view") is not None


# --- members that fail ----------------------------------------------------------------------------


async def test_the_leader_is_killed_between_swaps_and_none_is_lost_or_doubled(
    bench: EtcdBench,
) -> None:
    """Three nodes swap all the time; the leader is killed twice, in the middle."""
    views: dict[int, View] = {}
    stop = asyncio.Event()

    async def swap(coordinator: Coordinator, name: str) -> None:
        while not stop.is_set():
            try:
                revision, view = await coordinator.read_view()
                assert view is not None
                proposed = rules.join(view, node(name, view.epoch))
                if stored := await coordinator.swap_view(revision, proposed):
                    assert views.setdefault(stored.revision, proposed) == proposed
            except (errors.UnavailableError, errors.OutcomeUnknownError):
                await asyncio.sleep(0.05)

    first = await bench.client()
    await first.swap_view(0, FIRST)
    swaps = [asyncio.ensure_future(swap(await bench.client(), f"n{i}")) for i in range(3)]
    for _ in range(2):
        await asyncio.sleep(0.3)
        leader = await asyncio.to_thread(bench.etcd.leader)
        bench.etcd.kill(leader)
        known = len(views)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(views) < known + 5:
            assert time.monotonic() < deadline, "no swap succeeded after the leader was lost"
            await asyncio.sleep(0.05)
        bench.etcd.start(leader)
        await asyncio.to_thread(bench.etcd.wait_healthy)
    stop.set()
    await asyncio.gather(*swaps)
    stored = await first.read_view()
    assert stored.view is not None
    acknowledged = [view.epoch for _, view in sorted(views.items())]
    assert acknowledged == sorted(set(acknowledged)), "two swaps made the same epoch"
    assert stored.view.epoch >= acknowledged[-1], "an acknowledged swap is gone"


async def test_a_paused_leader_delays_and_does_not_stop(bench: EtcdBench) -> None:
    first = await bench.client()
    await first.swap_view(0, FIRST)
    leader = await asyncio.to_thread(bench.etcd.leader)
    bench.etcd.pause(leader)
    behind = bench.etcd.endpoints[leader:] + bench.etcd.endpoints[:leader]
    coordinator = bench.at(url_of(behind, bench.prefix))  # which asks the paused one first
    await until_swapped(coordinator, SECOND, PATIENCE_SECONDS)


async def test_without_a_quorum_every_call_ends_in_time_and_with_it_all_is_back(
    bench: EtcdBench,
) -> None:
    coordinator, waiter = await bench.client(), await bench.client()
    stored = await coordinator.swap_view(0, FIRST)
    assert stored is not None
    for index in (0, 1):
        bench.etcd.kill(index)
    waiting = asyncio.ensure_future(waiter.wait_for_change(stored.revision, 60.0))
    await ends_by_itself(coordinator.read_view(), errors.UnavailableError)
    swap = coordinator.swap_view(stored.revision, SECOND)
    await ends_by_itself(swap, errors.UnavailableError, errors.OutcomeUnknownError)
    assert not waiting.done()
    bench.etcd.start(0)
    again = await until_swapped(coordinator, SECOND, PATIENCE_SECONDS)
    assert again.revision > stored.revision
    async with asyncio.timeout(PATIENCE_SECONDS):
        await waiting


async def ends_by_itself(call: Any, *expected: type[Exception]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(expected):
            await call


async def test_nobody_there_is_certain_and_quick(bench: EtcdBench) -> None:
    coordinator = bench.at("etcd://127.0.0.1:1,127.0.0.1:2")
    refused = "no member of etcd answers: 127.0.0.1:1: Connection refused; 127.0.0.1:2: Connection"
    with pytest.raises(errors.UnavailableError, match=refused):
        await coordinator.swap_view(0, FIRST)


# --- replies that are lost ------------------------------------------------------------------------


async def test_a_lost_reply_of_a_swap_is_an_unknown_outcome_that_reading_ends(
    bench: EtcdBench,
) -> None:
    with Proxy(bench.etcd.endpoints[0]) as proxy:
        ways = (proxy.endpoint, bench.etcd.endpoints[1])
        coordinator = bench.at(url_of(ways, bench.prefix))
        stored = await coordinator.swap_view(0, FIRST)
        assert stored is not None
        proxy.link.blocked_out = True
        await ends_by_itself(
            coordinator.swap_view(stored.revision, SECOND), errors.OutcomeUnknownError
        )
        seen = await coordinator.read_view()
        assert seen.view == SECOND
        assert await coordinator.swap_view(stored.revision, SECOND) is None
        assert await coordinator.read_view() == seen


async def test_a_lost_request_of_a_swap_is_an_unknown_outcome_too(bench: EtcdBench) -> None:
    with Proxy(bench.etcd.endpoints[0]) as proxy:
        ways = (proxy.endpoint, bench.etcd.endpoints[1])
        coordinator = bench.at(url_of(ways, bench.prefix))
        await coordinator.swap_view(0, FIRST)
        stored = await coordinator.read_view()
        proxy.link.blocked_in = True
        await ends_by_itself(
            coordinator.swap_view(stored.revision, SECOND), errors.OutcomeUnknownError
        )
        proxy.cut()
        assert await coordinator.read_view() == stored


async def test_a_swap_that_etcd_has_no_space_for_may_have_been_made(bench: EtcdBench) -> None:
    with EtcdCluster(1, flags=["--quota-backend-bytes=2097152"]) as etcd:
        coordinator = bench.at(etcd.url)
        revision, view = 0, FIRST._replace(cluster="x" * 60_000)
        with pytest.raises(errors.OutcomeUnknownError, match="space exceeded"):
            for _ in range(100):
                stored = await coordinator.swap_view(revision, view)
                assert stored is not None
                revision, view = stored.revision, view._replace(epoch=view.epoch + 1)
        seen = await coordinator.read_view()
        assert seen.view in (view, view._replace(epoch=view.epoch - 1))
        assert (seen.view == view) == (seen.revision > revision)


# --- watches and leases ---------------------------------------------------------------------------


async def test_a_watch_survives_a_cut_and_a_compaction_meanwhile(bench: EtcdBench) -> None:
    coordinator = await bench.client()
    stored = await coordinator.swap_view(0, FIRST)
    assert stored is not None
    with Proxy(bench.etcd.endpoints[0]) as proxy:
        watcher = bench.at(url_of((proxy.endpoint,), bench.prefix))
        waiting = asyncio.ensure_future(watcher.wait_for_change(stored.revision, 60.0))
        await asyncio.sleep(0.3)
        proxy.link.blocked_in = proxy.link.blocked_out = True
        proxy.cut()
        view = SECOND
        for _ in range(3):
            last = await until_swapped(coordinator, view, PATIENCE_SECONDS)
            view = following(view)
        bench.etcd.control("compaction", str(last.revision))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        proxy.heal()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await waiting
        # After the compaction a watch from the present works, too.
        again = asyncio.ensure_future(watcher.wait_for_change(last.revision, 60.0))
        await asyncio.sleep(0.3)
        assert not again.done()
        await until_swapped(coordinator, view, PATIENCE_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await again


async def test_a_watch_outlives_its_member(bench: EtcdBench) -> None:
    waiter = await bench.client()
    coordinator = await bench.client()
    waiting = asyncio.ensure_future(waiter.wait_for_change(0, 60.0))
    await asyncio.sleep(0.3)
    bench.etcd.kill(0)
    await asyncio.sleep(0.3)
    await until_swapped(coordinator, FIRST, PATIENCE_SECONDS)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await waiting


# --- TLS and users --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(certificates: Certificates) -> Iterator[EtcdCluster]:
    """One member that demands TLS, certificates and users."""
    with EtcdCluster(1, certificates=certificates) as etcd:
        etcd.control("user", "add", "root", "--new-user-password=root")
        etcd.control("user", "add", "memfs", "--new-user-password=secret")
        etcd.control("role", "add", "memfs")
        etcd.control("role", "grant-permission", "memfs", "--prefix=true", "readwrite", "memfs/")
        etcd.control("user", "grant-role", "root", "root")
        etcd.control("user", "grant-role", "memfs", "memfs")
        etcd.control("auth", "enable")
        yield etcd


@pytest.fixture
async def open_closed() -> AsyncIterator[Opener]:
    """Opens coordinators and closes them after the test."""
    opened: list[EtcdCoordinator] = []

    def open_one(url: str, **settings: Any) -> EtcdCoordinator:
        opened.append(coordinator := open_at(url, PATIENCE_SECONDS, **settings))  # bcrypt is slow
        return coordinator

    yield open_one
    for coordinator in opened:
        await coordinator.close()


def tls_settings(certificates: Certificates) -> dict[str, str]:
    return {
        "etcd_ca": str(certificates.authority),
        "etcd_certificate": str(certificates.client_certificate),
        "etcd_key": str(certificates.client_key),
    }


async def test_tls_and_a_user_with_a_password_file(
    secure: EtcdCluster, certificates: Certificates, tmp_path: Path, open_closed: Opener
) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    user = {"etcd_user": "memfs", "etcd_password_file": str(password)}
    coordinator = open_closed(secure.url, **tls_settings(certificates), **user)
    waiting = asyncio.ensure_future(coordinator.wait_for_change(0, 30.0))
    stored = await until_swapped(coordinator, FIRST, PATIENCE_SECONDS)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await waiting
    # A member that restarts has forgotten its tokens.
    secure.stop(0)
    secure.start(0)
    secure.wait_healthy()
    assert await until_swapped(coordinator, SECOND, PATIENCE_SECONDS) > stored


@pytest.mark.parametrize(
    ("settings", "prefix", "reason"),
    [
        ({"etcd_user": "memfs", "etcd_password": "wrong"}, "memfs", "invalid user ID or password"),
        ({"etcd_user": "memfs", "etcd_password": "secret"}, "other", "permission denied"),
        ({}, "memfs", "user name is empty"),
    ],
)
async def test_what_etcd_refuses_is_a_wrong_setting(
    secure: EtcdCluster,
    certificates: Certificates,
    open_closed: Opener,
    settings: dict[str, str],
    prefix: str,
    reason: str,
) -> None:
    url = f"{secure.url}/{prefix}"
    coordinator = open_closed(url, **tls_settings(certificates), **settings)
    with pytest.raises(errors.ConfigError, match=reason):
        await coordinator.read_view()


async def test_without_the_authority_or_a_certificate_there_is_no_connection(
    secure: EtcdCluster, certificates: Certificates, open_closed: Opener
) -> None:
    stranger = open_closed(secure.url)
    with pytest.raises(errors.UnavailableError, match="certificate verify failed"):
        await stranger.read_view()
    unproven = open_closed(secure.url, etcd_ca=str(certificates.authority))
    with pytest.raises(errors.UnavailableError, match="certificate required"):
        await unproven.read_view()
    plain = open_closed(secure.url.replace("etcds", "etcd"))
    with pytest.raises(errors.UnavailableError, match=r"Server disconnected|HTTPS server"):
        await plain.read_view()


async def test_a_client_certificate_with_a_common_name_excludes_users(
    secure: EtcdCluster, certificates: Certificates, open_closed: Opener
) -> None:
    files = {
        "etcd_ca": str(certificates.authority),
        "etcd_certificate": str(certificates.named_certificate),
        "etcd_key": str(certificates.named_key),
    }
    user = {"etcd_user": "memfs", "etcd_password": "secret"}
    with pytest.raises(errors.ConfigError, match="common name"):
        await open_closed(secure.url, **files, **user).read_view()


async def test_files_that_are_missing_are_wrong_settings(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    user = {"etcd_user": "me", "etcd_password_file": missing}
    for settings in ({"etcd_ca": missing}, {"etcd_certificate": missing}, user):
        with pytest.raises(errors.ConfigError, match=f"{next(iter(settings))}|{missing}"):
            open_at("etcds://127.0.0.1:1", **settings)


# --- whole nodes ----------------------------------------------------------------------------------


def test_nodes_serve_while_etcd_is_down_and_use_it_again(members: EtcdCluster) -> None:
    prefix = fresh_prefix()
    with Processes(nodes=3, coordinator=f"{members.url}/{prefix}") as cluster:
        with memfs.connect(cluster.url) as fs:
            fs.write_bytes("/before", b"1" * 100_000)
            before = members.value(f"{prefix}/view")
            assert before is not None
            for index in range(3):
                members.kill(index)
            fs.write_bytes("/meanwhile", b"2" * 100_000)
            assert fs.read_bytes("/before") == b"1" * 100_000
            for index in range(3):
                members.start(index)
            members.wait_healthy()
            cluster.start_node().wait_ready(time.monotonic() + PATIENCE_SECONDS)
            assert fs.read_bytes("/meanwhile") == b"2" * 100_000
        assert members.value(f"{prefix}/view") != before, "the new node is in the view"


def test_both_backups_stand_still_and_then_the_primary_dies(members: EtcdCluster) -> None:
    """What acknowledged is not thrown out of the set: the cluster comes back by itself."""
    prefix = fresh_prefix()
    coordinator = f"{members.url}/{prefix}"
    with (
        Processes(nodes=4, coordinator=coordinator, flags=["--min-in-sync=2"]) as cluster,
        memfs.connect(cluster.url) as fs,
    ):
        by_name = {node.name: node for node in cluster.nodes}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len((view := fs.cluster_status().view).in_sync) < 3:
            assert time.monotonic() < deadline, view
            time.sleep(0.1)
        names = {member.number: member.name for member in view.members}
        backups = [by_name[names[each]] for each in view.in_sync if each != view.primary]
        acknowledged: dict[str, bytes] = {}
        stop = threading.Event()

        def write() -> None:
            with memfs.connect(cluster.url, timeout_seconds=30) as own:
                for number in itertools.count():
                    if stop.is_set():
                        return
                    data = str(number).encode() * 1000
                    with contextlib.suppress(errors.MemfsError):
                        own.write_bytes(f"/{number}", data)
                        acknowledged[f"/{number}"] = data

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while len(acknowledged) < 20:
                time.sleep(0.01)
            for backup in backups:
                backup.pause()
            time.sleep(1.8)
            for backup in backups:
                backup.resume()
            by_name[names[view.primary]].kill()
            reached = len(acknowledged)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(acknowledged) < reached + 20:
                assert time.monotonic() < deadline, "the cluster does not come back by itself"
                time.sleep(0.05)
        finally:
            stop.set()
            writer.join()
        with memfs.connect(cluster.url) as fresh:
            for path, data in acknowledged.items():
                assert fresh.read_bytes(path) == data, path


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--etcd-ca=/nowhere/ca.pem"], "etcd_ca: /nowhere/ca.pem"),
        (["--etcd-user=memfs"], "etcd_user: needs a password"),
        (["--etcd-key=k"], "etcd_key: needs etcd_certificate"),
    ],
)
def test_a_wrong_setting_ends_the_node_with_a_reason(flags: list[str], reason: str) -> None:
    command = [sys.executable, "-m", "memfs.cli", "node", "--port=0", "--monitoring-port=-1"]
    done = subprocess.run(
        [*command, "--coordinator=etcds://127.0.0.1:1", *flags],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode != 0
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
