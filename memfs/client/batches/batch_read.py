"""Reading whole files, one or many at a time: a request per batch instead of several per file.

Owns how paths are cut into batches and what is asked of whom. Must not know open files; what does
not come with a batch is read like any file. Invariant: bytes that are returned have passed their
CRC.
"""

from __future__ import annotations

import itertools
import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from memfs import concurrency, limits
from memfs.checksum import crc32c, crcs32c
from memfs.client.batches.batching import PARALLEL, named, path_batches
from memfs.client.batches.whole_replies import Elsewhere, check_columns, only_block
from memfs.client.calls.wire import WirePath
from memfs.client.context import ClientContext
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.local_blocks import LocalNodes
from memfs.client.reading.reader import FileReader
from memfs.client.reading.small_segments import copy_blocks
from memfs.client.session.session import Session
from memfs.concurrency import run_all
from memfs.errors import (
    MemfsError,
    RetryableError,
    StaleHandleError,
    UnavailableError,
    UnsupportedError,
    from_wire,
)
from memfs.protocol import messages as m
from memfs.types import BlockRef, Buffer, View

log = logging.getLogger(__name__)

BLOCKS_PARALLEL = 2 * PARALLEL
"""Files of one block each that are read at the same time: 64 MiB of default blocks."""


class BatchReader:
    """Reads whole files for one session."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context
        self._session = context.session
        self._plain = False
        """The primary is of a release that answers with a record for each file only."""
        self._session.routing.followers.append(self._view_changed)

    def _view_changed(self, _former: View, _view: View) -> None:
        self._plain = False

    async def read(self, path: WirePath, timeout: float | None) -> bytes:
        """One whole file: one round trip when the primary holds it and it is small."""
        results: list[bytes | MemfsError] = [b""]
        elsewhere: dict[int, Elsewhere] = {}
        try:
            await self._ask_whole((path,), [0], results, elsewhere, timeout)
        except MemfsError as error:
            raise named(error, path) from None
        if elsewhere:
            await self._read_elsewhere((path,), results, elsewhere, timeout)
        (result,) = results
        if isinstance(result, MemfsError):
            raise result
        return result

    async def _read_mapped(self, path: WirePath, timeout: float | None) -> bytes:
        """As :meth:`read` by the file's block map.

        When another file has taken the path and the old one's bytes are gone, that one is read.
        """
        deadline = self._session.deadline(timeout)
        while True:
            file = await BlockMap.open(self._session, path.given, path.raw, deadline)
            if file.content is not None:
                return file.content
            try:
                return await self._read_map(file, timeout)
            except StaleHandleError:
                if not self._session.remaining(deadline):
                    raise

    async def _read_blocks(
        self, path: WirePath, reply: m.BlocksReply, timeout: float | None
    ) -> bytes:
        seen = self._session.commits
        file = BlockMap.from_reply(self._session, path.given, reply, seen)
        return await self._read_map(file, timeout)

    async def _read_map(self, file: BlockMap, timeout: float | None) -> bytes:
        reader = FileReader(self._context, file)
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
        if len(batches) > 1:
            self._session.need_loop()
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
        elsewhere: dict[int, Elsewhere] = {}
        try:
            await self._ask_whole(files, list(batch), results, elsewhere, timeout)
        except MemfsError as error:
            raise named(error, files[batch.start]) from None
        if elsewhere:
            await self._read_elsewhere(files, results, elsewhere, timeout)

    async def _ask_whole(
        self,
        files: Sequence[WirePath],
        left: list[int],
        results: list[bytes | MemfsError],
        elsewhere: dict[int, Elsewhere],
        timeout: float | None,
    ) -> None:
        """Ask the primary until all of ``left`` are in ``results``, or come into ``elsewhere``."""
        session, local = self._session, self._context.local
        lend = local.lends(session.known.primary_number)
        while left:
            deadline = session.deadline(timeout)
            if self._plain:
                left = await self._ask_plain(files, left, results, elsewhere, deadline)
                continue
            paths = tuple([files[number].raw for number in left])
            request = m.ReadMany(paths, limits.WHOLE_READ_BYTES, lend)
            try:
                answer = await session.primary.call(request, None, deadline)
            except UnsupportedError:
                self._plain = True
                continue
            reply = answer.record
            check_columns(reply, len(left))
            segments: Mapping[int, memoryview] = {}
            if reply.places:
                segments, unknown = local.mapped(reply.lender, reply.places)
                if unknown:
                    session.need_loop()
                    segments = await local.segments(reply.lender, reply.places)
            missed = _take(left, files, reply, answer.payload, segments, results, elsewhere)
            lend = lend and not missed
            left = missed + left[len(reply.lengths) :]

    async def _read_elsewhere(
        self,
        files: Sequence[WirePath],
        results: list[bytes | MemfsError],
        elsewhere: dict[int, Elsewhere],
        timeout: float | None,
    ) -> None:
        """Read what did not come with its batch."""
        self._session.need_loop()
        deadline = self._session.deadline(timeout)
        tried = {number for number, what in elsewhere.items() if only_block(what) is not None}
        await self._fetch_small(elsewhere, results, deadline)
        one_block = all(
            isinstance(e, m.BlocksReply) and len(e.blocks) <= 1 for e in elsewhere.values()
        )
        await run_all(
            (
                self._read_single(
                    files[number], what, number, results, deadline if number in tried else timeout
                )
                for number, what in elsewhere.items()
            ),
            BLOCKS_PARALLEL if one_block else PARALLEL,
        )

    async def _ask_plain(
        self,
        files: Sequence[WirePath],
        numbers: list[int],
        results: list[bytes | MemfsError],
        elsewhere: dict[int, Elsewhere],
        deadline: float,
    ) -> list[int]:
        """One request that is answered by a record for each file; the numbers that are left."""
        answers = await self._ask_files([files[number].raw for number in numbers], deadline)
        for number, (content,) in zip(numbers, answers, strict=False):
            if isinstance(content, m.BlocksReply):
                elsewhere[number] = content
            else:
                results[number] = named(content, files[number])
        return numbers[len(answers) :]

    async def _read_single(
        self,
        path: WirePath,
        what: Elsewhere,
        number: int,
        results: list[bytes | MemfsError],
        timeout: float | None,
    ) -> None:
        try:
            if isinstance(what, m.BlocksReply):
                try:
                    results[number] = await self._read_blocks(path, what, timeout)
                except StaleHandleError:  # replaced meanwhile
                    results[number] = await self._read_mapped(path, timeout)
            else:
                results[number] = await self._read_mapped(path, timeout)
        except MemfsError as error:
            results[number] = named(error, path)

    async def _ask_files(self, raws: Sequence[bytes], deadline: float) -> list[_FileContent]:
        """One ReadFiles; answers at least one file, perhaps fewer than asked."""
        request = m.ReadFiles(tuple(raws), limits.SMALL_FILE_BYTES)
        answer = await self._session.primary.call(request, None, deadline)
        reply = answer.record
        contents: list[_FileContent] = []
        at = 0
        for raw, file in zip(raws, reply.files, strict=False):
            length = max(0, file.length)
            content = _content(file, answer.payload[at : at + length])
            contents.append(content or await self._ask_blocks(raw, deadline))
            at += length
        if not contents:
            raise UnavailableError("the primary answered for no file")
        return contents

    async def _ask_blocks(self, raw: bytes, deadline: float) -> _FileContent:
        """A file's block map, after its inline content arrived damaged."""
        log.warning("a file arrived damaged from the primary: reading it from its replicas")
        try:
            return _FileContent(await self._session.ask(m.GetBlocks(raw), None, deadline))
        except MemfsError as error:
            return _FileContent(error)

    async def _fetch_small(
        self,
        elsewhere: dict[int, Elsewhere],
        results: list[bytes | MemfsError],
        deadline: float,
    ) -> None:
        """Fetch one-block files from the nodes that hold them, a request per node.

        What succeeds is taken out of ``elsewhere``; the rest is left for :meth:`_read_single`,
        which knows about replicas and changes.
        """
        by_node: dict[int, list[tuple[int, BlockRef]]] = {}
        for number, what in elsewhere.items():
            ref = only_block(what)
            if ref is not None:
                node = next((n for n in ref.replicas if n in self._session.known.members), None)
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
        elsewhere: dict[int, Elsewhere],
        results: list[bytes | MemfsError],
        deadline: float,
    ) -> None:
        pieces = [BlockPiece(ref, 0, ref.length) for _, ref in wanted]
        found = await read_pieces(self._session, node, pieces, deadline, self._context.local)
        for (number, _), data in zip(wanted, found, strict=True):
            if data is not None:
                results[number] = data
                del elsewhere[number]

    async def open_many(
        self, files: Sequence[WirePath], timeout: float | None
    ) -> list[bytes | BlockMap | MemfsError]:
        """All of small files, the block maps of others, or errors, in order."""
        found: list[bytes | BlockMap | MemfsError] = []
        for batch in path_batches([path.raw for path in files]):
            while len(found) < batch.stop:
                left = files[len(found) : batch.stop]
                seen, deadline = self._session.commits, self._session.deadline(timeout)
                answers = await self._ask_files([path.raw for path in left], deadline)
                for path, (content,) in zip(left, answers, strict=False):
                    if isinstance(content, m.BlocksReply):
                        found.append(BlockMap.from_reply(self._session, path.given, content, seen))
                    else:
                        found.append(named(content, path))
        return found


