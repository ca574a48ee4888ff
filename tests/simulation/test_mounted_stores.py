"""Mounts under virtual time: a store that refuses, is slow and loses replies, and nodes that die.

What was acknowledged is in the store in the end, once, with its last content; what is read is
always one version; what was deleted stays so.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections.abc import AsyncIterator

import pytest
from mounted_scene import BLOCK, PATIENCE_SECONDS, Scene, insist

from memfs.client.admin import AdminClient
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.reading.block_map import BlockMap
from memfs.errors import (
    DeadlineError,
    InvalidArgumentError,
    MemfsError,
    NotPermittedError,
    StoreUnreachableError,
)
from memfs.node.stores import metadata
from memfs.protocol import messages as m
from memfs.stores.interface import Expected, ObjectInfo
from memfs.testing.simulation.external_store import (
    FaultyStore,
    StoreConditions,
    StoredObject,
)
from memfs.testing.simulation.virtual import run
from memfs.types import Buffer, ObjectState, Residence

SEEDS = (*range(6), 7, 11)  # in the last two more than four contents are sent without an answer
FAULTY = StoreConditions(refused_chance=0.15, lost_reply_chance=0.15)


def content(dice: random.Random, size: int) -> bytes:
    return dice.randbytes(8) * (size // 8 + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_written_is_in_the_store_in_the_end(seed: int) -> None:
    async def main() -> None:
        scene = Scene(seed, FAULTY)
        fs = await scene.start(sync_interval=-1)
        wanted: dict[str, bytes] = {}
        for _ in range(40):
            name = f"f{scene.dice.randrange(8)}"
            if scene.dice.random() < 0.25 and name in wanted:
                await insist(functools.partial(fs.remove, f"/x/{name}"))
                del wanted[name]
            else:
                wanted[name] = data = content(scene.dice, scene.dice.randrange(9000))
                await insist(functools.partial(fs.write_bytes, f"/x/{name}", data))
            if scene.dice.random() < 0.3:
                await asyncio.sleep(scene.dice.random())
        await scene.settled(fs)
        assert scene.bucket.contents() == wanted

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_when_nodes_die_on_the_way(seed: int) -> None:
    async def main() -> None:
        scene = Scene(seed, FAULTY)
        fs = await scene.start(sync_interval=-1)
        wanted: dict[str, bytes] = {}

        async def write() -> None:
            for _ in range(30):
                name = f"f{scene.dice.randrange(6)}"
                data = content(scene.dice, scene.dice.randrange(9000))
                await insist(functools.partial(fs.write_bytes, f"/x/{name}", data))
                wanted[name] = data
                await asyncio.sleep(scene.dice.random() * 2)

        async def kill() -> None:
            for _ in range(4):
                await asyncio.sleep(5 + 5 * scene.dice.random())
                name = scene.dice.choice(sorted(scene.cluster.nodes))
                scene.cluster.crash(name)
                await asyncio.sleep(8)
                scene.cluster.restart(name)

        await asyncio.gather(write(), kill())
        await scene.settled(fs)
        assert scene.bucket.contents() == wanted
        for name, data in wanted.items():
            versions = [each for each in scene.bucket.versions(name) if each is not None]
            assert versions[-1] == data

    run(main())


def test_a_store_that_is_down_delays_nothing_but_its_own_mount() -> None:
    async def main() -> None:
        scene = Scene(1)
        scene.bucket.replace("old", b"content")
        fs = await scene.start()
        assert await fs.read_bytes("/x/old") == b"content"
        scene.bucket.down = True
        await fs.write_bytes("/elsewhere", b"quick")
        await fs.write_bytes("/x/old", b"rewritten")  # known, and acknowledged by the nodes
        with pytest.raises(StoreUnreachableError, match="/x"):
            await fs.stat("/x/never seen")
        await asyncio.sleep(60)
        (mount,) = await fs.mounts()
        assert mount.dirty_files == 1 and mount.trouble
        scene.bucket.down = False
        await scene.settled(fs)
        assert scene.bucket.contents() == {"old": b"rewritten"}

    run(main())


@pytest.mark.parametrize("fault", ["down", "denied"])
def test_names_known_not_to_be_there_are_written_while_the_store_says_nothing(fault: str) -> None:
    """Also when the request itself is the first to find out, later than they are believed."""

    async def main() -> None:
        scene = Scene(1)
        fs = await scene.start(sync_interval=600)
        assert await fs.listdir("/x") == []
        await asyncio.sleep(30)
        setattr(scene.bucket, fault, True)
        await fs.write_bytes("/x/new", b"new")
        setattr(scene.bucket, fault, False)
        await scene.settled(fs)
        assert scene.bucket.contents() == {"new": b"new"}

    run(main())


def test_only_who_may_mount_has_a_node_ask_an_address() -> None:
    async def main() -> None:
        scene = Scene(1)
        await scene.start()
        before = scene.bucket.requests.total()
        ann = await scene.cluster.connect(user="ann", groups=())
        for options in ({}, {"credentials": "/etc/shadow"}):
            with pytest.raises(NotPermittedError):
                await ann.mount("/y", "fake://bucket", options=options)
        with pytest.raises(NotPermittedError):
            await ann.mount("/x", "", update=True)
        assert scene.bucket.requests.total() == before

    run(main())


def test_what_is_mounted_is_waited_for_no_longer_than_a_call_has() -> None:
    async def main() -> None:
        scene = Scene(1)
        fs = await scene.start()
        scene.bucket.conditions = StoreConditions(delay_min=100, delay_max=100)
        with pytest.raises(StoreUnreachableError, match="does not answer within 8 s"):
            await fs.mount("/y", "fake://bucket", timeout=20)

    run(main())


def test_a_tree_may_take_longer_to_be_listed_than_a_call_has() -> None:
    async def main() -> None:
        scene = Scene(1)
        deep = [f"{'d/' * depth}f{depth}" for depth in range(12)]
        for key in deep:
            scene.bucket.replace(key, b"12345")
        fs = await scene.start(sync_interval=-1)
        calm = scene.bucket.conditions
        scene.bucket.conditions = StoreConditions(delay_min=3, delay_max=3)
        with pytest.raises(DeadlineError):
            await fs.load("/x", metadata_only=True, timeout=30)
        loaded = await fs.load("/x", metadata_only=True)
        assert loaded[:2] == (len(deep), 5 * len(deep))
        assert {each.in_memory for each in await residences(fs, deep)} == {0}
        for key in deep:
            scene.bucket.replace(key, b"1234567")
        with pytest.raises(DeadlineError):
            await fs.sync_metadata("/x", timeout=30)
        assert await fs.sync_metadata("/x") > 0
        scene.bucket.conditions = calm
        asked = scene.bucket.requests.total()
        assert {(await fs.stat(f"/x/{key}")).st_size for key in deep} == {7}
        assert scene.bucket.requests.total() == asked

    async def residences(fs: AsyncFileSystem, keys: list[str]) -> list[Residence]:
        found = await fs.residence([await fs.stat(f"/x/{key}") for key in keys])
        return [each for each in found if each is not None]

    run(main())


def test_who_asks_how_the_cluster_is_hears_of_a_store_that_is_down() -> None:
    """Within seconds, though nobody uses it; while nobody asks, nothing asks the store."""

    async def main() -> None:
        scene = Scene(1)
        scene.bucket.replace("old", b"content")
        fs = await scene.start(sync_interval=-1)
        admin, now = AdminClient(fs._session), asyncio.get_running_loop().time
        assert await fs.read_bytes("/x/old") == b"content"
        await asyncio.sleep(60)
        (mount,) = await admin.mounts()
        assert not mount.trouble
        asked = scene.bucket.requests.copy()
        scene.bucket.down = True
        await asyncio.sleep(60)
        assert scene.bucket.requests == asked
        begin = now()
        (mount,) = await admin.mounts()
        assert mount.trouble and now() - begin < 5
        assert await fs.read_bytes("/x/old") == b"content"
        scene.bucket.down = False
        begin = now()
        while mount.trouble:
            (mount,) = await admin.mounts()
            await asyncio.sleep(0.5)
        assert now() - begin < 40, "the question that was under way ends, and another one is asked"

    run(main())


def test_one_request_however_many_ask() -> None:
    async def main() -> None:
        scene = Scene(2)
        scene.bucket.replace("object", b"x" * 100_000)
        fs = await scene.start()
        before = scene.bucket.requests.copy()
        clients = [await scene.cluster.connect() for _ in range(20)]
        found = await asyncio.gather(*[each.read_bytes("/x/object") for each in clients])
        assert set(found) == {b"x" * 100_000}
        asked = scene.bucket.requests - before
        assert (asked["stat"], asked["read"]) == (1, 2)  # two blocks
        for _ in range(3):
            assert await fs.read_bytes("/x/object") == b"x" * 100_000
        assert scene.bucket.requests - before == asked

    run(main())


def test_many_names_of_one_request_are_asked_for_at_the_same_time() -> None:
    async def main() -> None:
        scene = Scene(2, StoreConditions(delay_min=1.0, delay_max=1.0))
        contents = {f"{n % 4}/{n}": b"%d" % n * 100 for n in range(96)}
        for key, data in contents.items():
            scene.bucket.replace(key, data)
        fs = await scene.start()
        now = asyncio.get_running_loop().time
        begin = now()
        assert await fs.read_many([f"/x/{key}" for key in contents]) == list(contents.values())
        assert now() - begin < 30, "one after another takes 96 times 2 s"
        assert scene.bucket.requests["stat"] == 4 + len(contents)

    run(main())


def test_a_block_that_is_not_kept_is_asked_for_once() -> None:
    """Of a passing-through mount, and of one whose quota has no room: its parts come one by one."""

    async def main() -> None:
        for how in ({"mode": "proxy"}, {"quota": 1}):
            scene = Scene(3, block_size=4 << 20)
            data = random.Random(3).randbytes((4 << 20) + (3 << 20) + 5)
            scene.bucket.replace("object", data)
            fs = await scene.start(**how)
            before = scene.bucket.requests.copy()
            assert await fs.read_bytes("/x/object") == data
            assert (scene.bucket.requests - before)["read"] == 2
            session = fs._session
            deadline = session.deadline(60.0)
            file = await BlockMap.fetch(session, "/x/object", b"/x/object", deadline)
            ref = await file.ref(0, deadline)
            for at in range(0, 4 << 20, 1 << 20):
                part = m.ReadBlock(*ref.version, at, 1 << 20, whole=True)
                answer = await session.ask_member(ref.replicas[0], part, deadline=deadline)
                assert answer.payload == data[at : at + (1 << 20)]
                await asyncio.sleep(0.2)  # the block has arrived long before the last part is asked
            assert (scene.bucket.requests - before)["read"] == 3

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_readers_never_see_two_versions_in_one(seed: int) -> None:
    async def main() -> None:
        scene = Scene(seed)
        size = 5 * BLOCK + 7
        scene.bucket.replace("object", b"0" * size)
        fs = await scene.start(sync_interval=0)
        reads = 0

        async def replace() -> None:
            for number in range(1, 8):
                await asyncio.sleep(scene.dice.random())
                scene.bucket.replace("object", b"%d" % number * size)

        async def read() -> None:
            nonlocal reads
            for _ in range(10):
                with contextlib.suppress(MemfsError):
                    data = await fs.read_bytes("/x/object")
                    assert len(data) == size and len(set(data)) == 1
                    reads += 1
                await asyncio.sleep(scene.dice.random() / 2)

        await asyncio.gather(replace(), read(), read())
        assert reads
        assert await fs.read_bytes("/x/object") == b"7" * size

    run(main())


def test_an_object_that_others_changed_is_kept_beside_ours() -> None:
    async def main() -> None:
        scene = Scene(3)
        scene.bucket.replace("object", b"first")
        fs = await scene.start(sync_interval=-1)
        await fs.stat("/x/object")
        scene.bucket.replace("object", b"theirs")
        await fs.write_bytes("/x/object", b"ours")
        await scene.settled(fs)
        held = scene.bucket.contents()
        assert held.pop("object") == b"theirs"
        assert list(held.values()) == [b"ours"]

    run(main())


def test_synchronous_mounts_answer_when_the_store_has_it() -> None:
    async def main() -> None:
        scene = Scene(4, StoreConditions(delay_min=0.5, delay_max=1.0))
        fs = await scene.start(mode="dual-sync")
        await fs.write_bytes("/x/file", b"content")
        assert scene.bucket.contents() == {"file": b"content"}
        async with await fs.open("/x/large", "wb") as file:
            await file.write(b"y" * 500_000)
        assert scene.bucket.contents()["large"] == b"y" * 500_000
        await fs.remove("/x/file")
        assert "file" not in scene.bucket.contents()

    run(main())


def test_a_persist_takes_as_long_as_the_store_does() -> None:
    async def main() -> None:
        scene = Scene(35)
        fs = await scene.start(sync_interval=-1)
        await fs.listdir("/x")
        scene.bucket.conditions = StoreConditions(delay_min=35, delay_max=36)
        await fs.write_bytes("/x/file", b"content")
        with pytest.raises(DeadlineError):
            await fs.persist("/x", timeout=10)
        assert await fs.persist("/x") == 1
        assert scene.bucket.contents() == {"file": b"content"}

    run(main())


class Refusing(FaultyStore):
    """Takes nothing, for as long as there is a reason."""

    reason: MemfsError | None

    async def put(
        self, key: str, chunks: AsyncIterator[Buffer], size: int, expected: Expected = None
    ) -> ObjectInfo:
        if self.reason is not None:
            raise self.reason
        return await super().put(key, chunks, size, expected)


@pytest.mark.parametrize(
    "reason", [StoreUnreachableError("it fails (500)"), InvalidArgumentError("it refuses it (400)")]
)
def test_why_a_change_is_not_stored_is_told_and_it_is_tried_for_ever(reason: MemfsError) -> None:
    async def main() -> None:
        scene = Scene(36)
        scene.bucket.connect = lambda: Refusing(scene.bucket, True)  # type: ignore[method-assign]
        Refusing.reason = reason
        fs = await scene.start(sync_interval=-1)
        await fs.write_bytes("/x/file", b"content")
        for _ in range(2):
            with pytest.raises(type(reason)) as raised:
                await fs.persist("/x")
            assert reason.message in str(raised.value)
            assert "1 change is not stored yet, kept, and tried again in the" in str(raised.value)
        await asyncio.sleep(600)
        for mounts in (await fs.mounts(), await AdminClient(fs._session).mounts()):
            (mount,) = mounts
            assert mount.dirty_files == 1 and reason.message in mount.trouble
        Refusing.reason = None
        await scene.settled(fs)
        (mount,) = await fs.mounts()
        assert not mount.trouble
        assert scene.bucket.contents() == {"file": b"content"}

    run(main())


@pytest.mark.parametrize("mode", ["dual-sync", "proxy"])
def test_a_refused_write_of_a_synchronous_mount_says_that_it_is_kept(mode: str) -> None:
    async def main() -> None:
        scene = Scene(36)
        scene.bucket.connect = lambda: Refusing(scene.bucket, True)  # type: ignore[method-assign]
        Refusing.reason = InvalidArgumentError("too large")
        fs = await scene.start(mode=mode, sync_interval=-1)
        with pytest.raises(
            InvalidArgumentError, match="too large; 1 change is not stored yet, kept"
        ):
            await fs.write_bytes("/x/file", b"content")
        Refusing.reason = None
        await scene.settled(fs)
        assert scene.bucket.contents() == {"file": b"content"}

    run(main())


MIB = 1 << 20


def small_node(seed: int) -> Scene:
    """One node of 48 MiB, and 60 objects of a MiB each in its store."""
    scene = Scene(seed, memory=48 * MIB, replication=1, block_size=MIB)
    for number in range(60):
        scene.bucket.replace(f"o{number}", b"%02d" % number * (MIB // 2))
    return scene


class Halting(FaultyStore):
    """Sends nothing but small ranges until it is let go."""

    held: asyncio.Event

    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        if size > MIB // 4:
            await self.held.wait()
        return await super().read(key, offset, size, tag)


@pytest.mark.parametrize("removed", [False, True])
def test_a_small_part_of_a_large_block_does_not_wait_for_all_of_it(removed: bool) -> None:
    async def main() -> None:
        scene = small_node(9)
        Halting.held = asyncio.Event()
        scene.bucket.connect = lambda: Halting(scene.bucket, True)  # type: ignore[method-assign]
        fs = await scene.start(1, sync_interval=-1)
        content = scene.bucket.contents()["o1"]
        async with await fs.open("/x/o1", "rb") as file:
            at = 600_000
            assert await file.pread(1000, at) == content[at : at + 1000]
            assert await file.pread(10, at + 2000) == content[at + 2000 : at + 2010]
            assert scene.bucket.requests["read"] == 1
            rest = asyncio.ensure_future(file.pread(100, 0))
            await asyncio.sleep(1)
            assert not rest.done()
            if removed:
                scene.bucket.remove("o1")
            Halting.held.set()
            if removed:
                with pytest.raises(MemfsError):
                    await rest
                return
            assert await rest == content[:100]
        assert await fs.read_bytes("/x/o1") == content
        assert scene.bucket.requests["read"] == 3, "each byte was asked for once"

    run(main())


@pytest.mark.parametrize("policy", ["aged", "keep", "lru"])
def test_a_full_cache_gives_way_to_writers(policy: str) -> None:
    async def main() -> None:
        scene = small_node(5)
        fs = await scene.start(1, policy=policy, sync_interval=-1)
        node = scene.cluster.nodes["n1"]
        for number in range(60):
            assert await fs.read_bytes(f"/x/o{number}") == b"%02d" % number * (MIB // 2)
        cached = node.parts.objects.cached_bytes()
        assert 0 < cached < 0.86 * node.store.limit
        await fs.write_bytes("/own", b"w" * (20 * MIB))
        assert await fs.read_bytes("/own") == b"w" * (20 * MIB)
        assert node.parts.objects.cached_bytes() < cached
        assert await fs.read_bytes("/x/o7") == b"07" * (MIB // 2)
        node.store.check_invariants()

    run(main())


@pytest.mark.parametrize("policy", ["aged", "keep", "lru"])
def test_the_cache_of_a_mount_stays_within_its_quota(policy: str) -> None:
    """That is of all nodes together: each has its part."""

    async def main() -> None:
        scene = small_node(8)
        how = {"policy": policy, "sync_interval": -1}
        fs = await scene.start(2, **how, quota=8 * MIB)
        cached = [node.parts.objects.cached_bytes for node in scene.cluster.nodes.values()]

        async def read_all() -> None:
            for number in range(60):
                assert await fs.read_bytes(f"/x/o{number}") == b"%02d" % number * (MIB // 2)

        await read_all()
        assert [each() for each in cached] == [4 * MIB, 4 * MIB]
        await insist(lambda: fs.mount("/x", "", **how, quota=2 * MIB, update=True))
        await read_all()
        await asyncio.sleep(10)
        assert [each() for each in cached] == [MIB, MIB]
        await insist(lambda: fs.mount("/x", "", **how, update=True))
        await read_all()
        assert all(each() > 4 * MIB for each in cached)
        (mount,) = await fs.mounts()
        assert mount.quota == 0

    run(main())


def test_pinned_blocks_stay_and_freed_ones_go() -> None:
    async def main() -> None:
        scene = small_node(6)
        fs = await scene.start(1, policy="lru", sync_interval=-1)
        await fs.read_bytes("/x/o1")
        await fs.pin("/x/o1")
        for number in range(60):
            await fs.read_bytes(f"/x/o{number}")
        before = scene.bucket.requests["read"]
        await fs.read_bytes("/x/o1")
        assert scene.bucket.requests["read"] == before
        await fs.read_bytes("/x/o2")
        assert scene.bucket.requests["read"] == before + 1
        assert (await fs.free("/x/o1")).files == 1
        await fs.read_bytes("/x/o1")
        assert scene.bucket.requests["read"] == before + 2

    run(main())


def test_what_is_pinned_and_comes_later_is_kept_beyond_the_quota() -> None:
    async def main() -> None:
        scene = small_node(6)
        fs = await scene.start(1, policy="keep", quota=2 * MIB, sync_interval=-1)
        for number in range(6):
            await fs.read_bytes(f"/x/o{number}")
        pinned = ["/x/o7", "/x/o8", "/x/o9"]
        for path in pinned:
            await fs.pin(path)
            await fs.load(path)
        before = scene.bucket.requests["read"]
        for path in pinned:
            await fs.read_bytes(path)
        assert scene.bucket.requests["read"] == before
        await fs.read_bytes("/x/o5")
        assert scene.bucket.requests["read"] == before + 1, "the quota holds for the others"

    run(main())


@pytest.mark.parametrize("copies", [1, 2])
def test_what_is_in_memory_is_told(copies: int) -> None:
    async def main() -> None:
        scene = Scene(32)
        scene.bucket.replace("a", content(scene.dice, 8 * BLOCK)[: 8 * BLOCK - 5])
        scene.bucket.replace("b", b"never read")
        scene.bucket.replace("d/e", b"")
        fs = await scene.start(sync_interval=-1, copies=copies)
        await fs.write_bytes("/outside", b"x")

        async def told() -> list[tuple[str, int]]:
            stats = [await fs.stat(path) for path in ("/x/a", "/x/b", "/x/d", "/x/d/e")]
            found = await fs.residence(stats)
            assert None not in found
            return [(each.name, each.percent) for each in found if each is not None]

        empty = ("PERSISTED", 100)
        assert await told() == [("NOT_LOADED", 0), ("NOT_LOADED", 0), empty, empty]
        assert await fs.residence([await fs.stat("/outside"), await fs.stat("/x")]) == [None, None]
        if copies == 1:
            async with await fs.open("/x/a", "rb") as file:
                await file.read(4 * BLOCK)
            part = await fs.getxattr("/x/a", "user.memfs.in_memory")
            assert 49 <= int(part[:-1]) < 100
        await fs.load("/x/a")
        assert (await told())[:2] == [("PERSISTED", 100), ("NOT_LOADED", 0)]
        wanted = {"user.memfs.in_memory": b"100%", "user.memfs.state": b"PERSISTED"}
        assert await fs.getxattrs("/x/a", *wanted) == wanted
        await fs.free("/x/a")
        assert (await told())[0] == ("NOT_LOADED", 0)
        assert await fs.getxattr("/x/a", "user.memfs.state") == b"NOT_LOADED"
        scene.bucket.down = True
        await fs.write_bytes("/x/b", b"ours now")
        (ours,) = await fs.residence([await fs.stat("/x/b")])
        assert ours is not None and ours.percent == 100
        assert ours.name in ("DIRTY", "PERSISTING")

    run(main())


def test_what_is_in_memory_is_told_to_those_who_can_reach_the_file() -> None:
    async def main() -> None:
        scene = Scene(33)
        scene.bucket.replace("d/e", b"content")
        fs = await scene.start(sync_interval=-1)
        await fs.load("/x")
        file = await fs.stat("/x/d/e")
        other = await scene.cluster.connect(user="ann", groups=())
        assert await other.residence([file]) == [Residence(ObjectState.CLEAN, 7, 7)]
        await fs.chmod("/x/d", 0o700)
        assert await other.residence([file]) == [Residence(0, 0, 0)]
        assert await fs.residence([file]) == [Residence(ObjectState.CLEAN, 7, 7)]

    run(main())


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5, 3.5, 4.5, 6.5])
def test_a_file_that_gets_another_name_on_its_way_to_the_store(seconds: float) -> None:
    """As checkpoints are written: under a hidden name first, then over the one before."""

    async def main() -> None:
        scene = Scene(34, StoreConditions(delay_min=1.0, delay_max=1.1))
        fs = await scene.start(sync_interval=-1)
        for number in range(3):
            content = b"checkpoint %d" % number
            await fs.write_bytes(f"/x/.part-{number}", content)
            await asyncio.sleep(seconds)
            await fs.replace(f"/x/.part-{number}", "/x/checkpoint")
            assert await fs.read_bytes("/x/checkpoint") == content
        await scene.settled(fs)
        assert await fs.listdir("/x") == ["checkpoint"]
        assert await fs.read_bytes("/x/checkpoint") == content
        assert scene.bucket.contents() == {"checkpoint": content}

    run(main())


def test_blocks_that_nobody_reads_go_after_their_time() -> None:
    async def main() -> None:
        scene = small_node(7)
        fs = await scene.start(1, ttl=30.0, sync_interval=-1)
        await fs.read_bytes("/x/o1")
        objects = scene.cluster.nodes["n1"].parts.objects
        await asyncio.sleep(20)
        await fs.read_bytes("/x/o1")
        await asyncio.sleep(20)
        assert objects.cached_bytes() == MIB
        await asyncio.sleep(20)
        assert objects.cached_bytes() == 0

    run(main())


def test_blocks_of_what_is_mounted_no_more_are_not_counted() -> None:
    async def main() -> None:
        scene = Scene(6)
        for number in range(8):
            scene.bucket.replace(f"f{number}", bytes(BLOCK))
        fs = await scene.start(sync_interval=-1)

        def cached() -> int:
            return sum(node.parts.objects.cached_bytes() for node in scene.cluster.nodes.values())

        await fs.load("/x")
        assert cached() == 8 * BLOCK
        await fs.unmount("/x")
        for _ in range(PATIENCE_SECONDS):
            if not cached():
                return
            await asyncio.sleep(1)
        raise AssertionError(f"{cached()} bytes are counted for ever")

    run(main())


def test_stored_files_are_evicted_when_memory_gets_scarce() -> None:
    async def main() -> None:
        scene = Scene(8, memory=48 * MIB, replication=1, block_size=MIB)
        fs = await scene.start(1)
        for number in range(80):
            for _ in range(200):
                try:
                    await fs.write_bytes(f"/x/f{number}", b"%02d" % number * (MIB // 2))
                    break
                except OSError:  # full, until the store has what was written before
                    await asyncio.sleep(0.5)
        await scene.settled(fs)
        assert len(scene.bucket.objects) == 80
        for number in (0, 40, 79):
            assert await fs.read_bytes(f"/x/f{number}") == b"%02d" % number * (MIB // 2)

    run(main())


@pytest.mark.parametrize(("interval", "told"), [(0.0, True), (2.0, True), (-1.0, False)])
def test_clients_that_cache_names_ask_anew_after_the_interval(interval: float, told: bool) -> None:
    async def main() -> None:
        scene = Scene(9)
        scene.bucket.replace("object", b"content")
        fs = await scene.start(sync_interval=interval)
        await fs.write_bytes("/own", b"content")
        session = fs._session
        first = await session.ask(m.Watch(0, 0))
        inode = (await fs.stat("/x/object")).st_ino
        own = (await fs.stat("/own")).st_ino
        changed: set[int] = set()
        sequence = first.sequence
        for _ in range(20):
            reply = await session.ask(m.Watch(sequence, 200))
            assert not reply.fresh
            sequence, changed = reply.sequence, changed | set(reply.changed)
        assert (inode in changed) is told and own not in changed

    run(main())


@pytest.mark.parametrize("pattern", ["{:05}", "part-{:05}.tar", "{:05}/x"])
def test_the_first_page_of_a_huge_directory_comes_with_the_stores_first(pattern: str) -> None:
    async def main() -> None:
        scene = Scene(40)
        count = 2500
        for number in range(count):
            scene.bucket.objects["big/" + pattern.format(number)] = StoredObject(b"", b"v", 1)
        names = [pattern.format(number).partition("/")[0] for number in range(count)]
        fs = await scene.start()
        before = scene.bucket.requests.copy()
        pages = fs.scandir_pages("/x/big")
        first = [entry.name for entry in await anext(pages)]
        assert len(first) >= 500 and first == names[: len(first)]
        asked = scene.bucket.requests - before
        assert asked["list"] == 1 and asked["stat"] <= 2  # one is about /x/big itself
        for name in first[:90:30]:
            await fs.stat(f"/x/big/{name}")  # as known as after a whole listing
        await asyncio.gather(*[fs.list_page("/x/big") for _ in range(20)])
        assert scene.bucket.requests - before == asked
        scene.bucket.objects["big/zzz"] = StoredObject(b"", b"v", 1)
        rest = [entry.name async for page in pages for entry in page]
        assert first + rest == [*names, "zzz"]
        asked = scene.bucket.requests - before
        assert asked["list"] == -(-count // metadata.PAGE_OBJECTS) and asked["stat"] <= 2
        assert await fs.listdir("/x/big") == [*names, "zzz"]
        assert scene.bucket.requests - before == asked

    run(main())


def test_a_listing_that_tells_nothing_new_is_no_command() -> None:
    async def main() -> None:
        scene = Scene(41)
        for number in range(1500):
            scene.bucket.objects[f"d/{number:03}"] = StoredObject(b"", b"v", 1)
        scene.bucket.objects["d/e/f"] = StoredObject(b"", b"v", 1)
        fs = await scene.start(sync_interval=-1)
        await fs.listdir("/x/d/e")
        names = await fs.listdir("/x/d")
        assert len(names) == 1501
        primary = next(node for node in scene.cluster.nodes.values() if node.role.leads)
        applied = primary.role.primary.namespace.applied
        await fs.sync_metadata("/x/d")
        assert await fs.listdir("/x/d") == names
        assert primary.role.primary.namespace.applied == applied
        scene.bucket.replace("d/007", b"another")
        scene.bucket.remove("d/008")
        await fs.sync_metadata("/x/d")
        assert await fs.listdir("/x/d") == [name for name in names if name != "008"]
        assert await fs.read_bytes("/x/d/007") == b"another"

    run(main())


@pytest.mark.parametrize("interval", [0.0, 2.0, -1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_listings_are_complete_and_ordered_whatever_happens_meanwhile(
    seed: int, interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there all the time is listed, and what never was is not."""
    monkeypatch.setattr(metadata, "PAGE_OBJECTS", 40)

    async def main() -> None:
        scene = Scene(seed, StoreConditions(refused_chance=0.05))
        dice = scene.dice
        for number in range(300):
            scene.bucket.objects[f"d/{dice.choice(['a', 'b-', 'c.'])}{number:04}"] = StoredObject(
                b"", b"v", 1
            )
        for number in range(0, 300, 20):
            scene.bucket.objects[f"d/b-{number:04}-{number}"] = StoredObject(b"", b"v", 1)
            scene.bucket.objects[f"d/b-{number:04}/below"] = StoredObject(b"", b"v", 1)
        always = {key.split("/")[1] for key in scene.bucket.objects}
        fs = await scene.start(sync_interval=interval)
        written: set[str] = set()
        ended = False

        async def change() -> None:
            for number in range(20):
                name = f"{dice.choice(['a', 'b-', 'c.'])}new-{number}"
                await insist(functools.partial(fs.write_bytes, f"/x/d/{name}", b"here"))
                written.add(name)
                scene.bucket.replace(f"d/{name}-there", b"there")
                await asyncio.sleep(dice.random() / 5)

        async def read() -> None:
            while not ended:
                await asyncio.sleep(0.2)
                before = set(written)
                try:
                    found = await fs.listdir("/x/d")
                except StoreUnreachableError:
                    continue
                assert found == sorted(set(found), key=str.encode)
                assert before | always <= set(found)
                assert all("new" in name for name in set(found) - always)

        readers = [asyncio.ensure_future(read()) for _ in range(3)]
        await change()
        ended = True
        await asyncio.gather(*readers)

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_directory_that_the_store_lacks_yet_is_listed_and_removed(seed: int) -> None:
    """It was made here a moment ago, where directories are real."""

    async def main() -> None:
        scene = Scene(seed, StoreConditions(delay_min=0.2, delay_max=0.9, real_directories=True))
        fs = await scene.start(sync_interval=0)
        await fs.makedirs("/x/above/made")
        assert await fs.listdir("/x/above/made") == []
        await fs.write_bytes("/x/above/made/file", b"1")
        assert await fs.listdir("/x/above/made") == ["file"]
        await fs.remove("/x/above/made/file")
        await fs.rmdir("/x/above/made")
        await fs.mkdir("/x/above/made")
        assert await fs.listdir("/x/above/made") == []
        await fs.rmdir("/x/above/made")
        assert await fs.listdir("/x/above") == []
        await scene.settled(fs)
        assert scene.bucket.markers == {"above"}

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_directory_that_others_removed_from_the_store_is_gone(seed: int) -> None:
    """But for what is not stored yet."""

    async def main() -> None:
        scene = Scene(seed, StoreConditions(real_directories=True))
        for key in ("old/deep/file", "kept/file"):
            scene.bucket.replace(key, b"1")
        fs = await scene.start(sync_interval=0)
        assert await fs.listdir("/x/old/deep") == ["file"]
        assert await fs.listdir("/x/kept") == ["file"]
        for key in ("old/deep/file", "kept/file"):
            scene.bucket.remove(key)
        scene.bucket.markers.clear()
        with pytest.raises(FileNotFoundError, match="/x/old/deep"):
            await fs.listdir("/x/old/deep")
        async with await fs.open("/x/kept/new", "wb") as file:
            await file.write(b"2")
            assert await fs.listdir("/x/kept") == ["new"]
        await scene.settled(fs)
        assert scene.bucket.contents() == {"kept/new": b"2"}
        assert await fs.listdir("/x") == ["kept"]

    run(main())
