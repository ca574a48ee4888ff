"""Storing one block version on enough nodes.

Owns the choice of nodes, the sequence numbers of a lease and what happens when a node fails:
the block is sent anew, to others, under a new version. Must not know offsets of files.
Invariant: a reference is returned only when every node of its ``replicas`` holds it (AckedR).
"""

from __future__ import annotations

from memfs.checksum import crc32c
from memfs.client.context import ClientContext
from memfs.client.session.suspects import Suspects
from memfs.client.writing.leftovers import Leftovers
from memfs.client.writing.pending import Copied, Sealed, overlay
from memfs.errors import (
    BlockNotFoundError,
    DeadlineError,
    LeaseLostError,
    MemfsError,
    NoSpaceError,
    RetryableError,
    StaleHandleError,
    UnavailableError,
    UploadLostError,
)
from memfs.protocol import messages as m
from memfs.types import Attributes, BlockRef, Buffer

FULL_CHAINS = 8
"""So many choices of nodes without room: the cluster is full."""


class BlockStorer:
    """Sends block versions of one inode under one lease generation."""

    def __init__(self, context: ClientContext, attributes: Attributes, path: str) -> None:
        self._context = context
        self._session = context.session
        self._file = attributes
        self._path = path
        self._sequence = 0
        self.leftovers = Leftovers()
        """What this writer has stored, or may have, and will not publish."""

    async def store(self, sealed: Sealed, deadline: float) -> BlockRef:
        """Store a sealed block; retried on other nodes until the deadline.

        Raises NoSpaceError when no choice of nodes has room, LeaseLostError, otherwise the last
        failure.
        """
        session = self._session
        suspects = session.suspects()
        attempts = session.attempts(deadline)
        full = 0
        while True:
            chain: tuple[int, ...] = ()
            try:
                sealed = await self._whole_when_degraded(sealed, deadline)
                chain = self._chain(sealed, suspects)
                stored = await self._send(sealed, chain, deadline)
                session.silent.trust(stored.replicas)
                return stored
            except UploadLostError as error:  # the primary knows of no such inode
                raise LeaseLostError("the lease is over, and the file is gone") from error
            except (RetryableError, NoSpaceError) as error:
                if sealed.source is not None:
                    raise  # the writer has other ways
                full += isinstance(error, NoSpaceError)
                if isinstance(error, DeadlineError | UnavailableError):
                    session.silent.blame(chain)
                if full >= min(FULL_CHAINS, len(session.known.members)):
                    raise
                await attempts.retry(error)
            suspects.blame(chain)
            if sealed.base is not None:
                sealed = await self._as_whole_in_time(sealed, deadline)

    def _chain(self, sealed: Sealed, suspects: Suspects) -> tuple[int, ...]:
        if sealed.base is not None:
            base = sealed.base.replicas
            return tuple(sorted(base, key=lambda number: not self._session.known.is_local(number)))
        file = self._file
        group = sealed.block // file.group_blocks
        return self._session.known.place(file.inode, group, file.replication, suspects)

    async def _send(self, sealed: Sealed, chain: tuple[int, ...], deadline: float) -> BlockRef:
        file, base = self._file, sealed.base
        self._sequence += 1
        sequence = self._sequence
        forgotten = self.leftovers.forgettable(sealed.block, chain)
        written = m.WriteBlock(
            file.inode,
            sealed.block,
            file.generation,
            sequence,
            sealed.length,
            _crc_of(sealed.payload),
            chain,
            file.block_size,
            file.group_blocks,
            base.generation if base is not None else -1,
            base.sequence if base is not None else -1,
            sealed.extents,
            tuple(ref.sequence for ref in forgotten),
        )
        sent = BlockRef(
            file.inode, sealed.block, file.generation, sequence, sealed.length, 0, chain
        )
        member: int = chain[0]
        request: m.WriteBlock | m.CopyRange = written
        if sealed.source is not None:
            member, request = self._copy_request(sealed.source, written)
        try:
            answer = await self._session.ask_member(
                member, request, sealed.payload, deadline=deadline
            )
        except BaseException as error:
            if not isinstance(error, NoSpaceError):  # it may be there, or come there yet
                self.leftovers.add(sent)
            raise
        self.leftovers.forgotten(forgotten, chain)
        reply: m.WriteBlockReply = answer.record
        return sent._replace(length=reply.length, crc=reply.crc)

    def _copy_request(self, source: Copied, target: m.WriteBlock) -> tuple[int, m.CopyRange]:
        """The member to ask, and the request: a member of the chain if it has the bytes, which then
        comes first.

        Raises BlockNotFoundError when no node is left that has them.
        """
        live = [number for number in source.ref.replicas if number in self._session.known.members]
        near = [number for number in target.chain if number in live]
        if not live:
            raise BlockNotFoundError("no node is left that holds what is to be copied")
        if near:
            others = [number for number in target.chain if number != near[0]]
            target = target._replace(chain=(near[0], *others))
        span = m.BlockRange(*source.ref.version, source.offset, source.length)
        return (near or live)[0], m.CopyRange(span, target)

    async def _whole_when_degraded(self, sealed: Sealed, deadline: float) -> Sealed:
        """A derived block needs its base on enough live nodes; otherwise send it whole.

        So does one whose base came by concat: it bears another inode.
        """
        base = sealed.base
        if base is None:
            return sealed
        if (base.inode, base.index) != (self._file.inode, sealed.block):
            return await self._as_whole(sealed, deadline)
        live = [number for number in base.replicas if number in self._session.known.members]
        wanted = min(self._file.replication, len(self._session.known.members))
        if len(live) == len(base.replicas) >= wanted:
            return sealed
        return await self._as_whole(sealed, deadline)

    async def _as_whole_in_time(self, sealed: Sealed, deadline: float) -> Sealed:
        """As :meth:`_as_whole`, but retried until the deadline while no replica can be reached."""
        attempts = self._session.attempts(deadline)
        while True:
            try:
                return await self._as_whole(sealed, deadline)
            except BlockNotFoundError:
                raise
            except RetryableError as error:
                await attempts.retry(error)

    async def _as_whole(self, sealed: Sealed, deadline: float) -> Sealed:
        """The same block as a whole, its base read back from a node that still has it."""
        base = sealed.base
        assert base is not None, "only a derived block is taken apart"
        if sealed.source is not None:
            raise BlockNotFoundError("the nodes do not hold what is to be changed by a copy")
        kept = min(base.length, sealed.length)
        content = memoryview(bytearray(kept))
        try:
            await self._context.blocks.read(base, 0, content, deadline)
        except BlockNotFoundError as error:
            error.filename = self._path
            moved = await self._moved(sealed.block, base, deadline)
            if moved is None:
                raise
            await self._session.views.try_refresh(deadline)  # it may be on a member that joined
            await self._context.blocks.read(moved, 0, content, deadline)
        return Sealed(sealed.block, None, sealed.length, (), (overlay(sealed, content),))

    async def _moved(self, block: int, base: BlockRef, deadline: float) -> BlockRef | None:
        """The same version with its present replicas, None: it has no others.

        Raises StaleHandleError and LeaseLostError when the file, or the lease, is what went.
        """
        request = m.GetBlocks(b"", block, 1, self._file.inode)
        try:
            reply = await self._session.ask(request, self._path, deadline)
        except StaleHandleError:
            raise
        except MemfsError:
            return None  # what happened to the version itself is told instead
        if reply.attributes.generation != self._file.generation:
            raise LeaseLostError("the lease is over: open the file again", path=self._path)
        for ref in reply.blocks:
            if ref.version == base.version and set(ref.replicas) != set(base.replicas):
                return ref
        return None


def _crc_of(payload: tuple[Buffer, ...]) -> int:
    crc = 0
    for piece in payload:
        crc = crc32c(piece, crc)
    return crc


def whole(block: int, *pieces: Buffer) -> Sealed:
    """A block made of the given bytes only, with no base version."""
    return Sealed(block, None, sum(map(len, pieces)), (), pieces)
