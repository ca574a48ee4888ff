"""Whole small files, one or many at a time: a request per batch instead of several per file.

Owns reserved inodes and the packing of batches. Must not know open files; what does not fit a
batch is read and written through handles. Invariant: a file appears under its name only when all
of its bytes are stored (NoPartialVisible), and replaces what was there in one step.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from memfs import limits
from memfs.checksum import crc32c
from memfs.client import modes
from memfs.client.blockmap import BlockMap
from memfs.client.blocks import BlockReader
from memfs.client.flow import run_all
from memfs.client.handle import CreateOptions, Handle, open_handle
from memfs.client.reader import FileReader
from memfs.client.reservations import Reservations, Share
from memfs.client.store import FULL_CHAINS
from memfs.client.suspects import Suspects
from memfs.client.wire import WirePath
from memfs.errors import (
    MemfsError,
    NoSpaceError,
    RetryableError,
    StaleHandleError,
    UnavailableError,
    UnsupportedError,
    from_wire,
)
from memfs.protocol import messages as m
from memfs.types import BlockRef, Buffer

log = logging.getLogger(__name__)

PATHS_BYTES = limits.RECORD_BYTES - 4 * limits.KIB
PARALLEL = 8
"""Batches, or files too large for one, that travel at once."""
PUT_GENERATION = 1
"""Lease generation under which the blocks of a file that is put are written."""
_FILE_BYTES = 160
"""Bytes of a NewFile's record besides its path, its one block reference included."""


R = TypeVar("R")


class Small(NamedTuple):
    """One file of a ``write_many``."""

    number: int
    """Its place in the call."""
    path: WirePath
    data: memoryview


