"""The namespace's journal: what was durable comes back exactly, whatever happens to the disk."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import threading

import pytest

from memfs.errors import DataLossError, NoSpaceError
from memfs.node.journal.namespace_log import RESTS, NamespaceLog
from memfs.node.log.entries import Entry, pack_entries
from memfs.node.namespace import Namespace, Settings
from memfs.node.namespace.snapshot import PIECE_BYTES
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.testing.simulation.disk import HostDisk
from memfs.testing.simulation.virtual import run
from memfs.transport.disk import FileDisk
from memfs.types import Identity

from .conftest import environment

CLUSTER = "0123456789abcdef"
ROOT = Identity("root", ())
SETTINGS = Settings("root", "supergroup", 2, 4096, 4)


class Machine:
    """A namespace that is journaled, and a place to bring it back."""

    def __init__(self, disk=None, seed=0, segment_bytes=4096):
        self.disk = disk or HostDisk(random.Random(seed))
        self.log = NamespaceLog(
            environment(self.disk, seed), "/j", CLUSTER, segment_bytes=segment_bytes
        )
        self.namespace = None
        self.task = None

    async def form(self):
        self.namespace = Namespace(SETTINGS, 1)
        self.task = asyncio.create_task(self.log.commits.run())
        await self.log.begin(self.namespace)
        return self

    async def recover(self):
        recovered = await self.log.recover()
        if recovered is not None:
            self.namespace = recovered.namespace
            assert recovered.recent.digest_at(self.namespace.applied) == self.namespace.digest
        self.task = asyncio.create_task(self.log.commits.run())
        return self

    def do(self, count=1):
        """Apply and append a run of commands."""
        entries, first = [], self.namespace.applied + 1
        for index in range(first, first + count):
            request = m.MakeDirectory(b"/d%d" % index)
            opcode = m.BY_REQUEST[m.MakeDirectory].opcode
            entry = Entry(index, 1, index, 7, index, ROOT, opcode, records.encode(request))
            self.namespace.apply(entry, request)
            entries.append(entry)
        packed = pack_entries(entries)
        self.log.append(packed, first, self.namespace.applied, self.namespace.digest)

    async def work(self, runs, size=5):
        for _ in range(runs):
            self.do(size)
            await self.log.until_durable()

    def stop(self):
        self.task.cancel()

    async def reborn(self):
        """The machine after a power cut."""
        self.disk.power_cut()
        self.stop()
        return await Machine(self.disk, seed=self.log.durable).recover()


def same(first, second):
    assert (first.applied, first.digest) == (second.applied, second.digest)
    second.check_invariants()


def test_what_was_durable_comes_back():
    async def main():
        machine = await Machine().form()
        await machine.work(20)
        assert machine.log.durable == 100
        again = await machine.reborn()
        same(machine.namespace, again.namespace)
        await again.work(5)
        third = await again.reborn()
        same(again.namespace, third.namespace)
        third.stop()

    run(main())


def test_an_empty_directory_holds_nothing():
    async def main():
        machine = await Machine().recover()
        assert machine.namespace is None and not machine.log.complete
        with pytest.raises(NoSpaceError, match="incomplete"):
            await machine.log.until_durable()
        machine.stop()

    run(main())


def test_runs_that_wait_are_one_sync():
    async def main():
        machine = await Machine().form()
        before = machine.disk.syncs
        for _ in range(50):
            machine.do()
        await machine.log.until_durable()
        assert machine.disk.syncs - before <= 2
        machine.stop()

    run(main())


def test_the_log_of_a_large_namespace_is_short_beside_its_snapshot():
    """Loading is twenty times as fast as replaying: what is replayed must be few."""

    async def main():
        machine = await Machine().form()
        machine.do(6000)
        await machine.log.until_durable()
        await machine.log.snapshot(machine.namespace)
        await machine.log.until_durable()
        stored = machine.log.size
        while not machine.log.wants_snapshot:
            machine.do(10)
            await machine.log.until_durable()
        assert 4096 < machine.log.size - stored < stored // 16
        again = await machine.reborn()
        same(machine.namespace, again.namespace)
        again.stop()

    run(main())


def test_a_snapshot_replaces_the_log_before_it():
    async def main():
        machine = await Machine().form()
        await machine.work(60)
        assert machine.log.wants_snapshot
        machine.do(3)
        await machine.log.snapshot(machine.namespace)
        machine.do(3)
        await machine.log.until_durable()
        assert not machine.log.wants_snapshot
        names = machine.disk.names("/j")
        assert sum(name.endswith("snapshot") for name in names) == 1
        assert sum(name.endswith("segment") for name in names) == 1
        again = await machine.reborn()
        same(machine.namespace, again.namespace)
        again.stop()

    run(main())


def test_a_new_beginning_replaces_everything():
    async def main():
        machine = await Machine().form()
        await machine.work(5)
        other = Namespace(SETTINGS, 99)
        machine.namespace = other
        beginning = asyncio.create_task(machine.log.begin(other))
        await asyncio.sleep(0)
        machine.do(4)
        await asyncio.gather(beginning, machine.log.until_durable())
        assert all(name.startswith("00000002-") for name in machine.disk.names("/j"))
        again = await machine.reborn()
        same(other, again.namespace)
        again.stop()

    run(main())


def test_who_waits_for_an_old_history_is_told():
    async def main():
        machine = await Machine().form()
        machine.do()
        waiting = asyncio.create_task(machine.log.until_durable())
        await asyncio.sleep(0)
        beginning = asyncio.create_task(machine.log.begin(Namespace(SETTINGS, 5)))
        with pytest.raises(NoSpaceError, match="anew"):
            await waiting
        await beginning
        machine.stop()

    run(main())


def test_a_full_disk_refuses_and_recovers():
    async def main():
        machine = await Machine().form()
        await machine.work(3)
        machine.disk.capacity = machine.disk.used
        machine.do()
        with pytest.raises(NoSpaceError, match="full"):
            await machine.log.until_durable()
        machine.do()
        with pytest.raises(NoSpaceError, match="full"):
            await machine.log.until_durable()
        assert machine.log.durable == 15 and machine.log.commits.failure is not None
        machine.disk.capacity = None
        await asyncio.sleep(1)
        assert machine.log.durable == 17 and machine.log.commits.failure is None
        again = await machine.reborn()
        same(machine.namespace, again.namespace)
        again.stop()

    run(main())


def test_a_beginning_that_succeeds_ends_a_failure_though_nothing_is_queued():
    async def main():
        machine = await Machine().form()
        await machine.work(1)
        machine.disk.failing_syncs = 1
        machine.do()
        with pytest.raises(NoSpaceError, match="fails"):
            await machine.log.until_durable()
        machine.disk.failing_syncs = 0
        await machine.log.begin(machine.namespace)
        assert machine.log.commits.failure is None
        machine.stop()

    run(main())


def test_a_beginning_that_finds_no_room_leaves_the_journal_incomplete():
    async def main():
        machine = await Machine().form()
        await machine.work(1)
        machine.disk.capacity = machine.disk.used
        with pytest.raises(NoSpaceError):
            await machine.log.begin(machine.namespace)
        assert not machine.log.complete
        machine.do()
        with pytest.raises(NoSpaceError):
            await machine.log.until_durable()
        machine.disk.capacity = None
        await machine.log.begin(machine.namespace)
        await machine.work(2)
        again = await machine.reborn()
        same(machine.namespace, again.namespace)
        again.stop()

    run(main())


@pytest.mark.parametrize("what", ["segment", "snapshot"])
def test_damage_is_refused_with_the_file_and_what_to_do(what):
    async def main():
        machine = await Machine().form()
        await machine.work(5)
        (name,) = [name for name in machine.disk.names("/j") if name.endswith(what)]
        machine.disk.damage(f"/j/{name}", 100, b"\xff\xff")
        with pytest.raises(DataLossError, match="move the journal directory away") as caught:
            await machine.reborn()
        assert caught.value.filename == f"/j/{name}"

    run(main())


def test_another_outcome_of_the_same_log_is_noticed():
    async def main():
        machine = await Machine().form()
        await machine.work(1)
        machine.namespace.digest ^= 1
        await machine.work(1)
        with pytest.raises(DataLossError, match="another state"):
            await machine.reborn()

    run(main())


@pytest.mark.parametrize("seed", range(60))
def test_power_cuts_at_any_moment(seed):
    async def main():
        dice = random.Random(seed)
        machine = await Machine(seed=seed).form()
        for _ in range(4):
            acknowledged = await _live(machine, dice)
            before = machine.namespace
            machine = await machine.reborn()
            assert machine.namespace.applied >= acknowledged
            if machine.namespace.applied == before.applied:
                same(before, machine.namespace)
            machine.namespace.check_invariants()
        machine.stop()

    run(main())


async def _live(machine, dice):
    """Random work until a random moment; the index that was acknowledged by then."""
    machine.disk.failing_syncs = dice.choice([0, 0, 1])
    if dice.random() < 0.3:
        machine.disk.capacity = machine.disk.used + dice.randrange(5000)
    acknowledged = machine.log.durable
    snapshot = None
    for _ in range(dice.randrange(1, 60)):
        machine.do(dice.randrange(1, 4))
        if dice.random() < 0.1:
            machine.disk.capacity = None
        if dice.random() < 0.1 and machine.log.wants_snapshot:
            snapshot = asyncio.create_task(machine.log.snapshot(machine.namespace))
            await asyncio.sleep(0)
        if dice.random() < 0.03:
            try:
                await machine.log.begin(machine.namespace)
            except NoSpaceError:
                machine.disk.capacity = None
                await machine.log.begin(machine.namespace)
        await asyncio.sleep(dice.uniform(0, 0.01))
        acknowledged = machine.log.durable
    if snapshot is not None and dice.random() < 0.5:
        await snapshot
    machine.disk.capacity, machine.disk.failing_syncs = None, 0
    return acknowledged


def test_a_snapshot_is_written_in_pieces_with_rests_for_the_event_loop(monkeypatch):
    """It does nothing else while it makes a piece: it has three quarters of the time for others."""

    async def main():
        machine = await Machine().form()
        machine.do(9000)
        await machine.log.until_durable()
        clock = SlowClock()
        machine.log._environment = dataclasses.replace(machine.log._environment, clock=clock)
        rests = []
        sleep = asyncio.sleep

        async def slept(seconds):
            if seconds > clock.STEP:  # the others are the simulated disk's
                rests.append(seconds)
            await sleep(0)

        monkeypatch.setattr("memfs.node.journal.namespace_log.asyncio.sleep", slept)
        pieces = list(machine.namespace.snapshot())
        assert len(pieces) > 2 and max(map(len, pieces)) <= PIECE_BYTES
        await machine.log.snapshot(machine.namespace)
        assert rests == [RESTS * clock.STEP] * len(pieces), "as long as what they took, and more"
        again = await machine.reborn()
        same(machine.namespace, again.namespace)
        again.stop()

    run(main())


def test_the_event_loop_makes_the_pieces_and_another_thread_writes_them(tmp_path):
    """A thread that made them would have to ask the loop for the interpreter again and again."""

    class Disk(FileDisk):
        async def run(self, work):
            def watched():
                worked.add(threading.get_ident())
                return work()

            return await super().run(watched)

    class Watched:
        def __init__(self, namespace):
            self.applied = namespace.applied
            self._pieces = namespace.snapshot()

        def snapshot(self):
            for piece in self._pieces:
                made.add(threading.get_ident())
                yield piece

    async def main():
        machine = Machine()
        machine.namespace = Namespace(SETTINGS, 1)
        machine.do(3000)
        log = NamespaceLog(environment(Disk(), 0), str(tmp_path), CLUSTER, segment_bytes=1 << 20)
        await log.begin(Watched(machine.namespace))
        await log.snapshot(Watched(machine.namespace))
        assert log.size > PIECE_BYTES

    made, worked = set(), set()
    asyncio.run(main())
    assert made == {threading.get_ident()} and worked and not made & worked


def test_a_snapshot_ends_where_another_generation_begins():
    async def main():
        machine = await Machine().form()
        machine.do(9000)
        await machine.log.until_durable()
        writing = asyncio.create_task(machine.log.snapshot(machine.namespace))
        await until(lambda: any(name.endswith(".new") for name in machine.disk.names("/j")))
        machine.namespace = Namespace(SETTINGS, 3)
        await machine.log.begin(machine.namespace)
        await writing
        machine.do(3)
        await machine.log.until_durable()
        assert not [name for name in machine.disk.names("/j") if not name.startswith("00000002-")]
        again = await machine.reborn()
        same(machine.namespace, again.namespace)
        again.stop()

    run(main())


async def until(condition):
    while not condition():  # noqa: ASYNC110 - a disk has nothing to wait for
        await asyncio.sleep(1e-6)  # for a moment of virtual time


class SlowClock:
    """Each look at it finds that some time has passed."""

    STEP = 0.25

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += self.STEP
        return self.now
