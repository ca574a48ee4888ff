"""A deleted file is read on by those who have it open, whatever becomes of the primary."""

from __future__ import annotations

import asyncio

import pytest
from primary_events import failover, nothing

from memfs.client.inodes import InodeOperations, Owner
from memfs.errors import StaleHandleError
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run

DATA = bytes(range(256)) * 2_000
SETTINGS = {"lease_seconds": 1.0, "member_timeout_seconds": 2.0, "block_size": 65_536}
JOURNAL = {"journal": "/journal", "journal_blocks": True, "ack": "journal"}


def primary_of(cluster):
    return next((node for node in cluster.nodes.values() if node.role.leads), None)


async def nothing_kept(cluster):
    """Until no deleted file is kept, and no block of one is left."""
    async with asyncio.timeout(60):
        while True:
            primary = primary_of(cluster)
            if primary is not None and not primary.role.namespace.unlinked():
                blocks = sum(node.store.count for node in cluster.nodes.values())
                if not blocks:
                    return
            await asyncio.sleep(0.5)


async def failover_in_silence(cluster):
    name = next(name for name, node in cluster.nodes.items() if node.role.leads)
    cluster.crash(name, silent=True)
    await asyncio.sleep(8)
    cluster.restart(name)
    await asyncio.sleep(2)


async def handover(cluster):
    name = next(name for name, node in cluster.nodes.items() if node.role.leads)
    await cluster.stop(name)
    cluster.restart(name)


REMOVALS = {
    "remove": lambda fs: fs.remove("/d/f"),
    "tree": lambda fs: fs.rmtree("/d"),
    "replace": lambda fs: fs.write_bytes("/d/f", b""),
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=list(REMOVALS))
@pytest.mark.parametrize("event", [nothing, failover, failover_in_silence, handover])
@pytest.mark.parametrize("before", [True, False], ids=["after the event", "before it"])
def test_it_is_read_to_its_end(remove, event, before):
    async def main():
        cluster = SimulatedCluster(3, replication=3, **SETTINGS)
        await cluster.start(4)
        await asyncio.sleep(3)
        fs, other = await cluster.connect(), await cluster.connect()
        await fs.makedirs("/d")
        await fs.write_bytes("/d/f", DATA)
        files = [await fs.open("/d/f", "rb") for _ in range(2)]
        writer = await fs.open("/d/written", "wb")
        assert await files[0].read(100_000) == DATA[:100_000]
        if before:
            await event(cluster)
        await remove(other)
        await asyncio.sleep(5)
        if not before:
            await event(cluster)
        assert await files[0].read() == DATA[100_000:]
        assert await files[1].read() == DATA
        await writer.write(DATA)
        await writer.flush()
        await writer.truncate(10)
        for file in (*files, writer):
            await file.close()
        await fs.rmtree("/d", ignore_errors=True)
        await nothing_kept(cluster)

    run(main())


def test_all_nodes_restart_with_a_journal():
    async def main():
        cluster = SimulatedCluster(4, **SETTINGS, **JOURNAL)
        await cluster.start(3)
        await asyncio.sleep(3)
        fs = await cluster.connect(timeout_seconds=60)
        await fs.write_bytes("/f", DATA)
        file = await fs.open("/f", "rb")
        await asyncio.sleep(1)
        await fs.remove("/f")
        cluster.power_cut()
        for name in ("n1", "n2", "n3"):
            cluster.restart(name)
        assert await file.read(timeout=60) == DATA
        await file.close()
        await nothing_kept(cluster)

    run(main())


@pytest.mark.parametrize("silent", [True, False])
def test_who_is_gone_keeps_nothing(silent):
    async def main():
        cluster = SimulatedCluster(5, **SETTINGS)
        await cluster.start(3)
        reader, fs = await cluster.connect(), await cluster.connect()
        await fs.write_bytes("/f", DATA)
        file = await reader.open("/f", "rb")
        await fs.remove("/f")
        await asyncio.sleep(1)
        assert primary_of(cluster).role.namespace.unlinked() and file
        cluster.crash("c1", silent=silent)
        await asyncio.sleep(65 if silent else 20)
        await nothing_kept(cluster)

    run(main())


