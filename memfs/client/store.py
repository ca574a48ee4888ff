"""Storing one block version on enough nodes.

Owns the choice of nodes, the sequence numbers of a lease and what happens when a node fails:
the block is sent anew, to others, under a new version. Must not know offsets of files.
Invariant: a reference is returned only when every node of its ``replicas`` holds it (AckedR).
"""

from __future__ import annotations

import asyncio

from memfs.checksum import crc32c
from memfs.client.blocks import BlockReader
from memfs.client.pending import Sealed, overlay
from memfs.client.suspects import Suspects
from memfs.errors import BlockNotFoundError, MemfsError, NoSpaceError, RetryableError
from memfs.protocol import messages as m
from memfs.types import Attributes, BlockRef, Buffer

FULL_CHAINS = 8
"""So many choices of nodes without room: the cluster is full."""


class BlockStorer:
    """Sends block versions of one inode under one lease generation."""

    def __init__(self, blocks: BlockReader, attributes: Attributes, path: str) -> None:
        self._blocks = blocks
        self._session = blocks.session
        self._file = attributes
        self._path = path
        self._sequence = 0

    async def store(self, sealed: Sealed, deadline: float) -> BlockRef:
        """Store a sealed block; retried on other nodes until the deadline.

        Raises NoSpaceError when no choice of nodes has room, otherwise the last failure.
        """
        session = self._session
        suspects = Suspects(session.environment.random)
        full = attempt = 0
        while True:
            chain: tuple[int, ...] = ()
            try:
                sealed = await self._apart_when_degraded(sealed, deadline)
                chain = self._chain(sealed, suspects)
                return await self._send(sealed, chain, deadline)
            except (RetryableError, NoSpaceError) as error:
                attempt += 1
                full += isinstance(error, NoSpaceError)
                pause = session.backoff(attempt)
                if full >= min(FULL_CHAINS, len(session.members)) or (
                    session.remaining(deadline) <= pause
                ):
                    raise
            suspects.blame(chain)
            if sealed.base is not None:
                sealed = await self._apart(sealed, deadline)
            await asyncio.sleep(pause)
            await session.try_refresh_view(deadline)

    def _chain(self, sealed: Sealed, suspects: Suspects) -> tuple[int, ...]:
        if sealed.base is not None:
            base = sealed.base.replicas
            return tuple(sorted(base, key=lambda number: not self._session.is_local(number)))
        file = self._file
        group = sealed.block // file.group_blocks
        return self._session.place(file.inode, group, file.replication, suspects)

    async def _send(self, sealed: Sealed, chain: tuple[int, ...], deadline: float) -> BlockRef:
        file, base = self._file, sealed.base
        self._sequence += 1
        sequence = self._sequence
        request = m.WriteBlock(
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
        )
        answer = await self._session.ask_member(
            chain[0], request, sealed.payload, deadline=deadline
        )
        reply: m.WriteBlockReply = answer.record
        return BlockRef(
            file.inode, sealed.block, file.generation, sequence, reply.length, reply.crc, chain
        )

    async def _apart_when_degraded(self, sealed: Sealed, deadline: float) -> Sealed:
        """A derived block needs its base on enough live nodes; otherwise send it whole.

        So does one whose base came by concat: it bears another inode.
        """
        base = sealed.base
        if base is None:
            return sealed
        if (base.inode, base.index) != (self._file.inode, sealed.block):
            return await self._apart(sealed, deadline)
        live = [number for number in base.replicas if number in self._session.members]
        wanted = min(self._file.replication, len(self._session.members))
        if len(live) == len(base.replicas) >= wanted:
            return sealed
        return await self._apart(sealed, deadline)

    async def _apart(self, sealed: Sealed, deadline: float) -> Sealed:
        """The same block as a whole, its base read back from whoever still has it."""
        base = sealed.base
        assert base is not None, "only a derived block is taken apart"
        kept = min(base.length, sealed.length)
        content = memoryview(bytearray(kept))
        try:
            await self._blocks.read(base, 0, content, deadline)
        except BlockNotFoundError as error:
            error.filename = self._path
            moved = await self._moved(sealed.block, base, deadline)
            if moved is None:
                raise
            await self._session.try_refresh_view(deadline)  # it may be on a member that joined
            await self._blocks.read(moved, 0, content, deadline)
        return Sealed(sealed.block, None, sealed.length, (), (overlay(sealed, content),))

    async def _moved(self, block: int, base: BlockRef, deadline: float) -> BlockRef | None:
        """The same version where it is now, None: it is nowhere else."""
        request = m.GetBlocks(b"", block, 1, self._file.inode)
        try:
            reply: m.BlocksReply = await self._session.ask(request, self._path, deadline)
        except MemfsError:
            return None  # what happened to the version itself is told instead
        for ref in reply.blocks:
            if ref[:4] == base[:4] and set(ref.replicas) != set(base.replicas):
                return ref
        return None


def _crc_of(payload: tuple[Buffer, ...]) -> int:
    crc = 0
    for piece in payload:
        crc = crc32c(piece, crc)
    return crc


def whole(block: int, *pieces: Buffer) -> Sealed:
    """A block whose bytes are all given."""
    return Sealed(block, None, sum(map(len, pieces)), (), pieces)
