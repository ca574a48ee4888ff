"""A mounted S3 bucket beside the library alone and beside files that are not mounted.

SeaweedFS serves both, on the same two cores, so the rows are ratios. The library is obstore with as
many requests in flight as memfs has. One node; cold means that the node gave its blocks up.
"""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import memfs
from benchmarks import cluster
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB, noise
from memfs.client.blocking.filesystem import FileSystem
from memfs.stores.range_reader import client_options, library
from memfs.testing.processes import Processes
from tests.support.stores.s3_servers import KEY, REGION, SECRET, S3Server, seaweed

BUCKET = "bench"
RANGE = 4 * MIB
IN_FLIGHT = 16
SMALL_IN_FLIGHT = 32
SMALL_BYTES = 16 * 1024


def run(scale: Scale) -> Iterator[Row]:
    """Cold and warm reads, small objects, writes in the background, a listing."""
    size, small = scale.pick(256, 8) * MIB, scale.pick(1000, 20)
    names = scale.pick(20_000, 100)
    with (
        tempfile.TemporaryDirectory(prefix="memfs-bench-") as directory,
        seaweed(Path(directory)) as server,
        Processes(
            1, memory=cluster.MEMORY, flags=["--log-level=warning"], monitoring=True
        ) as nodes,
        memfs.connect(nodes.url, replication=1) as fs,
    ):
        bench = Bench(server, fs, Path(directory), size, small)
        bench.fill(names)
        yield from bench.reads(scale)
        yield from bench.writes(scale)
        yield bench.listing(scale, names)
        fs.unmount("/s")
        yield from Epochs(bench, nodes, scale.pick(256, 24)).rows(scale)


class Bench:
    """One run against one server."""

    def __init__(
        self, server: S3Server, fs: FileSystem, directory: Path, size: int, small: int
    ) -> None:
        self.fs = fs
        self.size = size
        self.content = bytes(noise(size))
        self.small = [f"small/{number:05}" for number in range(small)]
        server.client.create_bucket(Bucket=BUCKET)
        keys = directory / "keys"
        keys.write_text(f"[default]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n")
        self.options = {"endpoint": server.endpoint, "region": REGION, "credentials": str(keys)}
        fs.mount("/s", f"s3://{BUCKET}", options=self.options, sync_interval=600)
        self.library = library()
        self.store = self.library.store.S3Store(
            BUCKET,
            endpoint=server.endpoint,
            region=REGION,
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options=client_options(server.endpoint),
        )

    def fill(self, names: int) -> None:
        """What is read, put by the library; and the same file outside of the mount."""

        async def put() -> None:
            await self.library.put_async(self.store, "large", self.content)
            data = self.content[:SMALL_BYTES]
            keys = [*self.small, *(f"names/{number:06}" for number in range(names))]
            await in_turns(keys, lambda key: self.library.put_async(self.store, key, data))

        asyncio.run(put())
        self.fs.write_bytes("/unmounted", self.content)

    # --- reading -------------------------------------------------------------------------------

    def reads(self, scale: Scale) -> Iterator[Row]:
        """The large file and the small ones."""
        paths = [f"/s/{key}" for key in self.small]

        def cold() -> float:
            self.fs.free("/s")
            return self._read("/s/large")

        def cold_small() -> float:
            self.fs.free("/s")
            with Stopwatch() as watch:
                found = self.fs.read_many(paths)
            assert all(len(each) == SMALL_BYTES for each in found)
            return len(paths) / watch.seconds

        figures = alternate(
            {"cold": cold, "library": self._ranges, "few": cold_small, "gets": self._gets},
            scale.rounds,
        )
        name = f"cold read {self.size // MIB} MiB"
        yield row(name, "MB/s", figures["cold"], "obstore", figures["library"], 0.85)
        name = f"cold read of {len(paths)} x 16 KiB"
        yield row(name, "objects/s", figures["few"], "obstore", figures["gets"], 0.7)
        self._read("/s/large")
        warm = alternate(
            {
                "warm": lambda: self._read("/s/large"),
                "own": lambda: self._read("/unmounted"),
            },
            scale.rounds,
        )
        yield row("warm read", "MB/s", warm["warm"], "a file outside", warm["own"], 0.95)

    def _read(self, path: str) -> float:
        with Stopwatch() as watch:
            data = self.fs.read_bytes(path)
        assert len(data) == self.size
        return self.size / watch.seconds / 1e6

    def _ranges(self) -> float:
        async def get() -> None:
            async def one(at: int) -> None:
                end = min(at + RANGE, self.size)
                data = await self.library.get_range_async(self.store, "large", start=at, end=end)
                assert len(data) == end - at

            await in_turns(range(0, self.size, RANGE), one)

        with Stopwatch() as watch:
            asyncio.run(get())
        return self.size / watch.seconds / 1e6

    def _gets(self) -> float:
        async def one(key: str) -> None:
            result = await self.library.get_async(self.store, key)
            assert len(await result.bytes_async()) == SMALL_BYTES

        with Stopwatch() as watch:
            asyncio.run(in_turns(self.small, one, SMALL_IN_FLIGHT))
        return len(self.small) / watch.seconds

    # --- writing and listing -------------------------------------------------------------------

    def writes(self, scale: Scale) -> Iterator[Row]:
        """A file that the store gets later; the store has the one before."""

        def write(path: str) -> float:
            self.fs.persist("/s")
            with Stopwatch() as watch:
                self.fs.write_bytes(path, self.content)
            return self.size / watch.seconds / 1e6

        def put() -> float:
            self.fs.persist("/s")

            async def send() -> None:
                await self.library.put_async(self.store, "theirs", self.content)

            with Stopwatch() as watch:
                asyncio.run(send())
            return self.size / watch.seconds / 1e6

        figures = alternate(
            {"mounted": lambda: write("/s/ours"), "own": lambda: write("/own"), "library": put},
            scale.rounds,
        )
        mounted = figures["mounted"]
        yield row("dual-async write", "MB/s", mounted, "a file outside", figures["own"], 0.9)
        yield row("dual-async write", "MB/s", mounted, "obstore", figures["library"], 2.0)

    def listing(self, scale: Scale, names: int) -> Row:
        """All names of a directory, asked of the store each time."""

        def ours() -> float:
            with Stopwatch() as watch:
                self.fs.sync_metadata("/s/names")
                found = self.fs.listdir("/s/names")
            assert len(found) == names
            return names / watch.seconds

        def theirs() -> float:
            with Stopwatch() as watch:
                found = self.library.list_with_delimiter(self.store, "names")["objects"]
            assert len(found) == names
            return names / watch.seconds

        figures = alternate({"ours": ours, "theirs": theirs}, scale.rounds)
        name = f"list {names:,} objects"
        return row(name, "objects/s", figures["ours"], "obstore", figures["theirs"], 0.8)


