"""Sending a range of an open file: two buffers, one being filled while the other is being sent.

Must not know WebHDFS. Memory does not depend on the file or the client: a stream holds two
buffers. Invariant: a buffer is filled again only when the transport has sent all of it.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from memfs.checksum import combine, crc32c, crc_of_zeros
from memfs.client.handles.handle import Handle
from memfs.errors import MemfsError
from memfs.gateway.http.budget import GROWTH, LARGEST, SMALLEST, StreamBuffers
from memfs.types import BlockRef


class CutOff(ConnectionError):
    """The announced bytes no longer exist: the client must see that the body is short."""


async def send(
    stream: web.StreamResponse,
    request: web.BaseRequest,
    handle: Handle,
    start: int,
    end: int,
    buffers: StreamBuffers,
    patience: float,
) -> None:
    """Write bytes ``start`` to ``end`` of the file to a prepared response.

    ``patience``: most seconds in which the client reads nothing. Raises CutOff when the file has
    become shorter or another one, ConnectionError when the client is gone.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    _pause_until_all_is_sent(transport)
    reading = _PieceReader(handle, start, end, buffers)
    try:
        view = await reading.next()
        while view is not None:
            following = asyncio.ensure_future(reading.next()) if reading.more else None
            try:
                async with asyncio.timeout(patience):
                    await stream.write(view)
                    await _sent(request)
            except BaseException:
                reading.spoil()
                if following is not None:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                raise
            view = await following if following is not None else None
    finally:
        reading.close()


def _pause_until_all_is_sent(transport: asyncio.Transport) -> None:
    """TLS pauses at its high-water mark, other transports above it: with 0 TLS would pause for
    ever."""
    encrypted = transport.get_extra_info("sslcontext") is not None
    transport.set_write_buffer_limits(high=1 if encrypted else 0, low=0)


async def _sent(request: web.BaseRequest) -> None:
    """Wait until the transport holds nothing of what it was given."""
    await request.writer.drain()


class _PieceReader:
    """The file's bytes in pieces that grow, each in one of two buffers."""

    def __init__(self, handle: Handle, start: int, end: int, buffers: StreamBuffers) -> None:
        self._handle = handle
        self._position = start
        self._end = end
        self._buffers = buffers
        self._size = SMALLEST
        self._held: list[bytearray] = []
        self._turn = 0
        self._reusable = True
        file = handle.file
        self._change = file.attributes.change
        self._first = file.known(0)
        self._first_bytes = min(file.size, file.attributes.block_size)

    @property
    def more(self) -> bool:
        """Whether something is left to read."""
        return self._position < self._end

    async def next(self) -> memoryview | None:
        """The next piece, None at the end."""
        left = self._end - self._position
        if not left:
            return None
        buffer = self._buffer(min(self._size, left))
        self._size = min(LARGEST, self._size * GROWTH)
        view = memoryview(buffer)[: self._piece(min(len(buffer), left))]
        try:
            got = await self._handle.read_into(self._position, view)
            replaced = got < len(view) or await self._replaced()
        except MemfsError as error:
            raise CutOff(str(error)) from error
        if replaced:
            raise CutOff("the file changed while it was being read")
        self._position += got
        return view

    def _piece(self, length: int) -> int:
        """Bytes up to the next multiple of the piece's size: pieces then lie within blocks."""
        beyond = self._position % length
        return length - beyond if length == LARGEST and beyond else length

    def _buffer(self, wanted: int) -> bytearray:
        """The buffer whose turn it is, exchanged for a larger one while pieces grow."""
        turn, self._turn = self._turn, 1 - self._turn
        if turn >= len(self._held):
            self._held.append(self._buffers.take(wanted))
        elif len(self._held[turn]) < wanted:
            self._buffers.give(self._held[turn])
            self._held[turn] = self._buffers.take(wanted)
        return self._held[turn]

    async def _replaced(self) -> bool:
        """Whether the content was replaced: a file that only grew keeps the bytes of its first
        block."""
        file = self._handle.file
        if file.attributes.change == self._change:
            return False
        self._change = file.attributes.change
        first, began = file.known(0), self._first
        if first is None or began is None:
            return True
        return first.version != began.version and not await self._begins_with(began)

    async def _begins_with(self, began: BlockRef) -> bool:
        """Whether the first block, as it is now, begins with the bytes of one of its versions.

        Raises MemfsError.
        """
        length = max(began.length, self._first_bytes)
        if self._handle.file.size < length:
            return False
        crc, buffer = 0, self._buffers.take(SMALLEST)
        try:
            for at in range(0, length, len(buffer)):
                part = memoryview(buffer)[: min(len(buffer), length - at)]
                if await self._handle.read_into(at, part) < len(part):
                    return False
                crc = crc32c(part, crc)
        finally:
            self._buffers.give(buffer)
        missing = length - began.length
        return crc == combine(began.crc, crc_of_zeros(missing), missing)

    def spoil(self) -> None:
        """The transport may still read the buffers: they must not be used again."""
        self._reusable = False

    def close(self) -> None:
        """Give the memory back."""
        for buffer in self._held:
            self._buffers.give(buffer, reusable=self._reusable)
        self._held = []
