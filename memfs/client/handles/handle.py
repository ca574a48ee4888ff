"""One open file, positional: what both the asynchronous and the blocking file objects stand on.

Owns the lease, the joining of reader and writer, so that a handle opened for update reads what
it has written, and the time after which a writer that does not flush is published. Must not know
positions, buffering or text. Invariant: reads may overlap, changes are made one at a time in the
order of the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from memfs import limits
from memfs.client.calls.arguments import whole
from memfs.client.calls.deadline import turn
from memfs.client.calls.modes import Mode
from memfs.client.context import ClientContext
from memfs.client.handles.external_content import copy_external
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.reader import FileReader
from memfs.client.session.held.locks import last_byte
from memfs.client.writing.range_copy import RangeCopy
from memfs.client.writing.writer import FileWriter
from memfs.concurrency import Coro
from memfs.errors import (
    ClusterError,
    InvalidArgumentError,
    MemfsError,
)
from memfs.protocol import messages as m
from memfs.types import Attributes, Buffer

log = logging.getLogger(__name__)
T = TypeVar("T")

PUBLISH_SECONDS = 5.0
"""Longest that stored blocks stay unpublished: unpublished blocks are not re-replicated."""
FOLLOWING_SECONDS = 1.0
LOCATED_BYTES = limits.MIB
"""A copy of this size takes longer than to go to the loop twice."""


class Handle:
    """An open file. ``reader`` and ``writer`` are None where the mode denies them."""

    def __init__(
        self, context: ClientContext, file: BlockMap, mode: Mode, *, stays: bool = False
    ) -> None:
        """``stays``: the session counts it among what is open, and this handle closes it."""
        self.file = file
        self._stays = stays
        self.mode = mode
        self._context = context
        self._session = context.session
        self._failed = False
        self.reader = FileReader(context, file) if mode.reading else None
        self.writer = FileWriter(context, file) if mode.writing else None
        self._changing = asyncio.Lock()
        self._settling = False
        """Whether what has the lock does not mind writes."""
        self._due: asyncio.TimerHandle | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._lock_owner = 0

    @property
    def size(self) -> int:
        """Bytes of the file as this handle knows it."""
        return self.file.size

    async def read_into(self, offset: int, into: memoryview, timeout: float | None = None) -> int:
        """Fill ``into`` from byte ``offset``; fewer bytes only at the end."""
        assert self.reader is not None, "the handle is not open for reading"
        timeout = self._session.budget(timeout)
        await self._store_own(timeout, offset, len(into))
        return await self._noting(self.reader.read_into(offset, into, timeout))

    async def locate_or_read(self, offset: int, into: memoryview) -> int:
        """As :meth:`read_into`, or -1: :meth:`read_now` can read it now, in the caller's thread."""
        if len(into) >= LOCATED_BYTES and await self.locate(offset, len(into)):
            return -1
        return await self.read_into(offset, into)

    async def locate(self, offset: int, length: int) -> bool:
        """Learn where a range lies; whether :meth:`read_now` can read it then."""
        if self.reader is None or self.writer is not None:
            return False
        return await self._noting(self.reader.locate(offset, length, self._session.deadline()))

    async def read(self, offset: int, length: int, timeout: float | None = None) -> bytes:
        """At most ``length`` bytes (all when negative) from byte ``offset``."""
        assert self.reader is not None, "the handle is not open for reading"
        timeout = self._session.budget(timeout)
        if length < 0:
            await self._store_own(timeout)
            return await self._noting(self.reader.read_all(offset, timeout))
        await self._store_own(timeout, offset, length)
        return await self._noting(self.reader.read(offset, length, timeout))

    async def chmod(self, mode: int, timeout: float | None = None) -> Attributes:
        """Set the permission bits of this inode, whatever its name is by now (``fchmod``)."""
        request = m.SetAttributes(b"", mode=mode, base=self.file.attributes.inode)
        deadline = self._session.deadline(timeout)
        return (await self._session.ask(request, self.file.path, deadline)).attributes

    def read_now(self, offset: int, into: memoryview) -> int:
        """As ``read_into`` when nothing has to be waited for, else -1; from any thread."""
        if self.reader is None or self.writer is not None:
            return -1
        return self.reader.read_now(offset, into)

    def views_now(self, offset: int, length: int) -> tuple[memoryview, ...] | None:
        """As ``read_now``, where the bytes lie; see :meth:`FileReader.views_now`."""
        if self.reader is None or self.writer is not None:
            return None
        return self.reader.views_now(offset, length)

    def read_all_now(self, offset: int) -> bytes | None:
        """All from ``offset`` on when nothing has to be waited for, else None; from any thread."""
        if self.reader is None or self.writer is not None:
            return None
        return self.reader.read_all_now(offset)

    async def view(self, timeout: float | None = None) -> memoryview:
        """The whole content, read-only; see :meth:`FileReader.view`."""
        assert self.reader is not None, "the handle is not open for reading"
        timeout = self._session.budget(timeout)
        await self._store_own(timeout)
        return await self._noting(self.reader.view(timeout))

    async def _store_own(
        self, timeout: float | None, offset: int = 0, length: int = limits.FILE_BYTES_MAX
    ) -> None:
        """Before a read: send what this handle wrote in the range to the nodes."""
        if self.writer is not None and self.writer.dirty:
            async with turn(self._changing, timeout):
                await self._trying(self.writer.drain_range(offset, length, timeout))
            self._publish_in_time()

    async def write(
        self, offset: int | None, data: memoryview, timeout: float | None = None
    ) -> int:
        """Write at byte ``offset``, None: at the end; returns the position after it."""
        assert self.writer is not None, "the handle is not open for writing"
        timeout = self._session.budget(timeout)
        async with turn(self._changing, timeout):
            await self._copy_external(timeout)
            at = self.size if offset is None else offset
            end = at + await self._trying(self.writer.write(at, data, timeout))
        self._publish_in_time()
        return end

    def write_now(
        self, offset: int | None, data: memoryview, give_back: Callable[[], None] | None = None
    ) -> bool:
        """As :meth:`write`, if nothing has to be waited for; see :meth:`FileWriter.write_now`."""
        if self.writer is None or self.file.external:
            return False
        if self._changing.locked() and not self._settling:
            return False
        if not self.writer.write_now(self.size if offset is None else offset, data, give_back):
            return False
        self._publish_in_time()
        return True

    @contextlib.asynccontextmanager
    async def _replacing_bytes(self, timeout: float | None) -> AsyncIterator[None]:
        """Around a change that nodes make: drops what was read ahead."""
        async with turn(self._changing, timeout):
            await self._copy_external(timeout)
            if self.reader is not None:
                await self.reader.close()
            yield

    async def _copy_external(self, timeout: float | None) -> None:
        """Before a change: what an external store holds becomes the cluster's, whole."""
        if not self.file.external:
            return
        assert self.writer is not None, "the handle is not open for writing"
        if self.reader is not None:
            await self.reader.close()
        await self._trying(copy_external(self._context, self.file, self.writer, timeout))

    async def append_block(self, pieces: tuple[Buffer, ...]) -> asyncio.Task[None]:
        """Append a whole block; see :meth:`FileWriter.append_block`."""
        assert self.writer is not None, "the handle is not open for writing"
        async with self._changing:
            await self._copy_external(None)
            storing = await self._trying(self.writer.append_block(pieces))
        self._publish_in_time()
        return storing

    @property
    def unlinked(self) -> bool:
        """Whether the file had lost its last name when the primary last told of it."""
        return not self.file.attributes.links

    async def flush(self, timeout: float | None = None) -> None:
        """Publish what was written: others see it when this returns."""
        timeout = self._session.budget(timeout)
        if self.writer is not None:
            async with turn(self._changing, timeout):
                await self._following(self.writer.flush, timeout)

    async def _noting(self, work: Coro[T]) -> T:
        """Run a read, and note whether the cluster failed."""
        try:
            return await work
        except ClusterError:
            self._failed = True
            raise

    async def _trying(self, work: Coro[T]) -> T:
        """Run a change, and note whether the cluster failed."""
        assert self.writer is not None, "the handle is not open for writing"
        try:
            return await work
        except ClusterError as error:
            self._failed = True
            told = await self.writer.explained(error)
            if told is error:
                raise
            raise told from error

    async def _following(
        self, step: Callable[[float | None], Coro[None]], timeout: float | None
    ) -> None:
        """Publish, flush or close what an earlier call left behind when its time was over.

        As long as no node has answered since, it does not take as long again.
        """
        if timeout is None and self._failed and self._session.silence.felt:
            timeout = self._session.deadline(FOLLOWING_SECONDS)
        await self._trying(step(timeout))

    async def publish_settled(self) -> None:
        """Publish what lies on nodes of a file that only grows, while it is written on."""
        writer = self.writer
        if writer is None or not writer.exposed or self._changing.locked():
            return
        async with self._changing:
            self._settling = True
            try:
                await self._following(writer.publish_settled, None)
            finally:
                self._settling = False

    def _publish_in_time(self) -> None:
        """Publish what lies on the nodes after a while, unless a flush does."""
        if self._due is None and self.writer is not None and self.writer.exposed:
            self._due = asyncio.get_running_loop().call_later(PUBLISH_SECONDS, self._publish)

    def _publish(self) -> None:
        self._due = None
        if self.writer is not None and self.writer.exposed:
            self._publishing = asyncio.create_task(self._publish_stored(self.writer))

    async def _publish_stored(self, writer: FileWriter) -> None:
        try:
            async with self._changing:
                await self._following(writer.publish_stored, None)
        except ClusterError as error:
            log.debug("%s is published later: %s", self.file.path, error)
            self._publish_in_time()
        except MemfsError as error:  # the caller's next flush hears it too
            log.debug("%s is not published: %s", self.file.path, error)

    async def truncate(self, size: int, timeout: float | None = None) -> None:
        """Set the file's length."""
        assert self.writer is not None, "the handle is not open for writing"
        timeout = self._session.budget(timeout)
        async with turn(self._changing, timeout):
            if size:
                await self._copy_external(timeout)
            self.file.external = False
            if self.reader is not None:
                await self.reader.close()
            await self._trying(self.writer.truncate(size, timeout))

    async def zero(
        self, offset: int, length: int, *, grow: bool = False, timeout: float | None = None
    ) -> None:
        """Let ``length`` bytes from ``offset`` read as zeros; whole blocks take no memory then.

        As fallocate(2): FALLOC_FL_PUNCH_HOLE, or with ``grow`` FALLOC_FL_ZERO_RANGE without
        FALLOC_FL_KEEP_SIZE: then the file ends where the range does, or later.
        """
        offset, length = whole("offset", offset), whole("length", length)
        if offset < 0 or length <= 0:
            raise InvalidArgumentError("a range begins at 0 or later and has at least a byte")
        assert self.writer is not None, "the handle is not open for writing"
        timeout = self._session.budget(timeout)
        async with self._replacing_bytes(timeout):
            await self._trying(self.writer.zero(offset, offset + length, timeout))
            if grow and offset + length > self.size:
                await self._trying(self.writer.truncate(offset + length, timeout))

    async def copy_range(
        self,
        source: Handle,
        start: int,
        offset: int,
        length: int,
        timeout: float | None = None,
    ) -> int:
        """copy_file_range: bytes from ``start`` of ``source`` to ``offset`` of this file.

        Nodes copy them among themselves. Returns how many: fewer at the end of the source, which is
        seen as it is now. Not one moment of a source that changes meanwhile. Raises
        InvalidArgumentError when both are one file and the ranges overlap.
        """
        for name, value in (("start", start), ("offset", offset), ("length", length)):
            if whole(name, value) < 0:
                raise InvalidArgumentError(f"{name} is negative")
        assert self.writer is not None, "the handle is not open for writing"
        timeout = self._session.budget(timeout)
        await source._look_again(timeout)
        length = min(length, source.size - start)
        same = source.file.attributes.inode == self.file.attributes.inode
        if same and abs(start - offset) < length:
            raise InvalidArgumentError("the ranges overlap", path=self.file.path)
        if length <= 0:
            return 0
        await self.copy_in(FileReader(source._context, source.file), start, offset, length, timeout)
        return length

    async def copy_in(
        self,
        reader: FileReader,
        start: int,
        offset: int,
        length: int,
        timeout: float | None = None,
    ) -> None:
        """As :meth:`copy_range`, from another file, which ``reader`` reads.

        ``reader.taken`` tells from which versions they came.
        """
        assert self.writer is not None, "the handle is not open for writing"
        timeout = self._session.budget(timeout)
        async with self._replacing_bytes(timeout):
            copying = RangeCopy(reader, self.writer)
            await self._trying(copying.copy(start, offset, length, timeout))
        self._publish_in_time()

    async def data_from(self, offset: int, timeout: float | None = None) -> int | None:
        """lseek(SEEK_DATA): the first byte from ``offset`` on that is stored, None: there is none.

        What is stored may be zeros.
        """
        deadline = await self._look_again(timeout)
        return await self.file.data_from(offset, deadline)

    async def hole_from(self, offset: int, timeout: float | None = None) -> int | None:
        """lseek(SEEK_HOLE): the first byte from ``offset`` on that is not, or the end of the file.

        None: ``offset`` is not in the file.
        """
        deadline = await self._look_again(timeout)
        return await self.file.hole_from(offset, deadline)

    async def _look_again(self, timeout: float | None) -> float:
        """See what is stored now, this handle's own writes included."""
        deadline = self._session.deadline(timeout)
        if self.writer is None:
            await self.file.refresh(deadline)
        else:
            await self._store_own(deadline)
        return deadline

    async def lock(
        self,
        start: int = 0,
        length: int = 0,
        *,
        exclusive: bool = True,
        blocking: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Lock ``length`` bytes (0: all) from ``start`` against every other open file."""
        if not self._lock_owner:
            self._lock_owner = self._session.locks.new_owner()
        await self._session.locks.acquire(
            self.file.attributes.inode,
            self._lock_owner,
            exclusive=exclusive,
            start=start,
            end=last_byte(start, length),
            pid=self._session.process,
            wait=blocking,
            timeout=timeout,
        )

    async def unlock(
        self, start: int = 0, length: int = 0, *, timeout: float | None = None
    ) -> None:
        """Unlock what this handle has locked of the range. Raises LocksLostError."""
        if self._lock_owner:
            inode, end = self.file.attributes.inode, last_byte(start, length)
            await self._session.locks.release(
                inode, self._lock_owner, start=start, end=end, timeout=timeout
            )

    @property
    def locking(self) -> bool:
        """Whether it may hold locks."""
        return bool(self._lock_owner)

    @property
    def quiet(self) -> bool:
        """Whether closing has nothing to do."""
        idle = self.writer is None and not self.locking
        return idle and (self.reader is None or self.reader.quiet)

    @property
    def over(self) -> bool:
        """Whether the session has ended: nothing is left that could be closed."""
        return self._session.routing.closed

    async def close(self, timeout: float | None = None) -> None:
        """Publish, give lease and locks back, drop what was read ahead."""
        timeout = self._session.budget(timeout)
        try:
            if self.writer is not None:
                async with turn(self._changing, timeout):
                    await self._following(self.writer.close, timeout)
        finally:
            await self._put_down()

    async def discard(self, timeout: float | None = None) -> None:
        """Close without publishing what was not published yet; a draft leaves nothing."""
        try:
            if self.writer is not None:
                async with self._changing:
                    await self.writer.discard(timeout)
        finally:
            await self._put_down()

    async def _put_down(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._no_more(self._session.opens.close)
        try:
            if self.reader is not None:
                await self.reader.close()
        finally:
            await self.unlock()

    def drop(self) -> None:
        """Close what is :attr:`quiet`; from any thread."""
        self._no_more(self._session.opens.drop)

    def _no_more(self, close: Callable[[int], None]) -> None:
        """Tell the cluster that it need not keep the file for this handle."""
        if self._stays:
            self._stays = False
            close(self.file.attributes.inode)

    def __del__(self) -> None:
        self.drop()
