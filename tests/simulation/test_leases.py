"""How long a writer that is gone keeps others from its file."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from memfs.errors import LeaseHeldError, LeaseLostError, OutcomeUnknownError, RetryableError
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run


async def writer_dies(seed, *, silent):
    """Seconds until another client may write on."""
    cluster = SimulatedCluster(seed)
    await cluster.start(3)
    writer = await cluster.connect()
    file = await writer.open("/log", "wb")
    await file.write(b"flushed")
    await file.flush()
    fs = await cluster.connect()
    cluster.crash("c1", silent=silent)
    began = asyncio.get_running_loop().time()
    while True:
        try:
            async with fs.open("/log", "ab") as again:
                await again.write(b" and more")
            break
        except LeaseHeldError as error:
            assert "root, since 2027-" in str(error)
            await asyncio.sleep(0.5)
    assert await fs.read_bytes("/log") == b"flushed and more"
    return asyncio.get_running_loop().time() - began


def test_a_killed_process_keeps_its_file_for_a_quarter_of_a_minute():
    assert 14 < run(writer_dies(1, silent=False)) < 18


def test_a_host_that_is_gone_keeps_it_for_the_session_timeout():
    assert 59 < run(writer_dies(2, silent=True)) < 63


def test_an_operator_does_not_wait():
    async def main():
        cluster = SimulatedCluster(3)
        await cluster.start(3)
        writer, fs = await cluster.connect(), await cluster.connect()
        await writer.open("/log", "wb")
        cluster.crash("c1", silent=True)
        with pytest.raises(LeaseHeldError):
            await fs.open("/log", "ab")
        await fs.recover_lease("/log")
        async with fs.open("/log", "ab") as file:
            await file.write(b"x")

    run(main())


def test_broken_connections_cost_a_living_writer_nothing():
    async def main():
        cluster = SimulatedCluster(4)
        await cluster.start(3)
        writer = await cluster.connect()
        async with writer.open("/log", "wb") as file:
            for _ in range(4):
                await asyncio.sleep(20)
                for name in cluster.nodes:
                    cluster.fabric.cut("c1", name)
            await file.write(b"still mine")
        assert await writer.read_bytes("/log") == b"still mine"

    run(main())


async def _write_long(file):
    await file.write(bytearray(3_000_000), timeout=10)
    await file.flush(timeout=10)


STOPPED = {
    "write": _write_long,
    "flush": lambda file: file.flush(timeout=10),
    "truncate": lambda file: file.truncate(5),
    "close": lambda file: file.close(),
}


@pytest.mark.parametrize("act", STOPPED.values(), ids=list(STOPPED))
@pytest.mark.parametrize(
    ("delay", "taken"), [(None, False), (None, True), (0.0005, True), (0.002, False)]
)
def test_a_process_that_stood_still_for_longer_than_its_lease_hears_so(act, taken, delay):
    """Before the call, or at some moment of it; whether somebody else has the file or not."""

    async def main():
        cluster = SimulatedCluster(5, block_size=65536, session_timeout_seconds=20)
        await cluster.start(3)
        writer, other = cluster.client(), await cluster.connect()
        file = await writer.open("/f", "wb")
        await file.write(b"flushed")
        await file.flush()
        await file.write(b" and not")
        process = writer.process()
        call = None if delay is None else asyncio.ensure_future(act(file))
        await asyncio.sleep(delay or 0.0)
        if call is not None and call.done():
            return  # it was faster
        process.pause()
        await asyncio.sleep(30)
        if taken:
            async with other.open("/f", "ab") as others:
                await others.write(b" by another")
        process.resume()
        try:
            await (call or act(file))
        except (LeaseLostError, OutcomeUnknownError) as error:
            assert isinstance(error, LeaseLostError) or delay is not None
        else:
            pytest.fail("it was told that it still has the lease")

    run(main())


@pytest.mark.parametrize("delay", (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.0095, 0.012))
def test_a_process_that_stood_still_for_too_long_writes_whole_files_all_the_same(delay):
    async def main():
        cluster = SimulatedCluster(5, block_size=65536, session_timeout_seconds=20)
        await cluster.start(3)
        writer, other = cluster.client(timeout_seconds=90), await cluster.connect()
        await writer.write_bytes("/source", b"s" * 200_000)  # it has more inodes reserved
        calls = [
            asyncio.ensure_future(call)
            for call in (
                writer.write_bytes("/small", b"small"),
                writer.write_bytes("/exclusive", b"small", exclusive=True),
                writer.write_bytes("/large", b"l" * 200_000),
                writer.write_many({"/a": b"a", "/b": b"b"}),
                writer.copy("/source", "/copy"),
            )
        ]
        await asyncio.sleep(delay)
        writer.process().pause()
        await asyncio.sleep(30)
        writer.process().resume()
        await asyncio.gather(*calls)
        paths = ("/small", "/exclusive", "/large", "/a", "/b", "/copy")
        content = (b"small", b"small", b"l" * 200_000, b"a", b"b", b"s" * 200_000)
        assert tuple(await other.read_many(paths)) == content

    run(main())


def test_a_process_that_stood_still_for_a_moment_has_its_lease():
    async def main():
        cluster = SimulatedCluster(6)
        await cluster.start(3)
        writer = cluster.client()
        file = await writer.open("/f", "wb")
        await file.write(b"x")
        call = asyncio.ensure_future(file.truncate(5, timeout=10))
        process = writer.process()
        await asyncio.sleep(0.0005)
        process.pause()
        await asyncio.sleep(40)
        process.resume()
        with pytest.raises(RetryableError):
            await call
        with contextlib.suppress(RetryableError):  # of the block that was on its way
            await file.close()

    run(main())
