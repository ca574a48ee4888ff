"""One open file, positional: what both the asynchronous and the blocking file objects stand on.

Owns the lease, the joining of reader and writer, so that a handle opened for update reads what
it has written, and the time after which a writer that does not flush is published. Must not know
positions, buffering or text. Invariant: reads may overlap, changes are made one at a time in the
order of the calls.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath

from memfs.client.blockmap import BlockMap
from memfs.client.blocks import BlockReader
from memfs.client.modes import Mode
from memfs.client.reader import FileReader
from memfs.client.session import Session
from memfs.client.writer import FileWriter
from memfs.config import ClientConfig
from memfs.errors import (
    ClusterError,
    InvalidArgumentError,
    MemfsError,
    PathExistsError,
    PathNotFoundError,
)
from memfs.protocol import messages as m
from memfs.types import Buffer

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 5.0
"""Longest that stored blocks stay unpublished: of those nothing makes new copies when nodes go."""
CREATE_RACES = 8
"""Rounds of "it does not exist" and "it exists" before opening for append gives up."""


class CreateOptions:
    """How a file is created where it does not exist: 0 means the cluster's default."""

    __slots__ = ("block_size", "group_blocks", "mode", "parents", "replication", "unmasked")

    def __init__(
        self,
        config: ClientConfig,
        mode: int | None = None,
        parents: bool = False,
        replication: int | None = None,
        block_size: int | None = None,
        group_blocks: int | None = None,
        unmasked: int | None = None,
    ) -> None:
        """None means what ``config`` says; no mode: 0o644, or all that a default ACL grants.

        ``unmasked``: the mode before a umask, which counts where there is a default ACL.
        """
        self.mode, self.unmasked = (0o644, 0o666) if mode is None else (mode, unmasked)
        self.parents = parents
        self.replication = config.replication if replication is None else replication
        self.block_size = config.block_size if block_size is None else block_size
        self.group_blocks = config.group_blocks if group_blocks is None else group_blocks

    def create(self, raw: bytes, *, exclusive: bool) -> m.Create:
        """The request that creates (or empties) ``raw``."""
        return m.Create(
            raw,
            self.mode,
            exclusive,
            self.parents,
            self.replication,
            self.block_size,
            self.group_blocks,
            unmasked=self.unmasked,
        )


class Handle:
    """An open file. ``reader`` and ``writer`` are None where the mode denies them."""

    def __init__(self, blocks: BlockReader, file: BlockMap, mode: Mode) -> None:
        self.file = file
        self.mode = mode
        self.reader = FileReader(blocks, file) if mode.reading else None
        self.writer = FileWriter(blocks, file) if mode.writing else None
        self._changing = asyncio.Lock()
        self._due: asyncio.TimerHandle | None = None
        self._publishing: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes of the file as this handle knows it."""
        return self.file.size

    async def read_into(self, offset: int, into: memoryview, timeout: float | None = None) -> int:
        """Fill ``into`` from byte ``offset``; fewer bytes only at the end."""
        assert self.reader is not None, "the handle is not open for reading"
        await self._store_own(timeout)
        return await self.reader.read_into(offset, into, timeout)

    async def read(self, offset: int, length: int, timeout: float | None = None) -> bytes:
        """At most ``length`` bytes (all when negative) from byte ``offset``."""
        assert self.reader is not None, "the handle is not open for reading"
        await self._store_own(timeout)
        if length < 0:
            return await self.reader.read_all(offset, timeout)
        return await self.reader.read(offset, length, timeout)

    def read_now(self, offset: int, into: memoryview) -> int:
        """As ``read_into`` when nothing has to be waited for, else -1; from any thread."""
        if self.reader is None or self.writer is not None:
            return -1
        return self.reader.read_now(offset, into)

    def read_all_now(self, offset: int) -> bytes | None:
        """All from ``offset`` on when nothing has to be waited for, else None; from any thread."""
        if self.reader is None or self.writer is not None:
            return None
        return self.reader.read_all_now(offset)

    async def view(self, timeout: float | None = None) -> memoryview:
        """The whole content, read-only; see :meth:`FileReader.view`."""
        assert self.reader is not None, "the handle is not open for reading"
        await self._store_own(timeout)
        return await self.reader.view(timeout)

    async def _store_own(self, timeout: float | None) -> None:
        """Before a read: what this handle wrote must lie on the nodes."""
        if self.writer is not None and self.writer.dirty:
            async with self._changing:
                await self.writer.drain(timeout)
            self._publish_in_time()

    async def write(
        self, offset: int | None, data: memoryview, timeout: float | None = None
    ) -> int:
        """Write at byte ``offset``, None: at the end; returns the position after it."""
        assert self.writer is not None, "the handle is not open for writing"
        async with self._changing:
            at = self.size if offset is None else offset
            end = at + await self.writer.write(at, data, timeout)
        self._publish_in_time()
        return end

    async def append_block(self, pieces: tuple[Buffer, ...]) -> asyncio.Task[None]:
        """Append a whole block; see :meth:`FileWriter.append_block`."""
        assert self.writer is not None, "the handle is not open for writing"
        async with self._changing:
            storing = await self.writer.append_block(pieces)
        self._publish_in_time()
        return storing

    async def flush(self, timeout: float | None = None) -> None:
        """Publish what was written: others see it when this returns."""
        if self.writer is not None:
            async with self._changing:
                await self.writer.flush(timeout)

    def _publish_in_time(self) -> None:
        """Publish by and by what lies on the nodes, unless a flush does."""
        if self._due is None and self.writer is not None and self.writer.exposed:
            self._due = asyncio.get_running_loop().call_later(PUBLISH_SECONDS, self._publish)

    def _publish(self) -> None:
        self._due = None
        if self.writer is not None and self.writer.exposed:
            self._publishing = asyncio.create_task(self._publish_stored(self.writer))

    async def _publish_stored(self, writer: FileWriter) -> None:
        try:
            async with self._changing:
                await writer.publish_stored()
        except ClusterError as error:
            log.debug("%s is published later: %s", self.file.path, error)
            self._publish_in_time()
        except MemfsError as error:  # the caller's next flush hears it too
            log.debug("%s is not published: %s", self.file.path, error)

    async def truncate(self, size: int, timeout: float | None = None) -> None:
        """Set the file's length."""
        assert self.writer is not None, "the handle is not open for writing"
        async with self._changing:
            if self.reader is not None:
                await self.reader.close()
            await self.writer.truncate(size, timeout)

    @property
    def quiet(self) -> bool:
        """Whether closing has nothing to do."""
        return self.writer is None and (self.reader is None or self.reader.quiet)

    async def close(self, timeout: float | None = None) -> None:
        """Publish, give the lease back, drop what was read ahead."""
        try:
            if self.writer is not None:
                async with self._changing:
                    await self.writer.close(timeout)
        finally:
            if self._due is not None:
                self._due.cancel()
            if self.reader is not None:
                await self.reader.close()