class Epochs:
    """Shuffled epochs over objects of 1 MiB, more than a mount may keep in memory."""

    def __init__(self, bench: Bench, nodes: Processes, objects: int) -> None:
        self._bench = bench
        self._nodes = nodes
        self._keys = [[f"{kind}/{n:04}" for n in range(objects)] for kind in ("first", "second")]
        self._dice = random.Random(objects)

        async def put() -> None:
            data = bench.content[:MIB]
            keys = [key for keys in self._keys for key in keys]
            await in_turns(keys, lambda key: bench.library.put_async(bench.store, key, data))

        asyncio.run(put())

    def rows(self, scale: Scale) -> Iterator[Row]:
        """Mounted with room for half of an epoch, for two thirds, and for all."""
        keys, objects = self._keys[0], len(self._keys[0])
        self._mount(objects // 2)
        for _ in range(2):
            self._epoch(keys)
        figures = alternate(
            {"full": lambda: self._epoch(keys), "library": lambda: self._gets(keys)}, scale.rounds
        )
        name = "full cache, twice as much read"
        yield row(name, "MB/s", figures["full"], "obstore", figures["library"], 0.9)

        room = objects * 2 // 3
        self._mount(room)
        self._epoch(keys)
        name = "random epochs over 1.5 x memory"
        hits = (self._hits(keys) + self._hits(keys)) / 2
        yield row(name, "hits", hits, "the cached part", room / objects, 0.94)
        others = self._keys[1]
        for _ in range(scale.pick(2, 12)):  # with few objects that takes longer to see
            self._epoch(others)
        name = "the same after a switch to other data"
        yield row(name, "hits", self._hits(others), "all", 1.0, 0.4)

        self._mount(0)
        self._epoch(keys)
        yield row("warm epoch", "hits", self._hits(keys), "all", 1.0, 1.0)
        self._bench.fs.unmount("/e")

    def _mount(self, objects: int) -> None:
        """Anew, with nothing in memory and room for so many; 0: for all."""
        fs = self._bench.fs
        if fs.exists("/e"):
            fs.unmount("/e")
        options, quota = self._bench.options, objects * MIB
        fs.mount("/e", f"s3://{BUCKET}", options=options, sync_interval=600, quota=quota)
        for keys in self._keys:
            fs.listdir(f"/e/{keys[0].partition('/')[0]}")

    def _epoch(self, keys: Sequence[str]) -> float:
        """Read all once in random order; MB/s."""
        paths = [f"/e/{key}" for key in keys]
        self._dice.shuffle(paths)
        with Stopwatch() as watch:
            for start in range(0, len(paths), IN_FLIGHT):
                found = self._bench.fs.read_many(paths[start : start + IN_FLIGHT])
                assert all(len(each) == MIB for each in found)
        return len(paths) * MIB / watch.seconds / 1e6

    def _gets(self, keys: Sequence[str]) -> float:
        library, store = self._bench.library, self._bench.store

        async def one(key: str) -> None:
            result = await library.get_async(store, key)
            assert len(await result.bytes_async()) == MIB

        with Stopwatch() as watch:
            asyncio.run(in_turns(keys, one))
        return len(keys) * MIB / watch.seconds / 1e6

    def _hits(self, keys: Sequence[str]) -> float:
        """The part of an epoch's objects that the store was not asked for."""
        before = self._requests()
        self._epoch(keys)
        return 1 - (self._requests() - before) / len(keys)

    def _requests(self) -> float:
        """What the node has asked the store of this mount."""
        with urlopen(f"{self._nodes.monitoring_url('node-1')}/metrics") as answer:
            text = answer.read().decode()
        found = re.search(r'^memfs_store_requests_total\{mount="/e"\} (\S+)', text, re.MULTILINE)
        assert found is not None, text
        return float(found[1])


def row(name: str, unit: str, ours: float, peer: str, theirs: float, target: float) -> Row:
    """One line, marked as one of stores."""
    return Row(f"S3 mount: {name}", unit, ours, peer, theirs, target)


async def in_turns(items: Sequence[Any], work: Any, at_once: int = IN_FLIGHT) -> None:
    """Do ``work`` for all items, a few at a time."""
    free = asyncio.Semaphore(at_once)

    async def one(item: Any) -> None:
        async with free:
            await work(item)

    await asyncio.gather(*map(one, items))
