"""Requests and their ends, on a socket for a device and with one file for a mount."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from memfs.fuse.kept import KeptWrites
from memfs.fuse.kernel.protocol import IN_HEADER, OUT_HEADER, Opcode
from memfs.fuse.kernel.requests import FSYNC_IN, INTERRUPT_IN
from memfs.fuse.mount import MountSession
from memfs.fuse.server import FuseServer

NOBODY = (1 << 22) + 1
"""A process that does not exist: it is dying, as far as anybody can tell."""


class SlowFile:
    """Publishing it takes until ``published`` is set."""

    def __init__(self) -> None:
        self.published = asyncio.Event()
        self.waited_for = asyncio.Event()

    async def publish(self) -> None:
        self.waited_for.set()
        await self.published.wait()


class OneFile:
    """What the server and fsync need of a mount."""

    def __init__(self) -> None:
        self.file = SlowFile()
        self.cluster, self.files = self, self
        self.interruptible: dict[int, asyncio.Event] = {}
        self.kept = KeptWrites.alone()

    def inode(self, node: int) -> int:
        return node

    def get(self, inode: int) -> SlowFile:
        return self.file


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, ours:
        kernel.setblocking(False)
        yield kernel, ours


def request(opcode: Opcode, unique: int, body: bytes) -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, unique, 2, 0, 0, NOBODY, 0) + body


async def answer(kernel: socket.socket) -> tuple[int, int]:
    """Which request was answered, and with which error."""
    raw = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(kernel, 4096), 60)
    found = OUT_HEADER.unpack(raw)
    return found.unique, -found.error


@pytest.mark.parametrize("apart", [False, True], ids=["in one breath", "while it waits"])
async def test_a_request_that_is_called_back_is_answered(
    ends: tuple[socket.socket, socket.socket], apart: bool
) -> None:
    kernel, ours = ends
    mount = OneFile()
    server = FuseServer(ours.fileno(), cast("MountSession", cast("Any", mount)))
    server.start()
    kernel.send(request(Opcode.FSYNC, 7, FSYNC_IN.pack(0, 0)))
    if apart:
        await mount.file.waited_for.wait()
    kernel.send(request(Opcode.INTERRUPT, 8, INTERRUPT_IN.pack(7)))
    assert await answer(kernel) == (7, errno.EINTR)
    assert server.waiting == 0
    mount.file.published.set()
    kernel.send(request(Opcode.FSYNC, 9, FSYNC_IN.pack(0, 0)))
    assert await answer(kernel) == (9, 0)
    server.device.stop()