async def open_handle(
    blocks: BlockReader,
    path: str,
    raw: bytes,
    mode: Mode,
    options: CreateOptions,
    timeout: float | None = None,
) -> Handle:
    """Open ``raw`` (the wire form of ``path``). Raises what the builtin ``open`` raises."""
    session = blocks.session
    deadline = session.deadline(timeout)
    if not mode.writing:
        file = await BlockMap.open(session, path, raw, deadline)
    elif mode.truncating or mode.creating:
        request = options.create(raw, exclusive=mode.creating)
        reply: m.LeaseReply = await session.ask(request, path, deadline)
        session.commits += 1
        file = BlockMap(session, path, reply.attributes, complete=True)
    else:
        file = await _open_existing(session, path, raw, mode, options, deadline)
    return Handle(blocks, file, mode)


async def reopen_handle(blocks: BlockReader, handle: Handle) -> Handle:
    """The inode of ``handle``, open for reading over another session."""
    assert not handle.mode.writing, "a lease cannot be taken along"
    session, old = blocks.session, handle.file
    request = m.GetBlocks(b"", base=old.attributes.inode)
    seen = session.commits
    reply: m.BlocksReply = await session.ask(request, old.path)
    return Handle(blocks, BlockMap.from_reply(session, old.path, reply, seen), handle.mode)


async def _open_existing(
    session: Session,
    path: str,
    raw: bytes,
    mode: Mode,
    options: CreateOptions,
    deadline: float,
) -> BlockMap:
    """``a`` and ``r+``: take the lease; ``a`` creates what does not exist."""
    if mode.reading:
        await _check_readable(session, path, raw, mode, deadline)
    for _ in range(CREATE_RACES):
        try:
            reply: m.LeaseReply = await session.ask(m.AcquireLease(raw), path, deadline)
            break
        except PathNotFoundError:
            if not mode.appending:
                raise
        try:
            request = options.create(raw, exclusive=True)
            reply = await session.ask(request, path, deadline)
            break
        except PathExistsError:
            raw = await _leads_to(session, raw, path, deadline)
    else:
        raise PathNotFoundError("the file appears and vanishes", path=path)
    file = BlockMap(session, path, reply.attributes, complete=reply.attributes.size == 0)
    if reply.last is not None:
        file.put_last(reply.last)
    return file


async def _leads_to(session: Session, raw: bytes, path: str, deadline: float) -> bytes:
    """Where the symlink ``raw`` points (it may be broken); ``raw`` when it is none (any more)."""
    try:
        reply: m.ReadLinkReply = await session.ask(m.ReadLink(raw), path, deadline)
    except (PathNotFoundError, InvalidArgumentError):
        return raw
    return posixpath.join(posixpath.dirname(raw), reply.target)


async def _check_readable(
    session: Session, path: str, raw: bytes, mode: Mode, deadline: float
) -> None:
    """Opening for update needs the right to read as well as the lease."""
    try:
        await session.ask(m.Access(raw, 4), path, deadline)
    except PathNotFoundError:
        if not mode.appending:
            raise
