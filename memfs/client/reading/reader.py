"""Positional reads of one open file.

Owns readahead, the parallel fetch of a large range straight into the caller's memory, and the
recovery when a block is gone because the file was changed meanwhile. Must not know file objects
or positions other than those it is given.

What a reader sees: the file as of the moment it was opened, or anything newer. It looks again
when it meets its end after this client published something, when somebody writes the file, when
the end is met a second time, and when a block it knew was replaced.
"""

from __future__ import annotations

import asyncio
import io
import sys

from memfs import limits
from memfs.client.context import ClientContext
from memfs.client.reading import layout
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.lent_memory import BlockCopy
from memfs.client.reading.local_blocks import LocalFile
from memfs.client.reading.readahead import Readahead
from memfs.client.session.attempts import Attempts
from memfs.concurrency import Coro, in_thread, run_all
from memfs.errors import BlockNotFoundError, BusyError, DataLossError, RetryableError
from memfs.machine import use_large_pages
from memfs.types import BlockRef

DIRECT_BYTES = 8 * limits.MIB
"""A read of this size fills the pipe by itself: it goes into the caller's memory, nothing ahead."""
PARALLEL_BYTES = 32 * limits.MIB
"""Most bytes that one read has in flight."""
STORE_PARALLEL_BYTES = 64 * limits.MIB
"""The same of what nodes may have to fetch from a store, whose answers take longer."""
PARALLEL_BLOCKS = 64
"""Most blocks that one read has in flight. Thousands of small ones would wait for one another
longer than a member is waited for, and asking again would only add to the queue."""
LARGE_PAGES_BYTES = 32 * limits.MIB
"""Results of this size are always memory that malloc has just got from the kernel."""
PASSES = 16
"""Newer versions that a read of several blocks goes on with before it gives up."""
BUFFERS_TROUBLE = sys.version_info >= (3, 12)
"""Whether this Python complains when the buffer of a ``BytesIO`` becomes cyclic garbage (CPython
issue 111331), or crashes (3.12.0 and 3.12.1, issue 111049)."""


