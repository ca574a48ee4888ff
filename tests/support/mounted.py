"""Mounts in the simulation: what programs see through the kernel's cache and the mount's.

Owns the kernel's half, as far as it believes things: attributes of a node for as long as the reply
said, names, too, but that nobody can take back, and the bytes that it has read, for as long as
opening the file again does not say otherwise; unless the mount has had it forget them. It counts
from as late as it may. The other half is the code of the real mount: its
handlers, what it knows, its leases, its watch over that. Must not know the nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import PathNotFoundError, StaleHandleError
from memfs.fuse.believed_names import LATE_SECONDS
from memfs.fuse.files.open_inode import OpenInode
from memfs.fuse.kept import KeptWrites
from memfs.fuse.kernel.protocol import (
    ATTR,
    ATTR_OUT,
    ENTRY_OUT,
    FLUSH_IN,
    OPEN_IN,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    ROOT_ID,
    SETATTR_IN,
    WRITE_IN,
    InHeader,
    OpenFlag,
    SetAttr,
    SetattrIn,
)
from memfs.fuse.mount import MountSession
from memfs.fuse.mounted_tree import MountedTree
from memfs.fuse.operations import attributes, content, names
from memfs.fuse.operations.handler import Parts, Reply
from memfs.fuse.options import MountOptions
from memfs.testing.checkers.registers import check_register
from memfs.testing.checkers.violation import Violation
from memfs.testing.history import half_done
from memfs.testing.simulation.clients import SimulatedClient, perform
from memfs.testing.simulation.virtual import Process
from memfs.testing.workloads.base import Workload

_BILLION: Final = 1_000_000_000
_LATE_NS: Final = round(LATE_SECONDS * _BILLION) * 9 // 10
WORD: Final = 8
"""Bytes of a file whose content is looked at."""
LOOKS: Final = 4
"""In a row by one program: the first may ask the cluster, the rest is what caches are for."""


class Kernel:
    """One mount, as programs see it; lives as long as the process that serves it."""

    def __init__(self, fs: AsyncFileSystem, root: int) -> None:
        """``root``: inode of the directory that is mounted; made by the serving process."""
        session = fs._session
        self.mount = MountSession(MountedTree(session, root), MountOptions())
        self.mount.invalidate = self._invalidate
        self._now_ns = session.environment.clock.boottime_ns
        self.mount.names.offered = True
        self._believed: dict[int, tuple[int, int]] = {}
        """Sizes of nodes, and until when."""
        self._names: dict[bytes, tuple[int, int]] = {}
        """Nodes by name, 0: there is none, and until when."""
        self._pages: dict[int, bytes] = {}
        """Bytes of nodes."""
        self._closing: set[asyncio.Task[bytes]] = set()
        self.believed = 0
        """How often it was told to believe a name."""

    def trusted_ns(self) -> int:
        """Nanoseconds for which what was read may be believed, without asking for more."""
        return self.mount.watch._until_ns - self._now_ns()

    async def _invalidate(self, nodes: Sequence[int]) -> None:
        for node in nodes:
            self._believed.pop(node, None)
            self._pages.pop(node, None)

    async def stat(self, name: bytes) -> int | None:
        """The size of what a name means, None: it is not there."""
        await self.fstat(ROOT_ID)  # who may look into it?
        node, until = self._names.get(name, (0, 0))
        if self._now_ns() < until:
            if not node:
                return None
            with contextlib.suppress(StaleHandleError):  # the kernel then asks for the name
                return await self.fstat(node)
        try:
            reply = await _parts(names.lookup(self.mount, _header(ROOT_ID), name + b"\0"))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return None
        entry = ENTRY_OUT.unpack(reply)
        valid_ns = entry.entry_valid * _BILLION + entry.entry_valid_nsec
        if valid_ns:
            self._names[name] = entry.nodeid, self._now_ns() + valid_ns + _LATE_NS
            self.believed += 1
        if not entry.nodeid:
            return None
        return self._learn(entry.nodeid, entry.attr_valid, entry.attr_valid_nsec, reply)

    async def fstat(self, node: int) -> int:
        """The size of a file that is open."""
        size, until = self._believed.get(node, (0, 0))
        if self._now_ns() < until:
            return size
        reply = await _parts(attributes.get(self.mount, _header(node), b""))
        valid = ATTR_OUT.unpack(reply)
        return self._learn(node, valid.attr_valid, valid.attr_valid_nsec, reply)

    async def truncate(self, node: int, size: int) -> None:
        """Change a file through the mount."""
        asked = SetattrIn(**dict.fromkeys(SetattrIn._fields, 0))._replace(
            valid=int(SetAttr.SIZE), size=size
        )
        self._believed.pop(node, None)
        await _parts(attributes.change(self.mount, _header(node), SETATTR_IN.pack(*asked)))

    async def read(self, node: int) -> bytes:
        """Open a file, read its first bytes, close it."""
        async with self._opened(node, os.O_RDONLY) as handle:
            if node not in self._pages:
                asked = READ_IN.pack(handle, 0, WORD, 0, 0, os.O_RDONLY)
                found = await _parts(content.read(self.mount, _header(node), asked))
                self._pages[node] = found
                return found
            return self._pages[node]

    async def overwrite(self, node: int, data: bytes) -> None:
        """Open a file, write its first bytes, close it: others see them then."""
        async with self._opened(node, os.O_WRONLY) as handle:
            self._pages.pop(node, None)
            asked = WRITE_IN.pack(handle, 0, len(data), 0, 0, os.O_WRONLY)
            received = self.mount.kept.received(data)
            await _parts(content.write(self.mount, _header(node), asked, received))
            if not received.lent:
                received.give_back()
            self._pages.pop(node, None)
            await _parts(content.flush(self.mount, _header(node), FLUSH_IN.pack(handle, 0)))

    @contextlib.asynccontextmanager
    async def _opened(self, node: int, flags: int) -> AsyncIterator[int]:
        reply = await _parts(content.open_(self.mount, _header(node), OPEN_IN.pack(flags, 0)))
        opened = OPEN_OUT.unpack(reply)
        if not opened.open_flags & OpenFlag.KEEP_CACHE:
            self._pages.pop(node, None)
        try:
            yield opened.fh
        finally:  # no program waits for it
            asked = RELEASE_IN.pack(opened.fh, flags, 0, 0)
            closing = asyncio.create_task(_parts(content.release(self.mount, _header(node), asked)))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _learn(self, node: int, seconds: int, nanoseconds: int, reply: bytes) -> int:
        size = ATTR.unpack(reply, len(reply) - ATTR.size).size
        self._believed[node] = size, self._now_ns() + seconds * _BILLION + nanoseconds
        return size


async def write(kept: KeptWrites, file: OpenInode, offset: int, data: bytes) -> None:
    """Write to a file as the mount does when it cannot be done at once."""
    received = kept.received(data)
    try:
        await file.write(offset, received)
    finally:
        received.give_back()


def _number(content: bytes) -> int:
    assert len(content) == WORD, "a file of one word has another length"
    return int.from_bytes(content, "big")


def _header(node: int) -> InHeader:
    return InHeader(0, 0, 0, node, 0, 0, 0, 0)


async def _parts(reply: Reply) -> bytes:
    parts: Parts | None = await reply if inspect.isawaitable(reply) else reply
    assert parts is not None
    return b"".join(parts)


_WRITTEN: Final = ".written"


class WatchingMounts(Workload):
    """Files whose sizes are unique values, looked at through mounts while others change them.

    Three kinds: files whose size is changed in place, by clients and through mounts, and looked at
    by name or open; names whose file is replaced by another one, or is not there yet; and files
    whose bytes are written, by clients and through mounts, and read by both. A look at what
    somebody had replaced, and been told so, before it began is a violation, whatever caches
    answered: linearizability of a register.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """As Workload."""
        super().__init__(*args, **options)
        self._kernels: dict[str, tuple[Process, Kernel]] = {}
        self._nodes: dict[str, int] = {}
        self._root = 0

    async def set_up(self, fs: AsyncFileSystem) -> None:
        """The files that are changed in place, empty."""
        for key in self._in_place():
            await self.surely(lambda key=key: fs.write_bytes(key, b""))  # type: ignore[misc]
            self._nodes[key] = (await self.surely(lambda key=key: fs.stat(key))).st_ino  # type: ignore[misc]
        for key in self._written():
            await self.surely(lambda key=key: fs.write_bytes(key, bytes(WORD)))  # type: ignore[misc]
            self._nodes[key] = (await self.surely(lambda key=key: fs.stat(key))).st_ino  # type: ignore[misc]
        self._root = (await self.surely(lambda: fs.stat(self.top))).st_ino

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        """Give a file a size that it never had."""
        size = 1 + next(self._tokens)
        key = dice.choice(self._in_place() + self._named() + self._written())
        if key.endswith(_WRITTEN):
            work = dice.choice((self._overwrite, self._overwrite_mounted, self._overwrite_mounted))
        elif key in self._nodes:
            work = dice.choice((self._truncate, self._truncate_open, self._truncate_mounted))
        else:
            work = dice.choice((self._put, self._replace, self._exchange))
        await self.record(process, key, "write", size, work(fs, key, size))

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        """Look a few times."""
        for _ in range(LOOKS):
            key = dice.choice(self._in_place() + self._named() + self._written())
            opened = key in self._nodes and dice.random() < 0.5
            look: Awaitable[int | None]
            if key.endswith(_WRITTEN):
                look = self._content(fs, key) if opened else self._read(fs, key)
            else:
                look = self._fstat(fs, key) if opened else self._stat(fs, key)
            await self.record(process, key, "read", None, look)

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        """Every file's sizes, in an order that explains all looks."""
        found = []
        for key in self._in_place() + self._named():
            await self.look(key, "read", lambda key=key: self._size(fs, key))  # type: ignore[misc]
            initial = 0 if key in self._nodes else None
            found += check_register(key, self.calls(key), initial)
        for key in self._written():
            await self.look(key, "read", lambda key=key: self._content(fs, key))  # type: ignore[misc]
            found += check_register(key, self.calls(key), 0)
        return found

    async def close(self) -> None:
        """End the watches, too."""
        for process, kernel in self._kernels.values():
            if process.alive:
                await perform(process, kernel.mount.watch.close())
        await super().close()

    def kernels(self) -> list[Kernel]:
        """The mounts that are served now."""
        return [kernel for process, kernel in self._kernels.values() if process.alive]

    # --- files ------------------------------------------------------------------------------

    def _in_place(self) -> list[str]:
        return [self.path(number) for number in range(self.sizes.keys)]

    def _named(self) -> list[str]:
        return [f"{self.path(number)}.named" for number in range(self.sizes.keys)]

    def _written(self) -> list[str]:
        return [self.path(number) + _WRITTEN for number in range(self.sizes.keys)]

    async def _size(self, fs: AsyncFileSystem, key: str) -> int | None:
        try:
            return (await fs.stat(key, timeout=self.sizes.timeout_seconds)).st_size
        except PathNotFoundError:
            return None

    async def _stat(self, fs: AsyncFileSystem, key: str) -> int | None:
        name = key.rpartition("/")[2].encode()
        found: int | None = await self._through(fs, lambda kernel: kernel.stat(name))
        return found

    async def _fstat(self, fs: AsyncFileSystem, key: str) -> int:
        found: int = await self._through(fs, lambda kernel: kernel.fstat(self._nodes[key]))
        return found

    async def _content(self, fs: AsyncFileSystem, key: str) -> int:
        return _number(await fs.read_bytes(key, timeout=self.sizes.timeout_seconds))

    async def _read(self, fs: AsyncFileSystem, key: str) -> int:
        return _number(await self._through(fs, lambda kernel: kernel.read(self._nodes[key])))

    async def _overwrite(self, fs: AsyncFileSystem, key: str, size: int) -> None:
        timeout = self.sizes.timeout_seconds
        file = await fs.open(key, "r+b", timeout=timeout)
        with half_done():
            async with file:
                await file.write(size.to_bytes(WORD, "big"))

    async def _overwrite_mounted(self, fs: AsyncFileSystem, key: str, size: int) -> None:
        node, data = self._nodes[key], size.to_bytes(WORD, "big")
        with half_done():
            await self._through(fs, lambda kernel: kernel.overwrite(node, data))

    async def _truncate(self, fs: AsyncFileSystem, key: str, size: int) -> None:
        await fs.truncate(key, size, timeout=self.sizes.timeout_seconds)

    async def _truncate_open(self, fs: AsyncFileSystem, key: str, size: int) -> None:
        timeout = self.sizes.timeout_seconds
        file = await fs.open(key, "r+b", timeout=timeout)
        with half_done():
            async with file:
                await file.truncate(size, timeout=timeout)

    async def _truncate_mounted(self, fs: AsyncFileSystem, key: str, size: int) -> None:
        with half_done():
            await self._through(fs, lambda kernel: kernel.truncate(self._nodes[key], size))

    async def _put(self, fs: AsyncFileSystem, key: str, size: int) -> None:
        await fs.write_bytes(key, bytes(size), timeout=self.sizes.timeout_seconds)

    async def _replace(self, fs: AsyncFileSystem, key: str, size: int) -> None:
        timeout = self.sizes.timeout_seconds
        beside = f"{key}.{size}"
        await fs.write_bytes(beside, bytes(size), timeout=timeout)
        await fs.replace(beside, key, timeout=timeout)

    async def _exchange(self, fs: AsyncFileSystem, key: str, size: int) -> None:
        """What the name meant stays: who believes the name finds it."""
        timeout = self.sizes.timeout_seconds
        beside = f"{key}.{size}"
        await fs.write_bytes(beside, bytes(size), timeout=timeout)
        try:
            await fs.rename(beside, key, exchange=True, timeout=timeout)
        except PathNotFoundError:
            await fs.replace(beside, key, timeout=timeout)

    # --- mounts -----------------------------------------------------------------------------

    async def _through(self, fs: AsyncFileSystem, work: Callable[[Kernel], Awaitable[Any]]) -> Any:
        """Do something through the mount of a client, which is mounted anew when it has died."""
        assert isinstance(fs, SimulatedClient)
        process, connected = await fs.connected()

        async def look() -> Any:
            served, kernel = self._kernels.get(fs.name, (None, None))
            if served is not process or kernel is None:
                kernel = Kernel(connected, self._root)
                self._kernels[fs.name] = process, kernel
            return await work(kernel)

        return await perform(process, look())
