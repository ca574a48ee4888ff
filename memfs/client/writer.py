"""Writes to one open file under its lease.

Owns the block being filled, the blocks in flight (a bounded window) and publication: nothing is
visible to others before a Commit says so (NoPartialVisible). Must not know file objects or
positions other than those it is given. An error of a block in flight surfaces at the next write,
flush or close; close gives the lease back whatever happens.

Copy or wait: bytes handed to ``write`` may be changed by the caller as soon as it returns. A write
that covers several whole blocks is sent from the caller's memory and waits for the
acknowledgements, several in flight at once; ``bytes`` objects cannot change and are sent from
where they are without waiting; everything else is copied into the block being filled, which costs
a tenth of sending it, and returns at once so that the next block fills while this one travels.
"""

from __future__ import annotations

import asyncio
import contextlib

from memfs import limits
from memfs.client import layout
from memfs.client.blockmap import BlockMap
from memfs.client.blocks import BlockReader
from memfs.client.pending import PendingBlock, Sealed
from memfs.client.store import BlockStorer, whole
from memfs.errors import FileTooLargeError, MemfsError, StaleHandleError
from memfs.protocol import messages as m
from memfs.types import BlockRef, Buffer

DIRECT_BLOCKS = 4
"""Whole blocks in one write from which waiting for them beats copying them."""
PUBLISH_BLOCKS = 512
"""Stored blocks after which a long stream is published: they must fit one record."""
assert PUBLISH_BLOCKS + 64 <= limits.BLOCKS_PER_RECORD


