"""What the primary says of the cluster is true, and soon."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging

import pytest

from memfs.cli.cluster.health import DEGRADED, HEALTHY, health, problems
from memfs.errors import NoSpaceError, UnavailableError
from memfs.protocol import messages as m
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run

BLOCKS = 30


async def form(seed, nodes=3, size=4000, **settings):
    cluster = SimulatedCluster(seed, block_size=1 << 17, **settings)
    await cluster.start(nodes)
    fs = await cluster.connect()
    for number in range(BLOCKS):
        await fs.write_bytes(f"/{number}", bytes(size))
    await settled(fs)
    return cluster, fs


async def status(fs):
    return await fs._session.ask(m.GetStatus())


async def settled(fs):
    return await until(fs, lambda found: found.healing.complete and not found.healing.moves)


async def until(fs, wanted):
    async with asyncio.timeout(120):
        while True:
            found = await status(fs)
            if wanted(found):
                return found
            await asyncio.sleep(0.5)


def number_of(cluster, name):
    return cluster.nodes[name].member.number


def test_nobody_was_heard_in_the_future():
    """Telling a node's own use takes time, and counts as its sign of life."""

    async def main():
        cluster, fs = await form(1)
        for each in cluster.nodes.values():
            environment = each.parts.membership.environment
            slow = SlowClock(environment.clock)
            each.parts.membership.environment = dataclasses.replace(environment, clock=slow)
        assert all(node.heartbeat_ms >= 0 for node in (await status(fs)).nodes)

    run(main())


class SlowClock:
    """A clock on which every look takes ten milliseconds."""

    def __init__(self, clock):
        self._clock = clock
        self._looks = itertools.count()

    def monotonic(self):
        return self._clock.monotonic() + next(self._looks) / 100

    def __getattr__(self, name):
        return getattr(self._clock, name)


def test_a_killed_node_is_missed_at_once():
    async def main():
        cluster, fs = await form(1)
        assert health(await status(fs)) == HEALTHY
        held = cluster.nodes["n3"].store.count
        number = number_of(cluster, "n3")
        cluster.crash("n3")
        await asyncio.sleep(0.5)
        found = await status(fs)
        (silent,) = [node for node in found.nodes if not node.alive]
        assert silent.member.number == number
        assert health(found) == DEGRADED
        assert found.healing.exposed[:2] == (0, held)
        assert cluster.nodes["n1"].healing.repairs.findings.endangered_now == held

    run(main())


def test_fewer_nodes_than_copies_are_said():
    async def main():
        cluster, fs = await form(2, removal_seconds=5)
        for name in ("n3", "n2"):
            cluster.crash(name)
            await asyncio.sleep(20)
        found = await settled(fs)
        assert [node.member.name for node in found.nodes] == ["n1"]
        assert found.healing.under_replicated == BLOCKS
        text = [problem.text for problem in problems(found)]
        assert text[0].startswith(f"under-replicated: {BLOCKS} blocks")
        assert [each.name for each in found.departed] == ["n2", "n3"]
        assert found.departed[0].reason.startswith(
            "silent for"
        )  # the other had too few copies left
        assert found.departed[1].reason == "its process ended"
        cluster.host("n2").network.restart()
        await cluster.start_node("n2")
        await asyncio.sleep(20)
        found = await settled(fs)
        assert (health(found), found.healing.under_replicated) == (HEALTHY, 0)
        assert [each.name for each in found.departed] == ["n3"]

    run(main())


def test_what_is_written_where_there_are_too_few_nodes_is_counted_at_once():
    async def main():
        _, fs = await form(10, nodes=1)
        for number in range(3):
            await fs.write_bytes(f"/more-{number}", b"x")
            await asyncio.sleep(0.5)
            assert (await status(fs)).healing.under_replicated == BLOCKS + number + 1

    run(main())


def test_a_decommission_below_the_copies_of_files_has_to_be_asked_for():
    async def main():
        cluster, fs = await form(3)
        await fs.set_replication("/1", 3)
        await asyncio.sleep(70)  # a scan finds what nobody told
        await settled(fs)
        last = number_of(cluster, "n3")
        with pytest.raises(NoSpaceError, match="2 nodes for the 3 copies"):
            await fs._session.ask(m.Decommission(last))
        await fs._session.ask(m.Decommission(last, fewer_copies=True))
        await until(fs, lambda found: len(found.nodes) == 2)
        await asyncio.sleep(10)
        found = await settled(fs)
        assert found.healing.under_replicated == 1
        assert [each.reason for each in found.departed] == ["decommissioned"]
        with pytest.raises(NoSpaceError, match="1 node for"):
            await fs._session.ask(m.Decommission(number_of(cluster, "n2")))

    run(main())


