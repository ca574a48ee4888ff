"""The descriptor of ``/dev/fuse``: requests in, replies and notifications out.

Owns the memory that requests are received into and the order of bytes on the descriptor. Must not
know what a request means. The bytes of a write are received page-aligned into memory of their own,
which is lent to whoever handles it: ``readv`` puts header and structure before them elsewhere.
Invariant: lent memory is not received into before it is given back.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
import os
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from memfs.fuse.kernel.negotiation import PAGE_BYTES, WRITE_BYTES
from memfs.fuse.kernel.protocol import IN_HEADER, OUT_HEADER, WRITE_IN, InHeader, Notify, Opcode
from memfs.types import Buffer

log = logging.getLogger(__name__)

HEAD_BYTES: Final = IN_HEADER.size + WRITE_IN.size
"""Of a write, what comes before its bytes."""
REQUESTS_PER_TURN: Final = 16
"""Requests received before other work of the loop gets its turn: 1 ms of small ones."""
TURN_SECONDS: Final = 0.001
"""The same for large ones: a read of 1 MiB is copied, and perhaps checked, before the next."""
BUFFERS_KEPT: Final = 24
"""As many as a file that is written has on their way to nodes."""


class Payload:
    """The bytes of a write, in memory that is lent until :meth:`give_back`."""

    __slots__ = ("_device", "_memory", "data", "lent")

    def __init__(self, device: Device, memory: memoryview, length: int) -> None:
        self._device = device
        self._memory = memory
        self.data = memory[:length]
        self.lent = False
        """The handler gives it back, however the request ends."""

    def lend(self) -> Callable[[], None]:
        """Keep the bytes valid after the request, until the returned function is called."""
        self.lent = True
        return self.give_back

    def give_back(self) -> None:
        """Nobody refers to the bytes any more."""
        self.data.release()
        self._device.give_back(self._memory)


Serve = Callable[[InHeader, bytes, "Payload | None"], None]
"""Handle a request: its header, what follows it, and the bytes of a write."""


class Device:
    """An open ``/dev/fuse``. ``serve`` is called in the event loop, ``ended`` once."""

    def __init__(self, fd: int, serve: Serve, ended: Callable[[], None]) -> None:
        self.fd = fd
        self._serve = serve
        self._ended = ended
        self._head = bytearray(HEAD_BYTES)
        self._memory: list[memoryview] = []
        self._reading = False

    def start(self) -> None:
        """Serve from now on."""
        os.set_blocking(self.fd, False)
        asyncio.get_running_loop().add_reader(self.fd, self._readable)
        self._reading = True

    def stop(self) -> None:
        """Take no more requests; replies still go out."""
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self.fd)

    def close(self) -> None:
        """Close the descriptor. The mount ends when no other process has it."""
        self.stop()
        os.close(self.fd)

    # --- requests ---------------------------------------------------------------------------

    def _readable(self) -> None:
        until = perf_counter() + TURN_SECONDS
        for _ in range(REQUESTS_PER_TURN):
            if not self._reading or not self._receive() or perf_counter() > until:
                return

    def _receive(self) -> bool:
        """One request; False when there is none."""
        memory = self._memory.pop() if self._memory else _aligned()
        keep = True
        try:
            length = os.readv(self.fd, (self._head, memory))
            keep = self._hand_on(memory, length)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ENODEV:
                self.stop()
                self._ended()
                return False
            if error.errno not in (errno.ENOENT, errno.EINTR):  # the request was called back
                raise
        finally:
            if keep:
                self._memory.append(memory)
        return True

    def _hand_on(self, memory: memoryview, length: int) -> bool:
        """Hand a request on; returns whether its memory is free again."""
        header = IN_HEADER.unpack(self._head)
        body = bytes(self._head[IN_HEADER.size : length])
        if length <= HEAD_BYTES:
            self._serve(header, body, None)
            return True
        rest = length - HEAD_BYTES
        if header.opcode != Opcode.WRITE:
            self._serve(header, body + memory[:rest], None)
            return True
        self._serve(header, body, Payload(self, memory, rest))
        return False

    def give_back(self, memory: memoryview) -> None:
        """Memory of a payload is free again."""
        if len(self._memory) < BUFFERS_KEPT:
            self._memory.append(memory)

    # --- replies ----------------------------------------------------------------------------

    def reply(self, unique: int, parts: Sequence[Buffer] = ()) -> None:
        """Answer a request with these bytes."""
        length = OUT_HEADER.size + sum(map(len, parts))
        if not self._send((OUT_HEADER.pack(length, 0, unique), *parts)):
            log.error("the kernel refuses %d bytes as a reply", length)
            self.fail(unique, errno.EIO)  # or who asked would wait for ever

    def fail(self, unique: int, number: int) -> None:
        """Answer a request with an errno."""
        self._send((OUT_HEADER.pack(OUT_HEADER.size, -number, unique),))

    def notify(self, code: Notify, parts: Sequence[Buffer] = ()) -> None:
        """Tell the kernel something. Raises OSError: ENOENT when it does not know the node.

        It may wait for a page that a request holds, so it must not be called in the event loop.
        """
        length = OUT_HEADER.size + sum(map(len, parts))
        os.writev(self.fd, (OUT_HEADER.pack(length, int(code), 0), *parts))

    def _send(self, parts: Sequence[Buffer]) -> bool:
        """Write a reply; False when the kernel does not understand it."""
        try:
            os.writev(self.fd, parts)
        except OSError as error:
            # ENOENT: nobody waits for it any more. ENODEV, EPERM: the mount has ended.
            return error.errno in (errno.ENOENT, errno.ENODEV, errno.EPERM)
        return True


def _aligned() -> memoryview:
    """Page-aligned memory for the bytes of one write."""
    return memoryview(mmap.mmap(-1, WRITE_BYTES + PAGE_BYTES))
