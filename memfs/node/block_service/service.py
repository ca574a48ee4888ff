"""Block requests of a node: store, forward along the chain, read, list, verify.

Owns the path of bulk data: a payload is received straight into its place in the block store and
leaves for the next node of the chain while it is still arriving. A write is answered when every
node of the chain holds it with the same CRC (AckedR); when one fails, this node forgets its copy.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from memfs import errors, limits
from memfs.concurrency import Coro
from memfs.node.block_service.fences import Fences
from memfs.node.block_service.guard import Guard
from memfs.node.block_service.uploads import WATCHED_BYTES, UploadReservation, Uploads
from memfs.node.block_service.whole_files import WholeFileReads
from memfs.node.blocks import BlockStore
from memfs.node.journal.journal import Journal
from memfs.node.membership.members import Membership
from memfs.node.stores.cached_blocks import ObjectBlocks, read_ranges
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.transport.pool import Pool
from memfs.transport.server import IncomingCall, Reply, Served
from memfs.transport.sink import Sink
from memfs.types import Buffer, Member

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

STREAM_FROM_BYTES = 256 * limits.KIB
"""Smaller payloads are forwarded whole once they are here: one frame, no stream to set up."""

COPIED_AT_ONCE = 1 * limits.MIB
"""Bytes that are copied within the store in one turn of the loop: 0.3 ms."""

_tuple = tuple.__new__
"""Makes a named tuple in a third of the time that its name takes."""


class Write(Sink, Protocol[R_co]):
    """A write under way in the block store. ``abort`` undoes :meth:`finish`, too."""

    def finish(self) -> R_co:
        """Check and publish; raises CorruptBlockError."""


class BlockService:
    """Serves the messages 192 to 199 from a :class:`BlockStore`."""

    def __init__(
        self,
        store: BlockStore,
        membership: Membership,
        pool: Pool,
        guard: Guard,
        fences: Fences,
        uploads: Uploads,
        objects: ObjectBlocks,
        journal: Journal | None = None,
    ) -> None:
        """``pool`` reaches the next node of a chain; ``journal`` keeps what is stored; ``objects``
        fetches what external stores have."""
        self._guard = guard
        self.whole_files = WholeFileReads(
            store, lambda: membership.member, lambda: guard.lends_segments
        )
        self._objects = objects
        self._uploads = uploads
        self._fences = fences
        self._store = store
        self._membership = membership
        self._pool = pool
        self._journal = journal

    @property
    def _journaled(self) -> Journal | None:
        """The journal, if a write is acknowledged when it is there (``ack = journal``)."""
        return self._journal if self._membership.is_journaled else None

    async def until_durable(self) -> None:
        """Return when what was stored so far counts. Raises NoSpaceError."""
        if (journal := self._journaled) is not None:
            await journal.until_blocks_durable()

    def _check_loaded(self) -> None:
        """Raises UnavailableError while the journal's blocks are on their way into memory."""
        if self._journal is not None and self._journal.loading:
            raise errors.UnavailableError("this node is loading its blocks from the disk")

    # --- writes ------------------------------------------------------------------------------

    def sink(self, call: IncomingCall[m.WriteBlock | m.WriteBlocks]) -> IncomingBlock:
        """Reserve room for an arriving write. Raises CapabilityError, NoSpaceError, ..."""
        request = call.request
        if isinstance(request, m.WriteBlock):
            self._guard.check_write(call.connection, (request.capability,), (request,))
            call.request = _signed(call, request)
        else:
            self._guard.check_write(call.connection, request.capabilities, request.blocks)
        return self._arrival(call, call.request, call.header.payload_length)

    def _arrival(
        self, call: IncomingCall[object], request: m.WriteBlock | m.WriteBlocks, length: int
    ) -> IncomingBlock:
        self._check_loaded()
        if (journal := self._journaled) is not None:
            journal.check_block_room()
        following = self._following(request.chain)
        upload = self._upload(call, request, length)
        try:
            if isinstance(request, m.WriteBlock):
                write: Write[object] = self._store.begin(request)
            else:
                write = self._store.begin_many(request, length)
        except BaseException as error:
            if upload is not None:
                upload.end(stored=False)
            if isinstance(error, errors.LeaseLostError):
                raise self._fences.error_for(request, error) from None
            raise
        arrival = IncomingBlock(write, length, upload)
        if upload is not None and length >= WATCHED_BYTES:
            upload.watch(call.connection.abort)
        if following is not None:
            arrival.forward(self._pool, following, request, call)
        return arrival

    def _upload(
        self, call: IncomingCall[object], request: m.WriteBlock | m.WriteBlocks, length: int
    ) -> UploadReservation | None:
        """The write in its maker's account, None: a node passes it on. Raises BusyError."""
        peer = call.connection.peer
        if peer.role == m.Role.NODE:
            return None
        if isinstance(request, m.WriteBlock):
            blocks = {request.inode: request.length}
            return self._uploads.begin(peer.account, blocks, max(length, request.length))
        blocks = {block.inode: block.length for block in request.blocks}
        return self._uploads.begin(peer.account, blocks, length)

    def write(self, call: IncomingCall[m.WriteBlock | m.WriteBlocks]) -> Any:
        """The payload is complete: check it, wait for the rest of the chain, answer."""
        arrival = call.sink if call.sink is not None else self.sink(call)
        assert isinstance(arrival, IncomingBlock)
        return self._finish(arrival, call.request)

    def _finish(self, arrival: IncomingBlock, request: m.WriteBlock | m.WriteBlocks) -> Any:
        try:
            answer = arrival.finish()
        except errors.LeaseLostError as error:
            raise self._fences.error_for(request, error) from None
        if (journal := self._journaled) is None:
            return answer
        return arrival.when_durable(answer, journal.until_blocks_durable)

    async def copy(self, call: IncomingCall[m.CopyRange]) -> m.WriteBlockReply:
        """Bytes that are here become (part of) a block version, here or elsewhere."""
        self._check_loaded()
        source = call.request.source
        target: m.WriteBlock = call.request.target
        self._guard.check_read(call.connection, call.request.capability, source)
        self._guard.check_write(call.connection, (target.capability,), (target,))
        if source.generation:
            data, crc = self._store.read(source.version, source.offset, source.length)
        else:
            found, crc = await self._objects.read(source.version, source.offset, source.length)
            data = memoryview(found)
        request = _signed(call, target._replace(crc=crc, capability=b""))
        if request.chain and request.chain[0] == self._membership.number:
            return await self._copy_here(call, request, data)
        if not request.chain:
            raise errors.InvalidArgumentError("a block is stored on one node at least")
        upload = self._upload(call, request, len(data))
        stored = False
        try:
            answer = await self._copy_there(call, request, data)
            stored = True
            return answer
        finally:
            if upload is not None:
                upload.end(stored=stored)

    async def _copy_there(
        self, call: IncomingCall[m.CopyRange], request: m.WriteBlock, data: memoryview
    ) -> m.WriteBlockReply:
        """Send bytes that are here to where they shall be."""
        connection = await self._pool.blocks(self._membership.find(request.chain[0]))
        answer = await connection.call(
            request,
            (data,),
            request_id=self._pool.next_request_id(),
            timeout=call.remaining(),
            epoch=call.header.epoch,
        )
        reply: m.WriteBlockReply = answer.record
        return reply

    async def _copy_here(
        self, call: IncomingCall[m.CopyRange], request: m.WriteBlock, data: memoryview
    ) -> m.WriteBlockReply:
        """Store bytes as if they came over a connection; other tasks run in between."""
        arrival = self._arrival(call, request, len(data))
        try:
            at = 0
            for buffer in arrival.buffers():
                for start in range(0, len(buffer), COPIED_AT_ONCE):
                    part = buffer[start : start + COPIED_AT_ONCE]
                    part[:] = data[at : at + len(part)]
                    at += len(part)
                    arrival.received(at)
                    await asyncio.sleep(0)
            if at != len(data):
                raise errors.InvalidArgumentError("the bytes do not fit the extents of the block")
        except BaseException:
            arrival.abort()
            raise
        answer = self._finish(arrival, request)
        reply: m.WriteBlockReply = await answer if isinstance(answer, asyncio.Future) else answer
        return reply

    def _following(self, chain: tuple[int, ...]) -> Member | None:
        if not chain or chain[0] != self._membership.number:
            raise errors.StaleEpochError(
                f"the chain {list(chain)} does not begin with this node, "
                f"member {self._membership.number}: refresh the view"
            )
        if self._membership.member.leaving:
            raise errors.StaleEpochError("this node leaves the cluster: refresh the view")
        if len(chain) > limits.REPLICAS_MAX or len(set(chain)) != len(chain):
            raise errors.InvalidArgumentError(f"the chain {list(chain)} is too long or repeats")
        return self._membership.find(chain[1]) if len(chain) > 1 else None

    # --- reads -------------------------------------------------------------------------------

    def read(self, call: IncomingCall[m.ReadBlock]) -> Served[m.ReadBlockReply]:
        """One range of one block."""
        self._check_loaded()
        r = call.request
        self._guard.check_read(call.connection, r.capability, r)
        version = m.BlockVersion(r.inode, r.index, r.generation, r.sequence)
        if not r.generation:
            return self._read_object(version, r.offset, r.length, r.whole)
        data, crc = self._store.read(version, r.offset, r.length)
        return Reply(m.ReadBlockReply(crc), (data,))

    def _read_object(
        self, version: m.BlockVersion, offset: int, length: int, whole: bool
    ) -> Served[m.ReadBlockReply]:
        """A range of what an external store has, from the cache where it can be."""
        found = self._objects.held(version, offset, length, whole=whole)
        if found is not None:
            return Reply(m.ReadBlockReply(found[1]), (found[0],))
        return asyncio.ensure_future(self._fetch_object(version, offset, length, whole))

    async def _fetch_object(
        self, version: m.BlockVersion, offset: int, length: int, whole: bool
    ) -> Reply[m.ReadBlockReply]:
        data, crc = await self._objects.read(version, offset, length, whole=whole)
        return Reply(m.ReadBlockReply(crc), (data,))

    async def _read_objects(self, ranges: Sequence[m.BlockRange]) -> Reply[m.ReadBlocksReply]:
        await self._objects.prepare(each.version for each in ranges[: limits.BLOCKS_PER_BATCH])

        async def read(version: m.BlockVersion, offset: int, length: int) -> tuple[Buffer, int]:
            if version.generation:
                return self._store.read(version, offset, length)
            return await self._objects.read(version, offset, length)

        results, payload = await read_ranges(read, ranges)
        return Reply(m.ReadBlocksReply(tuple(results)), payload)

    def read_many(self, call: IncomingCall[m.ReadBlocks]) -> Served[m.ReadBlocksReply]:
        """Many small ranges; stops early when the payload is full."""
        self._check_loaded()
        request = call.request
        ranges = self._guard.readable(call.connection, request.capabilities, request.ranges)
        if any(not wanted.generation for wanted in ranges):
            return asyncio.ensure_future(self._read_objects(ranges))
        ranges = ranges[: limits.BLOCKS_PER_BATCH]
        places = self.whole_files.places(ranges) if request.lend else [-1] * len(ranges)
        results: list[m.RangeResult] = []
        payload: list[Buffer] = []
        room = limits.BATCH_PAYLOAD_BYTES
        sent = [wanted for wanted, place in zip(ranges, places, strict=True) if place < 0]
        wholes = iter(self._store.wholes(sent))
        for wanted, place in zip(ranges, places, strict=True):
            if place >= 0:
                results.append(m.RangeResult(0, wanted.length, 0))
                continue
            if results and wanted.length > room:
                break
            whole = next(wholes)
            try:
                if whole is None:
                    whole = self._store.read(wanted.version, wanted.offset, wanted.length)
            except errors.MemfsError as error:
                results.append(m.RangeResult(error.code, 0, 0))
                continue
            data, crc = whole
            results.append(_tuple(m.RangeResult, (0, len(data), crc)))
            payload.append(data)
            room -= len(data)
        told = tuple(places[: len(results)])
        if max(told, default=-1) < 0:
            return Reply(m.ReadBlocksReply(tuple(results)), payload)
        lender = self._membership.member.incarnation
        return Reply(m.ReadBlocksReply(tuple(results), told, lender), payload)

    def inline(self, file: m.FileReply, room: int) -> tuple[m.FileReply, memoryview | None]:
        """Replace a small file's block map by its bytes, if this node holds them."""
        attributes = file.attributes
        if attributes is None or len(file.blocks) != 1 or attributes.size > room:
            return file, None
        ref = file.blocks[0]
        if ref.length != attributes.size or self._membership.number not in ref.replicas:
            return file, None
        version = m.BlockVersion(ref.inode, ref.index, ref.generation, ref.sequence)
        try:
            data, crc = self._store.read(version, 0, ref.length)
        except errors.RetryableError:
            return file, None
        return m.FileReply(0, "", attributes, len(data), crc), data

    # --- housekeeping ------------------------------------------------------------------------

    def list(self, call: IncomingCall[m.ListBlocks]) -> m.ListBlocksReply:
        """A page of what is held."""
        self._check_loaded()
        limit = max(1, min(call.request.limit, limits.VERSIONS_PER_DISCARD))
        blocks = self._store.list(call.request.after, limit + 1)
        return m.ListBlocksReply(tuple(blocks[:limit]), len(blocks) > limit)

    async def verify(self, call: IncomingCall[m.VerifyBlocks]) -> m.VerifyBlocksReply:
        """Re-read copies against their CRCs, giving way to others between blocks."""
        self._check_loaded()
        codes = []
        for version in call.request.versions[: limits.VERSIONS_PER_DISCARD]:
            codes.append(self._store.verify(version))
            await asyncio.sleep(0)
        return m.VerifyBlocksReply(tuple(codes))