class FileWriter:
    """Writes ranges of the file behind a :class:`BlockMap`. One call at a time (callers lock)."""

    def __init__(self, blocks: BlockReader, file: BlockMap) -> None:
        self.file = file
        self._session = blocks.session
        self._storer = BlockStorer(blocks, file.attributes, file.path)
        self._block_size = file.attributes.block_size
        self._pending: PendingBlock | None = None
        self._flying: dict[int, asyncio.Task[None]] = {}
        self._stored: dict[int, BlockRef] = {}
        self._published_size = file.attributes.size
        self._overwrites = False
        self._error: BaseException | None = None
        self._open = True
        self._session.hold()

    @property
    def dirty(self) -> bool:
        """Whether something written is not published yet."""
        return bool(
            self._pending or self._flying or self._stored or self.file.size != self._published_size
        )

    @property
    def exposed(self) -> bool:
        """Whether blocks on nodes, or on their way, wait to be published and only add bytes.

        What changes bytes that others can read waits for a flush, which shows all of it at once.
        """
        return self._open and not self._overwrites and bool(self._stored or self._flying)

    # --- writing ----------------------------------------------------------------------------

    async def write(self, offset: int, data: memoryview, timeout: float | None = None) -> int:
        """Write ``data`` at byte ``offset``; returns its length. Raises earlier blocks' errors."""
        self._raise_earlier()
        if offset + len(data) > limits.FILE_BYTES_MAX:
            raise FileTooLargeError("the file would be too large", path=self.file.path)
        self._overwrites |= offset < self._published_size
        deadline = None if timeout is None else self._session.deadline(timeout)
        keep = isinstance(data.obj, bytes)
        direct = keep or len(data) >= DIRECT_BLOCKS * self._block_size
        waiting: list[int] = []
        for piece in layout.split(offset, len(data), self._block_size):
            part = data[piece.at : piece.at + piece.length]
            if direct and piece.length == self._block_size:
                await self._send_whole(piece.block, (part,), deadline)
                waiting += [] if keep else [piece.block]
            else:
                await self._collect(piece, part, deadline)
            await self._publish_if_many(timeout)
        await self._settle(waiting)
        return len(data)

    async def append_block(
        self, pieces: tuple[Buffer, ...], timeout: float | None = None
    ) -> asyncio.Task[None]:
        """Append a whole block where one begins, from pieces that are sent from where they lie.

        They must not change before the task that is returned has ended. Raises as :meth:`write`.
        """
        self._raise_earlier()
        block, rest = divmod(self.file.size, self._block_size)
        assert rest == 0 and sum(map(len, pieces)) == self._block_size, "not a block in its place"
        if (block + 1) * self._block_size > limits.FILE_BYTES_MAX:
            raise FileTooLargeError("the file would be too large", path=self.file.path)
        deadline = None if timeout is None else self._session.deadline(timeout)
        storing = await self._send_whole(block, pieces, deadline)
        await self._publish_if_many(timeout)
        return storing

    async def _publish_if_many(self, timeout: float | None) -> None:
        if len(self._stored) >= PUBLISH_BLOCKS:
            await self.publish_stored(timeout)

    async def _send_whole(
        self, block: int, pieces: tuple[Buffer, ...], deadline: float | None
    ) -> asyncio.Task[None]:
        """Start storing a whole block from where its bytes are."""
        if self._pending is not None and self._pending.block != block:
            await self._send_pending(deadline)
        await self._make_room(block)
        self._pending = None  # overwritten altogether
        self.file.grow((block + 1) * self._block_size)
        return self._launch(whole(block, *pieces), deadline)

    async def _collect(self, piece: layout.Piece, part: memoryview, deadline: float | None) -> None:
        """Copy a part of a block into the block being filled; send it when it is full."""
        pending = self._pending
        if pending is None or pending.block != piece.block or pending.full:
            await self._send_pending(deadline)
            pending = self._pending = PendingBlock(piece.block, await self._base(piece, deadline))
        pending.write(piece.start, part)
        end = piece.start + piece.length
        self.file.grow(piece.block * self._block_size + end)
        if end == self._block_size:
            await self._send_pending(deadline)

    async def _base(self, piece: layout.Piece, deadline: float | None) -> BlockRef:
        """The current version of a block about to be changed."""
        await self._settle([piece.block])
        limit = self._session.deadline() if deadline is None else deadline
        return await self.file.ref(piece.block, limit)

    async def _send_pending(self, deadline: float | None) -> None:
        """Start storing the block being filled. Until it starts nothing is lost by cancelling."""
        pending = self._pending
        if pending is None:
            return
        await self._make_room(pending.block)
        self._pending = None
        if pending:
            self._launch(pending.seal(), deadline)

    async def _make_room(self, block: int) -> None:
        """Wait until ``block`` is not in flight and the window has a place for it."""
        await self._settle([block])
        while len(self._flying) >= self._session.config.write_window_blocks:
            await asyncio.wait(self._flying.values(), return_when=asyncio.FIRST_COMPLETED)
        self._raise_earlier()

    def _launch(self, sealed: Sealed, deadline: float | None) -> asyncio.Task[None]:
        storing = asyncio.create_task(self._store(sealed, deadline))
        self._flying[sealed.block] = storing
        return storing

    async def _store(self, sealed: Sealed, deadline: float | None) -> None:
        try:
            limit = self._session.deadline() if deadline is None else deadline
            ref = await self._storer.store(sealed, limit)
            self._stored[ref.index] = ref
            self.file.put(ref)
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._flying.pop(sealed.block, None)

    async def _settle(self, indexes: list[int]) -> None:
        """Wait until none of these blocks is in flight; raises if any block failed."""
        tasks = [self._flying[index] for index in indexes if index in self._flying]
        if tasks:
            await asyncio.wait(tasks)
        if indexes:
            self._raise_earlier()

    def _raise_earlier(self) -> None:
        if self._error is not None:
            if isinstance(self._error, MemfsError):
                self._error.filename = self.file.path
            raise self._error

    # --- publishing -------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None) -> None:
        """Store everything written so far; a reader of this handle sees it then."""
        deadline = None if timeout is None else self._session.deadline(timeout)
        await self._send_pending(deadline)
        await self._settle(list(self._flying))
        self._raise_earlier()

    async def flush(self, timeout: float | None = None) -> None:
        """Store and publish everything written so far."""
        await self.drain(timeout)
        if self.dirty:
            await self._commit(self.file.size, timeout)
        self._overwrites = False

    async def publish_stored(self, timeout: float | None = None) -> None:
        """Publish what was sent to nodes, without the block that is being filled."""
        await self._settle(list(self._flying))
        pending, size = self._pending, self.file.size
        if pending is not None and pending.block == (size - 1) // self._block_size:
            stored = pending.block * self._block_size + pending.base.length
            size = max(self._published_size, stored)
        if self._stored:
            await self._commit(size, timeout)

    async def _commit(self, size: int, timeout: float | None, *, release: bool = False) -> None:
        """One namespace command: blocks, the length in bytes and, at the end, the lease."""
        file = self.file
        attributes = file.attributes
        stored = self._stored
        request = m.Commit(
            attributes.inode,
            attributes.generation,
            size,
            tuple(stored[index] for index in sorted(stored)),
            release,
        )
        deadline = self._session.deadline(timeout)
        reply: m.LookupReply = await self._session.ask(request, file.path, deadline)
        self._session.commits += 1
        self._stored = {}
        self._published_size = size
        file.published(reply.attributes)

    async def truncate(self, size: int, timeout: float | None = None) -> None:
        """Make the file ``size`` bytes long, at once and visibly; zeros are added at the end."""
        await self.drain(timeout)
        file = self.file
        index, rest = divmod(size, self._block_size)
        deadline = self._session.deadline(timeout)
        if size < file.size and rest:
            last = await file.ref(index, deadline)
            if last.length > rest:
                await self._make_room(index)
                self._launch(Sealed(index, last, rest, (), ()), deadline)
                await self.drain(timeout)
        end = layout.block_count(size, self._block_size)
        for beyond in [beyond for beyond in self._stored if beyond >= end]:
            del self._stored[beyond]
        if size != file.size or self._stored:
            file.cut(size)
            await self._commit(size, timeout)

    async def close(self, timeout: float | None = None) -> None:
        """Publish everything and give the lease back; the lease goes back even on an error."""
        if not self._open:
            return
        self._open = False
        try:
            await self.drain(timeout)
            if self.dirty:
                await self._commit(self.file.size, timeout, release=True)
            else:
                await self._release(timeout)
        except BaseException:
            await self._abandon()
            raise
        finally:
            self._session.unhold()

    async def _release(self, timeout: float | None) -> None:
        attributes = self.file.attributes
        request = m.ReleaseLease(attributes.inode, attributes.generation)
        with contextlib.suppress(StaleHandleError):  # deleted meanwhile: nothing to give back
            await self._session.ask(request, self.file.path, self._session.deadline(timeout))

    async def _abandon(self) -> None:
        """After a failure: stop what is in flight and release, keeping the first error."""
        tasks = list(self._flying.values())
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
            await self._release(None)
        except MemfsError:
            pass  # the session's end releases it; what failed first is what the caller hears
