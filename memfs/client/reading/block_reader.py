"""Reading one range of one block version from whichever copy answers well.

Owns the choice among replicas: this host first, then random; another one after an error, and a
second request beside a slow first one. Must not know files. Invariants: what is handed out has
passed its CRC, and two answers are never received into the same memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memfs import limits
from memfs.checksum import crc32c
from memfs.client.session.session import Session
from memfs.concurrency import run_all
from memfs.errors import (
    BlockNotFoundError,
    CorruptBlockError,
    MemfsError,
    RetryableError,
    UnavailableError,
)
from memfs.protocol import messages as m
from memfs.types import BlockRef

log = logging.getLogger(__name__)

PART_BYTES = limits.MIB
"""Of a block that a node may have to fetch from a store: what has arrived of it is on its way here
while the rest arrives there."""
HEDGES = 2
"""Second requests at a time: when everything is slow, doubling the load would not help."""


class _Wanted(NamedTuple):
    """Bytes of one block from ``start`` on, as many as ``into`` is long."""

    ref: BlockRef
    start: int
    into: memoryview
    deadline: float
    parted: bool = False
    """The caller asks for the rest of the block as well."""


class BlockReader:
    """Fetches ranges of blocks; one for all files of a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._hedges = 0
        self._reports: set[asyncio.Task[None]] = set()

    async def read(self, ref: BlockRef, start: int, into: memoryview, deadline: float) -> None:
        """Fill ``into`` with the bytes of block ``ref`` from ``start`` on, zeros past its length.

        One round over the replicas. Raises BlockNotFoundError when every copy is gone for good
        (the version may have been replaced), another RetryableError when one may come back.
        """
        length = max(0, min(len(into), ref.length - start))
        if length < len(into):
            into[length:] = bytes(len(into) - length)
        candidates = self._order(ref)
        if length == ref.length > PART_BYTES and not ref.generation:
            parts = [
                _Wanted(ref, at, into[at : min(at + PART_BYTES, length)], deadline, True)
                for at in range(0, length, PART_BYTES)
            ]
            await run_all((self._read_replicas(part, candidates) for part in parts), len(parts))
        elif length:
            await self._read_replicas(_Wanted(ref, start, into[:length], deadline), candidates)

    async def _read_replicas(self, wanted: _Wanted, order: Sequence[int]) -> None:
        failures: list[str] = []
        hope: RetryableError | None = None
        candidates = iter(order)
        for number in candidates:
            try:
                await self._read_hedged(wanted, number, candidates)
                return
            except RetryableError as error:
                failures.append(self._told_of(number, error))
                if _may_recover(error):
                    hope = error
        ref = wanted.ref
        reason = "; ".join(failures) or "no live node holds a copy"
        text = f"block {ref.index} of inode {ref.inode:#x} cannot be read: {reason}"
        if hope is not None or self._names_newcomer(ref):
            raise UnavailableError(text)
        raise BlockNotFoundError(text)

    def _told_of(self, number: int, error: MemfsError) -> str:
        member = self.session.known.members.get(number)
        name = f"member {number}" if member is None else member.name
        return error.message if name in error.message else f"{name}: {error.message}"

    def _names_newcomer(self, ref: BlockRef) -> bool:
        """Is a copy on a member that is newer than the view known here?"""
        view = self.session.known.view
        return any(number >= view.next_number for number in ref.replicas)

    def _order(self, ref: BlockRef) -> list[int]:
        """Replicas that are members: this host's first, the others in random order."""
        session = self.session
        numbers = [number for number in ref.replicas if number in session.known.members]
        if len(numbers) > 1:
            session.environment.random.shuffle(numbers)
            numbers.sort(key=lambda number: not session.known.is_local(number))
        return numbers

    async def _read_hedged(self, wanted: _Wanted, number: int, others: Iterator[int]) -> None:
        """Read from ``number``; when it is slow, from the next of ``others`` as well."""
        patience = self.session.config.hedge_seconds
        if not patience or len(wanted.ref.replicas) < 2 or self._hedges >= HEDGES:
            await self._read_from(wanted, number)
            return
        first = asyncio.create_task(self._read_from(wanted, number))
        try:
            await asyncio.wait((first,), timeout=patience)
            second = None if first.done() else next(others, None)
            if second is None:
                await first
                return
            await self._race(first, wanted, second)
        finally:
            await _end(first)

    async def _race(self, first: asyncio.Task[None], wanted: _Wanted, number: int) -> None:
        """Ask ``number`` beside the pending ``first``; the first to succeed wins.

        Where both fail, the error is that of the one that may still have the bytes.
        """
        scratch = memoryview(bytearray(len(wanted.into)))
        second = asyncio.create_task(self._read_from(wanted._replace(into=scratch), number))
        self._hedges += 1
        try:
            pending: set[asyncio.Task[None]] = {first, second}
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if any(task.exception() is None for task in done) or not pending:
                    break
            failure = first.exception() if first.done() else None
            if first.done() and failure is None:
                return
            if failure is not None and second.exception() is not None and _may_recover(failure):
                raise failure
            second.result()
            await _end(first)  # before the copy: it may still receive into the same memory
            wanted.into[:] = scratch
        finally:
            self._hedges -= 1
            await _end(second)

    async def _read_from(self, wanted: _Wanted, number: int) -> None:
        """One attempt at one member, checked."""
        ref, start, into, deadline, parted = wanted
        request = m.ReadBlock(*ref.version, start, len(into), whole=parted)
        answer = await self.session.ask_member(number, request, deadline=deadline, into=into)
        whole = start == 0 and len(into) == ref.length and ref.generation  # 0: a store's, no CRC
        expected = ref.crc if whole else answer.record.crc
        if len(answer.payload) != len(into) or crc32c(into) != expected:
            self.report_corrupt(ref, number)
            error = CorruptBlockError(f"block {ref.index} arrived damaged")
            raise CorruptBlockError(self._told_of(number, error))

    def report_corrupt(self, ref: BlockRef, number: int) -> None:
        """Tell the primary, on the side, that a member's copy fails its checksum."""
        log.warning("member %d: block %d of inode %x is corrupt", number, ref.index, ref.inode)
        task = asyncio.create_task(self._report(ref, number))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report(self, ref: BlockRef, number: int) -> None:
        version = m.BlockVersion(ref.inode, ref.index, ref.generation, ref.sequence)
        try:
            await self.session.ask(m.ReportCorrupt(version, number))
        except MemfsError as error:
            log.warning("the corrupt block could not be reported: %s", error)

    async def close(self) -> None:
        """End what runs on the side."""
        for task in list(self._reports):
            await _end(task)


def _may_recover(error: BaseException) -> bool:
    """Whether a member that failed so may have the bytes all the same."""
    return not isinstance(error, (BlockNotFoundError, CorruptBlockError))


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; its result or error does not matter."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()