class IncomingBlock:
    """One write arriving at this node, and its way on along the chain."""

    def __init__(self, write: Write[object], length: int, upload: UploadReservation | None) -> None:
        """``length`` bytes of payload go into ``write``; ``upload`` accounts for a client's."""
        self._upload = upload
        self._write = write
        self._length = length
        self._buffers = list(write.buffers())
        self._total = 0
        self._progress: asyncio.Event | None = None
        self._forwarding: asyncio.Task[Answer[object]] | None = None
        self._send_later: Callable[[], Awaitable[Answer[object]]] | None = None

    # --- the transport's side (a Sink) -------------------------------------------------------

    def buffers(self) -> Sequence[memoryview]:
        """Where the transport receives the payload."""
        return self._buffers

    def received(self, total: int) -> None:
        """More has arrived: check it while it is in the cache, wake the forwarder."""
        self._total = total
        self._write.received(total)
        if self._upload is not None:
            self._upload.received(total)
        if self._progress is not None:
            self._progress.set()

    def abort(self) -> None:
        """The sender is gone, or a copy failed: forget everything, here and down the chain."""
        if self._forwarding is not None:
            self._forwarding.cancel()
        self._send_later = None
        self._write.abort()
        if self._upload is not None:
            self._upload.end(stored=False)

    # --- the chain ---------------------------------------------------------------------------

    def forward(
        self,
        pool: Pool,
        following: Member,
        request: m.WriteBlock | m.WriteBlocks,
        call: IncomingCall[object],
    ) -> None:
        """Pass the payload on to ``following``: while it arrives, or all at once if it is small."""
        if isinstance(request, m.WriteBlock):
            request = request._replace(chain=request.chain[1:], capability=b"")
        else:
            request = request._replace(chain=request.chain[1:], capabilities=())
        if self._length >= STREAM_FROM_BYTES:
            self._progress = asyncio.Event()
            self._forwarding = _owned(self._stream(pool, following, request, call))
        else:
            self._send_later = functools.partial(self._send_whole, pool, following, request, call)

    def finish(self) -> object:
        """Publish this copy; the reply, or a task of it while others lack theirs.

        Raises what failed. The task runs whether or not anybody waits for it: what was reserved is
        always either published or given back.
        """
        try:
            reply = self._write.finish()
        except BaseException:
            self.abort()
            raise
        if self._upload is not None:
            self._upload.end(stored=True)
        if self._forwarding is None and self._send_later is None:
            return reply
        confirming = _owned(self._confirm(reply))
        confirming.add_done_callback(self._confirmed)
        return confirming

    def when_durable(
        self, answer: object, durable: Callable[[], Awaitable[None]]
    ) -> asyncio.Task[object]:
        """A task of the reply: this copy is ``durable``, and the rest of the chain has theirs."""
        settling = _owned(self._when_durable(answer, durable))
        settling.add_done_callback(self._confirmed)
        return settling

    async def _when_durable(self, answer: object, durable: Callable[[], Awaitable[None]]) -> object:
        await durable()
        return await answer if isinstance(answer, asyncio.Future) else answer

    async def _confirm(self, reply: object) -> object:
        if self._forwarding is not None:
            answer = await self._forwarding
        else:
            assert self._send_later is not None, "nobody to wait for"
            # It refers to this object: left here it would keep the record's segment, mapped, until
            # Python's garbage collector comes to the oldest objects, and it hardly ever does.
            send, self._send_later = self._send_later, None
            answer = await send()
        if answer.record != reply:
            raise errors.CorruptBlockError("the copies along the chain differ")
        return reply

    def _confirmed(self, confirming: asyncio.Task[object]) -> None:
        """Also of a task that was cancelled before it began."""
        if confirming.cancelled() or confirming.exception() is not None:
            self.abort()

    async def _send_whole(
        self,
        pool: Pool,
        following: Member,
        request: m.Request[object],
        call: IncomingCall[object],
    ) -> Answer[object]:
        connection = await pool.blocks(following)
        return await connection.call(
            request,
            self._buffers,
            request_id=pool.next_request_id(),
            timeout=call.remaining(),
            epoch=call.header.epoch,
        )

    async def _stream(
        self, pool: Pool, following: Member, request: m.Request[object], call: IncomingCall[object]
    ) -> Answer[object]:
        assert self._progress is not None
        async with pool.exclusive(following) as connection:
            stream = connection.stream(
                request,
                self._length,
                request_id=pool.next_request_id(),
                timeout=call.remaining(),
                epoch=call.header.epoch,
            )
            try:
                sent = 0
                while sent < self._length:
                    if sent == self._total:
                        self._progress.clear()
                        await self._progress.wait()
                    ready = self._total
                    for piece in _slices(self._buffers, sent, ready):
                        stream.write(piece)
                    sent = ready
                    await connection.drain()
                return await stream.answer
            except BaseException:
                stream.abort()
                raise


def _signed(call: IncomingCall[object], request: m.WriteBlock) -> m.WriteBlock:
    """The request with its writer filled in: the client that sent it, or what a forwarding node
    says."""
    peer = call.connection.peer
    return request if peer.role != m.Role.CLIENT else request._replace(writer=peer.client)


def _owned(work: Coro[T]) -> asyncio.Task[T]:
    """A task whose failure is only seen by those who wait for it, if anybody does."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _slices(buffers: Sequence[memoryview], start: int, stop: int) -> list[memoryview]:
    """The bytes ``start`` to ``stop`` of scattered buffers, without copying."""
    pieces, at = [], 0
    for buffer in buffers:
        low, high = max(start - at, 0), min(stop - at, len(buffer))
        if low < high:
            pieces.append(buffer[low:high])
        at += len(buffer)
    return pieces
