"""Writing whole files, one or many at a time: first the blocks, then the names.

Owns reserved inodes and how files are cut into batches; files that are too large for one, or whose
inode must stay, go alone, as drafts. Must not know open files. Invariant: a file appears under its
name only when all of its bytes are stored (NoPartialVisible), and replaces what was there in one
step: a reader sees the old content or the new one.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from memfs import limits
from memfs.checksum import crc32c
from memfs.client.batches.batching import PARALLEL, PATHS_BYTES, Course, named
from memfs.client.batches.same_files import SameFiles, inodes_of
from memfs.client.calls.wire import WirePath
from memfs.client.context import ClientContext
from memfs.client.handles.create_options import CreateOptions
from memfs.client.handles.drafts import open_draft, publishing
from memfs.client.session.reservations import Reservations, Share
from memfs.client.writing.block_storer import FULL_CHAINS
from memfs.concurrency import run_all
from memfs.errors import (
    DeadlineError,
    LeaseHeldError,
    LeaseLostError,
    MemfsError,
    NoSpaceError,
    RetryableError,
    StaleHandleError,
    UnavailableError,
    UnsupportedError,
    UploadLostError,
    from_wire,
)
from memfs.protocol import messages as m
from memfs.types import BlockRef, Buffer

PUT_GENERATION = 1
"""Lease generation under which the blocks of a file that is put are written."""
_FILE_BYTES = 160
"""Bytes of a NewFile's record besides its path, its one block reference included."""


class FileToWrite(NamedTuple):
    """One file to be written."""

    number: int
    """Its place in the call."""
    path: WirePath
    data: memoryview


class WriteOptions(NamedTuple):
    """How the files of a call are written."""

    create: CreateOptions
    exclusive: bool
    timeout: float | None
    mode: int
    unmasked: int | None
    copies: int
    block_size: int
    group_blocks: int

    def new_file(
        self, path: WirePath, inode: int, size: int, refs: Sequence[BlockRef]
    ) -> m.NewFile:
        """The record that publishes a file."""
        create = self.create
        return m.NewFile(
            path.raw,
            inode,
            size,
            tuple(refs),
            self.mode,
            self.exclusive,
            create.parents,
            create.replication,
            create.block_size,
            create.group_blocks,
            self.unmasked,
        )


Results = list[int | MemfsError]
"""Bytes written or the error, per file of a call."""


