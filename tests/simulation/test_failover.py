"""The primary is lost, paused, cut off or asked to go: others serve what was acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from memfs import limits
from memfs.errors import ClusterError, DeadlineError, UnavailableError
from memfs.limits import MIB
from memfs.logs import NEWS_SECONDS
from memfs.protocol import messages as m
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run

LEASE_SECONDS = 3.0


async def form(seed, nodes=4, **settings):
    cluster = SimulatedCluster(seed, lease_seconds=LEASE_SECONDS, **settings)
    await cluster.start(nodes)
    await asyncio.sleep(10)
    return cluster


def leader(cluster):
    """The name of the host whose node serves."""
    (name,) = [name for name, node in cluster.nodes.items() if node.role.leads]
    return name


def now():
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_metadata_is_back_within_the_lease_time_plus_one_second(seed, silent):
    async def main():
        cluster = await form(seed)
        fs = await cluster.connect()
        await fs.mkdir("/before")
        cluster.crash("n1", silent=silent)
        began = now()
        await fs.mkdir("/after")
        took = now() - began
        assert await fs.listdir("/") == ["after", "before"]
        return took

    assert run(main()) <= LEASE_SECONDS + 1.0


@pytest.mark.parametrize("seed", range(3))
def test_a_command_under_way_is_carried_out_once(seed):
    """The primary dies between taking commands and answering them."""

    async def main():
        cluster = await form(seed)
        clients = [await cluster.connect() for _ in range(3)]
        jobs = [
            asyncio.create_task(fs.mkdir(f"/{at}-{number}"))
            for at, fs in enumerate(clients)
            for number in range(20)
        ]
        await asyncio.sleep(0.001 * seed)
        cluster.crash("n1")
        await asyncio.gather(*jobs)
        assert len(await clients[0].listdir("/")) == 60

    run(main())


def test_a_paused_primary_answers_no_read_with_old_content():
    async def main():
        cluster = await form(1)
        fs = await cluster.connect()
        await fs.mkdir("/old")
        cluster.host("n1").process.pause()
        await asyncio.sleep(2 * LEASE_SECONDS)
        await fs.rename("/old", "/new")
        cluster.host("n1").process.resume()
        other = await cluster.connect()
        assert await other.listdir("/") == ["new"]
        await asyncio.sleep(20)
        assert leader(cluster) != "n1"
        assert all(node.member.number for node in cluster.nodes.values())

    run(main())


def test_a_primary_cut_from_its_backups_reads_nothing_after_its_lease():
    async def main():
        cluster = await form(2)
        old = cluster.nodes["n1"]
        cluster.coordinator.faults("n1").down = True
        for other in ("n2", "n3", "n4"):
            cluster.fabric.block("n1", other)
            cluster.fabric.block(other, "n1")
        await asyncio.sleep(LEASE_SECONDS)
        assert not old.role.primary.has_lease()
        await asyncio.sleep(LEASE_SECONDS)
        names = [name for name, node in cluster.nodes.items() if node.role.leads and name != "n1"]
        assert len(names) == 1

    run(main())


def test_the_last_in_sync_member_is_waited_for():
    """LastServing: with all in-sync members gone nobody begins anew by itself."""

    async def main():
        cluster = await form(3, nodes=3)
        fs = await cluster.connect(timeout_seconds=5)
        await fs.mkdir("/kept")
        for name in ("n1", "n2", "n3"):
            cluster.crash(name)
        for name in ("n1", "n2", "n3"):
            cluster.host(name).network.restart()
            cluster.boot(name)
        await asyncio.sleep(120)
        with pytest.raises(ClusterError):
            await fs.listdir("/")
        assert not any(node.role.leads for node in cluster.nodes.values())

    run(main())


def test_an_operator_may_accept_the_loss():
    async def main():
        cluster = await form(4, nodes=4)
        fs = await cluster.connect(timeout_seconds=30)
        await fs.mkdir("/given-up")
        for name in ("n1", "n2", "n3"):
            cluster.crash(name)
        await asyncio.sleep(30)
        survivor = cluster.nodes["n4"]
        await cluster.host("n4").process.perform(survivor.role.force_recover())
        assert await fs.listdir("/") == []
        await fs.mkdir("/new")

    run(main())


@pytest.mark.parametrize("seed", range(3))
def test_the_role_is_handed_over_without_a_gap(seed):
    async def main():
        cluster = await form(seed)
        fs = await cluster.connect()
        await fs.mkdir("/a")
        began = now()
        work = asyncio.create_task(many(fs))
        await cluster.host("n1").process.perform(cluster.nodes["n1"].role.hand_over())
        await work
        assert leader(cluster) != "n1"
        assert now() - began < 1.0
        assert len(await fs.listdir("/a")) == 50
        view = cluster.nodes["n2"].membership.view
        assert len(view.in_sync) == 3, "the former primary stays in sync"

    async def many(fs):
        for number in range(50):
            await fs.mkdir(f"/a/{number}")

    run(main())


def test_a_rolling_restart_loses_nothing():
    async def main():
        cluster = await form(5, memory=16 * MIB, removal_seconds=10)
        fs = await cluster.connect()
        content = {f"/file-{number}": bytes([number]) * 10_000 for number in range(30)}
        for path, data in content.items():
            await fs.write_bytes(path, data)
        stream, written = await fs.open("/stream", "wb", buffering=0, block_size=4096), b""
        for name in ("n1", "n2", "n3", "n4"):
            piece = name.encode() * 5000
            written += piece
            await stream.write(piece)
            await asyncio.sleep(6)
            await cluster.host(name).process.perform(cluster.nodes[name].stop())
            cluster.crash(name)
            cluster.host(name).network.restart()
            await cluster.start_node(name)
            await asyncio.sleep(30)
            for path, data in content.items():
                assert await fs.read_bytes(path) == data
        await stream.close()
        assert await fs.read_bytes("/stream") == written

    run(main())


def gauge(cluster: SimulatedCluster, name: str) -> float:
    """What the first node shows of itself."""
    families = cluster.nodes["n1"].metrics.snapshot()
    (sample,) = next(each for each in families if each.name == f"memfs_{name}").samples
    return sample.value


def test_too_few_in_sync_members_acknowledge_nothing():
    """MinInSync: with two copies wanted, one is not enough."""

    async def main():
        cluster = await form(6, nodes=3, replication=2, removal_seconds=3600)
        fs = await cluster.connect(timeout_seconds=8)
        cluster.crash("n2")
        cluster.crash("n3")
        assert gauge(cluster, "following_members") == gauge(cluster, "in_sync_members") == 3
        with pytest.raises(ClusterError):
            await fs.mkdir("/nowhere")
        assert gauge(cluster, "following_members") < gauge(cluster, "required_members")
        assert gauge(cluster, "in_sync_members") == gauge(cluster, "required_members") == 2
        cluster.host("n3").network.restart()
        await cluster.start_node("n3")
        assert await fs.listdir("/", timeout=60) in ([], ["nowhere"])
        assert gauge(cluster, "following_members") >= gauge(cluster, "required_members")

    run(main())


def test_without_the_coordinator_the_cluster_serves_until_somebody_fails():
    async def main():
        cluster = await form(7)
        for name in ("n1", "n2", "n3", "n4"):
            cluster.coordinator.faults(name).down = True
        fs = await cluster.connect(timeout_seconds=20)
        await asyncio.sleep(30)
        await fs.mkdir("/served")
        assert not cluster.nodes["n1"].membership.coordinator_reachable
        for other in ("n2", "n3"):
            cluster.fabric.cut("n1", other)  # connections break, nobody is gone
        await fs.mkdir("/served/on")
        cluster.crash("n1")
        await asyncio.sleep(10)
        assert not any(node.role.leads for node in cluster.nodes.values())
        cluster.coordinator.heal()
        assert await fs.listdir("/") == ["served"]

    run(main())


@pytest.mark.parametrize("leaving", ["n1", "n2"])
def test_a_member_in_sync_that_leaves_for_good_is_replaced_first(leaving):
    """As many are in sync as may be, and no acknowledgement could do with one less."""

    async def main():
        cluster = await form(11, nodes=5, replication=3)
        node = cluster.nodes[leaving]
        assert node.membership.is_in_sync
        assert node.membership.view.min_in_sync == len(node.membership.view.in_sync) == 3
        fs = await cluster.connect()
        await fs.write_bytes("/kept", b"kept")
        await fs._session.ask(m.Decommission(node.member.number))
        async with asyncio.timeout(60):
            await node.retired.wait()
        assert await fs.read_bytes("/kept") == b"kept"
        view = cluster.nodes[leader(cluster)].membership.view
        assert len(view.in_sync) == view.min_in_sync == 3

    run(main())


def test_what_a_node_says_of_itself():
    async def main():
        cluster = await form(8)
        node = cluster.nodes["n2"]
        state = await cluster.nodes["n1"].membership.ask(node.member, m.GetNodeState())
        assert (state.name, state.role, state.unavailable_reason) == ("n2", "backup", "")
        assert state.coordinator_reachable
        with pytest.raises(UnavailableError):
            node.membership.find(99)

    run(main())


def test_the_larger_side_of_a_partition_goes_on_though_the_primary_reaches_the_coordinator():
    async def main():
        cluster = await form(9, nodes=5, replication=3)
        fs = await cluster.connect()
        for other in ("n2", "n3", "n4", "n5", "c1"):
            cluster.fabric.block("n1", other)
            cluster.fabric.block(other, "n1")
        began = now()
        await fs.mkdir("/on-the-larger-side")
        return now() - began

    # Three copies are wanted: beside the failover, another member is brought up to date.
    assert run(main()) <= LEASE_SECONDS + 4.0


def test_what_fails_again_and_again_is_logged_seldom(caplog):
    """The primary is gone and nobody can take over, as the coordinator is away."""
    nodes, minutes = 4, 2

    async def main():
        cluster = await form(10, nodes=nodes)
        for name in cluster.nodes:
            cluster.coordinator.faults(name).down = True
        cluster.crash("n1")
        await asyncio.sleep(10)
        caplog.clear()
        with caplog.at_level("INFO", "memfs.node"):
            await asyncio.sleep(60 * minutes)

    run(main())
    told = Counter(record.getMessage() for record in caplog.records)
    seldom = (nodes - 1) * (60 * minutes / NEWS_SECONDS + 1)
    assert told["heartbeat failed"] > 0
    assert {message: times for message, times in told.items() if times > seldom} == {}


@pytest.mark.parametrize("seed", range(4))
def test_members_turn_to_a_new_primary_at_once(seed):
    """Three copies are wanted: one more member has to be brought up to date.

    It must not go on waiting for what it asked the lost one.
    """

    async def main():
        cluster = await form(seed, nodes=5, replication=3, member_timeout_seconds=8)
        fs = await cluster.connect()
        await fs.mkdir("/before")
        cluster.crash("n1", silent=True)
        began = now()
        await fs.mkdir("/after")
        return now() - began

    assert run(main()) <= LEASE_SECONDS + 2.0


@pytest.mark.parametrize("seed", range(4))
def test_a_member_that_does_not_catch_up_keeps_no_other_from_it(seed):
    """Commands wait for two more members in sync; the first of three stops as it gets its state."""

    async def main():
        cluster = await form(seed, nodes=6, replication=3, removal_seconds=3600)
        fs = await cluster.connect(timeout_seconds=60)
        await asyncio.gather(*(fs.mkdir(f"/{number}") for number in range(500)))
        cluster.fabric.conditions = Conditions(bytes_per_second=200_000)
        for host in ("n2", "n3"):
            cluster.crash(host)
        began = now()
        work = asyncio.create_task(fs.mkdir("/after"))
        async with asyncio.timeout(10):
            while not (begun := cluster.nodes["n1"].role.in_sync.taking_in):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        (first,) = [name for name, node in cluster.nodes.items() if node.member.number in begun]
        await asyncio.sleep(0.1)  # it is connected, and the first bytes are on their way
        cluster.host(first).process.pause()
        await work
        return now() - began

    assert run(main()) <= 8.0


def cut_inward(cluster, name):
    """What other nodes send to ``name`` is lost; coordinator and clients reach it."""
    for other in cluster.nodes:
        if other != name:
            cluster.fabric.block(other, name)


@pytest.mark.parametrize("seed", range(4))
def test_the_in_sync_set_never_shrinks_below_what_acknowledges(seed):
    """All backups stand still for longer than any patience; then the primary is lost."""

    async def main():
        cluster = await form(seed, replication=2)
        fs = await cluster.connect(timeout_seconds=30)
        await fs.mkdir("/kept")
        backups = [number for number in cluster.nodes["n1"].membership.view.in_sync if number != 1]
        names = [name for name, node in cluster.nodes.items() if node.membership.number in backups]
        spare = set(cluster.nodes) - {"n1", *names}
        for name in (*names, *spare):
            cluster.host(name).process.pause()
        await asyncio.sleep((1.8, 4.0, 9.0, 20.0)[seed])
        assert all(
            len(stored.view.in_sync) >= stored.view.min_in_sync
            for stored in cluster.coordinator.history
            if stored.view is not None
        )
        cluster.crash("n1")
        for name in (*names, *spare):
            cluster.host(name).process.resume()
        assert await fs.listdir("/") == ["kept"]
        await fs.mkdir("/on")

    run(main())


@pytest.mark.parametrize("seed", range(3))
def test_somebody_takes_over_from_a_primary_that_hears_no_node(seed):
    async def main():
        cluster = await form(seed, replication=2)
        fs = await cluster.connect(timeout_seconds=60)
        await fs.mkdir("/before")
        cut_inward(cluster, "n1")
        began = now()
        await fs.mkdir("/after")
        took = now() - began
        assert leader_of_view(cluster) != "n1"
        assert await fs.listdir("/") == ["after", "before"]
        return took

    assert run(main()) <= 3 * LEASE_SECONDS


def leader_of_view(cluster):
    view = cluster.coordinator.stored.view
    return next(member.name for member in view.members if member.number == view.primary)


def test_reads_go_on_by_the_coordinators_word_when_the_only_backup_is_gone():
    async def main():
        cluster = await form(5, nodes=2, replication=2, removal_seconds=600.0)
        fs = await cluster.connect(timeout_seconds=10)
        await fs.mkdir("/before")
        cluster.crash("n2", silent=True)
        await asyncio.sleep(LEASE_SECONDS)
        assert not cluster.nodes["n1"].role.primary.has_lease()
        for _ in range(20):
            assert await fs.listdir("/") == ["before"]
            await asyncio.sleep(0.5)
        with pytest.raises((UnavailableError, DeadlineError)):
            await fs.mkdir("/alone", timeout=4)
        assert cluster.nodes["n1"].role.primary.absent == {2}
        assert await fs.listdir("/") == ["before"]

    run(main())


def test_a_deposed_primary_that_still_reaches_the_coordinator_answers_no_read():
    async def main():
        cluster = await form(6, replication=2)
        cut_inward(cluster, "n1")
        old = cluster.nodes["n1"].role.primary
        await asyncio.sleep(4 * LEASE_SECONDS)
        assert leader_of_view(cluster) != "n1"
        with pytest.raises(ClusterError):
            await old.confirm()

    run(main())


def test_a_deposed_primary_that_heard_of_nothing_looks_at_the_coordinator():
    """It can spare nobody, nobody asks it for anything, and no hint of the new view comes."""

    async def main():
        cluster = await form(7, nodes=3, replication=3)
        faults = cluster.coordinator.faults("n1")
        faults.cut_replies = True
        cut_inward(cluster, "n1")
        for other in ("n2", "n3"):
            cluster.fabric.block("n1", other)
        await asyncio.sleep(2 * LEASE_SECONDS)
        assert leader_of_view(cluster) != "n1"
        cluster.fabric.heal()
        faults.clear()
        await asyncio.sleep(3 * LEASE_SECONDS)
        assert not cluster.nodes["n1"].role.leads
        assert len(cluster.coordinator.stored.view.in_sync) == 3

    run(main())


def test_nodes_that_rest_keep_the_end_of_the_log_only(monkeypatch):
    """Whoever comes back from a disk, takes over or follows a new primary as well."""
    monkeypatch.setattr(limits, "LOG_BYTES_CONFIRMED", 0)

    def kept(cluster):
        return max(node.role.recent.entries for node in cluster.nodes.values())

    async def main():
        cluster = await form(3, 3, journal="/journal", journal_blocks=True, ack="journal")
        fs = await cluster.connect()
        for number in range(60):
            await fs.mkdir(f"/{number}")
        await asyncio.sleep(3)
        assert kept(cluster) == 1
        cluster.crash(leader(cluster))
        await fs.mkdir("/after")
        await asyncio.sleep(3)
        assert kept(cluster) == 1
        cluster.restart("n1")
        for name in list(cluster.nodes):
            cluster.crash(name)
        for name in ("n1", "n2", "n3"):
            cluster.restart(name)
        await asyncio.sleep(30)
        assert len(cluster.nodes) == 3 and kept(cluster) == 1
        assert len(await fs.listdir("/")) == 61

    run(main())
