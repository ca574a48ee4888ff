"""Writing whole files, one or many at a time: first the blocks, then the names.

Owns reserved inodes, the packing of batches and the way of a large file that is written whole.
Must not know open files. Invariant: a file appears under its name only when all of its bytes are
stored (NoPartialVisible), and replaces what was there in one step: a reader sees the old content
or the new one. The exceptions are files of more than ``PUT_BLOCKS`` blocks and those that have
further names, whose inode must stay: they are emptied and written anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from memfs import limits
from memfs.checksum import crc32c
from memfs.client import layout, modes
from memfs.client.batch import PARALLEL, PATHS_BYTES, named
from memfs.client.blocks import BlockReader
from memfs.client.flow import run_all
from memfs.client.handle import CreateOptions, Handle, open_handle
from memfs.client.reservations import Reservations, Share
from memfs.client.store import FULL_CHAINS, BlockStorer, whole
from memfs.client.suspects import Suspects
from memfs.client.wire import WirePath
from memfs.errors import (
    MemfsError,
    NoSpaceError,
    PathExistsError,
    RetryableError,
    UnsupportedError,
    from_wire,
)
from memfs.protocol import messages as m
from memfs.types import Attributes, BlockRef, Buffer, FileKind

PUT_GENERATION = 1
"""Lease generation under which the blocks of a file that is put are written."""
PUT_BLOCKS = limits.BLOCKS_PER_RECORD - 100
"""Most blocks of a file that is published in one record, its path included."""
_FILE_BYTES = 160
"""Bytes of a NewFile's record besides its path, its one block reference included."""


class Given(NamedTuple):
    """One file to be written."""

    number: int
    """Its place in the call."""
    path: WirePath
    data: memoryview


class Order(NamedTuple):
    """How the files of a call are written."""

    options: CreateOptions
    exclusive: bool
    timeout: float | None
    copies: int
    block_size: int
    group_blocks: int

    def new_file(
        self, path: WirePath, inode: int, size: int, refs: Sequence[BlockRef]
    ) -> m.NewFile:
        """The record that publishes a file."""
        options = self.options
        return m.NewFile(
            path.raw,
            inode,
            size,
            tuple(refs),
            options.mode,
            self.exclusive,
            options.parents,
            options.replication,
            options.block_size,
            options.group_blocks,
            options.unmasked,
        )


Results = list[int | MemfsError]
"""Bytes written or the error, per file of a call."""


