"""Each workload on a simulated cluster: silent when the client is honest, loud when it lies."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs.errors import UnavailableError, WouldBlockError
from memfs.testing.history import History
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from memfs.testing.workloads import WORKLOADS, Sizes

SIZES = Sizes(writers=2, readers=1, keys=2, file_bytes=3000, large_bytes=20_000, fill_bytes=100_000)
SECONDS = 3.0


class Client:
    """A client that passes everything on; subclasses lie about some of it."""

    share = 0.15

    def __init__(self, fs):
        self._fs = fs
        self._dice = random.Random(7)

    def __getattr__(self, name):
        return getattr(self._fs, name)

    def lies(self):
        return self._dice.random() < self.share


class LosesWrites(Client):
    async def write_bytes(self, path, data, **options):
        if self.lies() and "loops" not in path and "account" not in path and "place" not in path:
            return len(data)
        return await self._fs.write_bytes(path, data, **options)


class WritesAfterAll(Client):
    """Says that it was not done, though it was."""

    async def write_bytes(self, path, data, **options):
        done = await self._fs.write_bytes(path, data, **options)
        if self.lies():
            raise UnavailableError("no")
        return done


class RemembersTheOld(Client):
    """Reads what it has read before."""

    def __init__(self, fs):
        super().__init__(fs)
        self._seen = {}

    async def _remember(self, name, path, **options):
        key = (name, str(path))
        if key in self._seen and self.lies():
            return self._seen[key]
        result = self._seen[key] = await getattr(self._fs, name)(path, **options)
        return result

    async def read_bytes(self, path, **options):
        return await self._remember("read_bytes", path, **options)

    async def listdir(self, path, **options):
        return await self._remember("listdir", path, **options)


class DamagesBytes(Client):
    async def read_bytes(self, path, **options):
        data = await self._fs.read_bytes(path, **options)
        return data[:-7] if self.lies() else data


class ForgetsRenames(Client):
    async def rename(self, source, target, **options):
        if not self.lies():
            await self._fs.rename(source, target, **options)


class CountsWrongly(Client):
    async def du(self, path="/", **options):
        usage = await self._fs.du(path, **options)
        return usage._replace(files=usage.files + self.lies())


class KeepsRemoved(Client):
    async def remove(self, path, **options):
        if not self.lies():
            await self._fs.remove(path, **options)


class _File:
    def __init__(self, file, repeat):
        self._file, self._repeat = file, repeat

    def __getattr__(self, name):
        return getattr(self._file, name)

    async def write(self, data, **options):
        await self._file.write(data * 2 if self._repeat else data, **options)


class AppendsTwice(Client):
    async def open(self, path, mode="r", **options):
        return _File(await self._fs.open(path, mode, **options), "a" in mode and self.lies())


class AppendsNothing(Client):
    async def open(self, path, mode="r", **options):
        file = await self._fs.open(path, mode, **options)
        if "a" in mode and self.lies():
            await file.close()
            return _Void()
        return file


class _Void:
    async def write(self, data, **options):
        return len(data)

    async def flush(self, **options):
        return

    async def close(self):
        return


class _Lockable:
    def __init__(self, file, lie):
        self._file, self._lie = file, lie

    def __getattr__(self, name):
        return getattr(self._file, name)

    async def lock(self, *arguments, **options):
        await self._lie(self._file, *arguments, **options)


class LocksNothing(Client):
    async def open(self, path, mode="r", **options):
        async def lie(file, *arguments, **options):
            if not self.lies():
                await file.lock(*arguments, **options)

        return _Lockable(await self._fs.open(path, mode, **options), lie)


class RefusesLocks(Client):
    share = 0.4

    async def open(self, path, mode="r", **options):
        async def lie(file, *arguments, **options):
            if not options.get("blocking", True) and self.lies():
                raise WouldBlockError("no")
            await file.lock(*arguments, **options)

        return _Lockable(await self._fs.open(path, mode, **options), lie)


def found(name, client, seed=1):
    """Kinds of violations that a workload reports."""

    async def main():
        loop = asyncio.get_running_loop()
        cluster = SimulatedCluster(seed, block_size=4096, group_blocks=4)
        await cluster.start(nodes=2)
        history = History(loop.time)

        async def connect():
            return client(await cluster.connect())

        workload = WORKLOADS[name](
            connect, seed=seed, history=history, clock=loop.time, top="/work", sizes=SIZES
        )
        await workload.prepare()
        await workload.run(loop.time() + SECONDS)
        violations = await workload.verify()
        await workload.close()
        assert history.acknowledged > 50
        return {violation.kind.value for violation in violations}

    return run(main())


@pytest.mark.parametrize("name", WORKLOADS)
def test_an_honest_client_is_believed(name):
    assert found(name, Client) == set()


@pytest.mark.parametrize(
    ("name", "client", "kinds"),
    [
        ("WholeFileRegister", LosesWrites, {"stale", "lost"}),
        ("WholeFileRegister", WritesAfterAll, {"phantom"}),
        ("WholeFileRegister", RemembersTheOld, {"stale"}),
        ("WholeFileRegister", DamagesBytes, {"torn"}),
        ("LargeFiles", LosesWrites, {"stale", "lost"}),
        ("LargeFiles", DamagesBytes, {"torn"}),
        ("AppendLog", AppendsTwice, {"duplicate"}),
        ("AppendLog", AppendsNothing, {"lost"}),
        ("AppendLog", RemembersTheOld, {"stale"}),
        ("AppendLog", DamagesBytes, {"torn"}),
        ("LeaseSteal", AppendsTwice, {"duplicate"}),
        ("LeaseSteal", AppendsNothing, {"lost"}),
        ("RenameDance", ForgetsRenames, {"lost"}),
        ("RenameDance", RemembersTheOld, {"stale"}),
        ("DirectorySet", LosesWrites, {"stale", "lost"}),
        ("DirectorySet", KeepsRemoved, {"stale", "lost"}),
        ("DirectorySet", RemembersTheOld, {"stale"}),
        ("DirectorySet", WritesAfterAll, {"phantom"}),
        ("Transfer", CountsWrongly, {"broken", "lost"}),
        ("DeleteCreate", LosesWrites, {"order"}),
        ("DeleteCreate", KeepsRemoved, {"order"}),
        ("DeleteCreate", RemembersTheOld, {"order"}),
        ("FillAndFree", LosesWrites, {"stale", "lost"}),
        ("FillAndFree", DamagesBytes, {"torn"}),
        ("FileLocks", LocksNothing, {"order"}),
        ("FileLocks", RefusesLocks, {"phantom"}),
    ],
)
def test_a_lie_is_found(name, client, kinds):
    assert found(name, client) & kinds