class Batches:
    """Reads and writes whole files for one session."""

    def __init__(self, blocks: BlockReader) -> None:
        self._blocks = blocks
        self._session = blocks.session
        self._reservations = Reservations(self._session)

    # --- reading ----------------------------------------------------------------------------

    async def read(self, path: WirePath, timeout: float | None) -> bytes:
        """One whole file: one round trip when the primary holds it and it is small."""
        deadline = self._session.deadline(timeout)
        file = await BlockMap.open(self._session, path.given, path.raw, deadline)
        return file.content if file.content is not None else await self._read_map(file, timeout)

    async def _read_blocks(
        self, path: WirePath, reply: m.BlocksReply, timeout: float | None
    ) -> bytes:
        seen = self._session.commits
        file = BlockMap.from_reply(self._session, path.given, reply, seen)
        return await self._read_map(file, timeout)

    async def _read_map(self, file: BlockMap, timeout: float | None) -> bytes:
        reader = FileReader(self._blocks, file)
        try:
            return await reader.read_all(0, timeout)
        finally:
            await reader.close()

    async def read_many(
        self, files: Sequence[WirePath], timeout: float | None
    ) -> list[bytes | MemfsError]:
        """Contents or errors, in order."""
        results: list[bytes | MemfsError] = [b""] * len(files)
        batches = list(path_batches([path.raw for path in files]))
        await run_all(
            (self._read_batch(files, batch, results, timeout) for batch in batches), PARALLEL
        )
        return results

    async def _read_batch(
        self,
        files: Sequence[WirePath],
        batch: range,
        results: list[bytes | MemfsError],
        timeout: float | None,
    ) -> None:
        """Fill ``results`` for the files numbered ``batch``."""
        deadline = self._session.deadline(timeout)
        elsewhere: dict[int, m.BlocksReply] = {}
        left = list(batch)
        while left:
            answers = await self._ask_files([files[number].raw for number in left], deadline)
            for number, answer in zip(left, answers, strict=False):
                if isinstance(answer.content, m.BlocksReply):
                    elsewhere[number] = answer.content
                else:
                    results[number] = _named(answer.content, files[number])
            left = left[len(answers) :]
        await self._fetch_small(elsewhere, results, deadline)
        await run_all(
            (
                self._read_single(files[number], reply, number, results, timeout)
                for number, reply in elsewhere.items()
            ),
            PARALLEL,
        )

    async def _read_single(
        self,
        path: WirePath,
        reply: m.BlocksReply,
        number: int,
        results: list[bytes | MemfsError],
        timeout: float | None,
    ) -> None:
        try:
            results[number] = await self._read_blocks(path, reply, timeout)
        except StaleHandleError:  # replaced meanwhile
            results[number] = await self._read_again(path, timeout)
        except MemfsError as error:
            results[number] = _named(error, path)

    async def _read_again(self, path: WirePath, timeout: float | None) -> bytes | MemfsError:
        try:
            return await self.read(path, timeout)
        except MemfsError as error:
            return error

    async def _ask_files(self, raws: Sequence[bytes], deadline: float) -> list[_Content]:
        """One ReadFiles; answers at least one file, perhaps fewer than asked."""
        request = m.ReadFiles(tuple(raws), limits.SMALL_FILE_BYTES)
        answer = await self._session.ask_primary(request, None, deadline)
        reply: m.ReadFilesReply = answer.record
        contents: list[_Content] = []
        at = 0
        for raw, file in zip(raws, reply.files, strict=False):
            length = max(0, file.length)
            content = _content(file, answer.payload[at : at + length])
            contents.append(content or await self._ask_blocks(raw, deadline))
            at += length
        if not contents:
            raise UnavailableError("the primary answered for no file")
        return contents

    async def _ask_blocks(self, raw: bytes, deadline: float) -> _Content:
        """Where a file's blocks are: what came instead of them was damaged."""
        log.warning("a file arrived damaged from the primary: reading it from its replicas")
        try:
            return _Content(await self._session.ask(m.GetBlocks(raw), None, deadline))
        except MemfsError as error:
            return _Content(error)

    async def _fetch_small(
        self,
        elsewhere: dict[int, m.BlocksReply],
        results: list[bytes | MemfsError],
        deadline: float,
    ) -> None:
        """Fetch one-block files from the nodes that hold them, a request per node.

        What succeeds is taken out of ``elsewhere``; the rest is left for :meth:`_read_single`,
        which knows about replicas and changes.
        """
        by_node: dict[int, list[tuple[int, BlockRef]]] = {}
        for number, reply in elsewhere.items():
            size = reply.attributes.size
            if len(reply.blocks) == 1 and reply.blocks[0].length == size <= limits.SMALL_FILE_BYTES:
                ref = reply.blocks[0]
                node = next((n for n in ref.replicas if n in self._session.members), None)
                if node is not None:
                    by_node.setdefault(node, []).append((number, ref))
        await run_all(
            (
                self._fetch_from(node, wanted, elsewhere, results, deadline)
                for node, wanted in by_node.items()
            ),
            PARALLEL,
        )

    async def _fetch_from(
        self,
        node: int,
        wanted: list[tuple[int, BlockRef]],
        elsewhere: dict[int, m.BlocksReply],
        results: list[bytes | MemfsError],
        deadline: float,
    ) -> None:
        while wanted:
            part = wanted[: limits.BLOCKS_PER_BATCH]
            ranges = tuple(m.BlockRange(*ref[:4], 0, ref.length) for _, ref in part)
            try:
                answer = await self._session.ask_member(
                    node, m.ReadBlocks(ranges), deadline=deadline
                )
            except RetryableError:
                return
            outcomes: tuple[m.RangeResult, ...] = answer.record.results
            at = 0
            for (number, ref), outcome in zip(part, outcomes, strict=False):
                data = answer.payload[at : at + outcome.length]
                at += outcome.length
                if not outcome.code and len(data) == ref.length and crc32c(data) == ref.crc:
                    results[number] = bytes(data)
                    del elsewhere[number]
            wanted = wanted[len(outcomes) or len(wanted) :]

    # --- writing ----------------------------------------------------------------------------

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
    ) -> list[int | MemfsError]:
        """Bytes written or errors, in order."""
        results: list[int | MemfsError] = [0] * len(files)
        small: list[Small] = []
        large: list[Small] = []
        defaults = await self._session.defaults(self._session.deadline(timeout))
        limit = min(limits.SMALL_FILE_BYTES, options.block_size or defaults.block_size)
        for number, (path, data) in enumerate(files):
            file = Small(number, path, memoryview(data).cast("B"))
            (small if len(file.data) <= limit else large).append(file)
        batches = list(_file_batches(small))
        await run_all(
            (
                self._put_batch(each, options, exclusive, results, large, timeout)
                for each in batches
            ),
            PARALLEL,
        )
        await run_all(
            (self._write_large(each, options, exclusive, results, timeout) for each in large),
            PARALLEL // 2,
        )
        return results

    async def _write_large(
        self,
        file: Small,
        options: CreateOptions,
        exclusive: bool,
        results: list[int | MemfsError],
        timeout: float | None,
    ) -> None:
        mode = modes.parse("xb" if exclusive else "wb")
        try:
            handle: Handle = await open_handle(
                self._blocks, file.path.given, file.path.raw, mode, options, timeout
            )
            try:
                await handle.write(0, file.data, timeout)
            finally:
                await handle.close(timeout)
            results[file.number] = len(file.data)
        except MemfsError as error:
            results[file.number] = _named(error, file.path)

    async def _put_batch(
        self,
        batch: list[Small],
        options: CreateOptions,
        exclusive: bool,
        results: list[int | MemfsError],
        large: list[Small],
        timeout: float | None,
    ) -> None:
        """Store the blocks of a batch, then publish its files.

        What cannot be replaced but only rewritten (it has further names) joins ``large``.
        """
        deadline = self._session.deadline(timeout)
        copies = options.replication or (await self._session.defaults(deadline)).replication
        placed = await self._store_batch(batch, copies, deadline)
        request = m.PutFiles(
            tuple(
                m.NewFile(
                    file.path.raw,
                    placed[file.number].inode,
                    len(file.data),
                    (placed[file.number],) if file.data else (),
                    options.mode,
                    exclusive,
                    options.parents,
                    options.replication,
                    options.block_size,
                    options.group_blocks,
                )
                for file in batch
            )
        )
        reply: m.PutFilesReply = await self._session.ask(request, batch[0].path.given, deadline)
        self._session.commits += 1
        for file, outcome in zip(batch, reply.results, strict=True):
            if outcome.code == UnsupportedError.code:
                large.append(file)
            elif outcome.code:
                results[file.number] = from_wire(outcome.code, outcome.message, file.path.given)
            else:
                results[file.number] = len(file.data)

    async def _store_batch(
        self, batch: list[Small], copies: int, deadline: float
    ) -> dict[int, BlockRef]:
        """Write the blocks of a batch; file number to what was stored (length 0: nothing)."""
        placed: dict[int, BlockRef] = {}
        shares = await self._reservations.take(len(batch), copies, deadline)
        files = iter(batch)
        await run_all(
            (
                self._store_share(
                    list(itertools.islice(files, len(share.inodes))),
                    share,
                    copies,
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
        files: list[Small],
        share: Share,
        copies: int,
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
            suspects.blame(share.chain)
            await asyncio.sleep(pause)
            await session.try_refresh_view(deadline)
            share = await self._reservations.take_elsewhere(len(files), copies, suspects, deadline)

    async def _send_share(
        self, files: list[Small], share: Share, deadline: float
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


class _Content(NamedTuple):
    """What a ReadFiles said of one file."""

    content: bytes | MemfsError | m.BlocksReply


def _content(file: m.FileReply, data: memoryview) -> _Content | None:
    """None: the bytes are damaged, and the reply does not tell where others are."""
    if file.code or file.attributes is None:
        return _Content(from_wire(file.code, file.message))
    if file.length < 0:
        return _Content(m.BlocksReply(file.attributes, 0, file.blocks))
    if file.length and crc32c(data) != file.crc:
        return None
    return _Content(bytes(data))


def _named(result: R, path: WirePath) -> R:
    if isinstance(result, MemfsError):
        result.filename = path.given
    return result


def path_batches(raws: Sequence[bytes]) -> Iterator[range]:
    """Cut wire paths into batches: ranges of indexes whose paths fit one record."""
    start, size = 0, 0
    for number, raw in enumerate(raws):
        if number - start == limits.FILES_PER_BATCH or size + len(raw) + 3 > PATHS_BYTES:
            yield range(start, number)
            start, size = number, 0
        size += len(raw) + 3
    if start < len(raws):
        yield range(start, len(raws))


def _file_batches(files: Iterable[Small]) -> Iterator[list[Small]]:
    """Batches whose payload and record fit the limits."""
    batch: list[Small] = []
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