def test_the_progress_of_a_departure_goes_down_to_nothing():
    async def main():
        cluster, fs = await form(
            4, nodes=4, size=130_000, rebalancing_bandwidth=1 << 20, replication=1
        )
        leaver = number_of(cluster, "n4")
        await fs._session.ask(m.Decommission(leaver))
        left, waits = [], set()
        async with asyncio.timeout(120):
            while True:
                found = await status(fs)
                mine = [each for each in found.healing.leaving if each.member == leaver]
                if not mine:
                    break
                left.append(mine[0].blocks)
                waits.add(mine[0].waiting)
                await asyncio.sleep(0.2)
        assert len(set(left)) > 2 and 0 in left  # not all at once
        assert any(each.startswith("readers of") for each in waits)

    run(main())


def test_a_hand_over_to_who_is_not_in_sync_says_so():
    async def main():
        cluster, _ = await form(5, nodes=4)
        role = cluster.nodes["n1"].role
        with pytest.raises(UnavailableError, match=r"n4 is not in sync.*; n2, n3 can"):
            await role.hand_over(number_of(cluster, "n4"))
        with pytest.raises(UnavailableError, match="there is no member 99"):
            await role.hand_over(99)

    run(main())


def test_ready_is_who_can_serve():
    async def main():
        cluster, _ = await form(6, nodes=4)
        assert [node.parts.report.not_ready() for node in cluster.nodes.values()] == [""] * 4
        await asyncio.sleep(30)  # a member that is no backup hears of the primary, too
        assert cluster.nodes["n4"].role.primary_silent_ms() < 3000
        for name in cluster.nodes:
            cluster.coordinator.faults(name).down = True
        cluster.crash("n1")
        await asyncio.sleep(10)
        reasons = [node.parts.report.not_ready() for node in cluster.nodes.values()]
        assert all(reason.startswith("no primary") for reason in reasons)

    run(main())


def test_a_coordinator_that_stands_still_is_out_of_reach_before_a_request_fails():
    async def main():
        cluster, fs = await form(7)
        cluster.coordinator.timeout_seconds = 30.0
        for name in cluster.nodes:
            cluster.coordinator.faults(name).cut_requests = True
        await asyncio.sleep(4)
        assert not (await status(fs)).coordinator_reachable
        cluster.coordinator.heal()
        await asyncio.sleep(32)
        assert (await status(fs)).coordinator_reachable

    run(main())


def test_who_does_not_confirm_the_primary_is_named():
    async def main():
        cluster, _ = await form(8, nodes=2)
        for name in cluster.nodes:
            cluster.coordinator.faults(name).down = True
        cluster.host("n2").process.pause()
        await asyncio.sleep(10)
        node = cluster.nodes["n1"]
        assert node.parts.control.unavailable_reason() == (
            "1 of 2 required copies of the namespace are in sync: no word from n2"
        )

    run(main())


def test_a_backup_that_is_only_starting_is_no_error_in_the_log_one_that_stays_away_is(caplog):
    def errors():
        return [each.message for each in caplog.records if each.levelno >= logging.ERROR]

    async def main():
        cluster, _ = await form(8, nodes=2)
        cluster.host("n2").process.pause()
        await asyncio.sleep(10)
        assert not errors()
        await asyncio.sleep(60)
        assert "a backup failed and stays in the view: commands wait" in errors()

    run(main())


def test_without_room_the_advice_is_to_make_some():
    async def main():
        _, fs = await form(9, memory=2 << 20, replication=1)
        await fs.write_bytes("/large", bytes(4_200_000))
        await fs.set_replication("/large", 2)
        await asyncio.sleep(70)
        found = await status(fs)
        assert found.healing.no_room
        (problem,) = [each for each in problems(found) if "short of copies" in each.text]
        assert "no node has room" in problem.text and "add a node" in problem.step

    run(main())
