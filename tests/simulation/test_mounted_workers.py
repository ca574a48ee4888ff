"""A mount whose worker is killed: the next one goes on with what programs have open and locked."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import mmap
import os
import stat

import pytest
from primary_events import failover, nothing

from memfs.config import ClientConfig
from memfs.errors import WouldBlockError
from memfs.fuse import kept
from memfs.fuse.kept import KeptWrites
from memfs.fuse.kernel.protocol import (
    ATTR,
    CREATE_IN,
    ENTRY_OUT,
    FLUSH_IN,
    FSYNC_IN,
    LK_FLOCK,
    LK_IN,
    MKDIR_IN,
    OPEN_IN,
    OPEN_KILL_SUIDGID,
    OPEN_OUT,
    READ_IN,
    RELEASE_FLOCK_UNLOCK,
    RELEASE_IN,
    RENAME_IN,
    ROOT_ID,
    UNIQUE_RESEND,
    WRITE_IN,
    WRITE_OUT,
    InHeader,
    Opcode,
)
from memfs.fuse.ledger import MountLedger
from memfs.fuse.operations import content
from memfs.fuse.options import MountOptions
from memfs.fuse.server import FuseServer
from memfs.fuse.worker import connect
from memfs.paths import Endpoint
from memfs.testing.simulation.cluster import PORT, SimulatedCluster
from memfs.testing.simulation.virtual import run
from memfs.types import LOCK_END, LockKind
from tests.support.mounted import write

DATA = b"what the file has"
SETTINGS = {"lease_seconds": 1.0, "member_timeout_seconds": 2.0}
OWNER = 77


class Replies:
    """In the place of the device: what the kernel is told."""

    def __init__(self):
        self.by_request = {}

    def reply(self, unique, parts=()):
        self.by_request[unique].set_result(b"".join(parts))

    def fail(self, unique, number):
        self.by_request[unique].set_exception(OSError(number, os.strerror(number)))

    def notify(self, code, parts=()):
        pass


class Mount:
    """One mount in the simulation, its workers, and the kernel that asks them."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.host = cluster._client_host()
        self.ledger = MountLedger(memoryview(bytearray(MountLedger.alone()._memory)))
        self.memory = self.ledger._memory
        self.kept = mmap.mmap(-1, kept.SIZE)
        self.uniques = itertools.count(2, 2)

    async def start_worker(self):
        names = [name for name in self.cluster.hosts if name.startswith("n")]
        config = ClientConfig(
            endpoints=tuple(Endpoint(name, PORT) for name in names),
            user="root",
            groups=(),
            local_descriptors=False,
        )
        self.ledger = MountLedger(self.memory, KeptWrites(self.kept))
        working = connect(config, MountOptions(), "/", self.ledger, self.host.environment())
        self.session = await self.host.process.perform(working)
        self.server = FuseServer(-1, self.session)
        self.replies = self.server.device = Replies()

    async def kill_worker(self, seconds=1.0):
        self.cluster.crash(self.host.name)
        await asyncio.sleep(seconds)
        self.host.network.restart()

    async def replace_worker(self, seconds=1.0):
        await self.kill_worker(seconds)
        await self.start_worker()

    def send(self, opcode, node, body, unique=None, user=0, data=None):
        """The reply, later; the request's number."""
        unique = next(self.uniques) if unique is None else unique
        self.replies.by_request[unique] = asyncio.get_running_loop().create_future()
        header = InHeader(0, int(opcode), unique, node, user, user, 1234, 0)
        payload = None if data is None else self.session.kept.received(data)
        self.host.process.run(self.server._serve, header, body, payload)
        return unique

    async def ask(self, opcode, node, body, unique=None, user=0):
        unique = self.send(opcode, node, body, unique, user)
        return await self.replies.by_request[unique]

    # --- what programs do ---------------------------------------------------------------------

    async def open(self, node, flags=os.O_RDWR):
        return OPEN_OUT.unpack(await self.ask(Opcode.OPEN, node, OPEN_IN.pack(flags, 0))).fh

    async def read(self, node, handle):
        return await self.ask(Opcode.READ, node, READ_IN.pack(handle, 0, 4096, 0, 0, 0))

    def append(self, node, handle, data, unique=None):
        """A request to append."""
        body = WRITE_IN.pack(handle, 0, len(data), 0, 0, os.O_WRONLY | os.O_APPEND)
        return self.send(Opcode.WRITE, node, body, unique, data=data)

    async def close(self, node, handle, unlock=0):
        await self.ask(Opcode.FLUSH, node, FLUSH_IN.pack(handle, OWNER))
        body = RELEASE_IN.pack(handle, handle & 0xFFFFFFFF, unlock, OWNER)
        await self.ask(Opcode.RELEASE, node, body)

    async def lock(self, node, handle, kind, opcode=Opcode.SETLK):
        flags = LK_FLOCK if kind == LockKind.WHOLE else 0
        body = LK_IN.pack(handle, OWNER, 0, LOCK_END, fcntl.F_WRLCK, 1234, flags)
        await self.ask(opcode, node, body)


