"""The descriptor of ``/dev/fuse``: requests in, replies and notifications out.

Owns the order of bytes on the descriptor. Must not know what a request means. The bytes of a write
are received where they are kept (:mod:`memfs.fuse.kept`), and lent to whoever handles it: ``readv``
puts header and structure before them elsewhere.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from memfs.fuse.kept import ROOM_BYTES, KeptWrites, Payload
from memfs.fuse.kernel.negotiation import WRITE_BYTES
from memfs.fuse.kernel.protocol import IN_HEADER, OUT_HEADER, WRITE_IN, InHeader, Notify, Opcode
from memfs.types import Buffer

log = logging.getLogger(__name__)

HEAD_BYTES: Final = IN_HEADER.size + WRITE_IN.size
"""Of a write, what comes before its bytes."""
REQUESTS_PER_TURN: Final = 16
"""Requests received before other work of the loop gets its turn: 1 ms of small ones."""
TURN_SECONDS: Final = 0.001
"""The same for large ones: a read of 1 MiB is copied, and perhaps checked, before the next."""
assert WRITE_BYTES <= ROOM_BYTES


Serve = Callable[[InHeader, bytes, Payload | None], None]
"""Handle a request: its header, what follows it, and the bytes of a write."""


class Device:
    """An open ``/dev/fuse``. ``serve`` is called in the event loop, ``ended`` once."""

    def __init__(self, fd: int, serve: Serve, ended: Callable[[], None], kept: KeptWrites) -> None:
        self.fd = fd
        self._serve = serve
        self._ended = ended
        self._head = bytearray(HEAD_BYTES)
        self._kept = kept
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
        memory = self._kept.room()
        try:
            length = os.readv(self.fd, (self._head, memory))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ENODEV:
                self.stop()
                self._ended()
                return False
            if error.errno not in (errno.ENOENT, errno.EINTR):  # the request was called back
                raise
            return True
        self._hand_on(memory, length)
        return True

    def _hand_on(self, memory: memoryview, length: int) -> None:
        header = IN_HEADER.unpack(self._head)
        body = bytes(self._head[IN_HEADER.size : length])
        rest = length - HEAD_BYTES
        if header.opcode == Opcode.WRITE and rest > 0:
            self._serve(header, body, self._kept.take(rest))
        else:
            self._serve(header, body + memory[: max(rest, 0)], None)

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
