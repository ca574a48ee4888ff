"""The course of a copy between the local disk and the cluster: order, parallelism, memory.

Small files travel in batches, larger ones as streams with two buffers each, so that disk and
network work at once. Must not know which way the bytes go: that is a :class:`Direction`'s part.
Invariant: what fails for one file does not stop the others; what concerns all of them (no
cluster, no space) stops the copy at once.
"""

from __future__ import annotations

import asyncio
import enum
import errno
import itertools
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import NamedTuple, Protocol

from memfs import limits
from memfs.client.transfer.hard_links import HardLinks, LinkStep
from memfs.concurrency import Coro, results, run_all
from memfs.errors import DeadlineError, NoSpaceError, OutcomeUnknownError, UnavailableError
from memfs.types import FileKind

BUFFER_BYTES = 16 * limits.MIB
"""One of the two buffers of a stream: four blocks, which are sent from it without a copy."""
MEDIUM_BYTES = 4 * limits.MIB
MEDIUM_STREAMS = 8
LARGE_STREAMS = 2  # 2 x 2 x 16 MiB of buffers, beside 8 x 4 MiB and 4 x 4 MiB of batches
BATCHES = 4
BATCH_BYTES = limits.BATCH_PAYLOAD_BYTES // 2
DIRECTORIES = 32
"""Directories made at once."""
ATTRIBUTES = 64
"""Files of a batch whose attributes are read or set at once."""
CHOSEN_AT_ONCE = 256
"""Items that somebody is asked about together."""
_PART = ".memfs-part-"
LEADS_BACK = "a symbolic link leads back to a directory above it"
STOPPING = (UnavailableError, DeadlineError, OutcomeUnknownError, NoSpaceError)
"""Errors after which no other file would fare better."""


class ProgressEvent(NamedTuple):
    """How far a copy is; the totals grow while the tree is still being listed."""

    path: str
    """The file that got on, as it is named at the source."""
    bytes: int
    """Bytes copied, all files together."""
    files: int
    """Files, symlinks included, that are complete."""
    total_bytes: int
    total_files: int


class Failure(NamedTuple):
    """One file that could not be copied."""

    path: str
    """As it is named at the source."""
    error: OSError


class Transferred(NamedTuple):
    """Result of a copy."""

    files: int
    directories: int
    bytes: int
    failures: tuple[Failure, ...]
    """Empty: everything was copied."""


Progress = Callable[[ProgressEvent], object]
Reader = Callable[[memoryview], Coro[int]]
"""Fills a buffer, less of it only at the end; returns the bytes."""
Writer = Callable[[memoryview], Coro[None]]
"""Takes all of a buffer's bytes before it returns."""


class Item(NamedTuple):
    """One thing to copy."""

    source: str
    target: str
    kind: FileKind
    size: int
    mode: int
    modified_ns: int
    link: str = ""
    """Text of a symlink."""
    named: bool = False
    """It was named by the caller, not found in a tree."""
    accessed_ns: int = 0
    inode: int = 0
    """If it is in the cluster."""
    owner: str = ""
    """Likewise, as its group: what only the copies within a cluster keep."""
    group: str = ""
    identity: Hashable = None
    """Of a file that may have further names at the source: theirs is the same."""
    acl: bool = False
    """It has an access control list, of which ``mode`` tells the mask; if it is in the cluster."""


Choose = Callable[[Sequence[Item]], Awaitable[Sequence[Item]]]
"""Which of some items are copied; of a directory that is not, nothing is."""


async def chosen(
    items: AsyncIterator[Item | Failure], choose: Choose | None
) -> AsyncIterator[Item | Failure]:
    """What ``choose`` keeps of ``items``, in their order; it is asked about many at a time."""
    if choose is None:
        async for each in items:
            yield each
        return
    dropped: set[str] = set()
    few: list[Item] = []
    async for each in items:
        if (each[0].rpartition("/")[0]) in dropped:
            dropped.add(each[0])
        elif isinstance(each, Item) and len(few) < CHOSEN_AT_ONCE - 1 and not each.named:
            few.append(each)
        else:
            few += [each] if isinstance(each, Item) else []
            for kept in await _keep(few, choose, dropped):
                yield kept
            few = []
            if not isinstance(each, Item):
                yield each
    for kept in await _keep(few, choose, dropped):
        yield kept