async def scene(seed=1):
    cluster = SimulatedCluster(seed, replication=2, min_in_sync=1, **SETTINGS)
    await cluster.start(3)
    await asyncio.sleep(3)
    fs = await cluster.connect()
    await fs.write_bytes("/f", DATA)
    mount = Mount(cluster)
    await mount.start_worker()
    return cluster, fs, mount, (await fs.stat("/f")).st_ino


EVENTS = pytest.mark.parametrize("event", [nothing, failover])
LONG = 60
"""Seconds after which whatever a client lost is lost."""


@EVENTS
@pytest.mark.parametrize("kind", [LockKind.RANGE, LockKind.WHOLE])
def test_locks_are_held_on(kind, event):
    async def main():
        cluster, fs, mount, node = await scene()
        handle = await mount.open(node)
        await mount.lock(node, handle, kind)
        await mount.kill_worker()
        await event(cluster)
        await mount.start_worker()
        await asyncio.sleep(LONG)
        locks = fs._session.locks
        with pytest.raises(WouldBlockError):
            await locks.acquire(node, 1, kind=kind, wait=False)
        await mount.close(node, handle, RELEASE_FLOCK_UNLOCK * (kind == LockKind.WHOLE))
        await locks.acquire(node, 1, kind=kind, wait=False)
        assert not mount.ledger.locked and not mount.ledger.opened

    run(main())


@EVENTS
def test_a_deleted_file_stays_open_and_goes_when_it_is_closed(event):
    async def main():
        cluster, fs, mount, node = await scene()
        handle = await mount.open(node)
        await fs.remove("/f")
        await mount.kill_worker()
        await event(cluster)
        await mount.start_worker()
        await asyncio.sleep(LONG)
        assert await mount.read(node, handle) == DATA
        await mount.close(node, handle)
        await asyncio.sleep(LONG)
        primary = next(each for each in cluster.nodes.values() if each.role.leads)
        assert not primary.role.namespace.unlinked()

    run(main())


def test_nobody_waits_for_the_lease_of_a_killed_worker():
    async def main():
        _, fs, mount, node = await scene()
        await mount.open(node)
        file = mount.session.files.get(node)
        await mount.host.process.perform(write(mount.session.kept, file, 0, b"not published"))
        await mount.replace_worker()
        async with await fs.open("/f", "r+b") as other:
            await other.write(DATA.upper())
        handle = await mount.open(node, os.O_RDONLY)
        assert await mount.read(node, handle) == DATA.upper()

    run(main())


@EVENTS
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("asked", ["fsync", "close"])
def test_what_was_written_is_published_by_the_next_worker(event, seed, asked):
    """Killed twice; the last write is asked for again, and made once."""

    async def main():
        cluster, fs, mount, node = await scene(seed)
        handle = await mount.open(node, os.O_WRONLY)
        written = DATA
        for number in range(6):
            data = b"%d" % number * (1 + 70_000 * (number % 3))
            request = mount.append(node, handle, data)
            await mount.replies.by_request[request]
            written += data
            if number == 3:
                await mount.kill_worker(seed)
                await event(cluster)
                await mount.start_worker()
        await mount.kill_worker()
        await mount.start_worker()
        again = mount.append(node, handle, data, request | UNIQUE_RESEND)
        assert WRITE_OUT.unpack(await mount.replies.by_request[again]).size == len(data)
        if asked == "close":
            await mount.close(node, handle)
        else:
            await mount.ask(Opcode.FSYNC, node, FSYNC_IN.pack(handle, 0))
        assert await fs.read_bytes("/f") == written
        assert not mount.session.kept.left

    run(main())


def test_a_lock_that_a_killed_worker_waited_for_goes_to_who_waits_on():
    async def main():
        _, fs, mount, node = await scene()
        handle = await mount.open(node)
        await fs._session.locks.acquire(node, 1)
        flags = LK_IN.pack(handle, OWNER, 0, LOCK_END, fcntl.F_WRLCK, 1234, 0)
        unique = mount.send(Opcode.SETLKW, node, flags)
        await asyncio.sleep(1)
        await mount.replace_worker()
        again = mount.send(Opcode.SETLKW, node, flags, unique | UNIQUE_RESEND)
        await asyncio.sleep(1)
        assert not mount.replies.by_request[again].done()
        await fs._session.locks.release(node, 1)
        await mount.replies.by_request[again]
        with pytest.raises(WouldBlockError):
            await fs._session.locks.acquire(node, 1, wait=False)

    run(main())


def create(flags=os.O_EXCL):
    asked = CREATE_IN.pack(os.O_RDWR | os.O_CREAT | flags, stat.S_IFREG | 0o600, 0, 0)
    return Opcode.CREATE, asked + b"made\0"


ONCE = {
    "create": create(),
    "mkdir": (Opcode.MKDIR, MKDIR_IN.pack(0o700, 0) + b"made\0"),
    "symlink": (Opcode.SYMLINK, b"made\0target\0"),
    "unlink": (Opcode.UNLINK, b"f\0"),
    "rename": (Opcode.RENAME, RENAME_IN.pack(ROOT_ID) + b"f\0made\0"),
}


