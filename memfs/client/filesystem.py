"""The asynchronous file system: the namespace's operations, and files.

Owns opening, and reading and writing whole files. Must not know how requests travel (session),
how bytes move (handle, batch) or threads. Every method takes ``timeout=``, seconds for the whole
call, retries included; errors are those of ``memfs.errors``, which inherit the builtin ones and
carry the path as it was given in ``filename``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from memfs import limits
from memfs.client import modes, transfer
from memfs.client.aiofiles import AsyncFile, AsyncTextFile, Opening
from memfs.client.batch import BatchReader
from memfs.client.batch_write import BatchWriter
from memfs.client.blockmap import BlockMap
from memfs.client.blocks import BlockReader
from memfs.client.copying import Transferred
from memfs.client.handle import CreateOptions, Handle, open_handle, reopen_handle
from memfs.client.local import LocalFile
from memfs.client.modes import Mode
from memfs.client.namespace import NamespaceOperations
from memfs.client.session import Session
from memfs.client.stat import Stat
from memfs.client.wire import PathLike, WirePath, wire
from memfs.config import ClientConfig
from memfs.errors import (
    InvalidArgumentError,
    MemfsError,
    PathExistsError,
)
from memfs.protocol import messages as m
from memfs.types import Attributes, Buffer, View

COPY_BYTES = 16 * limits.MIB


class MappedFile(NamedTuple):
    """A file about to be mapped."""

    path: WirePath
    local: LocalFile
    content: bytes | None
    """All of a small file, which no node lends."""


class FileSystem(NamespaceOperations):
    """A cluster seen as a file system; all methods are coroutines unless they say otherwise.

    Paths are absolute, ``str`` or ``os.PathLike``; ``memfs://`` URLs are accepted for their path.
    Use it from the event loop in which it was made. Obtained from :func:`memfs.aio.connect`.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._blocks = BlockReader(session)
        self._reading = BatchReader(self._blocks)
        self._writing = BatchWriter(self._blocks)

    @property
    def config(self) -> ClientConfig:
        """The configuration it was made with."""
        return self._session.config

    @property
    def view(self) -> View:
        """The newest cluster view known: members, primary, epoch."""
        assert self._session.view is not None, "a session is opened before it is used"
        return self._session.view

    async def close(self) -> None:
        """End the session: leases still held are released, connections closed."""
        await self._writing.close()
        await self._blocks.close()
        await self._session.close()

    async def __aenter__(self) -> FileSystem:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # --- files ------------------------------------------------------------------------------

    def open(
        self,
        path: PathLike,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **options: Any,
    ) -> Opening:
        """Open a file: ``await fs.open(...)`` or ``async with fs.open(...) as f``.

        Arguments are those of the builtin ``open``; text is UTF-8 unless ``encoding`` says
        otherwise. Keyword options: ``permissions`` (0o644, or what a default ACL grants),
        ``unmasked`` (as of ``mkdir``), ``parents`` (create missing directories), ``replication``,
        ``block_size``, ``group_blocks`` for a file that is created; ``timeout``. A file has one
        writer: LeaseHeldError tells of another.
        """
        parsed = modes.parse(mode)
        modes.check_text_arguments(parsed, buffering, encoding, errors, newline)

        async def start() -> AsyncFile | AsyncTextFile:
            handle = await self.open_handle(path, parsed, **options)
            file = AsyncFile(handle, os.fspath(path), parsed, buffering != 0)
            if parsed.binary:
                return file
            return AsyncTextFile(file, encoding, errors, newline)

        return Opening(start)

    async def open_handle(
        self,
        path: PathLike,
        mode: Mode,
        *,
        permissions: int | None = None,
        parents: bool = False,
        replication: int | None = None,
        block_size: int | None = None,
        group_blocks: int | None = None,
        unmasked: int | None = None,
        timeout: float | None = None,
    ) -> Handle:
        """Open a positional handle, on which file objects are built.

        Options are those of :meth:`open`; ``unmasked`` is the mode before the caller's umask, which
        counts where the directory has a default access list.
        """
        where = wire(path)
        options = CreateOptions(
            self.config, permissions, parents, replication, block_size, group_blocks, unmasked
        )
        return await open_handle(self._blocks, where.given, where.raw, mode, options, timeout)

    async def reopen_handle(self, handle: Handle) -> Handle:
        """A handle of the same inode over this session: for a forked child that goes on reading."""
        return await reopen_handle(self._blocks, handle)

    async def read_bytes(self, path: PathLike, *, timeout: float | None = None) -> bytes:
        """The whole content, as of one moment. A small file takes one round trip."""
        return await self._reading.read(wire(path), timeout)

    async def write_bytes(
        self,
        path: PathLike,
        data: Buffer,
        *,
        exclusive: bool = False,
        parents: bool = False,
        permissions: int | None = None,
        replication: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Replace the content (or create the file); returns the bytes written.

        It is atomic, every reader sees the old content or the new one, up to 600 blocks (2.3 GiB by
        default) and unless the file has further names.
        """
        options = CreateOptions(self.config, permissions, parents, replication)
        return await self._writing.write(wire(path), data, options, exclusive, timeout)

    async def map(self, path: PathLike, *, timeout: float | None = None) -> memoryview:
        """The whole content as a read-only view, which stays valid when the file is deleted.

        Nothing is copied when a node of this host holds the file and it is no larger than a group
        (64 MiB by default): the view is the node's memory. ``numpy.frombuffer`` takes it.
        """
        file = await self.open_map(path, timeout=timeout)
        if file.content is not None:
            return memoryview(file.content)
        mapped = await file.local.view()
        return (
            memoryview(await self._reading.read(file.path, timeout)) if mapped is None else mapped
        )

    async def open_map(self, path: PathLike, *, timeout: float | None = None) -> MappedFile:
        """What :meth:`map` needs to know of a file, in one round trip."""
        where = wire(path)
        deadline = self._session.deadline(timeout)
        file = await BlockMap.open(self._session, where.given, where.raw, deadline)
        self._blocks.local.keep_young()
        return MappedFile(where, LocalFile(self._blocks.local, file), file.content)

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
        **options: Any,
    ) -> int:
        """Encode and write the whole content; returns the characters. Options: ``write_bytes``."""
        await self.write_bytes(path, text.encode(encoding, errors), **options)
        return len(text)

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
        results = await self._reading.read_many([wire(path) for path in paths], timeout)
        return _checked(results, return_errors)

    async def write_many(
        self,
        files: Mapping[Any, Buffer] | Iterable[tuple[Any, Buffer]],
        *,
        exclusive: bool = False,
        parents: bool = False,
        permissions: int | None = None,
        replication: int | None = None,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """Write many small files, each atomically: two round trips a batch.

        ``files``: path to content. Returns bytes written, in order; errors as in ``read_many``.
        """
        pairs = files.items() if isinstance(files, Mapping) else files
        options = CreateOptions(self.config, permissions, parents, replication)
        work = [(wire(path), data) for path, data in pairs]
        results = await self._writing.write_many(work, options, exclusive, timeout)
        return _checked(results, return_errors)

    async def copy(
        self, source: PathLike, target: PathLike, *, timeout: float | None = None
    ) -> Stat:
        """Copy one file's content and permissions; an existing target is replaced."""
        deadline = self._session.deadline(timeout) if timeout is not None else None
        reading = await self.open_handle(source, modes.parse("rb"), timeout=timeout)
        try:
            kept = reading.file.attributes
            await self._check_not_same(kept, source, target)
            writing = await self.open_handle(
                target, modes.parse("wb"), permissions=kept.mode, block_size=kept.block_size
            )
            try:
                await self._pump(reading, writing, deadline)
            finally:
                await writing.close()
        finally:
            await reading.close()
        return Stat(writing.file.attributes)

    async def _check_not_same(self, source: Attributes, given: PathLike, target: PathLike) -> None:
        """Opening the target for writing would empty the source."""
        found = await self._stat_or_none(target, None)
        if found is not None and found.st_ino == source.inode:
            text = f"{wire(target).given} is the same file"
            raise InvalidArgumentError(text, path=wire(given).given)

    async def _pump(self, source: Handle, target: Handle, deadline: float | None) -> None:
        buffer = memoryview(bytearray(min(COPY_BYTES, max(1, source.size))))
        offset = 0
        while True:
            left = None if deadline is None else self._session.remaining(deadline)
            got = await source.read_into(offset, buffer, left)
            if not got:
                return
            await target.write(offset, buffer[:got], left)
            offset += got

    async def truncate(self, path: PathLike, size: int, *, timeout: float | None = None) -> None:
        """Set a file's length: cut it, or add zeros."""
        modes.absolute(0, size, os.SEEK_SET, 0)
        writing = modes.parse("r+b")._replace(reading=False)  # only write permission is needed
        handle = await self.open_handle(path, writing, timeout=timeout)
        try:
            await handle.truncate(size, timeout)
        finally:
            await handle.close()

    async def put(
        self, local: str | os.PathLike[str], target: PathLike, **options: Any
    ) -> Transferred:
        """Copy a local file or tree into the cluster, as ``target``, in parallel.

        Keyword options: ``preserve`` (exact modes and times), ``follow_symlinks``,
        ``replication``, ``progress`` (called with ``ProgressEvent``), ``return_errors``,
        ``timeout``; see :func:`memfs.client.transfer.put`. Files appear when they are complete.
        """
        return await transfer.put(self, local, target, **options)

    async def get(
        self, source: PathLike, local: str | os.PathLike[str], **options: Any
    ) -> Transferred:
        """Copy a file or tree of the cluster to the local disk as ``local``; options: ``put``."""
        return await transfer.get(self, source, local, **options)

    async def recover_lease(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """End another writer's lease at its last flush: what a crashed writer left behind."""
        where = wire(path)
        lease = await self._ask(m.AcquireLease(where.raw, True), where.given, timeout)
        request = m.ReleaseLease(lease.attributes.inode, lease.attributes.generation)
        return Stat((await self._ask(request, where.given, timeout)).attributes)

    async def touch(
        self,
        path: PathLike,
        mode: int = 0o644,
        exist_ok: bool = True,
        *,
        timeout: float | None = None,
    ) -> None:
        """Create an empty file, or set the times of an existing one to now."""
        try:
            await self.write_bytes(path, b"", exclusive=True, permissions=mode, timeout=timeout)
        except PathExistsError:
            if not exist_ok:
                raise
            await self._set(path, timeout, now=True)


def _checked(results: list[Any], return_errors: bool) -> list[Any]:
    """Raise the first error among ``results`` unless errors are results."""
    if not return_errors:
        for result in results:
            if isinstance(result, MemfsError):
                raise result
    return results
