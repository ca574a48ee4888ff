"""Calls that are cut into many requests: without ``timeout=`` each request has the configured time,
and the whole may take as long as it gets on. What is ended by a ``timeout`` says how far it came.

An answer takes 0.4 s of 0.5 s, so that no call of two requests one after the other fits in. A block
of a larger file has the configured time with the look for its place: there nodes take less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from memfs import limits
from memfs.client.batches.batching import PARALLEL
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.reading import block_map
from memfs.client.trees import removal, totals
from memfs.errors import DeadlineError, OutcomeUnknownError, PathNotFoundError
from memfs.security.signing import public_key
from memfs.testing.simulation import virtual
from tests.unit.client.fake_cluster import FakeCluster

SECONDS = 0.5
ANSWER_SECONDS = 0.4
BLOCK_SECONDS = 0.05
ROUND = PARALLEL * limits.FILES_PER_COMMAND
"""Names of changes under way at a time."""
MANY = 3 * ROUND
NAMES = [f"/d/{number:04}" for number in range(MANY)]
OF_BLOCKS = {"copy", "read_signed", "sign", "verify"}
KEY = bytes(32)
BLOCK = 4096

Call = Callable[[AsyncFileSystem], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "block_locations": lambda fs: fs.block_locations("/big"),
    "copy": lambda fs: fs.copy("/big", "/copy"),
    "listdir": lambda fs: fs.listdir("/d"),
    "map_many": lambda fs: fs.map_many(NAMES * 2),
    "read_many": lambda fs: fs.read_many(NAMES * 2),
    "read_ranges": lambda fs: fs.read_ranges([(name, 0, 1) for name in NAMES]),
    "read_signed": lambda fs: fs.read_signed("/big", public_key(KEY)),
    "remove_many": lambda fs: fs.remove_many(NAMES),
    "rmtree": lambda fs: fs.rmtree("/t"),
    "scandir": lambda fs: fs.scandir("/d"),
    "sign": lambda fs: fs.sign("/big", KEY),
    "stat_many": lambda fs: fs.stat_many(NAMES),
    "summarise": lambda fs: fs.summarise("/t"),
    "verify": lambda fs: fs.verify("/big", public_key(KEY)),
    "write_bytes": lambda fs: fs.write_bytes("/new", bytes(20 * BLOCK)),
    "write_many": lambda fs: fs.write_many(dict.fromkeys(NAMES, b"new")),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees are large, and pages small."""
    for module in (removal, totals):
        monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(limits, "ENTRIES_PER_PAGE", 500)


async def prepared() -> tuple[FakeCluster, AsyncFileSystem]:
    cluster = FakeCluster()
    fs = cluster.connect(timeout_seconds=SECONDS)
    await fs.mkdir("/d")
    await fs.write_many(dict.fromkeys(NAMES, b"x"))
    await fs.write_bytes("/big", bytes(20 * BLOCK))
    await fs.sign("/big", KEY)
    for number in range(5):
        await fs.makedirs(f"/t/{number}/below")
        await fs.chown(f"/t/{number}", "ann")
        await fs.chmod(f"/t/{number}", 0o777)
    await fs.chmod("/t", 0o777)
    await fs.chmod("/", 0o777)
    return cluster, fs


@pytest.mark.parametrize("name", CALLS)
def test_what_gets_on_may_take_its_time(
    name: str, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        cluster, fs = await prepared()
        if name in ("rmtree", "summarise"):
            monkeypatch.setattr(limits, "SUBTREE_STEPS", 5)
            fs = cluster.connect(timeout_seconds=SECONDS, user="ann", groups=("ann",))
        if name == "block_locations":
            monkeypatch.setattr(block_map, "PAGE", 4)
            monkeypatch.setattr(limits, "BLOCKS_PER_RECORD", 4)
        cluster.answer_seconds = ANSWER_SECONDS
        node_seconds = BLOCK_SECONDS if name in OF_BLOCKS else ANSWER_SECONDS
        cluster.slow = dict.fromkeys(cluster.blocks, node_seconds)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await CALLS[name](fs)
        assert loop.time() - began > SECONDS, "it needs no more than one request's time"

    virtual.run(main())


def test_a_removal_that_is_ended_says_what_is_gone(small: None) -> None:
    async def main() -> None:
        cluster, fs = await prepared()
        names = ["/nowhere", *NAMES]
        cluster.answer_seconds = ANSWER_SECONDS
        with pytest.raises(OutcomeUnknownError) as caught:
            await fs.remove_many(names, timeout=1.5 * ANSWER_SECONDS)
        told = caught.value.message
        assert f"of {MANY + 1} names {ROUND - 1} are done, 1 refused" in told
        assert f"{ROUND} sent and not answered, {ROUND + 1} untouched" in told
        cluster.answer_seconds = 0
        left = await fs.listdir("/d")
        assert left[-ROUND - 1 :] == [name[3:] for name in NAMES[-ROUND - 1 :]]
        assert len(left) <= MANY - (ROUND - 1)

    virtual.run(main())


def test_writes_that_are_ended_say_what_is_there(small: None) -> None:
    async def main() -> None:
        cluster, fs = await prepared()
        cluster.answer_seconds = ANSWER_SECONDS
        files = {f"/d/new {number}": b"" for number in range(MANY)}
        with pytest.raises((OutcomeUnknownError, DeadlineError)) as caught:
            await fs.write_many(files, timeout=2.9 * ANSWER_SECONDS)
        cluster.answer_seconds = 0
        there = await fs.stat_many(files)
        done = int(caught.value.message.split(f"of {MANY} names ")[1].split()[0])
        assert 0 < done <= sum(each is not None for each in there) < MANY

    virtual.run(main())


def test_an_error_of_the_only_command_is_as_it_was(small: None) -> None:
    async def main() -> None:
        cluster, fs = await prepared()
        with pytest.raises(PathNotFoundError):
            await fs.remove_many(["/nowhere"])
        cluster.answer_seconds = ANSWER_SECONDS
        with pytest.raises(OutcomeUnknownError) as caught:
            await fs.remove_many(NAMES[:2], timeout=ANSWER_SECONDS / 2)
        assert "names" not in caught.value.message
        assert caught.value.filename == NAMES[0]

    virtual.run(main())