@pytest.mark.parametrize("moment", [0.0, 0.001, 0.01, 0.02, 0.04, 0.08, 0.5])
@pytest.mark.parametrize("once", ONCE)
def test_what_the_kernel_asks_again_is_done_once(once, moment):
    """The worker is killed at any moment of it, also when it is done and not answered."""
    opcode, body = ONCE[once]

    async def main():
        _, fs, mount, _ = await scene()
        unique = mount.send(opcode, ROOT_ID, body)
        mount.replies.reply = lambda unique, parts=(): None  # it is killed before it answers
        mount.ledger.answered = lambda request: None
        await asyncio.sleep(moment)
        await mount.replace_worker()
        reply = await mount.ask(opcode, ROOT_ID, body, unique | UNIQUE_RESEND)
        names = set(await fs.listdir("/"))
        assert names == {"unlink": set(), "rename": {"made"}}.get(once, {"f", "made"})
        if once == "create":
            node = ENTRY_OUT.unpack(reply).nodeid
            handle = OPEN_OUT.unpack(reply[-OPEN_OUT.size :]).fh
            file = mount.session.files.get(node)
            await mount.host.process.perform(write(mount.session.kept, file, 0, DATA))
            await mount.close(node, handle)
            assert await fs.read_bytes("/made") == DATA
        with pytest.raises(OSError) as failed:  # a request of its own
            await mount.ask(opcode, ROOT_ID, body)
        assert failed.value.errno in (errno.EEXIST, errno.ENOENT)

    run(main())


@pytest.mark.parametrize("first", [0.0, 0.5])
def test_it_is_done_once_when_two_workers_in_a_row_are_killed(first):
    opcode, body = ONCE["mkdir"]

    async def main():
        _, fs, mount, _ = await scene()
        unique = next(mount.uniques)
        for seconds, number in ((first, unique), (0.5, unique | UNIQUE_RESEND)):
            mount.send(opcode, ROOT_ID, body, number)
            mount.replies.reply = lambda unique, parts=(): None
            mount.ledger.answered = lambda request: None
            await asyncio.sleep(seconds)
            await mount.replace_worker()
        await mount.ask(opcode, ROOT_ID, body, unique | UNIQUE_RESEND)
        assert set(await fs.listdir("/")) == {"f", "made"}

    run(main())


def test_a_worker_that_has_sent_nothing_leaves_nothing_to_repeat():
    async def main():
        _, _, mount, _ = await scene()
        await mount.replace_worker()
        former = mount.ledger.former()
        assert former.turn == 2 and former.next_command == 2, "0 would be no id"

    run(main())


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.02, 0.5])
def test_an_open_that_the_kernel_never_heard_of_keeps_nothing(moment):
    async def main():
        cluster, fs, mount, node = await scene()
        body = OPEN_IN.pack(os.O_RDONLY, 0)
        unique = mount.send(Opcode.OPEN, node, body)
        mount.replies.reply = lambda unique, parts=(): None
        await asyncio.sleep(moment)
        await mount.replace_worker()
        reply = await mount.ask(Opcode.OPEN, node, body, unique | UNIQUE_RESEND)
        await mount.close(node, OPEN_OUT.unpack(reply).fh)
        assert not mount.ledger.opened and mount.session.files.get(node) is None
        await fs.remove("/f")
        await asyncio.sleep(LONG)
        primary = next(each for each in cluster.nodes.values() if each.role.leads)
        assert not primary.role.namespace.unlinked()

    run(main())


def test_an_open_of_what_another_host_has_just_made_drops_set_id_bits_with_its_content():
    """The kernel asks to create it: it did not find the name."""

    async def main():
        _, fs, mount, _ = await scene()
        await fs.chmod("/f", 0o6755)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        asked = CREATE_IN.pack(flags, stat.S_IFREG | 0o600, 0, OPEN_KILL_SUIDGID)
        reply = await mount.ask(Opcode.CREATE, ROOT_ID, asked + b"f\0", user=1000)
        found = await fs.stat("/f")
        assert (stat.S_IMODE(found.st_mode), found.st_size) == (0o755, 0)
        assert stat.S_IMODE(ATTR.unpack(reply, ENTRY_OUT.size).mode) == 0o755

    run(main())


def test_a_close_that_is_asked_for_again_closes_nothing_else():
    async def main():
        _, _, mount, node = await scene()
        handles = [await mount.open(node), await mount.open(node)]
        body = RELEASE_IN.pack(handles[0], os.O_RDWR, 0, OWNER)
        unique = mount.send(Opcode.RELEASE, node, body)
        await asyncio.sleep(0.1)
        await mount.replace_worker()
        await mount.ask(Opcode.RELEASE, node, body, unique | UNIQUE_RESEND)
        assert mount.session.files.get(node).opens == 1
        await mount.close(node, handles[1])
        assert mount.session.files.get(node) is None
        assert content.writes(handles[1])

    run(main())