class BlockPiece(NamedTuple):
    """A range of a block that travels in a batch."""

    ref: BlockRef
    start: int
    length: int


async def read_pieces(
    session: Session,
    member: int,
    pieces: Sequence[BlockPiece],
    timeout: float | None,
    local: LocalNodes | None = None,
) -> list[bytes | None]:
    """Ask one member for many pieces, in as few requests as hold them, several at a time.

    ``local``: all are whole blocks, which may be copied out of segments of a node on this host.
    None stands for what did not arrive, or arrived damaged: the caller tries elsewhere.
    """
    lending = local if local is not None and local.lends(member) else None
    found = await concurrency.results(
        [
            _read_group(session, member, group, timeout, lending)
            for group in _groups(pieces, lending is not None)
        ],
        PARALLEL,
    )
    return list(itertools.chain.from_iterable(found))


def _groups(pieces: Sequence[BlockPiece], lend: bool) -> list[list[BlockPiece]]:
    """The same pieces in groups, each of which fits one answer. ``lend``: what the cluster has may
    take no room in it; what a store has does."""
    groups: list[list[BlockPiece]] = []
    room = 0
    for piece in pieces:
        taken = 0 if lend and piece.ref.generation else piece.length
        if not groups or taken > room or len(groups[-1]) == limits.BLOCKS_PER_BATCH:
            groups.append([])
            room = limits.BATCH_PAYLOAD_BYTES
        groups[-1].append(piece)
        room -= taken
    return groups