class FileReader:
    """Reads ranges of the file behind a :class:`BlockMap`. Calls may overlap."""

    def __init__(self, context: ClientContext, file: BlockMap) -> None:
        self.file = file
        self._context = context
        self._session = context.session
        self._local = LocalFile(context.local, file)
        self._ended_at = -1
        self._sequence = asyncio.Lock()
        self._ahead = Readahead(
            self._fetch_ahead,
            self._replaced,
            context.buffers,
            file.attributes.block_size,
            self._session.config.readahead_bytes,
        )
        self.taken: dict[int, BlockRef] | None = None
        """From which version each block was read, where somebody wants to know."""
        self._went_far = False  # the last read took bytes from another host, or through a socket

    async def read_into(self, offset: int, into: memoryview, timeout: float | None = None) -> int:
        """Fill ``into`` from byte ``offset``; returns the bytes read, fewer only at the end."""
        if not into:
            return 0
        deadline = None if timeout is None else self._session.deadline(timeout)
        if offset >= self.file.size and not await self._look_again(offset, deadline):
            return 0
        change = self.file.attributes.change
        length = max(0, min(len(into), self.file.size - offset))
        await self._read_sized(offset, into[:length], deadline)
        if self.file.attributes.change == change or self.file.writing:
            return length
        await self._drop_ahead()
        return await self._read_one_version(offset, into, deadline)

    async def _read_one_version(self, offset: int, into: memoryview, deadline: float | None) -> int:
        """Read a file that changes meanwhile: no mixture of old and new.

        What was replaced since it was read is read again, and only that: a file that grows all the
        time costs its last block. Raises BusyError when the rest changes faster than it is read.
        """
        file = self.file
        block_size = file.attributes.block_size
        held: dict[int, tuple[BlockRef, layout.BlockSpan]] = {}

        async def fetch(piece: layout.BlockSpan) -> None:
            part = into[piece.at : piece.at + piece.length]
            held[piece.block] = await self._fetch_piece(piece, part, deadline), piece

        for _ in range(PASSES):
            length = max(0, min(len(into), file.size - offset))
            budget = self._session.deadline() if deadline is None else deadline
            stale = [
                piece
                for piece in layout.split(offset, length, block_size)
                if held.get(piece.block) != (await file.ref(piece.block, budget), piece)
            ]
            if not stale:
                return length
            await run_all(map(fetch, stale), self._parallel)
        raise BusyError("the file changes faster than it can be read: try later", path=file.path)

    async def _read_sized(self, offset: int, into: memoryview, deadline: float | None) -> None:
        if not into or (len(into) <= DIRECT_BYTES and self._copy_known(offset, into)):
            return
        if self._ahead.follows(offset):
            async with self._sequence:
                await self._go_on(offset, into, deadline)
        else:
            await self._jump(offset, into, deadline)

    def read_now(self, offset: int, into: memoryview) -> int:
        """As ``read_into`` when all of it is known to lie on this host, else -1. Any thread may."""
        length = min(len(into), self.file.size - offset)
        if length <= 0 or not self._copy_known(offset, into[:length]):
            return -1
        return length

    async def locate(self, offset: int, length: int, deadline: float) -> bool:
        """Learn where a range lies; whether :meth:`read_now` can read it then."""
        file = self.file
        length = min(length, file.size - offset)
        if length <= 0 or file.content is not None:
            return False
        for piece in layout.split(offset, length, file.attributes.block_size):
            ref = await file.ref(piece.block, deadline)
            if await self._local.find(piece.block, ref) is None:
                return False
        return True

    async def copy_out(self, offset: int, length: int, file: int, deadline: float) -> int:
        """Write whole blocks that nodes of this host lend into ``file``, at the same offset.

        Returns how many bytes from ``offset`` on it wrote, 0: the first block is none of those.
        Raises OSErrors of ``file``, a descriptor, which is not in use any more afterwards.
        """
        wanted: list[BlockCopy] = []
        block_size = self.file.attributes.block_size
        for piece in layout.split(offset, min(length, PARALLEL_BYTES), block_size):
            ref = await self.file.ref(piece.block, deadline)
            place = await self._local.find(piece.block, ref)
            if place is None or piece.start or piece.length != ref.length:
                break
            if self.taken is not None:
                self.taken[piece.block] = ref
            wanted.append(BlockCopy(ref, place, 0, ref.length, file=file, at=offset + piece.at))
        good = await in_thread(self._local.copy_out, wanted) if wanted else 0
        return sum(copy.length for copy in wanted[:good])

    def views_now(self, offset: int, length: int) -> tuple[memoryview, ...] | None:
        """As ``read_now``, without a copy: views of where the bytes lie; None: copy them."""
        length = min(length, self.file.size - offset)
        if length <= 0 or self.file.content is not None:
            return None
        return self._local.views_known(offset, length)

    def _copy_known(self, offset: int, into: memoryview) -> bool:
        """Fill ``into`` if its bytes are here already, or in memory of this host."""
        content = self.file.content
        if content is None:
            return self._local.copy_known(offset, into)
        into[:] = content[offset : offset + len(into)]
        return True

    async def view(self, timeout: float | None = None) -> memoryview:
        """The whole content, read-only: without a copy where it lies together on this host."""
        mapped = await self._local.view()
        return memoryview(await self.read_all(0, timeout)) if mapped is None else mapped

    def read_all_now(self, offset: int) -> bytes | None:
        """As ``read_all`` when the content is here already, else None; from any thread."""
        content = self.file.content
        if content is None or offset >= len(content) or self._may_have_grown():
            return None
        return content[offset:] if offset else content

    async def read_all(self, offset: int, timeout: float | None = None) -> bytes:
        """Everything from ``offset`` to the end."""
        content = await self.read(offset, limits.FILE_BYTES_MAX, timeout)
        end = offset + len(content)
        if content and (end < self.file.size or self._may_have_grown()):
            # Once: what grows all the time has its end where it was looked for.
            content += await self.read(end, limits.FILE_BYTES_MAX, timeout)
        return content

    async def read(self, offset: int, length: int, timeout: float | None = None) -> bytes:
        """At most ``length`` bytes from ``offset``, fewer only at the end."""
        if offset >= self.file.size:
            deadline = None if timeout is None else self._session.deadline(timeout)
            if not await self._look_again(offset, deadline):
                return b""
        length = min(length, self.file.size - offset)
        if length <= 0:
            return b""
        if self.file.content is not None:
            return self.file.content[offset : offset + length]
        memory = Memory(length)
        return memory.finish(await self.read_into(offset, memory.view, timeout))

    async def elsewhere(self, block: int, deadline: float) -> BlockRef | None:
        """The version of a block that no node of this host lends; None: it lends it, or a hole."""
        ref = await self.file.ref(block, deadline)
        return None if not ref.length or await self._local.find(block, ref) else ref

    @property
    def quiet(self) -> bool:
        """Whether nothing is ahead."""
        return self._ahead.empty

    async def close(self) -> None:
        """Drop what is ahead."""
        await self._ahead.clear()

    # --- where the end is ---------------------------------------------------------------------

    def _may_have_grown(self) -> bool:
        file = self.file
        return file.attributes.leased or file.seen != self._session.commits

    async def _look_again(self, offset: int, deadline: float | None) -> bool:
        """At the end: ask for the size if it may have changed; returns whether there is more."""
        first_time = self._ended_at != self.file.size
        self._ended_at = self.file.size
        if self.file.writing or (first_time and not self._may_have_grown()):
            return False
        await self.file.refresh(self._session.deadline() if deadline is None else deadline)
        self._ended_at = self.file.size
        return offset < self.file.size

    # --- moving bytes -------------------------------------------------------------------------

    async def _jump(self, offset: int, into: memoryview, deadline: float | None) -> None:
        """A read that continues nothing: exactly what was asked."""
        await self.fetch(offset, into, deadline)
        if not self._sequence.locked():
            await self._drop_ahead()
            self._ahead.advance(offset + len(into))

    async def _drop_ahead(self) -> None:
        async with self._sequence:
            await self._ahead.clear()

    async def _go_on(self, offset: int, into: memoryview, deadline: float | None) -> None:
        """A read that continues the last one: what is ahead, then the rest, then more ahead."""
        done = 0
        while done < len(into):
            got = await self._ahead.copy_into(offset + done, into[done:])
            if not got:
                break
            done += got
        started = self._ahead.position > 0 or offset > 0
        if done < len(into):
            await self._ahead.clear()
            await self.fetch(offset + done, into[done:], deadline)
        self._ahead.advance(offset + len(into))
        if started and self._went_far and len(into) < DIRECT_BYTES:
            self._ahead.extend(self.file.size, len(into))

    async def _fetch_ahead(self, offset: int, into: memoryview) -> BlockRef:
        (piece,) = layout.split(offset, len(into), self.file.attributes.block_size)
        return await self._fetch_piece(piece, into, None)

    async def _replaced(self, offset: int, ref: BlockRef) -> bool:
        """Whether this handle has written the block at ``offset`` since ``ref`` was read."""
        if not self.file.writing:
            return False  # what others change is noticed after the read
        block = offset // self.file.attributes.block_size
        return await self.file.ref(block, self._session.deadline()) != ref

    async def fetch(self, offset: int, into: memoryview, deadline: float | None = None) -> None:
        """Read a range into ``into``, its blocks in parallel."""
        block_size = self.file.attributes.block_size
        pieces = list(layout.split(offset, len(into), block_size))
        if len(pieces) == 1:
            await self._fetch_piece(pieces[0], into, deadline)
            return
        work: list[Coro[object]] = [
            self._fetch_piece(piece, into[piece.at : piece.at + piece.length], deadline)
            for piece in pieces
        ]
        await run_all(work, self._parallel)

    @property
    def _parallel(self) -> int:
        """Blocks that one read has in flight."""
        most = STORE_PARALLEL_BYTES if self.file.of_store else PARALLEL_BYTES
        return max(2, min(PARALLEL_BLOCKS, most // self.file.attributes.block_size))

    async def _fetch_piece(
        self, piece: layout.BlockSpan, into: memoryview, deadline: float | None
    ) -> BlockRef:
        """Read a piece; when its version is gone, look whether the file has a newer one.

        Returns the version that was read.

        Without a deadline each piece has the configured budget: a big read may take long.
        """
        deadline = self._session.deadline() if deadline is None else deadline
        attempts = self._session.attempts(deadline)
        while True:
            ref = await self.file.ref(piece.block, deadline)
            if self.taken is not None:
                self.taken[piece.block] = ref
            place = await self._local.find(piece.block, ref)
            if place is not None and self._local.copy(ref, place, piece.start, into):
                await asyncio.sleep(0)  # a long read of local memory must not hold up the others
                return ref
            self._went_far = True
            try:
                await self._context.blocks.read(ref, piece.start, into, deadline)
                self._local.fetched(ref)
                return ref
            except RetryableError as error:
                await self._recover(error, attempts, deadline)
                current = await self.file.ref(piece.block, deadline)
                if current == ref and isinstance(error, BlockNotFoundError):
                    raise DataLossError(error.message, path=self.file.path) from error

    async def _recover(self, error: RetryableError, attempts: Attempts, deadline: float) -> None:
        """Before another round: a pause, a newer view, the file's current map."""
        error.filename = self.file.path
        if isinstance(error, BlockNotFoundError):
            attempts.failed(error)  # the map may name other copies at once
        else:
            await attempts.retry(error)
        if not self.file.writing:
            await self.file.refresh(deadline)


class Memory:
    """Writable memory that becomes ``bytes`` without a copy.

    A ``BytesIO`` over bytes that nobody else refers to lets them be written through ``getbuffer``
    and hands out the very object; fresh bytes are pages that the kernel has not even given yet.
    Where that means trouble, it is a ``bytearray``, and copied.
    """

    __slots__ = ("_file", "view")

    def __init__(self, length: int) -> None:
        self._file = None if BUFFERS_TROUBLE else io.BytesIO(bytes(length))
        self.view = self._file.getbuffer() if self._file else memoryview(bytearray(length))
        if length >= LARGE_PAGES_BYTES:
            use_large_pages(self.view)

    def finish(self, length: int) -> bytes:
        """The first ``length`` bytes; the memory must not be written any more.

        Where a failed attempt's traceback still refers to the memory, they are copied.
        """
        if self._file is None:
            return bytes(self.view[:length])
        whole = length == len(self.view)
        self.view.release()
        return self._file.getvalue() if whole else self._file.getvalue()[:length]
