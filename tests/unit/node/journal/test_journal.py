"""A node's journal as a whole: ownership, the reserve, blocks through the store, housekeeping."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs.checksum import crc32c
from memfs.errors import ConfigError, DataLossError, NoSpaceError
from memfs.node.blocks import BlockStore
from memfs.node.journal.journal import Journal
from memfs.node.log.entries import Entry, pack_entries
from memfs.node.namespace import Namespace, Settings
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.testing.simulation.disk import HostDisk
from memfs.testing.simulation.virtual import run
from memfs.transport.disk import FileDisk
from memfs.types import Identity

from .conftest import environment

CLUSTER = "0123456789abcdef"
SETTINGS = Settings("root", "supergroup", 2, 4096, 4)
BLOCK = 4096


class Machine:
    """A journal between a store and a namespace."""

    def __init__(self, disk=None, *, blocks=True, directory="/j", segment_bytes=32 * 1024):
        self.disk = disk or HostDisk(random.Random(1))
        self.store = BlockStore(16 << 20)
        self.namespace = None
        self.is_journaled = False
        self.journal = Journal(
            environment(self.disk),
            directory,
            name="node",
            store=self.store,
            segment_bytes=segment_bytes,
            ratio=2.0,
            keep_blocks=blocks,
        )

    async def form(self, member=1):
        await self.journal.open()
        await self.journal.belong(CLUSTER, member)
        self.namespace = Namespace(SETTINGS, 1)
        self.journal.start(self)
        await self.journal.load_blocks()
        await self.journal.log.begin(self.namespace)
        return self

    async def revive(self):
        await self.journal.open()
        self.namespace = self.journal.recovered.namespace
        self.journal.start(self)
        await self.journal.load_blocks()
        return self

    def do(self, count=1):
        for _ in range(count):
            index = self.namespace.applied + 1
            request = m.MakeDirectory(b"/d%d" % index)
            opcode = m.BY_REQUEST[m.MakeDirectory].opcode
            entry = Entry(
                index, 1, index, 7, index, Identity("root"), opcode, records.encode(request)
            )
            self.namespace.apply(entry, request)
            packed = pack_entries([entry])
            self.journal.log.append(packed, index, index, self.namespace.digest)

    def write(self, inode, data, sequence=1, base=None, extents=(), length=None):
        request = m.WriteBlock(
            inode, 0, 1, sequence, length or len(data), crc32c(data), (), BLOCK * 16, 4
        )
        if base is not None:
            request = request._replace(
                base_generation=1, base_sequence=base, extents=tuple(m.Extent(*e) for e in extents)
            )
        write = self.store.begin(request)
        at = 0
        for buffer in write.buffers():
            buffer[:] = data[at : at + len(buffer)]
            at += len(buffer)
        write.received(len(data))
        write.finish()

    def read(self, inode, sequence=1):
        return bytes(self.store.whole(m.BlockVersion(inode, 0, 1, sequence)))

    async def durable(self):
        await self.journal.log.until_durable()
        if self.journal.blocks is not None:
            await self.journal.blocks.until_durable()


def test_a_member_comes_back_as_it_was():
    async def main():
        machine = await Machine().form(member=3)
        machine.do(20)
        machine.write(1, b"one" * 1000)
        machine.write(1, b"more", 2, base=1, extents=[(3000, 4)], length=3004)
        machine.write(1, b"XX", 3, base=2, extents=[(10, 2)], length=3004)
        machine.write(2, b"two")
        machine.store.discard(m.BlockVersion(1, 0, 1, 1))
        machine.store.discard(m.BlockVersion(2, 0, 1, 1))
        await machine.durable()
        machine.disk.power_cut()
        again = await Machine(machine.disk).revive()
        assert again.journal.owner == (CLUSTER, 3, "node")
        assert again.namespace.digest == machine.namespace.digest
        whole = b"one" * 1000 + b"more"
        assert again.read(1, 2) == whole
        assert again.read(1, 3) == whole[:10] + b"XX" + whole[12:]
        assert again.store.count == 2
        again.store.check_invariants()
        await again.journal.close()

    run(main())


@pytest.mark.parametrize("blocks", [True, False])
def test_no_block_is_taken_before_somebody_writes_it_to_the_journal(blocks):
    """Others send blocks to a node as soon as it is a member, before its journal is."""

    async def main():
        machine = Machine(blocks=blocks)
        journal = machine.journal
        for step in (journal.open(), journal.belong(CLUSTER, 1)):
            await step
            assert journal.loading == blocks
        journal.start(machine)
        assert journal.loading == blocks
        await journal.load_blocks()
        assert not journal.loading
        if blocks:
            machine.write(1, b"data")
            assert journal.lag_bytes
        await journal.close()

    run(main())


def test_another_process_is_kept_out():
    async def main():
        machine = await Machine().form()
        with pytest.raises(ConfigError, match="in use by another process"):
            await Machine(machine.disk).journal.open()
        await machine.journal.close()
        await (await Machine(machine.disk).revive()).journal.close()

    run(main())


def test_under_another_number_the_blocks_are_gone_and_the_namespace_is_kept_until_the_next():
    async def main():
        machine = await Machine().form(member=1)
        machine.do(5)
        machine.write(1, b"data")
        await machine.durable()
        await machine.journal.close()
        again = Machine(machine.disk)
        await again.journal.open()
        assert again.journal.recovered.namespace.applied == 5
        await again.journal.belong(CLUSTER, 9)
        again.journal.start(again)
        await again.journal.load_blocks()
        assert again.store.count == 0 and again.journal.owner.member == 9
        await again.journal.log.begin(Namespace(SETTINGS, 7))
        await again.journal.close()
        third = await Machine(machine.disk).revive()
        assert third.namespace.applied == 0 and third.journal.owner.member == 9
        await third.journal.close()

    run(main())


def test_a_process_that_goes_on_under_another_number_keeps_the_blocks_that_it_holds():
    """It answers that it has them, so they have to be on its disk."""

    async def main():
        machine = await Machine().form(member=1)
        machine.write(1, b"before")
        await machine.durable()
        await machine.journal.belong(CLUSTER, 9)
        assert machine.store.count == 1
        machine.write(2, b"after")
        await machine.durable()
        machine.disk.power_cut()
        again = await Machine(machine.disk).revive()
        assert again.journal.owner == (CLUSTER, 9, "node")
        assert (again.read(1), again.read(2)) == (b"before", b"after")
        await again.journal.close()

    run(main())


@pytest.mark.parametrize(
    ("content", "error", "what"),
    [
        (b'{"format": 2}', ConfigError, "format 2; this memfs reads 1"),
        (b"rubbish", DataLossError, "damaged"),
        (b'{"format": 1, "cluster": "x"}', DataLossError, "member"),
    ],
)
def test_a_directory_that_is_not_understood(content, error, what):
    async def main():
        machine = Machine()
        machine.disk.replace("/j/owner", content)
        with pytest.raises(error, match=what):
            await machine.journal.open()

    run(main())


def test_a_full_disk_stops_commands_but_not_what_was_applied():
    async def main():
        machine = await Machine(blocks=False).form()
        machine.do(10)
        await machine.durable()
        machine.disk.capacity = machine.disk.used + 200
        machine.journal.check_room(frees=False)
        machine.do(10)
        await machine.durable()
        with pytest.raises(NoSpaceError, match="full"):
            machine.journal.check_room(frees=False)
        machine.journal.check_room(frees=True)
        with pytest.raises(NoSpaceError):
            machine.journal.check_block_room()
        machine.do(10)
        await machine.durable()
        machine.disk.capacity = None
        await asyncio.sleep(2)
        machine.journal.check_room(frees=False)
        await machine.journal.close()

    run(main())


def test_a_disk_that_stays_full_is_told_of_once(caplog):
    """Also when what found no room was given up meanwhile, and less of it would fit."""

    async def main():
        machine = await Machine().form()
        machine.disk.capacity = machine.disk.used + 200_000
        for attempt in range(1, 5):
            inodes = range(10 * attempt, 10 * attempt + 5)
            for inode in inodes:
                machine.write(inode, bytes(16 * BLOCK))
            await asyncio.sleep(1)
            for inode in inodes:
                machine.store.discard(m.BlockVersion(inode, 0, 1, 1))
            await asyncio.sleep(1)
            with pytest.raises(NoSpaceError):
                machine.journal.check_block_room()
            assert "is full" in machine.journal.trouble
        machine.disk.capacity = None
        await asyncio.sleep(3)
        assert machine.journal.trouble == ""
        told = [record.message for record in caplog.records if "disk" in record.message]
        assert [("is full" in text, "room again" in text) for text in told] == [
            (True, False),
            (False, True),
        ]
        await machine.journal.close()

    run(main())


def test_upkeep_takes_snapshots_and_makes_room():
    async def main():
        machine = await Machine(segment_bytes=4096).form()
        for round_ in range(60):
            machine.do(20)
            machine.write(round_ + 1, random.Random(round_).randbytes(3000))
            if round_ >= 5:
                machine.store.discard(m.BlockVersion(round_ - 4, 0, 1, 1))
            await machine.durable()
            await asyncio.sleep(0.4)
        assert machine.journal.log.size < 300_000 and machine.journal.blocks.size < 60_000
        machine.disk.power_cut()
        again = await Machine(machine.disk).revive()
        assert again.namespace.digest == machine.namespace.digest
        assert again.store.count == 5
        await again.journal.close()

    run(main())


def test_a_log_that_was_given_up_begins_anew_by_itself():
    async def main():
        machine = await Machine(blocks=False).form()
        machine.do(3)
        machine.journal.log.abandon("a test")
        machine.do(3)
        await asyncio.sleep(2)
        machine.do(3)
        await machine.durable()
        await machine.journal.close()
        again = await Machine(machine.disk).revive()
        assert again.namespace.applied == 9
        await again.journal.close()

    run(main())


async def test_on_real_files(tmp_path):
    machine = await Machine(FileDisk(), directory=str(tmp_path / "journal")).form()
    machine.do(100)
    content = {inode: random.Random(inode).randbytes(50_000) for inode in range(1, 30)}
    for inode, data in content.items():
        machine.write(inode, data)
    await machine.durable()
    await machine.journal.close()
    again = await Machine(FileDisk(), directory=str(tmp_path / "journal")).revive()
    assert again.namespace.digest == machine.namespace.digest
    assert {inode: again.read(inode) for inode in content} == content
    await again.journal.close()


async def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    machine = Machine(FileDisk(), directory=str(tmp_path / "file" / "journal"))
    with pytest.raises(ConfigError, match="cannot be used"):
        await machine.journal.open()


def test_damaged_blocks_are_refused_before_the_node_enters():
    async def main():
        machine = await Machine().form()
        for inode in range(1, 5):
            machine.write(inode, bytes([inode]) * 1000)
            await machine.durable()
        await machine.journal.close()
        (name,) = machine.disk.names("/j/blocks")
        machine.disk.damage(f"/j/blocks/{name}", 75, b"\xff")
        again = Machine(machine.disk)
        with pytest.raises(DataLossError, match="byte 72"):
            await again.journal.open()

    run(main())


def test_a_disk_that_fails_at_the_start_is_a_clear_error():
    async def main():
        machine = await Machine().form()
        machine.do(3)
        await machine.durable()
        await machine.journal.close()
        machine.disk.failing_syncs = 1
        with pytest.raises(ConfigError, match="cannot be used: the disk fails to sync"):
            await Machine(machine.disk).journal.open()

    run(main())
