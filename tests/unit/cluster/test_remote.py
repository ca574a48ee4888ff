"""The embedded coordinator over a network that fails: what is known of a swap, and coming back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from memfs import errors
from memfs.cluster import view as rules
from memfs.testing.simulation.virtual import run
from memfs.types import Member
from tests.unit.cluster.remote_bench import RemoteBench

A = Member(0, "a", 7, "h1", 10500)
FIRST = rules.form("c", A)
SECOND = rules.join(FIRST, A._replace(name="b"))


def simulate(scenario: Callable[[RemoteBench], Awaitable[Any]]) -> None:
    async def main() -> None:
        await scenario(RemoteBench())

    run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_nobody_listening_is_certain() -> None:
    async def scenario(bench: RemoteBench) -> None:
        client = await bench.client()
        await bench.stop()
        with pytest.raises(errors.UnavailableError):
            await client.swap_view(0, FIRST)
        with pytest.raises(errors.UnavailableError):
            await client.read_view()
        assert now() < 1.0

    simulate(scenario)


@pytest.mark.parametrize("way", [("h1", "host"), ("host", "h1")])
def test_a_swap_without_answer_may_have_been_made(way: tuple[str, str]) -> None:
    async def scenario(bench: RemoteBench) -> None:
        client = await bench.client()
        await client.read_view()
        bench.fabric.block(*way)
        with pytest.raises(errors.OutcomeUnknownError):
            await client.swap_view(0, FIRST)
        with pytest.raises(errors.UnavailableError):
            await client.read_view()
        made = (await bench.coordinator.read_view()).view is not None
        assert made == (way == ("host", "h1"))
        bench.fabric.heal()
        await client.swap_view(0, FIRST)
        assert (await client.read_view()).view == FIRST

    simulate(scenario)


def test_a_broken_connection_is_dialled_again() -> None:
    async def scenario(bench: RemoteBench) -> None:
        client = await bench.client()
        stored = await client.swap_view(0, FIRST)
        bench.fabric.cut("h1", "host")
        await asyncio.sleep(0.1)
        assert await client.read_view() == stored

    simulate(scenario)


def test_a_wait_survives_breaks_and_sees_what_changed_meanwhile() -> None:
    async def scenario(bench: RemoteBench) -> None:
        client = await bench.client()
        stored = await client.swap_view(0, FIRST)
        assert stored is not None
        waiting = asyncio.ensure_future(client.wait_for_change(stored.revision, 60.0))
        await asyncio.sleep(1)
        bench.fabric.cut("h1", "host")
        await asyncio.sleep(1)
        assert not waiting.done()
        await bench.coordinator.swap_view(stored.revision, SECOND)
        await waiting
        assert now() < 10

    simulate(scenario)


def test_a_wait_without_a_coordinator_takes_its_time() -> None:
    async def scenario(bench: RemoteBench) -> None:
        client = await bench.client()
        await bench.stop()
        await client.wait_for_change(0, 7.0)
        assert now() == pytest.approx(7.0, abs=0.1)

    simulate(scenario)


def test_the_host_of_another_cluster_is_no_coordinator() -> None:
    async def scenario(bench: RemoteBench) -> None:
        client = await bench.client("c")
        bench.service.cluster = "d"
        with pytest.raises(errors.UnavailableError, match="this is d"):
            await client.read_view()
        with pytest.raises(errors.UnavailableError, match="this is d"):
            await client.swap_view(0, FIRST)
        assert (await bench.coordinator.read_view()).view is None

    simulate(scenario)
