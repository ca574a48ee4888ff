"""The asynchronous file system's operations on mounts of external stores.

Owns the calls that mount and unmount, and those on a store's files in the cluster's memory. Nodes
talk to the stores; a client never does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final, NamedTuple

from memfs import limits, paths
from memfs.client.attributes import AttributeOperations
from memfs.client.calls.arguments import number, text, whole
from memfs.client.calls.deadline import Deadline
from memfs.client.calls.wire import PathLike
from memfs.client.reading import layout
from memfs.client.reading.block_map import BlockMap
from memfs.client.stat import Stat
from memfs.client.transfer.copying import Failure, Progress, ProgressEvent
from memfs.concurrency import results, run_all, run_each
from memfs.errors import DeadlineError, InvalidArgumentError, RequestError
from memfs.protocol import messages as m
from memfs.types import BlockRef, FileKind, ObjectState, Residence

MODES: Final = {
    "dual-async": m.MountMode.DUAL_ASYNC,
    "dual-sync": m.MountMode.DUAL_SYNC,
    "proxy": m.MountMode.PROXY,
}
LOADS_AT_ONCE: Final = 16
"""Blocks that a load has nodes fetch at the same time: 64 MiB of default ones."""

LISTINGS_AT_ONCE: Final = 8
"""Directories whose names a load asks for at the same time."""


class MountInfo(NamedTuple):
    """One mount, as ``mounts`` lists it; times in seconds."""

    path: str
    url: str
    mode: str
    """``dual-async``, ``dual-sync`` or ``proxy``."""
    options: dict[str, str]
    read_only: bool
    shared: bool
    policy: str
    ttl: float
    sync_interval: float
    copies: int
    dirty_files: int
    """Changes that the store does not have yet, deletions included."""
    oldest_dirty: float
    """Time of the oldest of them, since the epoch; 0: there is none."""
    trouble: str
    """Why the store could not be asked last; empty: it could."""
    quota: int
    """Bytes of cached blocks at most, on all nodes together; 0: as many as there is room for."""


class LoadReport(NamedTuple):
    """What came of a load, a free or a persist."""

    files: int
    bytes: int = 0
    failures: tuple[Failure, ...] = ()
    """What could not be loaded, and why."""


class Pace:
    """Lets ``rate`` bytes a second pass on average, 0: all at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def wait_for(self, count: int) -> None:
        """Return when ``count`` more bytes may pass."""
        if self._rate <= 0:
            return
        now = asyncio.get_running_loop().time()
        begin = max(now, self._free_at)
        self._free_at = begin + count / self._rate
        if begin > now:
            await asyncio.sleep(begin - now)


