"""Blocks come back where they belong after failures and while the cluster grows and shrinks."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from memfs.checksum import crc32c
from memfs.errors import InvalidArgumentError, NoSpaceError, UploadLostError
from memfs.limits import KIB, MIB
from memfs.node.healing.copier import Copier
from memfs.node.replication.primary import Primary
from memfs.protocol.messages import (
    Decommission,
    ListBlocks,
    NewFile,
    PutFiles,
    Rebalance,
    ReserveInodes,
    SetManyReplicas,
    SetWeight,
    SmallBlock,
    WriteBlocks,
)
from memfs.testing.patches import find, followed, replaced
from memfs.types import BlockRef
from tests.simulation.in_virtual_time import Cluster, simulated
from tests.support.placed import placed_blocks

BLOCK = 64 * KIB
random_bytes = random.Random(1).randbytes
QUICK = {"removal_seconds": 0.6, "member_timeout_seconds": 0.4, "heartbeat_seconds": 0.05}


def now():
    return asyncio.get_running_loop().time()


async def eventually(condition, seconds=20.0):
    """Poll until ``condition()`` holds."""
    deadline = now() + seconds
    while not condition():
        assert now() < deadline, "it never came true"
        await asyncio.sleep(0.02)


async def write_files(fs, count=30, size=3 * BLOCK + 7):
    """Small and large files; their content by path."""
    content = {f"/file-{number}": random_bytes(size) for number in range(count)}
    content |= {f"/small-{number}": random_bytes(100 + number) for number in range(count)}
    for path, data in content.items():
        await fs.write_bytes(path, data)
    return content


def primary_of(cluster):
    return next(n for n in cluster.nodes if n.membership.is_primary)


def all_blocks(cluster):
    yield from placed_blocks(primary_of(cluster).role.primary.namespace)


def stores(cluster):
    """The stores of the members of the present view, by number."""
    members = {member.number for member in primary_of(cluster).membership.view.members}
    return {n.member.number: n.store for n in cluster.nodes if n.member.number in members}


def is_whole(cluster, copies):
    """Does every block have as many copies as wanted, each where the namespace says, and intact?"""
    held = stores(cluster)
    for ref, *_ in all_blocks(cluster):
        if len(ref.replicas) != copies or not held.keys() >= set(ref.replicas):
            return False
        if any(held[number].verify(ref.version) for number in ref.replicas):
            return False
    return True


def is_balanced(cluster):
    """Does every block lie where the ring wants it, and nowhere else?"""
    check = primary_of(cluster).healing.repairs.placement()
    return all(
        set(block.ref.replicas) == set(check.situation(block).placement)
        for block in all_blocks(cluster)
    )


def surplus(cluster):
    """Copies held beyond those that files name."""
    named = sum(len(block.ref.replicas) for block in all_blocks(cluster))
    return sum(store.count for store in stores(cluster).values()) - named


async def expect_content(fs, content):
    for path, data in content.items():
        assert await fs.read_bytes(path) == data


PATIENT = QUICK | {"removal_seconds": 3600.0}


@simulated
async def test_what_cannot_come_back_is_made_up_for_at_once():
    async with Cluster(nodes=4, replication=2, block_size=BLOCK, **PATIENT) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs)
        await cluster.kill(3)
        await eventually(lambda: len(stores(cluster)) == 3 and is_whole(cluster, 2))
        await expect_content(fs, content)
        (departed,) = (await fs.cluster_status()).departed
        assert departed.reason == "its process ended"


@simulated
async def test_who_may_come_back_with_its_blocks_is_waited_for():
    async with Cluster(nodes=4, replication=2, block_size=BLOCK, **PATIENT) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs)
        cluster.simulated.host("n4").network.crash(silent=True)  # it may as well be cut off
        await asyncio.sleep(60)
        assert len(primary_of(cluster).membership.view.members) == 4
        assert any((await fs.cluster_status()).healing.exposed)
        await expect_content(fs, content)


@simulated
async def test_small_blocks_are_healed_many_at_a_time():
    asked, named = [], []
    with (
        followed(Copier, "copy", lambda _reply, _copier, call: asked.append(call.request)),
        followed(Primary, "submit_own", lambda _done, _primary, command: named.append(command)),
    ):
        async with Cluster(nodes=4, replication=2, **PATIENT) as cluster:
            fs = await cluster.connect()
            content = {f"/{number}": b"%d" % number for number in range(3000)}
            await fs.write_many(list(content.items()))
            await cluster.kill(3)
            await eventually(lambda: len(stores(cluster)) == 3 and is_whole(cluster, 2))
            copied = sum(len(request.blocks) for request in asked)
            assert copied > 1000
            assert len(asked) < copied / 100
            assert sum(type(command) is SetManyReplicas for command in named) < copied / 50
            assert await fs.read_many(list(content)) == list(content.values())


@simulated
async def test_what_is_copied_during_a_scan_is_not_counted_after_it():
    with (
        replaced(*find("memfs.node.healing.scan.STEP_PAGES"), 1),
        replaced(*find("memfs.node.healing.scan.PAUSE_SECONDS"), 0.01),
        replaced(*find("memfs.node.healing.scan.WAITING"), 0),
    ):
        async with Cluster(nodes=4, replication=2, **PATIENT) as cluster:
            fs = await cluster.connect()
            await fs.write_many([(f"/{number}", b"x") for number in range(3000)])
            await cluster.kill(3)
            await eventually(lambda: len(stores(cluster)) == 3)
            healing = primary_of(cluster).healing
            await eventually(lambda: healing.scan.running and healing.status().blocks)
            assert not healing.repairs.findings.blocks, "it has not come to its end yet"
            assert healing.status().endangered[1] == healing.status().blocks
            await eventually(lambda: healing.copies.state == "idle" and not healing.scan.running)
            assert is_whole(cluster, 2)
            assert (healing.repairs.findings.blocks, healing.repairs.findings.bytes) == (0, 0)


@simulated
async def test_nothing_is_told_to_be_done_before_moves_were_looked_for():
    """What lacks copies is looked for first: blocks may still lie elsewhere than they should."""
    slow = {"rebalancing_bandwidth": MIB, "block_size": BLOCK}
    scan = "memfs.node.healing.scan."
    with (
        replaced(*find("memfs.node.healing.copies.BATCH_BLOCKS"), 4),
        replaced(*find(scan + "PAGE"), 16),
        replaced(*find(scan + "STEP_PAGES"), 1),
        replaced(*find(scan + "PAUSE_SECONDS"), 0.05),
        replaced(*find(scan + "WAITING"), 0),
    ):
        async with Cluster(nodes=3, replication=2, **slow, **PATIENT) as cluster:
            fs = await cluster.connect()
            await fs.write_many([(f"/{number}", bytes(BLOCK)) for number in range(200)])
            healing = primary_of(cluster).healing
            await eventually(lambda: healing.state == "idle" and not healing.repairs.unbalanced)
            await cluster.start_node()
            await eventually(lambda: healing.status().moves)
            former = cluster.nodes.index(primary_of(cluster))
            await cluster.kill(former)
            others = [node for node in cluster.nodes if node.healing is not healing]
            await eventually(lambda: any(node.role.leads for node in others))
            node = next(node for node in others if node.role.leads)
            healing = node.healing
            await eventually(lambda: len(node.membership.view.members) == 3)

            def is_told() -> bool:
                status = healing.status()
                done = status.complete and status.state in ("idle", "scanning")
                return done and not status.moves

            await eventually(is_told)
            check = healing.repairs.placement()
            misplaced = [
                block
                for block in placed_blocks(node.role.primary.namespace)
                if not set(block.ref.replicas).issuperset(check.situation(block).placement)
            ]
            assert not misplaced


@simulated
async def test_lost_copies_are_made_anew():
    async with Cluster(nodes=4, replication=2, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs)
        await cluster.kill(3)
        await eventually(lambda: len(stores(cluster)) == 3)
        await eventually(lambda: is_whole(cluster, 2))
        await expect_content(fs, content)
        await cluster.kill(2)
        await eventually(lambda: len(stores(cluster)) == 2)
        await eventually(lambda: is_whole(cluster, 2))
        await expect_content(fs, content)
        healing = primary_of(cluster).healing
        await eventually(lambda: healing.state == "idle" and is_balanced(cluster))
        await eventually(lambda: surplus(cluster) == 0)
        assert primary_of(cluster).healing.removal.removed == 2


@simulated
async def test_holes_are_not_healed():
    size = 1 << 40
    async with Cluster(nodes=4, replication=2, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        async with fs.open("/sparse", "wb") as file:
            for at in (0, size // 2, size - BLOCK):
                await file.pwrite(b"x" * BLOCK, at)
        await cluster.kill(3)
        await eventually(lambda: len(stores(cluster)) == 3)
        await eventually(lambda: is_whole(cluster, 2))
        assert len(list(all_blocks(cluster))) == 3
        await eventually(lambda: sum(store.count for store in stores(cluster).values()) == 6)
        async with fs.open("/sparse", "rb") as file:
            for at in (0, size // 2, size - BLOCK):
                await file.seek(at + BLOCK - 2)
                assert (await file.read(4))[:2] == b"xx"
                assert (await file.read(2)).strip(b"\0") == b""


@simulated
async def test_a_planned_leave_heals_at_once():
    settings = QUICK | {"removal_seconds": 600}
    async with Cluster(nodes=4, replication=3, block_size=BLOCK, **settings) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs, count=10)
        await cluster.stop(3)
        await eventually(lambda: is_whole(cluster, 3))
        await expect_content(fs, content)


@simulated
async def test_a_silent_member_that_answers_pings_stays():
    async with Cluster(nodes=3, replication=2, **QUICK) as cluster:
        primary = primary_of(cluster)
        silent = cluster.nodes[2].member.number
        primary.membership.note_heartbeat = lambda usage: None
        primary.membership.lives.pop(silent, None)
        await asyncio.sleep(1.5)
        assert len(stores(cluster)) == 3
        assert primary.healing.removal.removed == 0


@simulated
async def test_corrupt_copies_are_replaced():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs, count=10)
        assert cluster.corrupt(1) > 1
        for _ in range(10):
            await expect_content(fs, content)
        await eventually(lambda: primary_of(cluster).healing.corrupt.confirmed > 1)
        await eventually(lambda: primary_of(cluster).healing.corrupt.count == 0)
        await expect_content(fs, content)


@simulated
async def test_the_only_copy_is_never_given_up():
    async with Cluster(nodes=2, replication=1, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect(timeout_seconds=2)
        await fs.write_bytes("/file", random_bytes(3 * BLOCK))
        cluster.corrupt(0)
        cluster.corrupt(1)
        for _ in range(3):
            with contextlib.suppress(OSError):
                await fs.read_bytes("/file")
        healing = primary_of(cluster).healing
        await eventually(lambda: healing.corrupt.count > 0)
        await eventually(lambda: healing.status().endangered[0] > 0, seconds=70)
        assert sum(store.count for store in stores(cluster).values()) == 3


@simulated
async def test_copies_follow_the_replication_of_a_file():
    async with Cluster(nodes=4, replication=2, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        data = random_bytes(20 * BLOCK)
        await fs.write_bytes("/file", data)
        for copies in (4, 1, 3):
            await fs.set_replication("/file", copies)
            primary_of(cluster).healing.repairs.look_again()
            await eventually(lambda copies=copies: is_whole(cluster, copies))
            await eventually(lambda: surplus(cluster) == 0)
            assert await fs.read_bytes("/file") == data


@simulated
async def test_a_new_node_gets_its_share_while_files_are_read():
    async with Cluster(nodes=2, replication=1, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect(readahead_bytes=0)
        content = await write_files(fs)
        stop = asyncio.Event()

        async def read_on():
            rounds = 0
            while not stop.is_set():
                await expect_content(fs, content)
                rounds += 1
            return rounds

        readers = [asyncio.create_task(read_on()) for _ in range(2)]
        async with fs.open("/file-0", "rb") as file:
            assert await file.read(10) == content["/file-0"][:10]
            for count in (3, 4):
                await cluster.start_node()
                await eventually(lambda count=count: len(stores(cluster)) == count)
                await eventually(lambda: is_balanced(cluster))
                await eventually(lambda: surplus(cluster) == 0)
            assert await file.read() == content["/file-0"][10:]
        stop.set()
        assert min(await asyncio.gather(*readers)) > 0
        assert is_whole(cluster, 1)
        healing = primary_of(cluster).healing
        await eventually(lambda: healing.state == "idle" and not healing.repairs.unbalanced)
        moved = healing.copies.blocks
        await asyncio.sleep(0.5)
        assert healing.copies.blocks == moved
        assert all(store.count for store in stores(cluster).values())


@simulated
async def test_an_open_writer_survives_the_move_of_what_it_appends_to():
    async with Cluster(nodes=2, replication=1, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        names = [f"/log-{number}" for number in range(30)]
        for name in names:
            await fs.write_bytes(name, b"one")
        files = [await fs.open(name, "ab") for name in names]
        await cluster.start_node()
        await eventually(lambda: len(stores(cluster)) == 3)
        await eventually(lambda: is_balanced(cluster) and surplus(cluster) == 0)
        assert primary_of(cluster).healing.copies.blocks
        for file in files:
            await file.write(b"two")
            await file.close()
        for name in names:
            assert await fs.read_bytes(name) == b"onetwo"


def member_of(cluster, index):
    return cluster.nodes[index].member.number


@pytest.mark.parametrize("copies", [1, 2])
@simulated
async def test_a_decommission_moves_everything_away_first(copies):
    async with Cluster(nodes=4, replication=copies, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs)
        leaving = member_of(cluster, 3)
        assert cluster.nodes[3].store.count
        await fs._session.ask(Decommission(leaving))
        content["/during"] = random_bytes(3 * BLOCK)
        await fs.write_bytes("/during", content["/during"])
        await eventually(lambda: leaving not in stores(cluster))
        await eventually(lambda: is_whole(cluster, copies))
        await cluster.nodes[3].retired.wait()
        await cluster.kill(3)
        await expect_content(fs, content)


@simulated
async def test_a_decommission_waits_for_open_writers():
    async with Cluster(nodes=3, replication=1, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        files = [await fs.open(f"/{number}", "wb") for number in range(20)]
        for file in files:
            await file.write(random_bytes(3 * BLOCK))
        await eventually(lambda: cluster.nodes[2].store.count)
        leaving = member_of(cluster, 2)
        await fs._session.ask(Decommission(leaving))
        await asyncio.sleep(2)
        assert leaving in stores(cluster)
        for file in files:
            await file.close()
        await eventually(lambda: leaving not in stores(cluster))
        await eventually(lambda: is_whole(cluster, 1))


@simulated
async def test_a_decommission_is_refused_without_room_and_can_be_called_off():
    async with Cluster(
        nodes=2, replication=1, memory=4 << 20, block_size=BLOCK, **QUICK
    ) as cluster:
        fs = await cluster.connect()
        with contextlib.suppress(NoSpaceError):
            for number in range(40):
                await fs.write_bytes(f"/{number}", random_bytes(3 * BLOCK))
        leaving = member_of(cluster, 1)
        await asyncio.sleep(0.2)  # a heartbeat says how full it is
        with pytest.raises(NoSpaceError, match="holds"):
            await fs._session.ask(Decommission(leaving))
        await cluster.start_node()
        await eventually(lambda: primary_of(cluster).membership.life(3).usage.limit)
        await fs._session.ask(Decommission(leaving))
        view = (await fs._session.ask(Decommission(leaving, cancel=True))).view
        assert not any(member.leaving for member in view.members)


@simulated
async def test_weights_share_blocks_out():
    async with Cluster(nodes=3, replication=1, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs)
        await fs._session.ask(SetWeight(member_of(cluster, 2), 0))
        await eventually(lambda: cluster.nodes[2].store.count == 0)
        await expect_content(fs, content)
        await fs._session.ask(SetWeight(member_of(cluster, 2), 300))
        await eventually(lambda: is_balanced(cluster) and surplus(cluster) == 0)
        assert cluster.nodes[2].store.count > sum(n.store.count for n in cluster.nodes[:2])
        with pytest.raises(InvalidArgumentError):
            await fs._session.ask(SetWeight(99, 100))


@simulated
async def test_only_the_superuser_shares_out():
    async with Cluster(nodes=2, **QUICK) as cluster:
        fs = await cluster.connect(user="somebody", groups=())
        for request in (SetWeight(2, 1), Decommission(2), Rebalance()):
            with pytest.raises(PermissionError):
                await fs._session.ask(request)


@simulated
async def test_commits_to_nodes_that_left_are_refused():
    async with Cluster(nodes=3, replication=1, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect(timeout_seconds=2)
        reserved = await fs._session.ask(ReserveInodes(2))
        gone = member_of(cluster, 2)
        await cluster.stop(2)
        await eventually(lambda: len(stores(cluster)) == 2)
        inode = reserved.inodes[0]
        ref = BlockRef(inode, 0, 0, 1, 3, 0, (gone,))
        with pytest.raises(UploadLostError):
            await fs._session.ask(PutFiles((NewFile(b"/x", inode, 3, (ref,)),)))
        assert not await fs.exists("/x")


@simulated
async def test_what_a_lost_primary_alone_held_is_not_published_by_the_next():
    quick = QUICK | {"removal_seconds": 60.0}  # it stays a member for the whole test
    async with Cluster(nodes=3, replication=1, block_size=BLOCK, **quick) as cluster:
        fs = await cluster.connect(timeout_seconds=20)
        session = fs._session
        (inode, *_) = (await session.ask(ReserveInodes(2))).inodes
        ref = BlockRef(inode, 0, 1, 1, 3, crc32c(b"new"), (member_of(cluster, 0),))
        stored = WriteBlocks((SmallBlock(*ref[:6]),), ref.replicas)
        await session.ask_member(ref.replicas[0], stored, [b"new"], deadline=session.deadline())
        await cluster.kill(0)
        with pytest.raises(UploadLostError):
            await session.ask(PutFiles((NewFile(b"/x", inode, 3, (ref,)),)))
        assert not await fs.exists("/x")
        for number in range(8):  # some of them would lie on the lost node
            await fs.write_bytes(f"/{number}", b"new")
            assert await fs.read_bytes(f"/{number}") == b"new"


@simulated
async def test_what_is_committed_with_a_copy_too_few_is_healed_at_once():
    async with Cluster(nodes=4, replication=2, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        files = [await fs.open(f"/{number}", "wb") for number in range(20)]
        for file in files:
            await file.write(random_bytes(2 * BLOCK))
        await eventually(lambda: cluster.nodes[3].store.count)
        await cluster.kill(3)
        await eventually(lambda: len(stores(cluster)) == 3)
        await asyncio.sleep(0.5)  # the scan that the removal made due is over
        for file in files:
            await file.close()
        await eventually(lambda: is_whole(cluster, 2))


@simulated
async def test_the_scrubber_finds_what_nobody_reads():
    settings = QUICK | {"scrub_seconds": 1}
    async with Cluster(nodes=3, replication=2, block_size=BLOCK, **settings) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs)
        assert cluster.corrupt(1)
        store = cluster.nodes[1].store
        held = [block.version for block in store.list(None, 1000)]
        await eventually(lambda: not any(map(store.verify, held)))
        await expect_content(fs, content)
        assert cluster.nodes[1].healing.scrubber.scrubbed


@simulated
async def test_the_superuser_may_ask_nodes_without_a_namespace():
    async with Cluster(nodes=5, **QUICK) as cluster:
        fs = await cluster.connect()
        for node in cluster.nodes:
            answer = await fs._session.ask_member(
                node.member.number, ListBlocks(), deadline=fs._session.deadline()
            )
            assert answer.record.blocks == ()


@simulated
async def test_a_copy_that_vanished_is_noticed_and_made_anew():
    async with Cluster(nodes=3, replication=2, block_size=BLOCK, **QUICK) as cluster:
        fs = await cluster.connect()
        content = await write_files(fs, count=20)
        cluster.nodes[1].store.clear()
        assert not is_whole(cluster, 2)
        await eventually(lambda: is_whole(cluster, 2))
        await expect_content(fs, content)