def test_what_is_opened_anew_while_it_is_being_freed_goes_when_it_is_closed():
    """No command is answered, the one that frees it either, while its last user comes and goes."""

    async def main():
        cluster = SimulatedCluster(8, replication=3, **SETTINGS)
        await cluster.start(3)
        await asyncio.sleep(3)
        fs, other = await cluster.connect(), await cluster.connect()
        await fs.write_bytes("/f", DATA)
        file = await fs.open("/f", "rb")
        inode = (await fs.stat("/f")).st_ino
        await fs.remove("/f")
        role = primary_of(cluster).role
        await file.close()
        while True:  # until it is about to be freed
            if not role.primary.opens.is_open(inode):
                break
            await asyncio.sleep(0.001)
        handle = await InodeOperations(other._session).open_for_reading(inode)
        for name, node in cluster.nodes.items():
            if not node.role.leads:
                cluster.fabric.isolate(name)
        await asyncio.sleep(0.4)
        await handle.close()
        await asyncio.sleep(0.2)
        cluster.fabric.heal()
        await nothing_kept(cluster)

    run(main())


def test_goodbye_gives_everything_back_at_once():
    async def main():
        cluster = SimulatedCluster(6, **SETTINGS)
        await cluster.start(3)
        reader, fs = await cluster.connect(), await cluster.connect()
        await fs.write_bytes("/f", DATA)
        file = await reader.open("/f", "rb")
        await fs.remove("/f")
        await reader.close()
        assert file
        await asyncio.sleep(2)
        assert not primary_of(cluster).role.namespace.unlinked()

    run(main())


def test_who_was_away_for_too_long_finds_it_gone():
    async def main():
        cluster = SimulatedCluster(7, **SETTINGS)
        await cluster.start(3)
        reader, fs = cluster.client(), await cluster.connect()
        await fs.write_bytes("/f", DATA)
        file = await reader.open("/f", "rb")
        await fs.remove("/f")
        process = reader.process()
        process.pause()
        await asyncio.sleep(70)
        process.resume()
        with pytest.raises(StaleHandleError):
            while await file.read(50_000):
                pass
        await file.close()
        await nothing_kept(cluster)

    run(main())


@pytest.mark.parametrize("named", [True, False], ids=["named", "closed without"])
@pytest.mark.parametrize("event", [nothing, failover, failover_in_silence, handover])
def test_a_file_that_was_made_without_a_name(event, named):
    async def main():
        cluster = SimulatedCluster(3, replication=3, **SETTINGS)
        await cluster.start(4)
        await asyncio.sleep(3)
        fs, other = await cluster.connect(), await cluster.connect()
        await fs.makedirs("/d")
        root = (await fs.stat("/d")).st_ino
        operations = InodeOperations(fs._session)
        handle = await operations.create_unnamed(root, 0o600, 0o600, Owner("", ""), linkable=True)
        inode = handle.file.attributes.inode
        assert await operations.keep(inode, kept=True)
        await fs._session.opens.tell(inode)
        await handle.write(0, memoryview(DATA))
        await handle.close()
        await event(cluster)
        assert await other.listdir("/d") == []
        if named:
            await operations.make_link(inode, root, b"f")
            assert await other.read_bytes("/d/f") == DATA
            fs._session.opens.close(inode)
            await asyncio.sleep(5)
            assert await other.read_bytes("/d/f") == DATA
            await other.remove("/d/f")
        else:
            reading = await operations.open_for_reading(inode)
            assert await reading.read(0, len(DATA)) == DATA
            await reading.close()
            fs._session.opens.close(inode)
        await nothing_kept(cluster)

    run(main())