class BatchWriter:
    """Writes whole files for one session."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context
        self._session = context.session
        self._reservations = Reservations(self._session)

    async def close(self) -> None:
        """Stop the background work."""
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
        wanted = await self._write_options(options, exclusive, timeout)
        results: Results = [0] * len(files)
        same = SameFiles()
        small: list[FileToWrite] = []
        alone: list[FileToWrite] = []
        limit = min(limits.SMALL_FILE_BYTES, wanted.block_size)
        for number, (path, data) in enumerate(files):
            file = FileToWrite(number, path, memoryview(data).cast("B"))
            (small if len(file.data) <= limit else alone).append(file)
        batches, course = _file_batches(small), Course(len(files))
        try:
            await run_all(
                (self._put_batch(each, wanted, results, alone, same, course) for each in batches),
                PARALLEL,
            )
        except MemfsError as error:
            raise course.ended_by(error) from error
        await run_all((self._put_alone(each, wanted, results) for each in alone), PARALLEL // 2)
        if len(files) > 1 and not exclusive:
            await self._let_last_win(files, {each.number for each in alone}, wanted, results, same)
        return results

    async def _let_last_win(
        self,
        files: Sequence[tuple[WirePath, Buffer]],
        alone: Set[int],
        options: WriteOptions,
        results: Results,
        same: SameFiles,
    ) -> None:
        """Where several names of a call led to one file, it holds the last one's content.

        Batches are published in any order and large files after small ones; that two names mean
        one file (through symlinks, ``..``, hard links) shows only then.
        """
        asked = [
            number
            for number in same.doubtful(alone, len(files))
            if not isinstance(results[number], MemfsError)
        ]
        if len(asked) > 1:
            deadline = self._session.deadline(options.timeout)
            raws = [files[number][0].raw for number in asked]
            same.found(zip(asked, await inodes_of(self._session, raws, deadline), strict=True))
        for number in same.overtaken():
            path, data = files[number]
            again = FileToWrite(number, path, memoryview(data).cast("B"))
            await self._put_alone(again, options, results)

    async def _write_options(
        self, create: CreateOptions, exclusive: bool, timeout: float | None
    ) -> WriteOptions:
        defaults = await self._session.defaults(self._session.deadline(timeout))
        return WriteOptions(
            create,
            exclusive,
            timeout,
            *create.permissions(),
            create.replication or defaults.replication,
            create.block_size or defaults.block_size,
            create.group_blocks or defaults.group_blocks,
        )

    async def _put_alone(self, file: FileToWrite, options: WriteOptions, results: Results) -> None:
        """Write one file as a draft, block by block, and publish it under its name."""
        path, timeout = file.path, options.timeout
        attempts = self._session.attempts(self._session.deadline(timeout))
        try:
            while True:
                draft = await open_draft(
                    self._context,
                    path,
                    options.create,
                    exclusive=options.exclusive,
                    timeout=timeout,
                )
                try:
                    async with publishing(draft, timeout):
                        await draft.write(0, file.data, timeout)
                    break
                except (LeaseLostError, StaleHandleError) as error:
                    # The session was ended, and the draft with it.
                    await attempts.retry(error)
            results[file.number] = len(file.data)
        except MemfsError as error:
            results[file.number] = named(error, path)

    # --- batches ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _unless_done(self, inodes: Sequence[int]) -> Iterator[None]:
        """Return reserved ids when the work inside fails or is cancelled."""
        try:
            yield
        except BaseException:
            self._reservations.give_back(inodes)
            raise

    async def _put_batch(
        self,
        batch: list[FileToWrite],
        options: WriteOptions,
        results: Results,
        alone: list[FileToWrite],
        same: SameFiles,
        course: Course,
    ) -> None:
        """Store the blocks of a batch, then publish its files; blocks lost in between are stored
        again.

        Nothing of a file that is refused for this has happened (NoPartialVisible).
        """
        attempts = self._session.attempts(self._session.deadline(options.timeout))
        left = batch
        try:
            while True:
                try:
                    left = await self._put(left, options, results, alone, same, course)
                    if not left:
                        return
                    error = UploadLostError("the session was ended: what it had reserved is gone")
                except UploadLostError as lost:
                    error = lost
                await attempts.retry(error)
        except MemfsError as error:
            error.filename = error.filename or left[0].path.given
            raise

    async def _put(
        self,
        files: list[FileToWrite],
        options: WriteOptions,
        results: Results,
        alone: list[FileToWrite],
        same: SameFiles,
        course: Course,
    ) -> list[FileToWrite]:
        """Store files and publish them, once; returns those whose inode is reserved no more.

        Raises UploadLostError when the nodes that stored a block are gone.
        """
        taken: list[int] = []
        with self._unless_done(taken):
            placed = await self._store_batch(files, options, taken)
            new = [
                options.new_file(file.path, ref.inode, ref.length, (ref,) if ref.length else ())
                for file in files
                for ref in (placed[file.number],)
            ]
            try:
                return await self._publish(files, new, options, results, alone, same, course)
            except UploadLostError:
                self._session.silent.blame({n for ref in placed.values() for n in ref.replicas})
                raise

    async def _publish(
        self,
        files: list[FileToWrite],
        new: list[m.NewFile],
        options: WriteOptions,
        results: Results,
        alone: list[FileToWrite],
        same: SameFiles,
        course: Course,
    ) -> list[FileToWrite]:
        """Give stored files their names; returns those that are to be stored anew.

        Files whose inode must stay are added to ``alone``, as are those that
        replace a file that another client writes.
        """
        deadline = self._session.deadline(options.timeout)
        request = m.PutFiles(tuple(new))
        with course.asking(len(files)):
            reply = await self._session.ask(request, files[0].path.given, deadline)
        self._session.commits += 1
        refused: list[m.NewFile] = []
        lost: list[FileToWrite] = []
        for file, record, outcome in zip(files, new, reply.results, strict=True):
            if not outcome.code:
                course.done += 1
                results[file.number] = len(file.data)
                same.published(file.number, record.inode, outcome.replaced)
                continue
            refused.append(record)
            if outcome.code == UnsupportedError.code or (
                outcome.code == LeaseHeldError.code and options.create.recover
            ):
                alone.append(file)
            elif outcome.code == UploadLostError.code:
                lost.append(file)
            else:
                course.refused += 1
                results[file.number] = from_wire(outcome.code, outcome.message, file.path.given)
        if refused:
            stored = [ref for record in refused for ref in record.blocks]
            self._reservations.give_back([record.inode for record in refused], stored)
        if lost:
            self._reservations.forget_stock()
        return lost

    async def _store_batch(
        self, batch: list[FileToWrite], options: WriteOptions, taken: list[int]
    ) -> dict[int, BlockRef]:
        """Write the blocks of a batch; file number to what was stored (length 0: nothing).

        ``taken`` collects the reserved ids.
        """
        placed: dict[int, BlockRef] = {}
        deadline = self._session.deadline(options.timeout)
        shares = await self._reservations.reserve(len(batch), options.copies, deadline)
        taken += [inode for share in shares for inode in share.inodes]
        files = iter(batch)
        await run_all(
            (
                self._store_share(
                    list(itertools.islice(files, len(share.inodes))),
                    share,
                    options,
                    taken,
                    placed,
                )
                for share in shares
            ),
            PARALLEL,
        )
        return placed

    async def _store_share(
        self,
        files: list[FileToWrite],
        share: Share,
        options: WriteOptions,
        taken: list[int],
        placed: dict[int, BlockRef],
    ) -> None:
        """Store files on one chain; when that fails on another, under new ids."""
        session = self._session
        deadline = session.deadline(options.timeout)
        suspects = session.suspects()
        attempts = session.attempts(deadline)
        full = 0
        while True:
            try:
                placed.update(await self._send_share(files, share, deadline))
                session.silent.trust(share.chain)
                return
            except UploadLostError:  # what this client had reserved is others' by now
                self._reservations.forget_stock()
                raise
            except (RetryableError, NoSpaceError) as error:
                full += isinstance(error, NoSpaceError)
                if isinstance(error, DeadlineError | UnavailableError):
                    session.silent.blame(share.chain)
                if full >= min(FULL_CHAINS, len(session.known.members)):
                    raise
                await attempts.retry(error)
            self._reservations.give_back(share.inodes)
            suspects.blame(share.chain)
            share = await self._reservations.reserve_elsewhere(
                len(files), options.copies, suspects, deadline
            )
            taken += share.inodes

    async def _send_share(
        self, files: list[FileToWrite], share: Share, deadline: float
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


def _file_batches(files: Iterable[FileToWrite]) -> Iterator[list[FileToWrite]]:
    """Batches whose payload and record fit the limits."""
    batch: list[FileToWrite] = []
    record = payload = 0
    for file in files:
        size = len(file.path.raw) + _FILE_BYTES
        if batch and (
            len(batch) == limits.FILES_PER_COMMAND
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