async def _keep(few: list[Item], choose: Choose, dropped: set[str]) -> Sequence[Item]:
    """Ask for a batch of items; note the directories that are left out."""
    if not few:
        return []
    wanted = {item.source for item in await choose(few)}
    kept = []
    for item in few:
        if item.source in wanted and item.source.rpartition("/")[0] not in dropped:
            kept.append(item)
        elif item.kind == FileKind.DIRECTORY:
            dropped.add(item.source)
    return kept


SPECIAL = "not a file, directory or symbolic link"
"""Why something is not copied."""


class Follow(enum.Enum):
    """Which symbolic links of a source stand for what they lead to."""

    NEVER = "never"
    NAMED = "named"
    """Those that the caller names, not those found in trees."""
    ALWAYS = "always"

    def follows(self, named: bool) -> bool:
        """Whether to follow a link that the caller named (``named``), or one found in a tree."""
        return self is Follow.ALWAYS or (named and self is Follow.NAMED)


class Ancestors:
    """A directory and those above it, to detect loops where symbolic links are followed."""

    def __init__(self, identity: Hashable, above: Ancestors | None = None) -> None:
        self._identity = identity
        self._above = above

    def holds(self, identity: Hashable) -> bool:
        """Whether the directory of that identity is this one or above it."""
        at: Ancestors | None = self
        while at is not None:
            if at._identity == identity:
                return True
            at = at._above
        return False


class Direction(Protocol):
    """One end of a copy to the other: put or get."""

    async def directory(self, item: Item) -> None:
        """Make a directory; one that exists is fine."""

    async def symlink(self, item: Item) -> None:
        """Make a symlink, replacing an old one."""

    async def link(self, first: str, item: Item) -> None:
        """Make a hard link to the copy ``first``, replacing an old file or symlink."""

    async def batch(self, items: Sequence[Item]) -> list[OSError | None]:
        """Copy small files; an outcome for each."""

    async def stream(self, item: Item, advance: Callable[[int], None]) -> None:
        """Copy one file of any size; ``advance`` is told bytes as they arrive."""

    async def finish(self, item: Item) -> None:
        """Give a directory its final mode and time, after everything in it."""


