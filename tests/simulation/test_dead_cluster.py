"""Nobody answers any more: one budget, one true sentence, and what follows does not wait again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import ClusterError, DeadlineError, OutcomeUnknownError, UnavailableError
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run

TIMEOUT_SECONDS = 30.0


async def ended() -> tuple[SimulatedCluster, AsyncFileSystem]:
    cluster = SimulatedCluster(7)
    await cluster.start(3)
    return cluster, await cluster.connect(timeout_seconds=TIMEOUT_SECONDS)


def crash(cluster: SimulatedCluster, *, silent: bool) -> None:
    for name in list(cluster.nodes):
        cluster.crash(name, silent=silent)


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_a_dead_cluster_is_called_so(silent: bool) -> None:
    async def main() -> None:
        cluster, fs = await ended()
        loop = asyncio.get_running_loop()
        crash(cluster, silent=silent)
        for work in (fs.stat("/"), fs.write_bytes("/f", b"x"), fs.listdir("/")):
            began = loop.time()
            with pytest.raises(ClusterError, match="no memfs node answers") as caught:
                await work
            assert TIMEOUT_SECONDS - 1 < loop.time() - began <= TIMEOUT_SECONDS + 0.01
            text = str(caught.value)
            assert all(f"n{number}:10500" in text for number in (1, 2, 3))
            assert "just now" not in text

    run(main())


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
@pytest.mark.parametrize("size", [5, 100_000], ids=["in one block", "in several"])
def test_flush_and_close_do_not_take_the_budget_again(silent: bool, size: int) -> None:
    async def main() -> None:
        cluster, fs = await ended()
        loop = asyncio.get_running_loop()
        file = await fs.open("/f", "wb", block_size=65_536)
        await file.write(bytes(size))
        await file._handle.writer.drain()  # only the commit is left to do
        crash(cluster, silent=silent)
        began = loop.time()
        for step in (file.flush, file.flush, file.close):
            with pytest.raises(ClusterError):
                await step()
        assert loop.time() - began < TIMEOUT_SECONDS + 4
        await fs.close()
        assert loop.time() - began < TIMEOUT_SECONDS + 8

    run(main())


def test_a_cluster_that_is_back_gets_the_whole_budget_again() -> None:
    async def main() -> None:
        cluster, fs = await ended()
        file = await fs.open("/f", "wb")
        await file.write(b"x")
        for a in ("n1", "n2", "n3"):
            cluster.host(a).process.pause()
        with pytest.raises(ClusterError):
            await file.flush()
        for a in ("n1", "n2", "n3"):
            cluster.host(a).process.resume()
        await asyncio.sleep(10)
        await fs.exists("/")
        assert not fs._session.silence.felt

    run(main())


BLOCK = 65_536


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
@pytest.mark.parametrize(
    ("mode", "work"),
    [
        ("rb", lambda file: file.read()),
        ("rb", lambda file: file.readinto(bytearray(10))),
        ("r+b", lambda file: file.read()),
        ("r+b", lambda file: file.pwrite(bytes(10), 5)),
        ("r+b", lambda file: file.pwrite(bytes(3 * BLOCK), 5)),
        ("r+b", lambda file: file.truncate(5)),
        ("ab", lambda file: file.write(bytes(10))),
        ("ab", lambda file: file.write(bytes(9 * BLOCK))),
        ("wb", lambda file: file.write(bytes(9 * BLOCK))),
    ],
    ids=[
        *("read", "a small read", "read for update", "in place", "several in place", "cut"),
        *("append", "a long append", "write"),
    ],
)
def test_blocks_are_out_of_reach_too(silent: bool, mode: str, work: Any) -> None:
    """What a call hears that needs blocks first, and what flush and close after it take."""

    async def main() -> None:
        cluster, fs = await ended()
        loop = asyncio.get_running_loop()
        async with fs.open("/f", "wb", block_size=BLOCK) as file:
            await file.write(bytes(3 * BLOCK + 7))
        file = await fs.open("/f", mode, buffering=0)
        crash(cluster, silent=silent)
        began = loop.time()
        with pytest.raises(ClusterError) as caught:
            await work(file)
            await file.flush()
        taken = loop.time() - began
        assert TIMEOUT_SECONDS - 1 < taken <= TIMEOUT_SECONDS + 0.01
        text = str(caught.value)
        assert "no memfs node answers" in text and "for 3" in text, text
        assert "just now" not in text and text.count("cannot connect to n1") < 2, text
        with contextlib.suppress(ClusterError):
            await file.close()
        assert loop.time() - began < TIMEOUT_SECONDS + 4
        await fs.close()
        assert loop.time() - began < TIMEOUT_SECONDS + 8

    run(main())


@pytest.mark.parametrize("budget", [6.0, 30.0], ids=["one attempt", "several"])
@pytest.mark.parametrize("size", [5, 200_000, 9_000_000])
def test_a_write_that_cannot_have_happened_is_no_doubt(size: int, budget: float) -> None:
    """Nodes stand still: what was asked for on the way changes nothing of the file."""

    async def main() -> None:
        cluster, fs = await ended()
        await fs.write_bytes("/f", b"old")
        for name in ("n1", "n2", "n3"):
            cluster.host(name).process.pause()
        with pytest.raises((DeadlineError, UnavailableError), match="/f: ") as caught:
            await fs.write_bytes("/f", bytes(size), timeout=budget)
        assert budget < TIMEOUT_SECONDS or "no memfs node answers" in str(caught.value)
        with pytest.raises(OutcomeUnknownError, match="may") as doubt:
            await fs.mkdir("/d", timeout=budget)
        assert budget < TIMEOUT_SECONDS or "no memfs node answers" in str(doubt.value)
        for name in ("n1", "n2", "n3"):
            cluster.host(name).process.resume()
        await asyncio.sleep(TIMEOUT_SECONDS)
        assert await fs.read_bytes("/f") == b"old"
        await fs.close()

    run(main())


def test_one_node_out_of_reach_is_named_with_the_time() -> None:
    """Where others answer, it is told which node is missing, and since when."""

    async def main() -> None:
        cluster, fs = await ended()
        loop = asyncio.get_running_loop()
        where, number = "n1", 0
        while where == "n1":  # the primary
            number += 1
            await fs.write_bytes(f"/{number}", bytes(200_000), replication=1)
            (where,) = {name for each in await fs.block_locations(f"/{number}") for name in each[3]}
        cluster.fabric.isolate("c1", [where])
        cluster.fabric.cut("c1", where)
        began = loop.time()
        with pytest.raises(ClusterError, match=f"{where} has not been reachable for") as caught:
            await fs.read_bytes(f"/{number}")
        assert loop.time() - began <= TIMEOUT_SECONDS + 0.01
        assert "did not answer within 5 s" in str(caught.value)

    run(main())