async def _read_group(
    session: Session,
    member: int,
    pieces: Sequence[BlockPiece],
    timeout: float | None,
    local: LocalNodes | None,
) -> list[bytes | None]:
    """As :func:`read_pieces`, one request after another until all is answered."""
    found: list[bytes | None] = []
    while len(found) < len(pieces):
        part = pieces[len(found) :]
        ranges = tuple([m.BlockRange(*ref.version, at, n) for ref, at, n in part])
        request = m.ReadBlocks(ranges, lend=local is not None)
        deadline = session.deadline(timeout)
        try:
            answer = await session.ask_member(member, request, deadline=deadline)
        except RetryableError:
            break
        outcomes: tuple[m.RangeResult, ...] = answer.record.results
        if not outcomes:
            break
        at = 0
        places = answer.record.places or (-1,) * len(outcomes)
        segments: Mapping[int, memoryview] = {}
        if local is not None and answer.record.places:
            segments = await local.segments(answer.record.lender, places)
        copies = copy_blocks(segments, places, [outcome.length for outcome in outcomes])
        for piece, outcome, place, copy in zip(part, outcomes, places, copies, strict=False):
            if place >= 0:
                data: Buffer = copy or b""
            else:
                data = answer.payload[at : at + outcome.length]
                at += outcome.length
            whole = piece.length == piece.ref.length and piece.ref.generation
            crc = piece.ref.crc if whole else outcome.crc
            good = not outcome.code and len(data) == piece.length and crc32c(data) == crc
            found.append(bytes(data) if good else None)
    return found + [None] * (len(pieces) - len(found))


