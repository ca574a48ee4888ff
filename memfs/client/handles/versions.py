"""Copying the data of one version of a file, whatever happens to the file meanwhile.

Owns which version a copy is of: it has the length that the file had when the copy began, less only
if the file is cut. Block versions are gone soon after they were replaced, so a copy that meets one
that is gone goes on with the newer version, and before it ends it copies again what differs from
that: its bytes are never a mixture. An append therefore costs the last block again at most. Holes
are not copied. Must not know where the bytes go: that is a :class:`CopySink`'s part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol, runtime_checkable

from memfs import limits
from memfs.client.calls.wire import WirePath
from memfs.client.context import ClientContext
from memfs.client.handles.handle import Handle
from memfs.client.reading import layout
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.reader import FileReader
from memfs.concurrency import Coro, end_all
from memfs.errors import BusyError, StaleHandleError
from memfs.types import Attributes, BlockRef

BUFFER_BYTES = 16 * limits.MIB
"""One of the two buffers of a copy: four blocks, which are sent from it without a copy."""
CLONED_AT_ONCE = 64 * limits.MIB
"""Bytes that nodes copy between two reports of progress."""
PASSES = 16
"""Newer versions that a copy goes on with before it gives up."""

Extents = AsyncIterable[tuple[int, int]]
"""Ranges of bytes that hold data, ascending: start and end."""
Advance = Callable[[int], None]
"""Called with the bytes copied, holes included; negative when they have to be copied again."""


def _nothing(count: int) -> None:
    """The progress callback of a caller that wants none."""


class CopySink(Protocol):
    """Where the copy lies; what was not written reads as zeros."""

    async def write(self, offset: int, data: memoryview) -> object:
        """Put ``data`` at ``offset``; the memory is used again afterwards."""

    async def truncate(self, size: int) -> object:
        """Set the length."""


@runtime_checkable
class FileSink(CopySink, Protocol):
    """A file of this host: what lies in memory of this host goes there piece by piece."""

    descriptor: int


class Source:
    """A file of the cluster to be copied, by its path."""

    def __init__(self, context: ClientContext, path: WirePath) -> None:
        self._context = context
        self._path = path

    async def open(self, deadline: float | None = None) -> BlockMap:
        """The file as it is now, with its content if that is small."""
        session, path = self._context.session, self._path
        deadline = session.deadline() if deadline is None else deadline
        return await BlockMap.open(session, path.given, path.raw, deadline)

    async def copy_into(
        self,
        sink: CopySink,
        advance: Advance = _nothing,
        deadline: float | None = None,
        piece: int = BUFFER_BYTES,
    ) -> Attributes:
        """Copy the file as of now, or of a later moment; returns the attributes it had then.

        A file that is replaced meanwhile, and whose old bytes are gone, is copied anew. Raises
        BusyError when it changes faster than it can be copied. ``piece``: bytes of a buffer.
        """
        for _ in range(PASSES):
            done = 0

            def count(more: int) -> None:
                nonlocal done
                done += more
                advance(more)

            file = await self.open(deadline)
            try:
                return await copy_into(self._context, file, sink, count, deadline, piece)
            except StaleHandleError:
                advance(-done)
                await sink.truncate(0)
        raise _too_fast(self._path.given)


async def copy_into(
    context: ClientContext,
    file: BlockMap,
    sink: CopySink,
    advance: Advance = _nothing,
    deadline: float | None = None,
    piece: int = BUFFER_BYTES,
) -> Attributes:
    """Copy the data of an open file; see :meth:`Source.copy_into`."""
    size, reached = file.size, 0
    reader = FileReader(context, file)
    taken: dict[int, BlockRef] = {}
    reader.taken = taken

    async def read(offset: int, into: memoryview) -> None:
        await reader.fetch(offset, into, deadline)

    async def write(offset: int, data: memoryview) -> None:
        nonlocal reached
        await sink.write(offset, data)
        reached = max(reached, offset + len(data))

    async def copy_out(offset: int, length: int) -> int:
        nonlocal reached
        if not isinstance(sink, FileSink):
            return 0
        budget = context.session.deadline() if deadline is None else deadline
        copied = await reader.copy_out(offset, length, sink.descriptor, budget)
        reached = max(reached, offset + copied)
        return copied

    if file.content is not None:
        await write(0, memoryview(file.content))
        advance(size)
        return file.attributes

    async def transfer(extents: Extents, advance: Advance) -> None:
        nonlocal reached
        if isinstance(sink, Handle):
            reached = await _clone(extents, size, reader, sink, advance, deadline) or reached
        else:
            await move(extents, size, read, write, advance, piece, copy_out)

    change = file.attributes.change
    extents: Extents = file.extents(0, size)
    for _ in range(PASSES):
        await transfer(extents, advance)
        differing: list[int] = []
        while change != file.attributes.change and not differing:
            change = file.attributes.change
            size = min(size, file.size)
            differing = await _differing(file, taken, size)
        if not differing:
            if reached != size:
                await sink.truncate(size)
            return file.attributes._replace(size=size)
        extents = _blocks_as_extents(differing, file.attributes.block_size, size)
        advance = _nothing
    raise _too_fast(file.path)


async def _clone(
    extents: Extents,
    size: int,
    reader: FileReader,
    sink: Handle,
    advance: Advance,
    deadline: float | None,
) -> int:
    """Let nodes copy ranges into another file of the cluster; the end of the last one."""
    position = reached = 0
    async for start, end in extents:
        for at in range(start, end, CLONED_AT_ONCE):
            stop = min(end, at + CLONED_AT_ONCE)
            await sink.copy_in(reader, at, at, stop - at, deadline)
            advance(stop - position)
            position = reached = stop
    advance(size - position)
    return reached


async def _differing(file: BlockMap, taken: dict[int, BlockRef], size: int) -> list[int]:
    """Blocks before ``size`` whose version is not the one that was copied."""
    block_size = file.attributes.block_size
    stored: set[int] = set()
    async for start, end in file.extents(0, size):
        stored.update(range(start // block_size, layout.block_count(end, block_size)))
    found = []
    for index in sorted(stored | taken.keys()):
        if index * block_size < size:
            ref, old = await file.ref(index, file.session.deadline()), taken.get(index)
            if old is None or ref.version != old.version:
                found.append(index)
    return found


async def _blocks_as_extents(
    indexes: Iterable[int], block_size: int, size: int
) -> AsyncIterator[tuple[int, int]]:
    for index in indexes:
        yield index * block_size, min(size, (index + 1) * block_size)


def _too_fast(path: str) -> BusyError:
    return BusyError("the file changes faster than it can be copied: try later", path=path)


async def move(
    extents: Extents,
    size: int,
    read: Callable[[int, memoryview], Awaitable[object]],
    write: Callable[[int, memoryview], Coro[None]],
    advance: Advance,
    piece: int = BUFFER_BYTES,
    directly: Callable[[int, int], Awaitable[int]] | None = None,
) -> None:
    """Move ranges through two buffers: one is filled while the other is written.

    ``size``: of the whole; it bounds the buffers, and the last hole is counted up to it.
    ``directly``: moves the beginning of a range otherwise, as far as it can.
    """
    length = max(1, min(piece, size))
    spare, other = memoryview(b""), memoryview(b"")
    writing: asyncio.Task[None] | None = None
    position = 0
    try:
        async for start, end in extents:
            at = start
            while at < end:
                moved = await directly(at, end - at) if directly is not None else 0
                if not moved:
                    spare = spare or memoryview(bytearray(length))
                    data = spare[: min(length, end - at)]
                    await read(at, data)
                    if writing is not None:
                        await writing
                    moved = len(data)
                    writing = asyncio.create_task(write(at, data))
                    spare, other = other, spare
                at += moved
                advance(at - position)
                position = at
        if writing is not None:
            await writing
    finally:
        if writing is not None and not writing.done():
            await end_all([writing])  # it works on a buffer that goes
    advance(size - position)
