"""A caller who is gone when the answer comes holds nothing: leases, reservations, tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from memfs.protocol import messages as m
from memfs.testing.simulation import virtual
from tests.unit.client.fake_cluster import FakeCluster

ANSWER_SECONDS = 0.1
MOMENTS = [0, 0.05, 0.1, 0.1001, 0.15, 0.2, 0.25, 0.3]
"""Before an answer, in the step in which it comes, between two requests, after all of them."""


async def interrupted(work: Coroutine[Any, Any, Any], after: float) -> None:
    """Begin, and cancel ``after`` seconds."""
    task = asyncio.ensure_future(work)
    await asyncio.wait((task,), timeout=after)
    task.cancel()
    await asyncio.wait((task,))


def in_cluster(test: Callable[[FakeCluster, AsyncFileSystem], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = FakeCluster()
        fs = cluster.connect()
        await fs.write_bytes("/old", b"old")
        cluster.answer_seconds = ANSWER_SECONDS
        await test(cluster, fs)
        cluster.namespace.check_invariants()
        await fs.close()

    virtual.run(main())


@pytest.mark.parametrize("after", MOMENTS)
@pytest.mark.parametrize(
    ("path", "mode"), [("/new", "wb"), ("/old", "wb"), ("/old", "ab"), ("/new", "ab"), ("/x", "xb")]
)
def test_a_cancelled_open_holds_no_lease(path: str, mode: str, after: float) -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        async def use() -> None:
            async with fs.open(path, mode) as file:
                await file.write(b"x")

        await interrupted(use(), after)
        await asyncio.sleep(1)
        assert not cluster.namespace.volume.sessions.writers
        assert not fs._session.grants.held
        async with cluster.connect().open(path, "ab") as file:
            await file.write(b"y")

    in_cluster(test)


@pytest.mark.parametrize("after", MOMENTS)
def test_a_cancelled_recovery_holds_no_lease(after: float) -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        await interrupted(fs.recover_lease("/old"), after)
        await asyncio.sleep(1)
        assert not cluster.namespace.volume.sessions.writers

    in_cluster(test)


def test_an_open_that_hears_nothing_in_time_holds_no_lease() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        with pytest.raises(errors.DeadlineError, match="/old: no answer in time"):
            await fs.open("/old", "ab", timeout=ANSWER_SECONDS / 2)
        await asyncio.sleep(1)
        assert not cluster.namespace.volume.sessions.writers

    in_cluster(test)


@pytest.mark.parametrize(("mode", "recover"), [("wb", False), ("ab", True)])
def test_a_doubt_about_what_was_emptied_or_taken_stays(mode: str, recover: bool) -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        with pytest.raises(errors.OutcomeUnknownError):
            await fs.open("/old", mode, recover=recover, timeout=ANSWER_SECONDS / 2)
        await asyncio.sleep(1)
        assert not cluster.namespace.volume.sessions.writers

    in_cluster(test)


def test_what_another_call_of_the_client_was_granted_stays_its_own() -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        waiting = asyncio.ensure_future(fs.open("/old", "ab"))
        await asyncio.sleep(ANSWER_SECONDS / 2)
        with pytest.raises(errors.LeaseHeldError):
            await fs.open("/old", "ab")
        await interrupted(fs.open("/old", "ab").__aenter__(), ANSWER_SECONDS / 2)
        file = await waiting
        await asyncio.sleep(1)
        await file.write(b"mine")
        await file.close()
        assert await fs.read_bytes("/old") == b"oldmine"

    in_cluster(test)


@pytest.mark.parametrize("after", MOMENTS)
def test_a_cancelled_close_gives_the_lease_back(after: float) -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        file = await fs.open("/old", "ab")
        await file.write(b"x")
        await interrupted(file.close(), after)
        await asyncio.sleep(1)
        assert not cluster.namespace.volume.sessions.writers
        assert not fs._session.grants.held

    in_cluster(test)


@pytest.mark.parametrize("after", MOMENTS)
def test_a_cancelled_batch_reserves_nothing_that_it_does_not_know(after: float) -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        other = cluster.connect()
        await interrupted(other.write_many({"/a": b"a", "/b": b"b"}), after)
        await asyncio.sleep(1)
        session = cluster.namespace.volume.sessions.by_client.get(other._session.client)
        assert len(session.reserved if session else ()) == len(other._writing._reservations._stock)

    in_cluster(test)


@pytest.mark.parametrize("after", MOMENTS)
def test_a_token_that_nobody_got_is_cancelled(after: float) -> None:
    async def test(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
        got: list[Any] = []

        async def ask() -> None:
            got.append(await fs.get_delegation_token("root"))

        await interrupted(ask(), after)
        await asyncio.sleep(1)
        assert len(cluster.namespace.volume.tokens.by_sequence) == len(got)
        assert cluster.asked[m.IssueToken.__name__] <= 2

    in_cluster(test)
