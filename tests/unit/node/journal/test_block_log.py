"""The block journal against a model: stores, forgets, extensions, compactions, power cuts."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs.checksum import crc32c
from memfs.errors import BlockNotFoundError, DataLossError, NoSpaceError
from memfs.node.blocks import BlockStore
from memfs.node.blocks.holdings import Stored
from memfs.node.journal.block_log import BlockLog
from memfs.node.journal.loading import JournalLoader
from memfs.protocol.messages import BlockVersion
from memfs.testing.simulation.disk import HostDisk
from memfs.testing.simulation.virtual import run

from .conftest import environment

CLUSTER = "0123456789abcdef"
BLOCK = 64 * 1024


class Machine:
    """A block journal, and the bytes that it should know."""

    def __init__(self, disk=None, seed=0, segment_bytes=20_000, ratio=2.0):
        self.disk = disk or HostDisk(random.Random(seed))
        self.journal = BlockLog(
            environment(self.disk, seed), "/b", CLUSTER, segment_bytes=segment_bytes, ratio=ratio
        )
        self.held: dict[BlockVersion, bytes] = {}
        self.task = None

    async def start(self):
        await self.journal.recover()
        self.task = asyncio.create_task(self.journal.commits.run())
        return self

    def stop(self):
        self.task.cancel()

    def store(self, version, data, base=None, block_size=BLOCK):
        self.held[version] = data
        self.journal.stored(Stored(version, crc32c(data), memoryview(data), block_size, 4, base))

    def forget(self, version):
        del self.held[version]
        self.journal.forgotten(version)

    def read(self, version):
        if version not in self.held:
            raise BlockNotFoundError("gone")
        return memoryview(self.held[version])

    async def durable(self):
        await self.journal.until_durable()
        self.journal.index.check_invariants()

    async def room(self):
        while self.journal.wants_room:
            await self.journal.make_room(self.read)

    async def reborn(self):
        self.disk.power_cut()
        self.stop()
        return await Machine(self.disk, seed=self.journal.written).start()

    async def content(self):
        """What is on the disk, loaded into a store and read there."""
        store = BlockStore(64 << 20)
        loader = JournalLoader(self.journal, store)
        await loader.run()
        assert loader.corrupt == 0 and loader.waiting == []
        store.check_invariants()
        versions = store.list(None, 1 << 20)
        return {
            each.version: bytes(store.read(each.version, 0, each.length)[0]) for each in versions
        }


def version(number, generation=1, sequence=1, index=0):
    return BlockVersion(number, index, generation, sequence)


def test_blocks_come_back():
    async def main():
        machine = await Machine().start()
        for number in range(1, 40):
            size = 0 if number % 3 else BLOCK
            machine.store(version(number), bytes([number]) * (500 * number), block_size=size)
        machine.store(version(1, 2), b"second")
        machine.forget(version(3))
        await machine.durable()
        again = await machine.reborn()
        assert await again.content() == machine.held
        again.stop()

    run(main())


def test_a_segment_held_by_an_extension_under_way_does_not_stop_the_node():
    """Its base was dropped: no version uses the segment, and yet it is needed."""

    async def main():
        machine = await Machine(segment_bytes=3000).start()
        for number in range(1, 12):
            machine.store(version(number), bytes([number]) * 1000)
            await machine.durable()
            if number > 1:
                machine.forget(version(number))
        base = version(1)
        extended = base._replace(sequence=2)
        machine.store(extended, machine.held[base] + b"more", base)
        machine.forget(base)
        journal = machine.journal
        while journal._series.segments and journal.wants_room:
            gone = await asyncio.wait_for(journal.make_room(machine.read), 10)
            assert gone or journal.index.users(journal._series.segments[0])
        await machine.durable()
        assert not journal.wants_room
        again = await machine.reborn()
        assert await again.content() == machine.held
        again.stop()

    run(main())


def test_appends_are_written_once():
    async def main():
        machine = await Machine().start()
        data, base = b"", None
        for sequence in range(1, 200):
            data += bytes([sequence]) * 100
            machine.store(version(1, 1, sequence), data, base)
            await machine.durable()
            if base is not None:
                machine.forget(base)
            base = version(1, 1, sequence)
        await machine.durable()
        assert machine.journal.written < 10 * len(data)
        again = await machine.reborn()
        assert await again.content() == machine.held == {base: data}
        again.stop()

    run(main())


def test_an_extension_outlives_its_base():
    async def main():
        machine = await Machine(segment_bytes=2000).start()
        machine.store(version(1), b"a" * 1000)
        await machine.durable()
        machine.store(version(1, 1, 2), b"a" * 1000 + b"b" * 1000, version(1))
        machine.forget(version(1))
        for number in range(2, 40):
            machine.store(version(number), b"x" * 1000)
            await machine.durable()
            machine.forget(version(number))
            await machine.room()
        await machine.durable()
        assert machine.journal.size < 8000
        again = await machine.reborn()
        assert await again.content() == machine.held
        again.stop()

    run(main())


@pytest.mark.parametrize("ratio", [1.5, 2.0, 4.0])
def test_disk_use_stays_bounded(ratio):
    async def main():
        dice = random.Random(1)
        machine = await Machine(ratio=ratio).start()
        most = 0.0
        for number in range(1, 1500):
            machine.store(version(number), dice.randbytes(dice.randrange(3000)))
            if len(machine.held) > 60:
                machine.forget(dice.choice(list(machine.held)))
            await machine.durable()
            await machine.room()
            most = max(most, machine.journal.size - ratio * machine.journal.index.live_bytes)
        assert most < 3 * 20_000
        again = await machine.reborn()
        assert await again.content() == machine.held
        again.stop()

    run(main())


def test_a_full_disk_refuses_and_goes_on_when_there_is_room():
    async def main():
        machine = await Machine().start()
        machine.store(version(1), b"1" * 5000)
        await machine.durable()
        machine.disk.capacity = machine.disk.used + 100
        machine.store(version(2), b"2" * 5000)
        with pytest.raises(NoSpaceError, match="full"):
            await machine.durable()
        machine.forget(version(2))
        await asyncio.sleep(2)
        assert machine.journal.commits.failure is None, "a forget fits"
        machine.disk.capacity = None
        machine.store(version(3), b"3" * 5000)
        await machine.durable()
        again = await machine.reborn()
        assert await again.content() == machine.held
        again.stop()

    run(main())


def test_a_damaged_block_is_left_out_and_a_damaged_frame_is_refused():
    async def main():
        machine = await Machine().start()
        for number in range(1, 4):
            machine.store(version(number), bytes([number]) * 1000)
            await machine.durable()
        (path,) = machine.disk.files
        machine.disk.damage(path, 300, b"\xff")
        again = await machine.reborn()
        loader = JournalLoader(again.journal, BlockStore(1 << 20))
        await loader.run()
        assert (loader.blocks, loader.corrupt) == (2, 1)
        await again.durable()
        machine.disk.damage(path, 80, b"\xff")
        with pytest.raises(DataLossError, match="byte 72"):
            await again.reborn()

    run(main())


def test_what_does_not_fit_into_memory_waits():
    async def main():
        machine = await Machine().start()
        for number in range(1, 40):
            machine.store(version(number), bytes([number]) * 50_000)
        await machine.durable()
        again = await machine.reborn()
        store = BlockStore(1 << 20)
        loader = JournalLoader(again.journal, store)
        await loader.run()
        assert loader.blocks + len(loader.waiting) == 39 and 10 < loader.blocks < 39
        held = [each.version for each in store.list(None, 100)]
        for each in held:
            store.discard(each)
            again.journal.forgotten(each)
        await loader.retry()
        assert loader.blocks == 39 and not loader.waiting
        again.stop()

    run(main())


@pytest.mark.parametrize("seed", range(80))
def test_power_cuts_at_any_moment(seed):
    async def main():
        dice = random.Random(seed)
        machine = await Machine(seed=seed, segment_bytes=dice.choice([3000, 30_000])).start()
        for life in range(4):
            safe = await _live(machine, dice, life)
            known = dict(machine.held)
            gone = machine.gone
            machine = await machine.reborn()
            found = await machine.content()
            for each, data in found.items():
                assert data == known.get(each, gone.get(each)), "bytes that nobody wrote"
            for each in safe:
                assert each in found, f"{each} was durable"
            machine.held = found
        machine.stop()

    run(main())


async def _live(machine, dice, life):
    """Random stores and forgets; the versions that were durable and not forgotten."""
    machine.gone = {}
    durable = set(machine.held)
    pending = []
    for number in range(dice.randrange(5, 60)):
        kind = dice.random()
        if kind < 0.5 or not machine.held:
            new = version(life * 1000 + number + 1)
            machine.store(
                new, dice.randbytes(dice.randrange(2000)), block_size=BLOCK * (number % 2)
            )
            pending.append(new)
        elif kind < 0.75:
            base = dice.choice(sorted(machine.held))
            new = base._replace(sequence=life * 1000 + number + 2)
            more = dice.randbytes(dice.randrange(1, 500))
            machine.store(new, machine.held[base] + more, base)
            pending.append(new)
        else:
            old = dice.choice(sorted(machine.held))
            machine.gone[old] = machine.held[old]
            machine.forget(old)
            durable.discard(old)
            pending = [each for each in pending if each != old]
        if dice.random() < 0.3:
            machine.disk.failing_syncs = int(dice.random() < 0.1)
            try:
                await machine.durable()
            except NoSpaceError:
                continue
            durable.update(pending)
            pending = []
        if dice.random() < 0.3:
            await _make_room(machine)
        await asyncio.sleep(dice.uniform(0, 0.003))
    machine.disk.failing_syncs = 0
    if dice.random() < 0.5 and machine.journal.wants_room:
        making = asyncio.create_task(machine.journal.make_room(machine.read))
        await asyncio.sleep(dice.uniform(0, 0.01))
        making.cancel()
    return durable


async def _make_room(machine):
    if machine.journal.wants_room:
        try:
            await machine.journal.make_room(machine.read)
        except NoSpaceError:
            pass


def test_a_version_dropped_while_it_is_being_written_takes_no_other_with_it():
    """Its memory is free for others before its bytes have left: on the disk it looks torn."""

    async def main(seed):
        machine = await Machine(seed=seed).start()
        memory = bytearray(b"x" * 5000)
        dropped = Stored(version(1), crc32c(memory), memoryview(memory), BLOCK, 4, None)
        commit = machine.journal._series.commit

        def commit_late(batch):
            if memory.startswith(b"x"):
                machine.journal.forgotten(dropped.version)
                memory[:] = b"y" * 5000
            return commit(batch)

        machine.journal._series.commit = commit_late
        machine.store(version(2), b"before" * 1000)
        machine.journal.stored(dropped)
        machine.store(version(3), b"behind" * 1000)
        await machine.durable()
        again = await machine.reborn()  # the crash comes before the word that it was dropped
        assert await again.content() == machine.held
        again.stop()

    for seed in range(5):
        run(main(seed))
