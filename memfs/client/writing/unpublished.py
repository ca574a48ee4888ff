"""What a writer has changed and not published: gathered, on its way to nodes, or stored there.

Owns the block being filled, the blocks in flight (a bounded window) and the versions that the next
commit names. Must not know leases, lengths or when anything is published. Invariant: a block is in
flight at most once; an error of one surfaces at whatever is done next.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable

from memfs import limits
from memfs.client.calls.deadline import ended, one_ended
from memfs.client.context import ClientContext
from memfs.client.reading import layout
from memfs.client.reading.block_map import BlockMap, hole
from memfs.client.writing.block_storer import BlockStorer, whole
from memfs.client.writing.pending import PendingBlock, PendingBlocks, Sealed
from memfs.errors import MemfsError
from memfs.types import BlockRef, Buffer

log = logging.getLogger(__name__)

GATHERED_BYTES = 16 * limits.MIB
"""Most bytes of changed ranges that a writer gathers before it sends the oldest block."""


class Unpublished:
    """The unpublished changes of one writer. One call at a time (callers lock)."""

    def __init__(self, context: ClientContext, file: BlockMap) -> None:
        self.file = file
        self._session = context.session
        self._storer = BlockStorer(context, file.attributes, file.path)
        self._block_size = file.attributes.block_size
        self._gathering = PendingBlocks()
        self._leftovers = self._storer.leftovers
        self._flying: dict[int, asyncio.Task[None]] = {}
        self._stored: dict[int, BlockRef] = {}
        self._replaced: dict[int, BlockRef] = {}
        self._error: BaseException | None = None
        self.refused: set[asyncio.Task[None]] = set()
        """Of blocks that nodes were to make of bytes of theirs: those that they did not."""

    @property
    def failed(self) -> bool:
        """Whether a block could not be stored: unpublished writes are lost."""
        return self._error is not None

    @property
    def pending(self) -> set[int]:
        """Blocks with changes that wait for a commit."""
        return {*self._gathering, *self._flying, *self._stored}

    # --- sending ------------------------------------------------------------------------------

    async def _send_whole(
        self, block: int, pieces: tuple[Buffer, ...], deadline: float | None
    ) -> asyncio.Task[None]:
        """Start storing a whole block from where its bytes are."""
        await self._make_room(block, deadline)
        self._gathering.pop(block)  # overwritten altogether
        self.file.grow((block + 1) * self._block_size)
        return self._launch(whole(block, *pieces), deadline)

    async def _collect(
        self, piece: layout.BlockSpan, part: memoryview, deadline: float | None
    ) -> None:
        """Copy a part of a block; send the block when it is full, others when they are too many."""
        block = piece.block
        pending = self._gathering.get(block)
        if pending is not None and pending.full:
            await self._send_gathered(block, deadline)
            pending = None
        if pending is None:
            pending = PendingBlock(block, await self._base(piece, deadline))
            self._gathering.add(pending)
        self._gathering.write(pending, piece.start, part)
        self.file.grow(block * self._block_size + piece.start + piece.length)
        if pending.complete(self._block_size):
            await self._send_gathered(block, deadline)
        while self._gathering.held > GATHERED_BYTES:
            await self._send_gathered(next(iter(self._gathering)), deadline)

    def _collect_now(
        self, block: int, start: int, part: memoryview, give_back: Callable[[], None] | None
    ) -> bool:
        """As :meth:`_collect`, if nothing has to be waited for; False: nothing was done.

        ``give_back``: the part may be sent from where it lies, which is called when that is over.
        """
        pending = self._gathering.get(block)
        base = self.file.known(block) if pending is None else pending.base
        full = pending is not None and pending.full
        if base is None or full or block in self._flying:
            return False
        if self._gathering.held + len(part) > GATHERED_BYTES:
            return False
        if pending is None:
            pending = PendingBlock(block, base)
            self._gathering.add(pending)
        self.file.grow(block * self._block_size + start + len(part))
        if give_back is None or not self._gathering.borrow(pending, start, part, give_back):
            self._gathering.write(pending, start, part)
            if give_back is not None:
                give_back()
        has_room = len(self._flying) < self._session.config.write_window_blocks
        if has_room and pending.complete(self._block_size):
            self._launch_gathered(block)
        return True

    async def _base(self, piece: layout.BlockSpan, deadline: float | None) -> BlockRef:
        """The current version of a block about to be changed."""
        await self._wait_stored([piece.block], deadline)
        limit = self._session.deadline() if deadline is None else deadline
        return await self.file.ref(piece.block, limit)

    async def _send_gathered(self, block: int, deadline: float | None) -> None:
        """Start storing a changed block. Until it starts nothing is lost by cancelling."""
        await self._make_room(block, deadline)
        self._launch_gathered(block, deadline)

    def _launch_gathered(self, block: int, deadline: float | None = None) -> None:
        pending = self._gathering.pop(block)
        if pending:
            storing = self._launch(pending.seal(), deadline)
            if pending.borrowed:
                storing.add_done_callback(functools.partial(self._give_back, pending))

    def _give_back(self, pending: PendingBlock, storing: asyncio.Task[None]) -> None:
        """What was lent has arrived. After a failure it may still be on its way somewhere."""
        if not storing.cancelled() and not self.failed:
            pending.give_back()

    async def _make_room(self, block: int, deadline: float | None) -> None:
        """Wait until ``block`` is not in flight and the window has a place for it."""
        await self._wait_stored([block], deadline)
        while len(self._flying) >= self._session.config.write_window_blocks:
            await one_ended(self._flying.values(), deadline)
        self._raise_earlier()

    def _launch(self, sealed: Sealed, deadline: float | None) -> asyncio.Task[None]:
        storing = asyncio.create_task(self._store(sealed, deadline))
        self._flying[sealed.block] = storing
        return storing

    async def _store(self, sealed: Sealed, deadline: float | None) -> None:
        try:
            limit = self._session.deadline() if deadline is None else deadline
            ref = await self._storer.store(sealed, limit)
            if sealed.block in self._stored:
                self._leftovers.add(self._stored[sealed.block])
            else:
                self._note_replaced(sealed.block)
            self._stored[ref.index] = ref
            self.file.put(ref)
        except asyncio.CancelledError:
            raise  # whoever called it back knows what is lacking
        except BaseException as error:
            if sealed.source is None:
                self._error = self._error or error
            elif (task := asyncio.current_task()) is not None:
                log.debug("nodes do not copy block %d: %s", sealed.block, error)
                self.refused.add(task)
        finally:
            self._flying.pop(sealed.block, None)

    def _note_replaced(self, block: int) -> None:
        """Note the version of this lease that the next commit will replace, if there is one."""
        known = self.file.known(block)
        if known is not None and known.generation == self.file.attributes.generation:
            self._replaced[block] = known

    async def _wait_stored(self, indexes: list[int], deadline: float | None) -> None:
        """Wait until none of these blocks is in flight; raises if any block failed."""
        await ended([self._flying[index] for index in indexes if index in self._flying], deadline)
        if indexes:
            self._raise_earlier()

    async def _zero_part(self, block: int, start: int, stop: int, deadline: float | None) -> None:
        limit = self._session.deadline() if deadline is None else deadline
        base = await self.file.ref(block, limit)
        if start >= base.length:
            return
        if stop < base.length:
            zeros = memoryview(bytes(stop - start))
            await self._collect(layout.BlockSpan(block, start, len(zeros), 0), zeros, deadline)
        elif start:
            await self._make_room(block, deadline)
            self._launch(Sealed(block, base, start, (), ()), deadline)
        else:
            self._make_hole(block)

    def _make_hole(self, block: int) -> None:
        if block in self._stored:
            self._leftovers.add(self._stored[block])
        else:
            self._note_replaced(block)
        self._stored[block] = hole(self.file.attributes.inode, block)
        self.file.put(self._stored[block])

    # --- waiting ------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None) -> None:
        """Store everything written so far; a reader of this handle sees it then."""
        deadline = self._session.budget(timeout)
        for block in self._gathering:
            await self._send_gathered(block, deadline)
        await self._wait_stored(list(self._flying), deadline)
        self._raise_earlier()

    async def drain_range(self, offset: int, length: int, timeout: float | None) -> None:
        """As :meth:`drain`, of the blocks that a range touches."""
        deadline = self._session.budget(timeout)
        first = offset // self._block_size
        end = layout.block_count(min(offset + length, self.file.size), self._block_size)
        for block in self._gathering:
            if first <= block < end:
                await self._send_gathered(block, deadline)
        await self._wait_stored([block for block in self._flying if first <= block < end], deadline)

    def _raise_earlier(self) -> None:
        if self._error is not None:
            if isinstance(self._error, MemfsError):
                self._error.filename = self.file.path
            raise self._error
