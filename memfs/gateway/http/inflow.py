"""Receiving a body into an open file: it is valid only when the last chunk has come.

Must not know WebHDFS. The bytes received so far are published when the sender pauses, so that
readers can follow a log that is being written, and a pausing sender holds no memory here.
Invariant: a body that ends early leaves no bytes in the file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from memfs import limits
from memfs.client.calls.deadline import Deadline
from memfs.client.handles.handle import Handle
from memfs.client.reading.buffers import BufferPool
from memfs.errors import MemfsError, StaleHandleError
from memfs.gateway.http.budget import Slots
from memfs.gateway.http.bulk import Bulk, receive_rest

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Silence after which what has come is published."""
TURN_SECONDS = 10.0
"""Longest that a slow sender keeps its slot before it has to queue again."""
PIECES = 1024
"""Most pieces gathered for a block: each may be a single byte."""
JOINED_PIECES = 64
"""A block of more pieces is copied into one: that costs less than sending them."""
BULK_BLOCK_BYTES = 256 * limits.KIB
"""Smallest block that is worth receiving by itself."""
FIRST_BYTES = 64 * limits.KIB
"""Most that a sender may send before it has a slot."""

_NOTHING = memoryview(b"")

Undo = Callable[[Deadline], Awaitable[None]]
"""Restores a file to its former state, before a deadline."""


class BrokenUpload(ConnectionError):
    """The body ended before its end."""


class BodyUpload:
    """One body on its way into one file."""

    def __init__(
        self,
        request: web.BaseRequest,
        handle: Handle,
        slots: Slots,
        blocks: BufferPool,
    ) -> None:
        self._request = request
        self._bulk: Bulk | None = None
        self._handle = handle
        self._slots = slots
        self._blocks = blocks
        self._since = 0.0
        self._held = 0
        """Slots."""
        self._buffer: bytearray | None = None
        self._free = _NOTHING
        """Of that buffer."""
        self._pieces: list[memoryview] = []
        self._gathered = 0
        self.received = 0

    async def run(self, patience: float) -> None:
        """Receive all of it; ``patience``: most seconds without a byte.

        Raises BrokenUpload when it ends early, errors of memfs when it cannot be stored.
        """
        try:
            while data := await self._next(patience):
                if not self._held:
                    await self._hold()
                await self._gather(data)
                self.received += len(data)
            await self._pass_on()
        finally:
            self._pieces.clear()
            self._buffer, self._free = None, _NOTHING  # an error's traceback would keep them
            self._let_go()
            if self._bulk is not None:
                self._bulk.discard()

    async def _gather(self, data: memoryview) -> None:
        """Collect whole blocks, which the writer then sends from where their pieces lie."""
        while data:
            part = data[: self._room() - self._gathered]
            data = data[len(part) :]
            self._pieces.append(part)
            self._gathered += len(part)
            if self._gathered == self._room() or len(self._pieces) == PIECES:
                await self._pass_on()

    def _room(self) -> int:
        """Bytes up to the end of the block that is being written."""
        block_size = self._handle.file.attributes.block_size
        return block_size - self._handle.size % block_size

    async def _pass_on(self) -> None:
        pieces, self._pieces = tuple(self._pieces), []
        gathered, self._gathered = self._gathered, 0
        buffer, self._buffer, self._free = self._buffer, None, _NOTHING
        if gathered == self._handle.file.attributes.block_size and len(pieces) <= JOINED_PIECES:
            storing = await self._handle.append_block(pieces)
            if buffer is not None:
                storing.add_done_callback(lambda _: self._blocks.give(buffer))
        elif pieces:
            await self._handle.write(None, memoryview(b"".join(pieces)))
            if buffer is not None:
                self._blocks.give(buffer)

    async def _next(self, patience: float) -> memoryview:
        """The next bytes, empty at the end; publishes when the sender pauses."""
        if self._held and self._turn_is_over():
            await self._publish()
        seconds = min(PAUSE_SECONDS, patience) if self._held else patience
        try:
            return await self._read(seconds)
        except TimeoutError:
            if not self._held:
                raise BrokenUpload("nothing came for too long") from None
        await self._publish()
        return await self._next(patience)

    async def _read(self, seconds: float) -> memoryview:
        if self._bulk is None and self._handle.file.attributes.block_size >= BULK_BLOCK_BYTES:
            self._bulk = receive_rest(self._request, self.received)
        content = self._request.content
        try:
            if self._bulk is not None:
                return await self._receive(self._bulk, seconds)
            async with asyncio.timeout(seconds):
                return memoryview(await content.readany())
        except asyncio.CancelledError as error:
            if content.exception() is None:
                raise
            raise BrokenUpload("the body ended early or is malformed") from error
        except TimeoutError:
            raise
        except Exception as error:  # whatever aiohttp calls a body that ends early
            raise BrokenUpload(f"the body ended early: {error}") from error

    async def _receive(self, bulk: Bulk, seconds: float) -> memoryview:
        """Receive directly into the memory from which the block is sent."""
        if not bulk.left:
            return _NOTHING
        room = self._room() - self._gathered
        if not self._held:
            return await bulk.first(min(room, FIRST_BYTES), seconds)
        if not self._free:
            self._buffer = self._blocks.take(self._handle.file.attributes.block_size)
            self._free = memoryview(self._buffer)
        piece = await bulk.fill(self._free[:room], seconds)
        self._free = self._free[len(piece) :]
        return piece

    def _turn_is_over(self) -> bool:
        return asyncio.get_running_loop().time() - self._since > TURN_SECONDS

    async def _hold(self) -> None:
        count = self._slots.needed(self._handle.file.attributes.block_size)
        await self._slots.acquire(count)
        self._held = count
        self._since = asyncio.get_running_loop().time()

    def _let_go(self) -> None:
        held, self._held = self._held, 0
        if held:
            self._slots.release(held)

    async def _publish(self) -> None:
        await self._pass_on()
        await self._handle.flush()
        self._let_go()
        _check_named(self._handle)


async def receive(
    request: web.BaseRequest,
    handle: Handle,
    slots: Slots,
    blocks: BufferPool,
    patience: float,
    undo: Undo,
    begin_deadline: Callable[[], Deadline],
) -> int:
    """Receive the request's body into ``handle`` and close it; returns the bytes.

    Raises StaleHandleError for a file that was deleted meanwhile: unlike a process that has it
    open, nobody could ever read what was sent. When anything fails or is cancelled, ``undo``
    restores the file. ``begin_deadline`` makes the deadline of what follows the body.
    """
    upload = BodyUpload(request, handle, slots, blocks)
    try:
        await upload.run(patience)
        await handle.close(begin_deadline())
        _check_named(handle)
    except BaseException as error:
        log.info("an upload of %d bytes is discarded: %s", upload.received, error)
        await asyncio.shield(_undo(handle, undo, begin_deadline()))
        raise
    return upload.received


def _check_named(handle: Handle) -> None:
    if handle.unlinked:
        raise StaleHandleError("the file was deleted while it was written")


async def _undo(handle: Handle, undo: Undo, deadline: Deadline) -> None:
    try:
        if not handle.unlinked:
            await undo(deadline)
    except MemfsError as error:
        log.warning("what an upload left behind stays: %s", error)
    try:
        await handle.close(deadline)
    except MemfsError as error:
        log.debug("a broken upload's lease: %s", error)