class _Batch:
    """Small files that will travel together."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.size = 0


class Copy:
    """One copy: hands items to a direction, bounded in parallel, and keeps count."""

    def __init__(
        self, direction: Direction, progress: Progress | None, links: HardLinks | None = None
    ) -> None:
        """``links``: what is known of files with several names, None: each name gets a copy."""
        self._direction = direction
        self._progress = progress
        self._links = links
        self._later: list[Item] = []
        """Further names of files that are being copied."""
        self._bytes = self._files = self._total_bytes = self._total_files = 0
        self._directories: list[Item] = []
        self._failures: list[Failure] = []
        self._batches = asyncio.Semaphore(BATCHES)
        self._medium = asyncio.Semaphore(MEDIUM_STREAMS)
        self._large = asyncio.Semaphore(LARGE_STREAMS)
        self._making = asyncio.Semaphore(DIRECTORIES)
        self._unmade: dict[str, asyncio.Task[None]] = {}
        """Directories under way, by target: what they hold waits for them."""
        self._refused: set[str] = set()
        """Directories that could not be made, by target: what they hold is left out."""
        self._waiting: dict[int, _Batch] = {}
        """Small files by mode, until a batch is full."""

    async def run(self, items: AsyncIterator[Item | Failure]) -> Transferred:
        """Copy everything that ``items`` yields, a directory before what it holds."""
        try:
            async with asyncio.TaskGroup() as group:
                async for item in items:
                    await self._begin(group, item)
                await self._send_batches(group)
            while self._later:
                later, self._later = self._later, []
                async with asyncio.TaskGroup() as group:
                    for item in later:
                        await self._begin_file(group, item)
                    await self._send_batches(group)
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        await self._finish_directories()
        return Transferred(self._files, len(self._directories), self._bytes, tuple(self._failures))

    async def _begin(self, group: asyncio.TaskGroup, item: Item | Failure) -> None:
        """Start on one item; waits while as many as allowed are under way."""
        if isinstance(item, Failure):
            self._failures.append(item)
        elif item.kind == FileKind.DIRECTORY:
            task = await self._start(group, self._making, self._make(item))
            self._unmade[item.target] = task
            task.add_done_callback(lambda _: self._unmade.pop(item.target))
        elif item.kind == FileKind.SYMLINK:
            self._count(item)
            await self._start(group, self._medium, self._link(item))
        else:
            await self._begin_file(group, item)

    async def _begin_file(self, group: asyncio.TaskGroup, item: Item) -> None:
        part = LinkStep.COPY
        if self._links is not None and item.identity is not None:
            part = self._links.part(item.identity, item.target)
        if part is LinkStep.WAIT:
            self._later.append(item)
            return
        if part is LinkStep.LINK:
            item = item._replace(size=0)
        self._count(item)
        if part is LinkStep.LINK:
            await self._start(group, self._medium, self._another_name(item))
        elif item.size > limits.SMALL_FILE_BYTES:
            lane = self._medium if item.size <= MEDIUM_BYTES else self._large
            await self._start(group, lane, self._stream(item))
        else:
            batch = self._waiting.setdefault(item.mode, _Batch())
            batch.items.append(item)
            batch.size += item.size
            if batch.size >= BATCH_BYTES or len(batch.items) >= limits.FILES_PER_BATCH:
                await self._send_batch(group, item.mode)

    def _count(self, item: Item) -> None:
        self._total_files += 1
        self._total_bytes += item.size

    async def _send_batches(self, group: asyncio.TaskGroup) -> None:
        for mode in list(self._waiting):
            await self._send_batch(group, mode)

    async def _send_batch(self, group: asyncio.TaskGroup, mode: int) -> None:
        await self._start(group, self._batches, self._batch(self._waiting.pop(mode).items))

    async def _start(
        self, group: asyncio.TaskGroup, lane: asyncio.Semaphore, work: Coro[None]
    ) -> asyncio.Task[None]:
        try:
            await lane.acquire()
        except BaseException:
            work.close()
            raise
        task = group.create_task(work)
        task.add_done_callback(lambda _: lane.release())
        return task

    async def _make(self, item: Item) -> None:
        """Make a directory, after the one that holds it."""
        parent = self._unmade.get(item.target.rpartition("/")[0])
        if parent is not None:
            await asyncio.wait([parent])
        if self._is_refused(item):
            self._refused.add(item.target)
        elif await self._guarded(item, self._direction.directory(item)):
            self._directories.append(item)
        else:
            self._refused.add(item.target)

    def _is_refused(self, item: Item) -> bool:
        """Whether its parent directory could not be made, which was reported already."""
        return item.target.rpartition("/")[0] in self._refused

    async def _made(self) -> None:
        """Wait until every directory begun so far is there."""
        if self._unmade:
            await asyncio.wait(list(self._unmade.values()))

    async def _finish_directories(self) -> None:
        """The deepest first: a directory may be closed to its owner afterwards."""

        def depth(item: Item) -> int:
            return item.target.count("/")

        ordered = sorted(self._directories, key=depth, reverse=True)
        for _, level in itertools.groupby(ordered, depth):
            work = (self._guarded(item, self._direction.finish(item)) for item in level)
            await run_all(work, DIRECTORIES)

    async def _batch(self, items: Sequence[Item]) -> None:
        await self._made()
        wanted = [item for item in items if not self._is_refused(item)]
        outcomes = await self._outcomes(wanted) if wanted else []
        copied = {item.target for item, error in zip(wanted, outcomes, strict=True) if not error}
        for item in items:
            self._ended(item, item.target in copied)
        for item, error in zip(wanted, outcomes, strict=True):
            if error is None:
                self._advance(item, item.size, done=True)
            else:
                self._fail(item, error)

    async def _outcomes(self, items: list[Item]) -> Sequence[OSError | None]:
        """Copy a batch. What is raised concerns all, and names the file as its source does."""
        try:
            return await self._direction.batch(items)
        except OSError as error:
            sources = {item.target: item.source for item in items}
            error.filename = sources.get(error.filename, items[0].source)
            raise

    async def _stream(self, item: Item) -> None:
        work = self._direction.stream(item, lambda count: self._advance(item, count))
        self._ended(item, await self._alone(item, work))

    def _ended(self, item: Item, copied: bool) -> None:
        if self._links is not None and item.identity is not None:
            self._links.ended(item.identity, item.target, copied)

    async def _another_name(self, item: Item) -> None:
        assert self._links is not None, "asked what to do with the item"
        first = self._links.copy_of(item.identity)
        await self._alone(item, self._direction.link(first, item))

    async def _link(self, item: Item) -> None:
        await self._alone(item, self._direction.symlink(item))

    async def _alone(self, item: Item, work: Coro[None]) -> bool:
        """Whether ``work`` made the item, in a directory that could be made."""
        await self._made()
        if self._is_refused(item):
            work.close()
            return False
        done = await self._guarded(item, work)
        if done:
            self._advance(item, 0, done=True)
        return done

    async def _guarded(self, item: Item, work: Awaitable[None]) -> bool:
        """Whether ``work`` succeeded; a failure is recorded, or raised if it ends the copy."""
        try:
            await work
        except OSError as error:
            self._fail(item, error)
            return False
        return True

    def _fail(self, item: Item, error: OSError) -> None:
        if isinstance(error, STOPPING) or error.errno == errno.ENOSPC:
            error.filename = item.source
            raise error
        self._failures.append(Failure(item.source, error))

    def _advance(self, item: Item, count: int, *, done: bool = False) -> None:
        self._bytes += count
        self._files += done
        if self._progress is not None:
            self._progress(
                ProgressEvent(
                    item.source, self._bytes, self._files, self._total_bytes, self._total_files
                )
            )


async def pump(read: Reader, write: Writer) -> int:
    """Move a stream to its end through two buffers: one is read while the other is written.

    Returns the bytes moved.
    """
    buffers = [memoryview(bytearray(BUFFER_BYTES))]
    total = 0
    filled = await read(buffers[0])
    while filled:
        last = filled < BUFFER_BYTES
        if not last and len(buffers) == 1:
            buffers.append(memoryview(bytearray(BUFFER_BYTES)))
        upcoming = await _both(write(buffers[0][:filled]), None if last else read(buffers[1]))
        total += filled
        filled = upcoming
        buffers.reverse()
    return total


async def _both(writing: Coro[None], reading: Coro[int] | None) -> int:
    """Write and read at the same time; what was read, 0 when there was nothing to read."""
    if reading is None:
        await writing
        return 0
    both: list[Coro[int | None]] = [writing, reading]
    _, got = await results(both, 2)
    return got or 0


def part_of(path: str) -> str:
    """A name beside ``path`` for what is not complete yet."""
    directory, _, name = path.rpartition("/")
    part = f"{_PART}{secrets.token_hex(6)}"
    room = limits.NAME_BYTES - len(part) - 1
    kept = os.fsencode(name)[:room].decode(errors="ignore")  # local names need not be UTF-8
    return f"{directory}/.{kept}{part}" if "/" in path else f".{kept}{part}"
