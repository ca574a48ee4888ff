"""A change on its way to its store, and a process that is killed between every two of its steps.

A first run notes the moments at which anything travels or is done: messages between hosts, and what
the store receives, does and answers. Each further run is the same up to a time between two of them,
when it kills. In the end each file is in the store exactly once, with its last content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from mounted_scene import BLOCK, Scene
from noted_scene import EVERY, JOURNAL, NotedScene, NotingServer, NotingTrace, at_moments, kill

from memfs.client.filesystem import AsyncFileSystem
from memfs.testing.simulation.external_store import StoreConditions, StoreServer

SEED = 71
OLD, LAST, THEIRS = b"old" * 1000, b"last" * 1000, b"theirs" * 500
LARGE = b"large" * BLOCK


Act = Callable[[Scene, AsyncFileSystem], Awaitable[None]]


async def new(scene: Scene, fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/x/new", LAST)


async def replaced(scene: Scene, fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/x/old", LAST)


async def written_again(scene: Scene, fs: AsyncFileSystem) -> None:
    """While the content before is on its way."""
    for content in (b"first", b"second", LAST):
        await fs.write_bytes("/x/old", content)
        await asyncio.sleep(0.04)


async def deleted(scene: Scene, fs: AsyncFileSystem) -> None:
    await fs.remove("/x/old")


async def deleted_and_made(scene: Scene, fs: AsyncFileSystem) -> None:
    await fs.remove("/x/old")
    await asyncio.sleep(0.03)
    await fs.write_bytes("/x/old", LAST)


async def renamed(scene: Scene, fs: AsyncFileSystem) -> None:
    """As checkpoints are written."""
    await fs.write_bytes("/x/part", LAST)
    await asyncio.sleep(0.04)
    await fs.replace("/x/part", "/x/old")


async def large(scene: Scene, fs: AsyncFileSystem) -> None:
    async with await fs.open("/x/d/large", "wb") as file:
        await file.write(LARGE)


async def conflict(scene: Scene, fs: AsyncFileSystem) -> None:
    scene.bucket.replace("old", THEIRS)
    await fs.write_bytes("/x/old", LAST)


ACTS: dict[Act, list[bytes]] = {
    new: [LAST, OLD],
    replaced: [LAST],
    written_again: [LAST],
    deleted: [],
    deleted_and_made: [LAST],
    renamed: [LAST],
    large: [LARGE, OLD],
    conflict: [LAST, THEIRS],
}
"""What is in the store in the end, each once."""


async def play(act: Act, victims: str, at: float | None, mode: str) -> list[float]:
    """One run; the moments between the change's begin and its end."""
    journal = JOURNAL if victims == "all" else {}
    scene = NotedScene(SEED, StoreConditions(delay_min=0.005, delay_max=0.02), **journal)
    cluster = scene.cluster
    scene.bucket.replace("old", OLD)
    fs = await scene.start(sync_interval=-1, mode=mode)
    await fs.mkdir("/x/d")
    await fs.read_bytes("/x/old")
    assert "new" not in await fs.listdir("/x")
    await scene.settled(fs)
    cluster.fabric.trace = NotingTrace(scene.moments)
    begin = asyncio.get_running_loop().time()
    killing = asyncio.create_task(kill(scene, victims, at))
    await act(scene, fs)
    if mode == "dual-sync":
        assert sorted(scene.bucket.contents().values()) == sorted(ACTS[act])
    await scene.settled(fs)
    end = asyncio.get_running_loop().time()
    await killing
    await scene.settled(fs)
    await asyncio.sleep(10)  # nothing follows
    held, wanted = scene.bucket.contents(), ACTS[act]
    if act is conflict and replaced_knowingly(scene.bucket):
        wanted = [LAST]
    assert sorted(held.values()) == sorted(wanted), held.keys()
    await fs.sync_metadata("/x")
    found = [name for name in await fs.listdir("/x") if name != "d"]
    assert sorted(found) == sorted(name for name in held if "/" not in name)
    for name, content in held.items():
        assert await fs.read_bytes(f"/x/{name}") == content
        assert scene.bucket.versions(name)[-1] == content
    return [moment for moment in scene.moments.noted if begin <= moment <= end]


def replaced_knowingly(bucket: StoreServer) -> bool:
    """Was the others' object seen before ours took its place? So it is when a new primary asks."""
    assert isinstance(bucket, NotingServer)
    when = {change.data: change.time for change in bucket.changes if change.key == "old"}
    return LAST in when and any(when[THEIRS] <= look < when[LAST] for look in bucket.looks)


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("victims", ["primary", "backup", "all"])
@pytest.mark.parametrize("act", ACTS)
def test_a_kill_between_any_two_steps_loses_nothing(act: Act, victims: str, every: int) -> None:
    kill_between(act, victims, "dual-async", every)


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("act", [each for each in ACTS if each is not conflict])
def test_what_was_acknowledged_synchronously_is_there(act: Act, every: int) -> None:
    kill_between(act, "primary", "dual-sync", every)


def kill_between(act: Act, victims: str, mode: str, every: int) -> None:
    """Play it once for each of the moments."""
    at_moments(lambda at: play(act, victims, at, mode), every)