class BatchWriter:
    """Writes whole files for one session."""

    def __init__(self, blocks: BlockReader) -> None:
        self._blocks = blocks
        self._session = blocks.session
        self._reservations = Reservations(self._session)

    async def close(self) -> None:
        """End what runs on the side."""
        await self._reservations.close()

    async def write(
        self,
        path: WirePath,
        data: Buffer,
        options: CreateOptions,
        exclusive: bool,
        timeout: float | None,
    ) -> int:
        """One whole file. Raises what creating it raises."""
        outcome = (await self.write_many([(path, data)], options, exclusive, timeout))[0]
        if isinstance(outcome, MemfsError):
            raise outcome
        return outcome

    async def write_many(
        self,
        files: Sequence[tuple[WirePath, Buffer]],
        options: CreateOptions,
        exclusive: bool,
        timeout: float | None,
    ) -> Results:
        """Bytes written or errors, in order."""
        order = await self._order(options, exclusive, timeout)
        results: Results = [0] * len(files)
        small: list[Given] = []
        large: list[Given] = []
        linked: list[Given] = []
        limit = min(limits.SMALL_FILE_BYTES, order.block_size)
        for number, (path, data) in enumerate(files):
            file = Given(number, path, memoryview(data).cast("B"))
            (small if len(file.data) <= limit else large).append(file)
        batches = _file_batches(small)
        await run_all((self._put_batch(each, order, results, linked) for each in batches), PARALLEL)
        await run_all(
            (self._put_large(each, order, results, linked) for each in large), PARALLEL // 2
        )
        await run_all((self._rewrite(each, order, results) for each in linked), PARALLEL // 2)
        return results

    async def _order(self, options: CreateOptions, exclusive: bool, timeout: float | None) -> Order:
        defaults = await self._session.defaults(self._session.deadline(timeout))
        return Order(
            options,
            exclusive,
            timeout,
            options.replication or defaults.replication,
            options.block_size or defaults.block_size,
            options.group_blocks or defaults.group_blocks,
        )

    # --- large files ------------------------------------------------------------------------

    async def _put_large(
        self, file: Given, order: Order, results: Results, linked: list[Given]
    ) -> None:
        """Store the blocks of one file under a reserved inode, then publish it."""
        count = layout.block_count(len(file.data), order.block_size)
        try:
            deadline = self._session.deadline(order.timeout)
            if count > PUT_BLOCKS or not await self._may_be_put(file.path, order, deadline):
                linked.append(file)
                return
            (share,) = await self._reservations.take(1, order.copies, deadline)
            with self._unless_done(share.inodes):
                refs = await self._store_large(file, share.inodes[0], count, order)
                new = order.new_file(file.path, share.inodes[0], len(file.data), refs)
                await self._publish([file], [new], order, results, linked)
        except MemfsError as error:
            results[file.number] = named(error, file.path)

    @contextlib.contextmanager
    def _unless_done(self, inodes: Sequence[int]) -> Iterator[None]:
        """Give reserved ids back when what they were taken for fails or is cancelled."""
        try:
            yield
        except BaseException:
            self._reservations.give_back(inodes)
            raise

    async def _may_be_put(self, path: WirePath, order: Order, deadline: float) -> bool:
        """Whether publishing has a chance: who is refused should hear it before all is stored."""
        request = m.LookupMany((path.raw, posixpath.dirname(path.raw)))
        reply: m.LookupManyReply = await self._session.ask(request, path.given, deadline)
        found, parent = reply.attributes
        if found is not None and order.exclusive:
            raise PathExistsError("the name is taken", path=path.given)
        if found is not None:
            return found.kind == FileKind.FILE and found.links == 1
        return parent is not None or order.options.parents

    async def _store_large(
        self, file: Given, inode: int, count: int, order: Order
    ) -> list[BlockRef]:
        """Store the blocks, several in flight; without a timeout each has the usual budget."""
        storer = BlockStorer(self._blocks, _unborn(inode, order), file.path.given)
        refs: list[BlockRef] = [BlockRef(inode, n, 0, 0, 0, 0, ()) for n in range(count)]
        limit = None if order.timeout is None else self._session.deadline(order.timeout)

        async def store(piece: layout.Piece) -> None:
            deadline = self._session.deadline() if limit is None else limit
            part = file.data[piece.at : piece.at + piece.length]
            refs[piece.block] = await storer.store(whole(piece.block, part), deadline)

        pieces = layout.split(0, len(file.data), order.block_size)
        window = self._session.config.write_window_blocks
        await run_all((store(piece) for piece in pieces), window)
        return refs

    async def _rewrite(self, file: Given, order: Order, results: Results) -> None:
        """Write a file whose inode must stay, or whose blocks do not fit a record."""
        mode = modes.parse("xb" if order.exclusive else "wb")
        path, timeout = file.path, order.timeout
        try:
            handle: Handle = await open_handle(
                self._blocks, path.given, path.raw, mode, order.options, timeout
            )
            try:
                await handle.write(0, file.data, timeout)
            finally:
                await handle.close(timeout)
            results[file.number] = len(file.data)
        except MemfsError as error:
            results[file.number] = named(error, file.path)

    # --- batches ----------------------------------------------------------------------------

    async def _put_batch(
        self, batch: list[Given], order: Order, results: Results, linked: list[Given]
    ) -> None:
        """Store the blocks of a batch, then publish its files."""
        deadline = self._session.deadline(order.timeout)
        taken: list[int] = []
        try:
            with self._unless_done(taken):
                placed = await self._store_batch(batch, order.copies, taken, deadline)
                new = [
                    order.new_file(file.path, ref.inode, ref.length, (ref,) if ref.length else ())
                    for file in batch
                    for ref in (placed[file.number],)
                ]
                await self._publish(batch, new, order, results, linked)
        except MemfsError as error:
            error.filename = error.filename or batch[0].path.given
            raise

    async def _publish(
        self,
        files: list[Given],
        new: list[m.NewFile],
        order: Order,
        results: Results,
        linked: list[Given],
    ) -> None:
        """Give stored files their names. What can only be rewritten joins ``linked``."""
        deadline = self._session.deadline(order.timeout)
        request = m.PutFiles(tuple(new))
        reply: m.PutFilesReply = await self._session.ask(request, files[0].path.given, deadline)
        self._session.commits += 1
        refused = []
        for file, record, outcome in zip(files, new, reply.results, strict=True):
            if not outcome.code:
                results[file.number] = len(file.data)
                continue
            refused.append(record.inode)
            if outcome.code == UnsupportedError.code:
                linked.append(file)
            else:
                results[file.number] = from_wire(outcome.code, outcome.message, file.path.given)
        if refused:
            self._reservations.give_back(refused)

    async def _store_batch(
        self, batch: list[Given], copies: int, taken: list[int], deadline: float
    ) -> dict[int, BlockRef]:
        """Write the blocks of a batch; file number to what was stored (length 0: nothing).

        ``taken`` collects the reserved ids.
        """
        placed: dict[int, BlockRef] = {}
        shares = await self._reservations.take(len(batch), copies, deadline)
        taken += [inode for share in shares for inode in share.inodes]
        files = iter(batch)
        await run_all(
            (
                self._store_share(
                    list(itertools.islice(files, len(share.inodes))),
                    share,
                    copies,
                    taken,
                    placed,
                    deadline,
                )
                for share in shares
            ),
            PARALLEL,
        )
        return placed

    async def _store_share(
        self,
        files: list[Given],
        share: Share,
        copies: int,
        taken: list[int],
        placed: dict[int, BlockRef],
        deadline: float,
    ) -> None:
        """Store files on one chain; when that fails on another, under new ids."""
        session = self._session
        suspects = Suspects(session.environment.random)
        full = attempt = 0
        while True:
            try:
                placed.update(await self._send_share(files, share, deadline))
                return
            except (RetryableError, NoSpaceError) as error:
                attempt += 1
                full += isinstance(error, NoSpaceError)
                pause = session.backoff(attempt)
                if full >= min(FULL_CHAINS, len(session.members)) or (
                    session.remaining(deadline) <= pause
                ):
                    raise
            self._reservations.give_back(share.inodes)
            suspects.blame(share.chain)
            await asyncio.sleep(pause)
            await session.try_refresh_view(deadline)
            share = await self._reservations.take_elsewhere(len(files), copies, suspects, deadline)
            taken += share.inodes

    async def _send_share(
        self, files: list[Given], share: Share, deadline: float
    ) -> dict[int, BlockRef]:
        refs = {
            file.number: BlockRef(
                inode, 0, PUT_GENERATION, 1, len(file.data), crc32c(file.data), share.chain
            )
            for file, inode in zip(files, share.inodes, strict=True)
        }
        stored = tuple(m.SmallBlock(*ref[:6]) for ref in refs.values() if ref.length)
        if stored:
            await self._session.ask_member(
                share.chain[0],
                m.WriteBlocks(stored, share.chain),
                [file.data for file in files if file.data],
                deadline=deadline,
            )
        return refs


def _unborn(inode: int, order: Order) -> Attributes:
    """What a storer has to know of a file that has no name yet."""
    return Attributes(
        inode=inode,
        kind=FileKind.FILE,
        mode=0,
        links=0,
        owner="",
        group="",
        size=0,
        modified_ns=0,
        changed_ns=0,
        accessed_ns=0,
        block_size=order.block_size,
        group_blocks=order.group_blocks,
        replication=order.copies,
        generation=PUT_GENERATION,
        change=0,
    )


def _file_batches(files: Iterable[Given]) -> Iterator[list[Given]]:
    """Batches whose payload and record fit the limits."""
    batch: list[Given] = []
    record = payload = 0
    for file in files:
        size = len(file.path.raw) + _FILE_BYTES
        if batch and (
            len(batch) == limits.FILES_PER_BATCH
            or record + size > PATHS_BYTES
            or payload + len(file.data) > limits.BATCH_PAYLOAD_BYTES
        ):
            yield batch
            batch, record, payload = [], 0, 0
        batch.append(file)
        record += size
        payload += len(file.data)
    if batch:
        yield batch
