"""Files by their content: opening, and reading and writing whole ones.

Must not know how requests travel (session), how bytes move (handle, batch) or threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Self, Unpack

from memfs.client.aiofiles import AsyncFile, AsyncTextFile, Opening
from memfs.client.batches.batch_map import BatchMapper
from memfs.client.batches.batch_paths import BatchPaths, checked
from memfs.client.batches.batch_read import BatchReader
from memfs.client.batches.batch_write import BatchWriter
from memfs.client.batches.range_read import FileRange, FileRangeReader
from memfs.client.calls import modes
from memfs.client.calls.arguments import position, several, whole
from memfs.client.calls.modes import Mode
from memfs.client.calls.single_questions import single_question
from memfs.client.calls.wire import PathLike, WirePath, text_of
from memfs.client.context import ClientContext
from memfs.client.handles.create_options import (
    CreateKeywords,
    CreateOptions,
    OpenKeywords,
    WriteKeywords,
)
from memfs.client.handles.drafts import Draft, open_draft, publishing
from memfs.client.handles.handle import Handle
from memfs.client.handles.opening import open_handle, reopen_handle
from memfs.client.handles.versions import BUFFER_BYTES, Advance, CopySink, Source
from memfs.client.locking import FileLock, lock_file
from memfs.client.namespace import NamespaceOperations
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.local_blocks import LocalFile
from memfs.client.session.session import Session
from memfs.client.stat import Stat
from memfs.config import ClientConfig
from memfs.errors import (
    InvalidArgumentError,
    LeaseLostError,
    MemfsError,
    OutcomeUnknownError,
    PathExistsError,
    StaleHandleError,
)
from memfs.types import Attributes, Buffer, View


class MappedFile(NamedTuple):
    """A file that is about to be mapped."""

    path: WirePath
    local: LocalFile
    content: bytes | None
    """All of a small file, which no node lends."""


class ContentOperations(NamespaceOperations):
    """What is in files: opening them, reading and writing whole ones, copies within the cluster."""

    _handles: ClassVar[type[Handle]] = Handle
    """The class of the handles that are opened."""
    _drafts: ClassVar[type[Draft]] = Draft

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._context = ClientContext(session)
        self._reading = BatchReader(self._context)
        self._mapping = BatchMapper(self._context, self._reading)
        self._ranges = FileRangeReader(self._context, self._reading)
        self._writing = BatchWriter(self._context)
        self._open_for_writing: weakref.WeakSet[Handle] = weakref.WeakSet()

    @property
    def config(self) -> ClientConfig:
        """The configuration it was made with."""
        return self._session.config

    @property
    def view(self) -> View:
        """The newest cluster view known: members, primary, epoch."""
        return self._session.known.view

    async def close(self) -> None:
        """Publish what is open for writing and end the session: connections are closed.

        Raises the error of a file that could not be published, once everything is closed. A whole
        file that is being written out of sight is given up.
        """
        if not self._session.routing.closed:
            self._session.primary.check_loop()
        try:
            await self._close_files()
        finally:
            try:
                await self._writing.close()
                await self._context.close()
            finally:
                await self._session.close()

    async def _begin_closing(self) -> None:
        """Have what is called from now on end within one budget, files closed in turn included."""
        self._session.begin_closing()

    async def _close_files(self) -> None:
        """All at once, within one budget."""
        deadline = self._session.deadline()
        ends = [
            handle.discard(deadline) if isinstance(handle, Draft) else handle.close(deadline)
            for handle in list(self._open_for_writing)
        ]
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- files ------------------------------------------------------------------------------

    def open(
        self,
        file: PathLike,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **options: Unpack[OpenKeywords],
    ) -> Opening:
        """Open a file: ``await fs.open(...)`` or ``async with fs.open(...) as f``.

        Arguments are those of the builtin ``open``; text is UTF-8 unless ``encoding`` says
        otherwise. Keyword options: ``permissions`` (exactly; None: 0o666 less the process's
        umask, or what a default ACL grants), ``unmasked`` (as of ``mkdir``), ``parents`` (create
        missing directories), ``replication``, ``block_size``, ``group_blocks`` for a file that is
        created; ``timeout``. A file has one writer: LeaseHeldError tells of another, unless
        ``recover`` is given: then the lease of the other ends at its last flush.
        """
        parsed = modes.parse(mode)
        modes.check_text_arguments(parsed, buffering, encoding, errors, newline)

        async def start() -> AsyncFile | AsyncTextFile:
            handle = await self.open_handle(file, parsed, **options)
            opened = AsyncFile(handle, text_of(file), parsed, buffering != 0)
            if parsed.binary:
                return opened
            return AsyncTextFile(opened, encoding, errors, newline)

        return Opening(start)

    async def open_handle(
        self,
        path: PathLike,
        mode: Mode,
        *,
        timeout: float | None = None,
        **options: Unpack[CreateKeywords],
    ) -> Handle:
        """Open a positional handle, on which file objects are built; options: :meth:`open`."""
        return await self._open_handle(
            path, mode, CreateOptions.of(self.config, **options), timeout
        )

    async def _open_handle(
        self, path: PathLike, mode: Mode, options: CreateOptions, timeout: float | None
    ) -> Handle:
        where = self._wire(path)
        handle = await open_handle(
            self._context, where.given, where.raw, mode, options, timeout, self._handles
        )
        if mode.writing:
            self._open_for_writing.add(handle)
        return handle

    @contextlib.asynccontextmanager
    async def replacing(
        self,
        path: PathLike,
        *,
        exclusive: bool = False,
        recover: bool = False,
        permissions: int | None = None,
        parents: bool = False,
        replication: int | None = None,
        block_size: int | None = None,
        group_blocks: int | None = None,
        unmasked: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Draft]:
        """A handle of a new file, which takes the name ``path`` when the block ends well.

        Until then nobody sees it, and what was there stays; when the block fails, or this client
        goes, nothing of it is left. The other options are those of :meth:`open`.
        """
        timeout = self._session.budget(timeout)
        options = CreateOptions.of(
            self.config,
            permissions=permissions,
            parents=parents,
            replication=replication,
            block_size=block_size,
            group_blocks=group_blocks,
            unmasked=unmasked,
            recover=recover,
        )
        draft = await self._open_draft(path, options, exclusive, timeout)
        async with publishing(draft, timeout):
            yield draft

    async def open_draft(
        self,
        path: PathLike,
        *,
        exclusive: bool = False,
        timeout: float | None = None,
        **options: Unpack[CreateKeywords],
    ) -> Draft:
        """What :meth:`replacing` yields: closing it publishes it."""
        create = CreateOptions.of(self.config, **options)
        return await self._open_draft(path, create, exclusive, timeout)

    async def _open_draft(
        self, path: PathLike, options: CreateOptions, exclusive: bool, timeout: float | None
    ) -> Draft:
        draft = await open_draft(
            self._context,
            self._wire(path),
            options,
            exclusive=exclusive,
            timeout=self._session.budget(timeout),
            kind=self._drafts,
        )
        self._open_for_writing.add(draft)
        return draft

    async def reopen_handle(self, handle: Handle) -> Handle:
        """A handle of the same inode over this session: for a forked child that goes on reading."""
        return await reopen_handle(self._context, handle, self._handles)

    @single_question
    async def read_bytes(self, path: PathLike, *, timeout: float | None = None) -> bytes:
        """The whole content, as of one moment. A small file takes one round trip."""
        return await self._reading.read(self._wire(path), self._session.budget(timeout))

    async def write_bytes(
        self,
        path: PathLike,
        data: Buffer,
        *,
        exclusive: bool = False,
        parents: bool = False,
        permissions: int | None = None,
        replication: int | None = None,
        recover: bool = False,
        timeout: float | None = None,
    ) -> int:
        """Replace the content (or create the file); returns the bytes written.

        Every reader sees the old content or the new one; a write that breaks off changes nothing.
        ``recover``: even if somebody else has the file open for writing, whose lease then ends.
        """
        options = CreateOptions.of(
            self.config,
            permissions=permissions,
            parents=parents,
            replication=replication,
            recover=recover,
        )
        timeout = self._session.budget(timeout)
        return await self._writing.write(self._wire(path), data, options, exclusive, timeout)

    async def map(self, path: PathLike, *, timeout: float | None = None) -> memoryview:
        """The whole content as a read-only view, which stays valid when the file is deleted.

        Nothing is copied when a node of this host holds the file and it is no larger than a group
        (64 MiB by default): the view is the node's memory. ``numpy.frombuffer`` takes it.
        """
        timeout = self._session.budget(timeout)
        file = await self.open_map(path, timeout=timeout)
        if file.content is not None:
            return memoryview(file.content)
        mapped = await file.local.view()
        return (
            memoryview(await self._reading.read(file.path, timeout)) if mapped is None else mapped
        )

    async def open_map(self, path: PathLike, *, timeout: float | None = None) -> MappedFile:
        """What :meth:`map` needs to know of a file, in one round trip."""
        where = self._wire(path)
        deadline = self._session.deadline(timeout)
        file = await BlockMap.open(self._session, where.given, where.raw, deadline)
        self._context.local.keep_young()
        return MappedFile(where, LocalFile(self._context.local, file), file.content)

    @single_question
    async def read_text(
        self,
        path: PathLike,
        encoding: str = "utf-8",
        errors: str = "strict",
        *,
        timeout: float | None = None,
    ) -> str:
        """The whole content, decoded; line ends become ``\\n``."""
        text = (await self.read_bytes(path, timeout=timeout)).decode(encoding, errors)
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

    async def write_text(
        self,
        path: PathLike,
        text: str,
        encoding: str = "utf-8",
        errors: str = "strict",
        **options: Unpack[WriteKeywords],
    ) -> int:
        """Encode and write the whole content; returns the characters. Options: ``write_bytes``."""
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text).__name__}")
        await self.write_bytes(path, text.encode(encoding, errors), **options)
        return len(text)

    @single_question
    async def read_many(
        self,
        paths: Iterable[PathLike],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """Contents of many small files, in order: a request per batch and node.

        With ``return_errors`` a file's error takes the place of its content; otherwise the first
        one is raised.
        """
        timeout = self._session.budget(timeout)
        places = BatchPaths(paths, self._wire)
        if not return_errors:
            places.check()
        results = await self._reading.read_many(list(places.wanted.values()), timeout)
        return checked(places.results(results), return_errors)

    async def map_many(
        self,
        paths: Iterable[PathLike],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """As ``read_many``, but read-only views that stay valid when the files are deleted.

        Small files that a node of this host holds are not copied: a view is the node's memory,
        which stays in use, with its neighbours (a segment, 8 MiB by default), as long as the view
        does. Views of what came from another host share the memory it was received into.
        """
        timeout = self._session.budget(timeout)
        places = BatchPaths(paths, self._wire)
        if not return_errors:
            places.check()
        results = await self._mapping.map(list(places.wanted.values()), timeout)
        return checked(places.results(results), return_errors)

    async def read_ranges(
        self,
        ranges: Iterable[tuple[PathLike, int | None, int | None]],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """``content[start:stop]`` of files, in order: small ranges by a request per batch and node.

        ``ranges``: path, start, stop; None and negative numbers as in Python. Ranges of one file
        are of one version of it. Errors: as in ``read_many``.
        """
        timeout = self._session.budget(timeout)
        wanted = [(path, _bound(start), _bound(stop)) for path, start, stop in several(ranges)]
        places = BatchPaths((path for path, _, _ in wanted), self._wire)
        if not return_errors:
            places.check()
        work = [FileRange(path, *wanted[place][1:]) for place, path in places.wanted.items()]
        results = await self._ranges.read(work, timeout)
        return checked(places.results(results), return_errors)

    async def write_many(
        self,
        files: Mapping[Any, Buffer] | Iterable[tuple[Any, Buffer]],
        *,
        exclusive: bool = False,
        parents: bool = False,
        permissions: int | None = None,
        replication: int | None = None,
        recover: bool = False,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """Write many small files, each atomically: two round trips a batch.

        ``files``: path to content. Returns bytes written, in order; errors as in ``read_many``. Of
        several contents for one path the last one wins (with ``exclusive`` the others fail).
        ``recover``: as of ``write_bytes``.
        """
        pairs = list(files.items() if isinstance(files, Mapping) else files)
        options = CreateOptions.of(
            self.config,
            permissions=permissions,
            parents=parents,
            replication=replication,
            recover=recover,
        )
        timeout = self._session.budget(timeout)
        places = BatchPaths((path for path, _ in pairs), self._wire)
        if not return_errors:
            places.check()
        if exclusive:
            places.only_first()
        else:
            places.only_last()
        contents = [memoryview(data).cast("B") for _, data in pairs]
        work = [(path, contents[number]) for number, path in places.wanted.items()]
        results = await self._writing.write_many(work, options, exclusive, timeout)
        return checked(places.results(results, [len(each) for each in contents]), return_errors)

    async def copy(
        self,
        source: PathLike,
        target: PathLike,
        *,
        recover: bool = False,
        timeout: float | None = None,
    ) -> Stat:
        """Copy one file's content and permissions; an existing target is replaced.

        ``recover``: even if somebody else has the target open for writing.
        """
        timeout = self._session.budget(timeout)
        self._wire(target)  # no path, no request
        attempts = self._session.attempts(self._session.deadline(timeout))
        while True:
            try:
                return await self._copy_once(source, target, recover, timeout)
            except (LeaseLostError, StaleHandleError) as error:
                # The session was ended, and the new file with it: nothing was published.
                await attempts.retry(error)

    async def _copy_once(
        self,
        source: PathLike,
        target: PathLike,
        recover: bool,
        timeout: float | None,
    ) -> Stat:
        reading = Source(self._context, self._wire(source))
        kept = (await reading.open(timeout)).attributes
        await self._check_not_same(kept, source, target, timeout)
        async with self.replacing(
            target,
            recover=recover,
            permissions=kept.mode,
            block_size=kept.block_size,
            timeout=timeout,
        ) as draft:
            await reading.copy_into(draft, deadline=timeout)
        return Stat(draft.file.attributes)

    async def _check_not_same(
        self, source: Attributes, given: PathLike, target: PathLike, timeout: float | None
    ) -> None:
        """A copy onto itself is a mistake."""
        found = await self._stat_or_none(target, timeout)
        if found is not None and found.st_ino == source.inode:
            text = f"{self._wire(target).given} is the same file"
            raise InvalidArgumentError(text, path=self._wire(given).given)

    async def copy_into(
        self,
        source: PathLike,
        sink: CopySink,
        advance: Advance = lambda count: None,
        *,
        piece: int = BUFFER_BYTES,
    ) -> Attributes:
        """Copy a file's data, but not its holes, into ``sink``; see :meth:`Source.copy_into`."""
        return await Source(self._context, self._wire(source)).copy_into(sink, advance, None, piece)

    async def truncate(
        self, path: PathLike, size: int, *, recover: bool = False, timeout: float | None = None
    ) -> None:
        """Set a file's length: cut it, or add zeros. ``recover``: as of :meth:`open`."""
        size = position("size", size)
        writing = modes.parse("r+b")._replace(reading=False)  # only write permission is needed
        timeout = self._session.deadline(timeout)
        handle = await self.open_handle(path, writing, recover=recover, timeout=timeout)
        try:
            await handle.truncate(size, timeout)
        except BaseException:
            with contextlib.suppress(MemfsError):  # the first error knows what was done
                await handle.discard(timeout)
            raise
        try:
            await handle.close(timeout)
        except MemfsError as error:
            raise OutcomeUnknownError(f"the length is set, then: {error.message}") from error

    def lock(
        self,
        path: PathLike,
        *,
        exclusive: bool = True,
        blocking: bool = True,
        timeout: float | None = None,
    ) -> Opening:
        """Lock a file as a whole: ``async with fs.lock(path)``, or ``await`` it and ``close`` it.

        An empty file is made where there is none, and stays. Advisory, as flock(2)'s: it excludes
        other such locks, on every host, and no reads and writes. Once this process or host is gone,
        others get it after a quarter of a minute or the session timeout. A client that is cut off
        for so long loses it, too, and is not stopped: leaving the block raises LocksLostError.
        Waits unless not ``blocking`` (BlockingIOError); DeadlineError after ``timeout``.
        """
        where = self._wire(path)

        async def make() -> None:
            await self.touch(path, timeout=timeout)

        async def start() -> FileLock:
            return await lock_file(
                self._session,
                where,
                make,
                exclusive=exclusive,
                blocking=blocking,
                timeout=timeout,
            )

        return Opening(start)

    async def recover_lease(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """End another writer's lease at its last flush: what a crashed writer left behind."""
        where = self._wire(path)
        deadline = self._session.deadline(timeout)
        return Stat(await self._session.grants.recover(where.raw, where.given, deadline))

    async def touch(
        self,
        path: PathLike,
        mode: int | None = None,
        exist_ok: bool = True,
        *,
        timeout: float | None = None,
    ) -> None:
        """Create an empty file, or set the times of an existing one to now."""
        timeout = self._session.deadline(timeout)
        try:
            await self.write_bytes(path, b"", exclusive=True, permissions=mode, timeout=timeout)
        except PathExistsError:
            if not exist_ok:
                raise
            await self._set(path, timeout, now=True)


def _bound(value: int | None) -> int | None:
    return None if value is None else whole("a bound of a range", value)
