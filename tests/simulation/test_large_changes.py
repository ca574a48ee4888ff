"""Large objects that only their store has, changed in the middle, while anybody dies at any time.

Who changes such a file copies it into a draft first, which becomes its content in one step
(``AdoptDraft``). Each change here replaces bytes in several blocks by one commit, by one of several
clients, which are killed as nodes are; the store refuses, and loses replies. The judge is exact:
what is read under the lease, and every version that the store ever got, is the whole of a version
that somebody made; what was acknowledged is never lost; in the end each object is in the store
once, as it is read, and of drafts nothing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from typing import cast

import pytest
from mounted_scene import Scene, insist
from noted_scene import JOURNAL, NotedScene, NotingTrace, at_moments, kill

from memfs.client.aiofiles import AsyncFile
from memfs.client.handles import external_content, handle
from memfs.client.writing import range_copy, writer
from memfs.errors import MemfsError
from memfs.node.namespace.state import Namespace
from memfs.testing.simulation.clients import SimulatedClient
from memfs.testing.simulation.external_store import StoreConditions
from memfs.testing.simulation.virtual import run
from memfs.types import BlockRef
from tests.support.placed import placed_blocks

SEEDS = range(12)
BLOCK = 4096
COMMIT_BLOCKS = 4
"""More blocks than this are copied into a draft."""
CALL_SECONDS = 6.0
SESSION_SECONDS = 10.0
ROUNDS = 14
ACKNOWLEDGED_LEAST = 4
"""Of all changes of a seed: most have it a good deal better."""
NODES = 3
SETTLED_SECONDS = 300
FAULTY = StoreConditions(refused_chance=0.01, lost_reply_chance=0.02)


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Few blocks are many, and nothing but ``close`` publishes."""
    for module in (writer, range_copy, external_content):
        monkeypatch.setattr(module, "PUBLISH_BLOCKS", COMMIT_BLOCKS)
    monkeypatch.setattr(handle, "PUBLISH_SECONDS", 10 * CALL_SECONDS)
    if request.node.callspec.params.get("seed", 1) % 3:
        monkeypatch.setattr(range_copy, "COPIED_FROM_BYTES", 1)  # by nodes, not by the client


