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
from collections.abc import AsyncIterator, Callable

from memfs import limits
from memfs.client.context import ClientContext
from memfs.client.reading import layout
from memfs.client.reading.block_map import BlockMap
from memfs.client.writing.leftovers import WITHDRAWN_AT_ONCE
from memfs.client.writing.pending import Copied, Sealed
from memfs.client.writing.unpublished import Unpublished
from memfs.concurrency import end_all
from memfs.errors import (
    FileTooLargeError,
    LeaseLostError,
    MemfsError,
    RetryableError,
    StaleHandleError,
)
from memfs.protocol import messages as m
from memfs.types import BlockRef, Buffer

DIRECT_BLOCKS = 4
"""Whole blocks in one write from which waiting for them beats copying them."""
LOOK_SECONDS = 1.0
"""For the question whether a lease is over, after a call that ended for want of time."""
PUBLISH_BLOCKS = 512
"""Stored blocks after which a long stream is published: they must fit one record."""
assert PUBLISH_BLOCKS + 64 + WITHDRAWN_AT_ONCE <= limits.BLOCKS_PER_RECORD


class FileWriter(Unpublished):
    """Writes ranges of the file behind a :class:`BlockMap`. One call at a time (callers lock)."""

    def __init__(self, context: ClientContext, file: BlockMap) -> None:
        super().__init__(context, file)
        self._published_size = file.attributes.size
        self._overwrites = False
        self._open = True
        self.naming: Callable[[m.Commit], m.PublishDraft] | None = None
        """Makes of the last commit the one that gives a file without a name its name..."""
        self.name = b""
        """... which is this."""
        self.committed: Callable[[], None] | None = None
        """Called after every commit: what is not :attr:`pending` is seen by others."""
        self._session.keepalive.hold()
        self._opened_ns = self._session.environment.clock.boottime_ns()

    @property
    def dirty(self) -> bool:
        """Whether something written is not published yet."""
        return bool(
            self._gathering
            or self._flying
            or self._stored
            or self.file.size != self._published_size
        )

    @property
    def is_open(self) -> bool:
        """Whether it was neither closed nor discarded."""
        return self._open

    @property
    def exposed(self) -> bool:
        """Whether blocks on nodes, or on their way, wait to be published and only add bytes.

        What changes bytes that others can read waits for a flush, which shows all of it at once.
        """
        return self._open and not self._overwrites and bool(self._stored or self._flying)

    # --- writing ----------------------------------------------------------------------------

    async def write(self, offset: int, data: memoryview, timeout: float | None = None) -> int:
        """Write ``data`` at byte ``offset``; returns its length. Raises earlier blocks' errors."""
        self._check_open()
        self._raise_earlier()
        deadline = self._session.budget(timeout)
        await self._check_growth(offset + len(data), deadline)
        self._overwrites |= offset < self._published_size
        keep = isinstance(data.obj, bytes)
        direct = keep or len(data) >= DIRECT_BLOCKS * self._block_size
        async with self._lending() as lent:
            for piece in layout.split(offset, len(data), self._block_size):
                part = data[piece.at : piece.at + piece.length]
                if direct and piece.length == self._block_size:
                    storing = await self._send_whole(piece.block, (part,), deadline)
                    if not keep:
                        lent[piece.block] = storing
                else:
                    await self._wait_stored(list(lent), deadline)
                    lent.clear()
                    await self._collect(piece, part, deadline)
                if len(self._stored) >= PUBLISH_BLOCKS:
                    await self.publish_stored(timeout)
                    lent.clear()
            await self._wait_stored(list(lent), deadline)
        return len(data)

    def write_now(
        self, offset: int, data: memoryview, give_back: Callable[[], None] | None = None
    ) -> bool:
        """As :meth:`write`, if nothing has to be waited for; False: nothing was done.

        ``give_back``: ``data`` is lent, and stays as it is until this is called; after a failure
        it may never be.
        """
        file, end = self.file, offset + len(data)
        block, start = divmod(offset, self._block_size)
        if not self._open or self.failed or len(self._stored) >= PUBLISH_BLOCKS:
            return False
        if start + len(data) > self._block_size or not self._may_grow(end):
            return False
        if file.size < end and 0 <= file.most < end:
            return False
        if not self._collect_now(block, start, data, give_back):
            return False
        self._overwrites |= offset < self._published_size
        return True

    def _may_grow(self, size: int) -> bool:
        """Whether any file may be so large."""
        return size <= limits.FILE_BYTES_MAX and size <= limits.BLOCKS_PER_FILE * self._block_size

    async def _check_growth(self, size: int, deadline: float | None) -> None:
        """Before a byte travels, raise FileTooLargeError and, when quotas do not let the file grow
        so, SpaceQuotaError.

        What came with the lease is enough until it says no: others may have made room since.
        """
        file = self.file
        if not self._may_grow(size):
            raise FileTooLargeError("the file would be too large", path=file.path)
        if file.size < size and 0 <= file.most < size:
            request = m.CheckGrowth(file.attributes.inode, size, self.name)
            limit = self._session.deadline() if deadline is None else deadline
            file.most = (await self._session.ask(request, file.path, limit)).most

    @contextlib.asynccontextmanager
    async def _lending(self) -> AsyncIterator[dict[int, asyncio.Task[None]]]:
        """Around what sends blocks from memory that is the caller's again as soon as it ends.

        When it fails or is cancelled, the blocks in flight are called back and what they would have
        added to the file was not written.
        """
        size = self.file.size
        lent: dict[int, asyncio.Task[None]] = {}
        try:
            yield lent
        except BaseException:
            try:
                await end_all(lent.values())
            finally:
                if lent:
                    self._shrink(max(size, min(lent) * self._block_size))
            raise

    def _shrink(self, size: int) -> None:
        """The file ends at ``size``: forget what was stored behind."""
        end = layout.block_count(size, self._block_size)
        for beyond in [index for index in self._stored if index >= end]:
            self._leftovers.add(self._stored.pop(beyond))
        self.file.cut(size)

    async def append_block(
        self, pieces: tuple[Buffer, ...], timeout: float | None = None
    ) -> asyncio.Task[None]:
        """Append a whole block where one begins, from pieces that are sent from where they lie.

        They must not change before the task that is returned has ended. Raises as :meth:`write`.
        """
        self._check_open()
        self._raise_earlier()
        block, rest = divmod(self.file.size, self._block_size)
        assert rest == 0 and sum(map(len, pieces)) == self._block_size, "not a block in its place"
        deadline = self._session.budget(timeout)
        await self._check_growth((block + 1) * self._block_size, deadline)
        storing = await self._send_whole(block, pieces, deadline)
        if len(self._stored) >= PUBLISH_BLOCKS:
            await self.publish_stored(timeout)
        return storing

    def _check_open(self) -> None:
        if not self._open:
            raise StaleHandleError("the file was closed, or given up", path=self.file.path)

    # --- publishing -------------------------------------------------------------------------

    async def flush(self, timeout: float | None = None) -> None:
        """Store and publish everything written so far."""
        timeout = self._session.budget(timeout)
        await self.drain(timeout)
        if self.dirty:
            await self._commit(self.file.size, timeout)
        self._overwrites = False

    async def publish_stored(self, timeout: float | None = None) -> None:
        """Publish what lies on nodes, and what is gathered of all blocks but the last."""
        deadline = self._session.budget(timeout)
        size = self.file.size
        last = (size - 1) // self._block_size
        for block in self._gathering:
            if block != last:
                await self._send_gathered(block, deadline)
        await self._wait_stored(list(self._flying), deadline)
        pending = self._gathering.get(last)
        if pending is not None:
            size = max(self._published_size, last * self._block_size + pending.base.length)
        if self._stored:
            await self._commit(size, timeout)

    async def publish_settled(self, timeout: float | None = None) -> None:
        """Publish what lies on nodes in front of all that does not; of a file that only grows
        (:attr:`exposed`). Blocks on their way travel on meanwhile.
        """
        file, block_size = self.file, self._block_size
        count = layout.block_count(file.size, block_size)
        first = min((*self._flying, *self._gathering), default=count)
        ready = {index: ref for index, ref in self._stored.items() if index < first}
        if ready:
            size = max(self._published_size, min(file.size, first * block_size))
            await self._commit(size, timeout, ready)
            self._overwrites |= any(index < first for index in self.pending)

    async def _commit(
        self,
        size: int,
        timeout: float | None,
        stored: dict[int, BlockRef] | None = None,
        *,
        release: bool = False,
    ) -> None:
        """One namespace command: blocks (``stored``; None: all that are stored), the length in
        bytes and, at the end, the lease."""
        file = self.file
        attributes = file.attributes
        stored = dict(self._stored) if stored is None else stored
        commit = m.Commit(
            attributes.inode,
            attributes.generation,
            size,
            tuple(stored[index] for index in sorted(stored)),
            release,
            withdrawn=self._leftovers.some(),
        )
        self._leftovers.named(commit.blocks)
        request: m.Commit | m.PublishDraft = commit
        if release and self.naming is not None:
            request = self.naming(commit)
        deadline = self._session.deadline(timeout)
        reply = await self._session.ask(request, file.path, deadline)
        self._session.commits += 1
        self._leftovers.gone(request.withdrawn)
        self._leftovers.published()
        for ref in request.blocks:
            if before := self._replaced.pop(ref.index, None):
                self._leftovers.add(before)
        for index, ref in stored.items():
            newest = self._stored.get(index)
            if newest is ref:
                del self._stored[index]
            elif newest is not None:  # stored while the commit was under way, in place of this one
                self._leftovers.gone((ref,))
                self._replaced[index] = ref
        self._published_size = size
        file.published(reply.attributes)
        for ref in self._stored.values():  # stored while the commit was under way
            file.put(ref)
        if self.committed is not None:
            self.committed()

    async def truncate(self, size: int, timeout: float | None = None) -> None:
        """Make the file ``size`` bytes long, at once and visibly; zeros are added at the end."""
        timeout = deadline = self._session.deadline(timeout)
        await self._check_growth(size, deadline)
        await self.drain(timeout)
        file = self.file
        index, rest = divmod(size, self._block_size)
        if size < file.size and rest:
            last = await file.ref(index, deadline)
            if last.length > rest:
                await self._make_room(index, deadline)
                self._launch(Sealed(index, last, rest, (), ()), deadline)
                await self.drain(timeout)
        before = file.size
        self._shrink(size)
        if size != before or self._stored:
            await self._commit(size, timeout)

    @property
    def block_size(self) -> int:
        """Bytes of a block of the file."""
        return self._block_size

    async def prepare(self, offset: int, end: int, timeout: float | None = None) -> None:
        """Before bytes from ``offset`` to ``end`` are copied in. Raises as :meth:`write`."""
        self._check_open()
        self._raise_earlier()
        await self._check_growth(end, self._session.budget(timeout))
        self._overwrites |= offset < self._published_size

    async def copy(
        self, offset: int, source: Copied, timeout: float | None = None
    ) -> asyncio.Task[None] | None:
        """Start storing bytes of one block at ``offset`` that nodes have; after :meth:`prepare`.

        None: they follow a gap in their block, which has to be filled with zeros from here. Nothing
        was written by a task that is among ``refused`` when it has ended.
        """
        deadline = self._session.budget(timeout)
        block, start = divmod(offset, self._block_size)
        stop = start + source.length
        assert stop <= self._block_size, "bytes of one block at a time"
        if self._gathering.get(block) is not None:
            await self._send_gathered(block, deadline)
        base = await self._base(layout.BlockSpan(block, start, source.length, 0), deadline)
        if start == 0 and stop >= base.length:
            sealed = Sealed(block, None, stop, (), (), source)
        elif base.length:
            extents = (m.Extent(start, source.length),)
            sealed = Sealed(block, base, max(stop, base.length), extents, (), source)
        else:
            return None
        await self._make_room(block, deadline)
        return self._launch(sealed, deadline)

    async def zero(self, offset: int, end: int, timeout: float | None = None) -> None:
        """Let the bytes from ``offset`` to ``end`` read as zeros, as far as the file has them.

        Whole blocks become holes; of others only zeros between stored bytes travel. Seen by others
        after a flush, but for so many holes that they do not fit one commit.
        """
        self._check_open()
        deadline = self._session.budget(timeout)
        size, block_size = self.file.size, self._block_size
        if end >= size:
            end = layout.block_count(size, block_size) * block_size
        if offset >= min(end, size):
            return
        await self.drain_range(offset, end - offset, timeout)
        self._raise_earlier()
        self._overwrites = True
        first, last = layout.block_count(offset, block_size), end // block_size
        if offset % block_size:
            stop = min(block_size, end - (first - 1) * block_size)
            await self._zero_part(first - 1, offset % block_size, stop, deadline)
        if end % block_size and last >= first:
            await self._zero_part(last, 0, end % block_size, deadline)
        await self._make_holes(first, last, deadline)

    async def _make_holes(self, first: int, end: int, deadline: float | None) -> None:
        limit = self._session.deadline() if deadline is None else deadline
        while (found := await self.file.stored(first, limit)) is not None and found < end:
            self._make_hole(found)
            first = found + 1
            if len(self._stored) >= PUBLISH_BLOCKS:
                await self._wait_stored(list(self._flying), deadline)
                await self._commit(self.file.size, deadline)

    async def close(self, timeout: float | None = None) -> None:
        """Publish everything and give the lease back; the lease goes back even on an error."""
        if not self._open:
            return
        timeout = self._session.budget(timeout)
        self._open = False
        try:
            await self.drain(timeout)
            while self._leftovers.are_many:
                await self._commit(self.file.size, timeout)
            if self.dirty or self.naming is not None:
                await self._commit(self.file.size, timeout, release=True)
            else:
                await self._release(timeout)
        except BaseException as error:
            told = await self.explained(error)
            await self._abandon(timeout)
            if told is error:
                raise
            raise told from error
        finally:
            self._session.grants.ended(*self._lease)
            self._session.keepalive.unhold()

    async def discard(self, timeout: float | None = None) -> None:
        """Give the lease back without publishing what is not published yet."""
        if self._open:
            self._open = False
            self._gathering.clear()
            try:
                await self._abandon(self._session.budget(timeout))
            finally:
                self._session.keepalive.unhold()

    def ended(self) -> None:
        """Its file is no more, and with it the lease: the content is another file's."""
        self._open = False
        self._session.grants.ended(*self._lease)
        self._session.keepalive.unhold()

    async def explained(self, error: BaseException) -> BaseException:
        """``error``, or that the lease is over, when the time of a call ended while nothing ran.

        A process that was stopped, or slept with its machine, finds both over; what helps is to
        open the file again. That is asked beyond the time of the call, which is long over.
        """
        session = self._session
        if not isinstance(error, RetryableError) or not session.keepalive.lapsed(self._opened_ns):
            return error
        if session.silence.sentence:
            return error  # nobody can be asked
        if not self._session.grants.has(*self._lease):
            return error  # it was given back
        inode, generation = self._lease
        try:
            request = m.Lookup(b"", True, inode)
            deadline = self._session.deadline(LOOK_SECONDS)
            found = await self._session.ask(request, self.file.path, deadline)
        except MemfsError:
            return error
        if found.attributes.leased and found.attributes.generation == generation:
            return error
        return LeaseLostError(
            "the lease is over, this process did not run for too long: open the file again",
            path=self.file.path,
        )

    @property
    def _lease(self) -> tuple[int, int]:
        return self.file.attributes.inode, self.file.attributes.generation

    async def _release(self, timeout: float | None) -> None:
        request = m.ReleaseLease(*self._lease, self._leftovers.rest())
        with contextlib.suppress(StaleHandleError):  # deleted meanwhile: nothing to give back
            reply = await self._session.ask(
                request, self.file.path, self._session.deadline(timeout)
            )
            self.file.attributes = reply.attributes

    async def _abandon(self, deadline: float | None) -> None:
        """After a failure: stop what is in flight and release, keeping the first error."""
        try:
            await end_all(list(self._flying.values()))
        finally:
            for ref in self._stored.values():
                self._leftovers.add(ref)
            withdrawn = self._leftovers.rest()
            await self._session.grants.give_back(*self._lease, deadline, withdrawn)
