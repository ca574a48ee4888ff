"""The asynchronous file system of a client with encryption keys.

Owns what differs where content is sealed: files, whole contents, and lengths. Everything else is
:class:`AsyncFileSystem`'s. Names, times, modes, owners, extended attributes and about how long a
file is are not hidden. Invariant: content that was not sealed is never returned.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Unpack

from memfs.client.attributes import Changes
from memfs.client.batches.batch_paths import checked
from memfs.client.calls import modes
from memfs.client.calls.arguments import several
from memfs.client.calls.modes import Mode
from memfs.client.calls.wire import PathLike
from memfs.client.contents import MappedFile
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.handles.create_options import CreateOptions, WriteKeywords, WriteManyKeywords
from memfs.client.handles.drafts import Draft
from memfs.client.handles.handle import Handle
from memfs.client.handles.versions import BUFFER_BYTES, Advance, CopySink
from memfs.client.sealed.handle import LOOKS, SealedDraft, SealedHandle
from memfs.client.session.session import Session
from memfs.client.stat import DirEntry, Stat
from memfs.concurrency import run_all
from memfs.errors import BusyError, IntegrityError, MemfsError, UnsupportedError
from memfs.security.sealing import Keyring, content_size
from memfs.types import Attributes, Buffer, FileKind

_READING = modes.parse("rb")
OPEN_AT_ONCE = 32
"""Files of one call that are read at the same time."""


class SealedFileSystem(AsyncFileSystem):
    """As :class:`AsyncFileSystem`; what files hold is sealed with the first key of ``ring``."""

    _handles = SealedHandle
    _drafts = SealedDraft

    def __init__(self, session: Session, ring: Keyring) -> None:
        super().__init__(session)
        self._ring = ring

    async def _open_handle(
        self, path: PathLike, mode: Mode, options: CreateOptions, timeout: float | None
    ) -> Handle:
        # A file that is changed is read as well: its piece at either end of what is written.
        if mode.writing:
            mode = mode._replace(reading=True)
        return await self._begun(await super()._open_handle(path, mode, options, timeout), timeout)

    async def _begun(self, handle: Handle, timeout: float | None) -> Handle:
        assert isinstance(handle, SealedHandle), "this file system opens no other"
        try:
            await handle.begin(self._ring, timeout)
        except BaseException as error:
            await handle.discard()
            if isinstance(error, IntegrityError):
                error.filename = handle.file.path
            raise
        return handle

    async def reopen_handle(self, handle: Handle) -> Handle:
        """A handle of the same inode over this session."""
        return await self._begun(await super().reopen_handle(handle), None)

    async def _open_draft(
        self, path: PathLike, options: CreateOptions, exclusive: bool, timeout: float | None
    ) -> Draft:
        draft = await super()._open_draft(path, options, exclusive, timeout)
        await self._begun(draft, timeout)
        return draft

    # --- whole contents ---------------------------------------------------------------------

    def _content(self, path: PathLike, stored: bytes) -> bytes:
        return self._opened(path, stored)

    def _opened(self, path: PathLike, stored: Buffer) -> bytes:
        try:
            return self._ring.open(stored)
        except IntegrityError as error:
            error.filename = self._wire(path).given
            raise

    async def read_bytes(self, path: PathLike, *, timeout: float | None = None) -> bytes:
        """The whole content, as of one moment."""
        return self._opened(path, await super().read_bytes(path, timeout=timeout))

    async def write_bytes(
        self, path: PathLike, data: Buffer, **options: Unpack[WriteKeywords]
    ) -> int:
        """Replace the content (or create the file); options as of :class:`AsyncFileSystem`."""
        view = memoryview(data).cast("B")
        await super().write_bytes(path, self._ring.seal(view, os.urandom), **options)
        return len(view)

    async def read_many(
        self,
        paths: Iterable[PathLike],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """Contents of many small files, in order."""
        names = list(several(paths))
        found = await super().read_many(names, return_errors=return_errors, timeout=timeout)
        for number, stored in enumerate(found):
            if not isinstance(stored, MemfsError):
                try:
                    found[number] = self._opened(names[number], stored)
                except IntegrityError as error:
                    found[number] = error
        return checked(found, return_errors)

    async def map_many(
        self,
        paths: Iterable[PathLike],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """As :meth:`read_many`: what is sealed can be seen in no node's memory."""
        found = await self.read_many(paths, return_errors=return_errors, timeout=timeout)
        return [each if isinstance(each, MemfsError) else memoryview(each) for each in found]

    async def write_many(
        self,
        files: Mapping[Any, Buffer] | Iterable[tuple[Any, Buffer]],
        **options: Unpack[WriteManyKeywords],
    ) -> list[Any]:
        """Write many small files, each atomically; options as of :class:`AsyncFileSystem`."""
        pairs = list(files.items() if isinstance(files, Mapping) else files)
        views = [memoryview(data).cast("B") for _, data in pairs]
        sealed = [
            (path, self._ring.seal(view, os.urandom))
            for (path, _), view in zip(pairs, views, strict=True)
        ]
        done = await super().write_many(sealed, **options)
        return [
            each if isinstance(each, MemfsError) else len(view)
            for each, view in zip(done, views, strict=True)
        ]

    async def read_ranges(
        self,
        ranges: Iterable[tuple[PathLike, int | None, int | None]],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """``content[start:stop]`` of files, in order; a file is opened once for all its ranges."""
        wanted, timeout = list(several(ranges)), self._session.budget(timeout)
        results: list[object] = [None] * len(wanted)
        numbers: dict[PathLike, list[int]] = {}
        for number, (path, _, _) in enumerate(wanted):
            numbers.setdefault(path, []).append(number)

        async def read(path: PathLike, places: list[int]) -> None:
            try:
                handle = await self.open_handle(path, _READING, timeout=timeout)
                try:
                    for place in places:
                        begin, end, _ = slice(*wanted[place][1:]).indices(handle.size)
                        results[place] = await handle.read(begin, max(0, end - begin), timeout)
                finally:
                    await handle.close(timeout)
            except MemfsError as error:
                for place in places:
                    results[place] = error

        await run_all([read(path, places) for path, places in numbers.items()], OPEN_AT_ONCE)
        return checked(results, return_errors)

    async def open_map(self, path: PathLike, *, timeout: float | None = None) -> MappedFile:
        """What :meth:`map` needs: the content itself, opened in this process."""
        found = await super().open_map(path, timeout=timeout)
        return found._replace(content=await self.read_bytes(path, timeout=timeout))

    async def copy(
        self,
        source: PathLike,
        target: PathLike,
        *,
        recover: bool = False,
        timeout: float | None = None,
    ) -> Stat:
        """Copy one file's content and permissions; the copy is sealed with keys of its own."""
        timeout = self._session.budget(timeout)
        kept = await self.stat(source, timeout=timeout)
        await self._check_not_same(kept.attributes, source, target, timeout)
        async with self.replacing(
            target,
            recover=recover,
            permissions=kept.attributes.mode,
            block_size=kept.attributes.block_size,
            timeout=timeout,
        ) as draft:
            await self.copy_into(source, draft)
        return self._logical(Stat(draft.file.attributes))

    async def copy_into(
        self,
        source: PathLike,
        sink: CopySink,
        advance: Advance = lambda count: None,
        *,
        piece: int = BUFFER_BYTES,
    ) -> Attributes:
        """Copy the content of one version of a file into ``sink``.

        Raises BusyError when it changes faster than it can be copied.
        """
        for _ in range(LOOKS):
            handle = await self.open_handle(source, _READING)
            try:
                before, at, size = handle.file.attributes, 0, handle.size
                while at < size and (part := await handle.read(at, min(piece, size - at))):
                    await sink.write(at, memoryview(part))
                    at += len(part)
                    advance(len(part))
                if at == size and handle.file.attributes.change == before.change:
                    return before._replace(size=size)
                advance(-at)
                await sink.truncate(0)
            finally:
                await handle.close()
        text = "the file changes faster than it can be copied: try later"
        raise BusyError(text, path=self._wire(source).given)

    async def concat(
        self, target: PathLike, sources: Iterable[PathLike], *, timeout: float | None = None
    ) -> None:
        """Refused: blocks of several sealed files do not make one."""
        text = "sealed files cannot be joined by moving blocks: read and write them"
        raise UnsupportedError(text, path=self._wire(target).given)

    # --- lengths ----------------------------------------------------------------------------

    def _logical(self, found: Stat) -> Stat:
        return Stat(_logical(found.attributes))

    async def stat(
        self, path: PathLike, *, follow_symlinks: bool = True, timeout: float | None = None
    ) -> Stat:
        """Attributes, as ``os.stat``; the size is the content's."""
        found = await super().stat(path, follow_symlinks=follow_symlinks, timeout=timeout)
        return self._logical(found)

    async def _stat_batch(
        self, raws: list[bytes], follow: bool, timeout: float | None
    ) -> list[Stat | None]:
        found = await super()._stat_batch(raws, follow, timeout)
        return [each and self._logical(each) for each in found]

    async def _set(self, path: PathLike, timeout: float | None, **fields: Unpack[Changes]) -> Stat:
        return self._logical(await super()._set(path, timeout, **fields))

    async def recover_lease(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """End another writer's lease at its last flush."""
        return self._logical(await super().recover_lease(path, timeout=timeout))

    async def scandir_pages(
        self, path: PathLike = "/", *, after: str = "", timeout: float | None = None
    ) -> AsyncIterator[list[DirEntry]]:
        """A directory page by page; sizes are those of the contents."""
        where = self._wire(path).text
        async for page in super().scandir_pages(path, after=after, timeout=timeout):
            yield [DirEntry(where, entry.name, _logical(entry.listed.attributes)) for entry in page]


def _logical(attributes: Attributes) -> Attributes:
    """With the length of the content; one that no sealed file has is shown as 0."""
    if attributes.kind != FileKind.FILE:
        return attributes
    return attributes._replace(size=content_size(attributes.size) or 0)