class Judged:
    """An object, and what it may be."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.versions = [content]
        """All that was ever meant to become its content, in order."""
        self.possible = {content}
        """What it may be now: more than one where the outcome of a change is unknown."""
        self.acknowledged = 0
        self.left = False
        """Whether its last writer may have gone without giving its lease back."""

    def seen(self, content: bytes, where: str) -> None:
        """It is that now, and stays so until somebody changes it."""
        assert content in self.possible, f"{where}: {self.name} is {self._told(content)}"
        self.possible = {content}

    def check_versions(self, stored: list[bytes | None]) -> None:
        """What the store ever had are whole versions, none of them older than one before."""
        numbers = []
        for content in stored:
            assert content in self.versions, f"the store got {self._told(content)}"
            numbers.append(self.versions.index(content))
        assert numbers == sorted(numbers), f"{self.name} went back in the store: {numbers}"

    def _told(self, content: bytes | None) -> str:
        if content is None:
            return "deleted"
        if content in self.versions:
            return f"version {self.versions.index(content)} of {len(self.versions)}, not the last"
        mixed = [
            {n for n, each in enumerate(self.versions) if each[at : at + BLOCK] == part}
            for at in range(0, len(content), BLOCK)
            for part in [content[at : at + BLOCK]]
        ]
        return f"{len(content)} bytes, whose blocks are of versions {mixed}"


class Trial:
    """One seed."""

    def __init__(self, seed: int, mode: str) -> None:
        self.dice = random.Random(f"changes {seed}")
        dice = self.dice
        self.mode = mode
        self.scene = Scene(
            seed,
            FAULTY if dice.random() < 0.7 else StoreConditions(),
            block_size=BLOCK,
            session_timeout_seconds=SESSION_SECONDS,
            orphan_sweep_seconds=3.0,
        )
        self.objects = []
        for number in range(2):
            size = dice.randrange(COMMIT_BLOCKS * BLOCK + 1, 14 * BLOCK)
            self.objects.append(Judged(f"o{number}", dice.randbytes(size)))
        for each in self.objects:
            self.scene.bucket.replace(each.name, each.versions[0])
        self.clients: list[SimulatedClient] = []
        self.adopted = 0

    async def play(self) -> None:
        """Change, kill, heal, judge."""
        scene, dice = self.scene, self.dice
        interval = dice.choice([-1, 0])
        self.fs = await scene.start(NODES, sync_interval=interval, mode=self.mode)
        self.clients = [scene.cluster.client(timeout_seconds=2 * CALL_SECONDS) for _ in range(4)]
        working = [asyncio.ensure_future(self.change_often(each)) for each in self.objects]
        killing = asyncio.ensure_future(self.kill())
        try:
            await asyncio.gather(*working)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        await self.judge()

    async def change_often(self, judged: Judged) -> None:
        """One writer at a time; before it the cluster mostly gives up what the store has too."""
        for _ in range(ROUNDS):
            with contextlib.suppress(MemfsError):
                if self.dice.random() < 0.8:
                    await self.fs.persist(f"/x/{judged.name}", timeout=20)
                    await self.fs.free(f"/x/{judged.name}", timeout=CALL_SECONDS)
            await self.change(judged)
            await asyncio.sleep(self.dice.random() * 2)

    async def change(self, judged: Judged) -> None:
        """Bytes of two or three blocks become others, and perhaps some follow at the end."""
        client = self.dice.choice(self.clients)
        left, judged.left = judged.left, True
        if left and self.dice.random() < 0.8:
            with contextlib.suppress(MemfsError):  # of who died, or did not hear an answer
                await self.fs.recover_lease(f"/x/{judged.name}", timeout=CALL_SECONDS)
        dies = asyncio.ensure_future(self.die(client)) if self.dice.random() < 0.5 else None
        try:
            opening = client.open(f"/x/{judged.name}", "r+b", timeout=2 * SESSION_SECONDS)
            file = cast(AsyncFile, await opening)
            content = await file.pread(1 << 20, 0, timeout=CALL_SECONDS)
        except MemfsError:
            await self.kill_client(client)
            return
        finally:
            if dies is not None and self.dice.random() < 0.3:
                dies.cancel()
        judged.seen(content, "under a lease")
        fresh = self.dice.randbytes(self.dice.randrange(BLOCK + 1, 2 * BLOCK))
        at = self.dice.randrange(len(content) - BLOCK)
        changed = content[:at] + fresh + content[at + len(fresh) :]
        judged.versions.append(changed)
        judged.possible.add(changed)
        try:
            await file.pwrite(fresh, at, timeout=2 * CALL_SECONDS)
        except MemfsError:
            await self.kill_client(client)  # else its close would publish a part of it
            return
        try:
            await file.close()
        except MemfsError:
            return
        judged.possible = {changed}
        judged.acknowledged += 1
        judged.left = False

    async def die(self, client: SimulatedClient) -> None:
        """A client is killed some time soon."""
        await asyncio.sleep(self.dice.random() ** 2 * 1.5)
        await self.kill_client(client)

    async def kill_client(self, client: SimulatedClient) -> None:
        network = self.scene.cluster.host(client.name).network
        if network.process.alive:
            network.crash(silent=self.dice.random() < 0.5)
            await asyncio.sleep(0.1)
        if not network.process.alive:
            network.restart()

    async def kill(self) -> None:
        """Nodes, one at a time: never the last copy of anything."""
        cluster = self.scene.cluster
        while True:
            await asyncio.sleep(2 + 8 * self.dice.random())
            await self.whole()
            name = self.dice.choice(sorted(cluster.nodes))
            if self.dice.random() < 0.5:
                name = next(each for each, node in cluster.nodes.items() if node.role.leads)
            cluster.crash(name, silent=self.dice.random() < 0.3)
            await asyncio.sleep(1 + 8 * self.dice.random())
            cluster.restart(name)

    async def whole(self) -> None:
        """Until all are in sync, and each block has its copies."""
        for _ in range(SETTLED_SECONDS):
            lacking = self.lacking()
            if not lacking:
                return
            await asyncio.sleep(1)
        raise AssertionError(f"never whole again: {lacking}")

    def lacking(self) -> str:
        """What is not whole yet; empty: nothing."""
        nodes = self.scene.cluster.nodes.values()
        numbers = {node.membership.number for node in nodes}
        namespace = self.namespace()
        view = next((node.membership.view for node in nodes if node.role.leads), None)
        if namespace is None or view is None:
            return "no primary"
        if len(numbers) < NODES or set(view.in_sync) != numbers:
            return f"{sorted(view.in_sync)} of {sorted(numbers)} are in sync"
        few = [ref for ref in refs(namespace) if len(numbers.intersection(ref.replicas)) < 2]
        return f"copies of {few[:2]}" if few else ""

    def namespace(self) -> Namespace | None:
        """The primary's, if there is one."""
        nodes = self.scene.cluster.nodes.values()
        return next((node.role.namespace for node in nodes if node.role.leads), None)

    # --- the end -------------------------------------------------------------------------------

    async def judge(self) -> None:
        """All is well again, and as it must be."""
        scene = self.scene
        for number in range(1, NODES + 1):
            scene.cluster.restart(f"n{number}")
        await self.whole()
        for client in self.clients:
            with contextlib.suppress(MemfsError):
                await client.close()
        await asyncio.sleep(2 * SESSION_SECONDS)
        for judged in self.objects:
            judged.seen(
                await insist(functools.partial(self.fs.read_bytes, f"/x/{judged.name}")), ""
            )
        await scene.settled(self.fs)
        await asyncio.sleep(10)  # nothing follows
        assert scene.bucket.contents() == {
            each.name: next(iter(each.possible)) for each in self.objects
        }
        for judged in self.objects:
            judged.check_versions(scene.bucket.versions(judged.name))
            await insist(functools.partial(self.fs.free, f"/x/{judged.name}"))
            judged.seen(
                await insist(functools.partial(self.fs.read_bytes, f"/x/{judged.name}")), ""
            )
        assert sum(each.acknowledged for each in self.objects) >= ACKNOWLEDGED_LEAST
        await clean(scene)

    async def read(self, judged: Judged) -> bytes:
        return await insist(functools.partial(self.fs.read_bytes, f"/x/{judged.name}"))