class LoadCounts:
    """Counts what a load has found and done, and tells ``progress`` of each step."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self.files = self.bytes = 0
        """Found so far."""
        self._files_done = self._bytes_done = 0
        self.failures: list[Failure] = []

    def found(self, sizes: list[int]) -> None:
        """A directory was listed, and has files of these sizes."""
        self.files += len(sizes)
        self.bytes += sum(sizes)

    def failed(self, path: str, size: int, error: OSError) -> None:
        """A file that was found cannot be read."""
        self.files -= 1
        self.bytes -= size
        self.failures.append(Failure(path, error))

    def advanced(self, path: str, count: int, complete: bool = False) -> None:
        """``count`` more bytes of a file are in memory, or all of it."""
        self._bytes_done += count
        self._files_done += complete
        if self._progress is not None:
            self._progress(
                ProgressEvent(path, self._bytes_done, self._files_done, self.bytes, self.files)
            )


class MountOperations(AttributeOperations):
    """Mounts of external stores."""

    async def mount(
        self,
        path: PathLike,
        url: str,
        *,
        mode: str = "dual-async",
        options: Mapping[str, str] | None = None,
        read_only: bool = False,
        shared: bool = False,
        policy: str = "aged",
        ttl: float = 0.0,
        sync_interval: float = 60.0,
        copies: int = 1,
        update: bool = False,
        quota: int = 0,
        timeout: float | None = None,
    ) -> MountInfo:
        """Show what an external store holds below a directory, which is made or empty (superuser).

        ``url``: ``s3://bucket/prefix``, ``file:///directory`` of every node, ...; ``options`` are
        the store's, never a secret: name a file on the nodes instead. ``mode`` says when the store
        has what is written. What was asked of the store counts for ``sync_interval`` seconds (0:
        for one request, -1: until ``sync_metadata``); blocks in memory that nobody read for
        ``ttl`` seconds go (0: when room is needed); ``copies`` nodes keep each. ``update``: change
        how a mount is mounted. ``quota``: bytes that its blocks may take on all nodes together (0:
        as many as there is room for). The store is asked at once: what is wrong is raised.
        """
        where = self._wire(path)
        if text("mode", mode) not in MODES:
            raise InvalidArgumentError(f"{mode!r} is no mode of a mount: {', '.join(MODES)} are")
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"options must be a mapping, not {type(options).__name__}")
        given = tuple(
            m.StoreOption(text("an option's name", name), text("an option", value))
            for name, value in (options or {}).items()
        )
        ttl, interval = number("ttl", ttl), number("sync_interval", sync_interval)
        request = m.Mount(
            where.raw,
            url,
            MODES[mode],
            given,
            read_only,
            shared,
            policy,
            round(ttl * 1000),
            round(interval * 1000) if interval >= 0 else -1,
            copies,
            update,
            whole("quota", quota),
        )
        return _info(await self._ask(request, where.given, timeout))

    async def unmount(
        self, path: PathLike, *, discard: bool = False, timeout: float | None = None
    ) -> None:
        """Take a mount away; the store keeps what it has (superuser).

        Refused while it lacks changes, unless they are to be given up (``discard``).
        """
        where = self._wire(path)
        await self._ask(m.Unmount(where.raw, discard), where.given, timeout)

    async def mounts(self, *, timeout: float | None = None) -> list[MountInfo]:
        """All mounts, in the order in which they were made; without secrets."""
        deadline = self._session.budget(timeout)
        found: list[MountInfo] = []
        after = 0
        while True:
            reply = await self._session.ask(m.ListMounts(after), None, deadline)
            found += map(_info, reply.mounts)
            if not reply.more or not reply.mounts:
                return found
            after = reply.mounts[-1].number

    async def residence(
        self, files: Sequence[Stat], *, timeout: float | None = None
    ) -> list[Residence | None]:
        """The state of files of external stores, and how much of each is in memory.

        ``files`` are results of ``stat`` or of a listing; the answers are in their order, None for
        what is below no mount. Only what a store alone has is asked about, a thousand at a time.
        """
        deadline = self._session.budget(timeout)
        if not all(isinstance(each, Stat) for each in files):
            raise TypeError("results of stat are wanted")
        found: list[Residence | None] = []
        clean: list[int] = []
        for at, each in enumerate(files):
            state, size = each.attributes.object_state, each.attributes.size
            found.append(Residence(state, size, size) if state else None)
            if state == ObjectState.CLEAN and size:
                clean.append(at)
        for first in range(0, len(clean), limits.OBJECTS_PER_QUESTION):
            part = clean[first : first + limits.OBJECTS_PER_QUESTION]
            request = m.GetResidence(tuple([files[at].attributes.inode for at in part]))
            reply = await self._session.ask(request, None, deadline)
            for at, residence in zip(part, reply.files, strict=True):
                found[at] = residence
        return found

    async def sync_metadata(self, path: PathLike = "/", *, timeout: float | None = None) -> int:
        """Ask the stores anew about all that is known below a path; how many questions it took.

        Without ``timeout`` it takes as long as they do: where that is more than half a minute, the
        number is that of the directories.
        """
        where = self._wire(path)
        try:
            reply = await self._ask(m.SyncMetadata(where.raw), where.given, timeout)
        except DeadlineError:
            if timeout is not None:
                raise
            count = 0  # of all that was not asked anew so far, nothing is believed
            async for level in self._levels(where.text, None):
                count += len(level)
            return count
        return reply.files

    async def persist(self, path: PathLike, *, timeout: float | None = None) -> int:
        """Return when the store has all that was changed below a path; how many changes.

        Raises what keeps the store from having it. Without ``timeout`` it takes as long as the
        cluster answers; the changes of the last half minute are counted then.
        """
        where = self._wire(path)
        while True:
            try:
                reply = await self._ask(m.PersistFiles(where.raw), where.given, timeout)
            except DeadlineError:
                if timeout is not None:
                    raise
                await self._ask(m.ListMounts(), None, None)  # is anybody there?
            else:
                return reply.files

    async def free(self, path: PathLike, *, timeout: float | None = None) -> LoadReport:
        """Give up memory of what the store has too, pinned or not, below a path; changes stay."""
        where = self._wire(path)
        reply = await self._ask(m.FreeFiles(where.raw), where.given, timeout)
        return LoadReport(reply.files, reply.size)

    async def pin(
        self,
        path: PathLike,
        *,
        ttl: float = 0.0,
        unpin: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Keep what is in memory of a file, or of all below a directory, for ``ttl`` seconds.

        0: until it is unpinned. Pinned blocks are not evicted, whatever else needs room; what is
        not in memory yet is fetched by :meth:`load`, or when it is read.
        """
        where = self._wire(path)
        ttl = number("ttl", ttl)
        await self._ask(m.Pin(where.raw, round(ttl * 1000), unpin), where.given, timeout)

    async def load(
        self,
        path: PathLike,
        *,
        metadata_only: bool = False,
        bandwidth: float = 0.0,
        progress: Progress | None = None,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> LoadReport:
        """Have the nodes fetch all that the store holds below a path, spread over them.

        ``metadata_only``: names and attributes alone, directory by directory.

        ``bandwidth``: bytes a second at most, of all nodes together; 0: as fast as it goes.
        ``progress`` is called with a :class:`ProgressEvent` as blocks arrive, on the event loop's
        thread.

        Blocks that are in memory already cost a question each, so that a load that was interrupted
        goes on where it was. A file that cannot be fetched does not stop the others: its error is
        raised at the end, the first one, or with ``return_errors`` all are in ``failures``. What
        concerns all files, as a store out of reach does, is raised at once. Without ``timeout``
        each step has the configured budget, and all of it takes as long as it takes.
        """
        deadline = self._session.budget(timeout)
        pace = Pace(number("bandwidth", bandwidth))
        loading, turns = LoadCounts(progress), asyncio.Semaphore(LOADS_AT_ONCE)
        async for level in self._levels(self._wire(path).text, deadline):
            wanted = [
                (name, length)
                for entries in level
                for name, kind, length in entries
                if kind == FileKind.FILE
            ]
            loading.found([length for _, length in wanted])
            if metadata_only:
                for name, length in wanted:
                    loading.advanced(name, length, complete=True)
                continue
            files = (self._load_file(*each, turns, pace, loading, deadline) for each in wanted)
            await run_all(files, LOADS_AT_ONCE)
        if loading.failures and not return_errors:
            raise loading.failures[0].error
        return LoadReport(loading.files, loading.bytes, tuple(loading.failures))

    async def _levels(
        self, top: str, deadline: Deadline | None
    ) -> AsyncGenerator[list[list[tuple[str, int, int]]], None]:
        """The entries of a directory and of all below it, some directories at a time."""
        pending = [top]
        while pending:
            now = pending[-LISTINGS_AT_ONCE:]
            del pending[-LISTINGS_AT_ONCE:]
            found = await results((self._entries(each, deadline) for each in now), len(now))
            pending += [
                name for each in found for name, kind, _ in each if kind == FileKind.DIRECTORY
            ]
            yield found

    async def _entries(self, top: str, deadline: Deadline | None) -> list[tuple[str, int, int]]:
        """(path, kind, size) of what is in a directory, or of a file itself."""
        where = self._wire(top)
        found: list[tuple[str, int, int]] = []
        after = b""
        while True:
            reply = await self._session.ask(m.List(where.raw, after), where.given, deadline)
            for entry in reply.entries:
                name = f"{top.rstrip('/')}/{paths.decode(entry.name)}" if entry.name else top
                found.append((name, entry.attributes.kind, entry.attributes.size))
            if not reply.remaining or not reply.entries:
                return found
            after = reply.entries[-1].name

    async def _load_file(
        self,
        path: str,
        size: int,
        turns: asyncio.Semaphore,
        pace: Pace,
        loading: LoadCounts,
        deadline: Deadline | None,
    ) -> None:
        left = size

        async def load(ref: BlockRef) -> None:
            nonlocal left
            async with turns:
                for member in ref.replicas:
                    await pace.wait_for(ref.length)
                    await self._session.ask_member(
                        member,
                        m.ReadBlock(*ref.version, 0, 0),
                        deadline=self._session.deadline(deadline),
                    )
            count = min(left, ref.length)  # another program may have replaced it by a longer one
            left -= count
            loading.advanced(path, count)

        where = self._wire(path)
        try:
            begin = self._session.deadline(deadline)
            file = await BlockMap.fetch(self._session, where.given, where.raw, begin)
            count = layout.block_count(file.attributes.size, file.attributes.block_size)
            refs = self._stored_blocks(file, count, deadline)
            await run_each(load, refs, max(1, min(count, LOADS_AT_ONCE)))
        except RequestError as error:
            loading.failed(path, size, error)
        else:
            loading.advanced(path, left, complete=True)

    async def _stored_blocks(
        self, file: BlockMap, count: int, deadline: Deadline | None
    ) -> AsyncGenerator[BlockRef, None]:
        """The blocks of a file as far as only its store has them."""
        for index in range(count):
            ref = await file.ref(index, self._session.deadline(deadline))
            if ref.generation or not ref.length:
                return  # its blocks are the cluster's own
            yield ref


def _info(record: m.MountRecord) -> MountInfo:
    return MountInfo(
        paths.decode(record.path),
        record.url,
        next((name for name, mode in MODES.items() if mode == record.mode), str(record.mode)),
        {option.name: option.value for option in record.options},
        record.read_only,
        record.shared,
        record.policy,
        record.ttl_ms / 1000,
        record.sync_ms / 1000 if record.sync_ms >= 0 else -1.0,
        record.copies,
        record.dirty_files,
        record.oldest_dirty_ns / 1e9,
        record.trouble,
        record.quota,
    )