def _take(
    numbers: Sequence[int],
    files: Sequence[WirePath],
    reply: m.ReadManyReply,
    payload: memoryview,
    segments: Mapping[int, memoryview],
    results: list[bytes | MemfsError],
    elsewhere: dict[int, Elsewhere],
) -> list[int]:
    """Store the files of a reply, which are the first of ``numbers``.

    What is to be read otherwise comes into ``elsewhere``. Returns those in segments that are not
    lent (any more).
    """
    if (contents := _all_of(reply, payload, segments)) is not None:
        for number, content in zip(numbers, contents, strict=False):
            results[number] = content
        return []
    others, missed, at = iter(reply.others), [], 0
    lengths = reply.lengths
    lent: Iterable[bytes | None] = itertools.repeat(None)
    if reply.places:
        lent = copy_blocks(segments, reply.places, lengths)
    places = reply.places or itertools.repeat(-1)
    for number, length, crc, place, data in zip(
        numbers, lengths, reply.crcs, places, lent, strict=False
    ):
        if place >= 0:
            if data is None:
                missed.append(number)
                continue
        elif length >= 0:
            end = at + length
            data = payload[at:end].tobytes()
            at = end
        else:
            file = next(others)
            if file.code:
                results[number] = from_wire(file.code, file.message, files[number].given)
            elif file.attributes is not None:
                elsewhere[number] = m.BlocksReply(file.attributes, 0, file.blocks)
            else:
                elsewhere[number] = file.blocks[0] if file.blocks else None
            continue
        if crc32c(data) == crc and len(data) == length:
            results[number] = data
        else:
            log.warning("%s arrived damaged: reading it from its replicas", files[number].given)
            elsewhere[number] = None
    return missed


def _all_of(
    reply: m.ReadManyReply, payload: memoryview, segments: Mapping[int, memoryview]
) -> Sequence[bytes] | None:
    """The contents of the files of a reply if all came along, in one place, and undamaged.

    That is nearly always so, and then each step is one for all files. None: look at each.
    """
    lengths, places = reply.lengths, reply.places
    if reply.others:
        return None
    contents: Sequence[bytes]
    if places:
        copied = copy_blocks(segments, places, lengths)
        if None in copied:
            return None
        contents = cast("list[bytes]", copied)
        if tuple(map(len, contents)) != lengths:
            return None
    elif sum(lengths) == len(payload):
        contents = struct.Struct(f"{'s'.join(map(str, lengths))}s").unpack(payload)
    else:
        return None
    return contents if crcs32c(contents) == list(reply.crcs) else None


class _FileContent(NamedTuple):
    """One file of a ReadFiles reply."""

    content: bytes | MemfsError | m.BlocksReply


def _content(file: m.FileReply, data: memoryview) -> _FileContent | None:
    """A file of a reply; None when its inline bytes are damaged and it has no block map."""
    if file.code or file.attributes is None:
        return _FileContent(from_wire(file.code, file.message))
    if file.length < 0:
        return _FileContent(m.BlocksReply(file.attributes, 0, file.blocks))
    if file.length and crc32c(data) != file.crc:
        return None
    return _FileContent(bytes(data))