async def clean(scene: Scene) -> None:
    """Nothing of drafts is left, neither in the namespace nor in memory."""
    nodes = scene.cluster.nodes.values()
    left = ""
    for _ in range(SETTLED_SECONDS):
        namespace = next((node.role.namespace for node in nodes if node.role.leads), None)
        assert namespace is not None
        named = {ref.version for ref in refs(namespace)}
        held = {
            block.version
            for node in nodes
            for block in node.store.list(None, node.store.count)
            if block.generation  # 0: cached
        }
        nameless = namespace.volume.tree.nameless
        left = f"{nameless} {held - named}" if nameless or held - named else ""
        if not left:
            break
        await asyncio.sleep(1)
    assert not left
    for node in nodes:
        node.store.check_invariants()


def refs(namespace: Namespace) -> list[BlockRef]:
    """All blocks that files name."""
    return [placed.ref for placed in placed_blocks(namespace)]


@pytest.mark.parametrize("mode", ["dual-async", "dual-sync"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_large_object_is_one_version_or_the_other_whoever_dies(seed: int, mode: str) -> None:
    async def main() -> None:
        await Trial(seed, mode).play()

    run(main())


# --- a kill between every two steps of one change ------------------------------------------------

OLD = random.Random(5).randbytes(6 * BLOCK + 5)
AT = 2 * BLOCK - 100
FRESH = b"fresh" * 1000
NEW = OLD[:AT] + FRESH + OLD[AT + len(FRESH) :]


async def play(victims: str, at: float | None, mode: str) -> list[float]:
    """One run; the moments between the change's begin and its end."""
    journal = JOURNAL if victims == "all" else {}
    scene = NotedScene(
        72,
        StoreConditions(delay_min=0.005, delay_max=0.02),
        block_size=BLOCK,
        session_timeout_seconds=SESSION_SECONDS,
        orphan_sweep_seconds=3.0,
        **journal,
    )
    scene.bucket.replace("object", OLD)
    fs = await scene.start(NODES, sync_interval=-1, mode=mode)
    client = scene.cluster.client()
    await client.stat("/x/object")
    scene.cluster.fabric.trace = NotingTrace(scene.moments)
    begin = asyncio.get_running_loop().time()
    killed = client.name if victims == "client" else victims
    killing = asyncio.create_task(kill(scene, killed, at))
    wanted = [NEW]
    try:
        file = cast(AsyncFile, await client.open("/x/object", "r+b"))
        await file.pwrite(FRESH, AT)
        await file.close()
    except MemfsError:
        assert victims in ("client", "all"), "who lives gets it done, whichever node dies"
        wanted = [OLD, NEW]
    await scene.settled(fs)
    end = asyncio.get_running_loop().time()
    await killing
    await asyncio.sleep(3 * SESSION_SECONDS)
    await scene.settled(fs)
    held = scene.bucket.contents()
    assert held in [{"object": each} for each in wanted], held.keys()
    assert await fs.read_bytes("/x/object") == held["object"]
    numbers = [[OLD, NEW].index(each) for each in scene.bucket.versions("object")]  # type: ignore[arg-type]
    assert numbers == sorted(numbers) and numbers.count(1) <= 1, numbers
    if victims != "client":
        await client.close()
    await clean(scene)
    return [moment for moment in scene.moments.noted if begin <= moment <= end]


@pytest.mark.parametrize("every", [45, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("mode", ["dual-async", "dual-sync"])
@pytest.mark.parametrize("victims", ["primary", "backup", "client", "all"])
def test_a_kill_between_any_two_steps_of_a_change(victims: str, mode: str, every: int) -> None:
    at_moments(lambda at: play(victims, at, mode), every)
