"""The asynchronous file system's operations on the namespace: looking, and changing the tree.

Owns the mapping from calls to requests that move no file content. Must not know how requests
travel (session) or how bytes move (:mod:`memfs.client.filesystem` adds the files).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from memfs import limits, paths
from memfs.client import tree
from memfs.client.access import AccessOperations
from memfs.client.batch import path_batches
from memfs.client.blockmap import BlockMap
from memfs.client.stat import BlockLocation, DirEntry, Stat, StatVfs, Usage
from memfs.client.wire import PathLike, wire
from memfs.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    MemfsError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
    SymlinkLoopError,
)
from memfs.protocol import messages as m


class NamespaceOperations(AccessOperations):
    """What can be done with paths without opening files."""

    # --- looking ----------------------------------------------------------------------------

    async def stat(
        self, path: PathLike, *, follow_symlinks: bool = True, timeout: float | None = None
    ) -> Stat:
        """Attributes, as ``os.stat``."""
        where = wire(path)
        deadline = None if timeout is None else self._session.deadline(timeout)
        reply = await self._session.ask(m.Lookup(where.raw, follow_symlinks), where.given, deadline)
        return Stat(reply.attributes)

    async def lstat(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """Attributes of a symlink itself."""
        return await self.stat(path, follow_symlinks=False, timeout=timeout)

    async def stat_many(
        self, paths: Iterable[PathLike], *, timeout: float | None = None
    ) -> list[Stat | None]:
        """Attributes of many paths in few requests; None for what cannot be found or seen."""
        raws = [wire(path).raw for path in paths]
        found: list[Stat | None] = []
        for batch in path_batches(raws):
            found += await self._stat_batch(raws[batch.start : batch.stop], timeout)
        return found

    async def _stat_batch(self, raws: list[bytes], timeout: float | None) -> list[Stat | None]:
        """One request, or two of half the paths each when the answers do not fit a record."""
        try:
            reply: m.LookupManyReply = await self._ask(m.LookupMany(tuple(raws)), "", timeout)
        except InvalidArgumentError:
            if len(raws) == 1:
                raise
            half = len(raws) // 2
            return [
                *await self._stat_batch(raws[:half], timeout),
                *await self._stat_batch(raws[half:], timeout),
            ]
        return [None if each is None else Stat(each) for each in reply.attributes]

    async def exists(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to something (a broken symlink does not)."""
        return await self._stat_or_none(path, timeout) is not None

    async def isdir(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to a directory."""
        found = await self._stat_or_none(path, timeout)
        return found is not None and found.is_dir()

    async def isfile(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to a regular file."""
        found = await self._stat_or_none(path, timeout)
        return found is not None and found.is_file()

    async def islink(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path is a symbolic link."""
        try:
            return (await self.lstat(path, timeout=timeout)).is_symlink()
        except (PathNotFoundError, NotDirectoryError, SymlinkLoopError):
            return False

    async def _stat_or_none(self, path: PathLike, timeout: float | None) -> Stat | None:
        try:
            return await self.stat(path, timeout=timeout)
        except (PathNotFoundError, NotDirectoryError, SymlinkLoopError):
            return None

    async def scandir_pages(
        self, path: PathLike = "/", *, after: str = "", timeout: float | None = None
    ) -> AsyncIterator[list[DirEntry]]:
        """A directory page by page, ordered by the bytes of the names, beginning after a name.

        For directories of any size: nothing holds all of it.
        """
        where = wire(path)
        last = after.encode("utf-8")
        while True:
            request = m.List(where.raw, last, limits.ENTRIES_PER_PAGE)
            reply: m.ListReply = await self._ask(request, where.given, timeout)
            if len(reply.entries) == 1 and not reply.entries[0].name:
                raise NotDirectoryError("it is no directory", path=where.given)
            if reply.entries:
                last = reply.entries[-1].name
                yield [
                    DirEntry(where.text, paths.decode(entry.name), entry.attributes)
                    for entry in reply.entries
                ]
            if not reply.remaining:
                return

    async def scandir(
        self, path: PathLike = "/", *, timeout: float | None = None
    ) -> list[DirEntry]:
        """Entries with their attributes, ordered by name; no further request per entry."""
        pages = self.scandir_pages(path, timeout=timeout)
        return [entry async for page in pages for entry in page]

    async def listdir(self, path: PathLike = "/", *, timeout: float | None = None) -> list[str]:
        """Names in a directory, ordered by their bytes."""
        return [entry.name for entry in await self.scandir(path, timeout=timeout)]

    def walk(
        self,
        top: PathLike = "/",
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
    ) -> AsyncIterator[tree.Walked]:
        """As ``os.walk``: iterate with ``async for directory, directories, files in ...``."""
        return tree.walk(self.scandir, wire(top).text, topdown, onerror)

    async def glob(self, pattern: str) -> list[str]:
        """Paths matching a pattern with ``*``, ``?``, ``[...]`` and ``**`` (any depth)."""
        return [path async for path in self.iglob(pattern)]

    def iglob(self, pattern: str) -> AsyncIterator[str]:
        """As ``glob``, one at a time."""
        local = paths.parse_url(pattern).path if pattern.startswith("memfs:/") else pattern
        return tree.glob(self.scandir, self.exists, local)

    async def access(
        self, path: PathLike, mode: int = os.F_OK, *, timeout: float | None = None
    ) -> bool:
        """As ``os.access``: may this client's user do it? ``mode``: R_OK, W_OK, X_OK, F_OK."""
        where = wire(path)
        try:
            await self._ask(m.Access(where.raw, mode), where.given, timeout)
        except (AccessDeniedError, PathNotFoundError, NotDirectoryError, SymlinkLoopError):
            return False
        return True

    async def readlink(self, path: PathLike, *, timeout: float | None = None) -> str:
        """The text of a symbolic link."""
        where = wire(path)
        reply = await self._ask(m.ReadLink(where.raw), where.given, timeout)
        return paths.decode(reply.target)

    async def du(self, path: PathLike = "/", *, timeout: float | None = None) -> Usage:
        """Totals of a subtree; costs one request whatever its size."""
        where = wire(path)
        reply = await self._ask(m.Summarise(where.raw), where.given, timeout)
        return Usage(*reply.summary)

    async def statvfs(self, *, timeout: float | None = None) -> StatVfs:
        """Capacity and use of the whole cluster."""
        reply: m.FileSystemReply = await self._ask(m.StatFileSystem(), "/", timeout)
        unit = limits.BLOCK_BYTES_MIN
        free = max(0, reply.capacity - reply.used) // unit
        return StatVfs(
            reply.block_size,
            unit,
            reply.capacity // unit,
            free,
            free,
            reply.files + reply.directories,
            limits.NAME_BYTES,
            reply.capacity,
            reply.used,
            reply.files,
            reply.directories,
            reply.replication,
        )

    async def cluster_status(self, *, timeout: float | None = None) -> m.StatusReply:
        """Nodes, their use and state, and the namespace's counts, as the primary sees them."""
        reply: m.StatusReply = await self._ask(m.GetStatus(), "", timeout)
        return reply

    async def block_locations(
        self,
        path: PathLike,
        offset: int = 0,
        length: int | None = None,
        *,
        timeout: float | None = None,
    ) -> list[BlockLocation]:
        """Which nodes hold which blocks of the range (default: of the whole file)."""
        where = wire(path)
        deadline = self._session.deadline(timeout)
        file = await BlockMap.fetch(self._session, where.given, where.raw, deadline)
        size, block_size = file.attributes.size, file.attributes.block_size
        end = size if length is None else min(size, offset + length)
        if end <= offset or not block_size:
            return []
        return [
            await self._location(file, index, deadline)
            for index in range(offset // block_size, -(-end // block_size))
        ]

    async def _location(self, file: BlockMap, index: int, deadline: float) -> BlockLocation:
        ref = await file.ref(index, deadline)
        block_size = file.attributes.block_size
        members = [self._session.members[n] for n in ref.replicas if n in self._session.members]
        return BlockLocation(
            index,
            index * block_size,
            min(block_size, file.attributes.size - index * block_size),
            tuple(member.name for member in members),
            tuple(member.host for member in members),
            tuple(member.number for member in members),
            ref.crc,
        )

    # --- changing the tree ------------------------------------------------------------------

    async def mkdir(
        self,
        path: PathLike,
        mode: int | None = None,
        *,
        unmasked: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Create one directory; no ``mode``: 0o755, or all that a default ACL of its parent grants.

        ``unmasked``: the mode before a umask; a default ACL is limited by it instead of ``mode``.
        """
        where = wire(path)
        mode, unmasked = directory_mode(mode, unmasked)
        request = m.MakeDirectory(where.raw, mode, unmasked=unmasked)
        await self._ask(request, where.given, timeout)

    async def makedirs(
        self,
        path: PathLike,
        mode: int | None = None,
        exist_ok: bool = False,
        *,
        unmasked: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Create a directory and the missing ones above it, in one command; modes as ``mkdir``."""
        where = wire(path)
        if not exist_ok and await self.exists(path, timeout=timeout):
            raise PathExistsError("it exists", path=where.given)
        mode, unmasked = directory_mode(mode, unmasked)
        request = m.MakeDirectory(where.raw, mode, True, unmasked=unmasked)
        await self._ask(request, where.given, timeout)

    async def rename(
        self,
        source: PathLike,
        target: PathLike,
        *,
        overwrite: bool = True,
        exchange: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Rename atomically, a whole tree in one step; replaces a file as POSIX does.

        ``overwrite=False`` fails when the target exists; ``exchange`` swaps the two.
        """
        mode = m.RenameMode.REPLACE if overwrite else m.RenameMode.KEEP
        if exchange:
            mode = m.RenameMode.EXCHANGE
        first, second = wire(source), wire(target)
        request = m.Rename(first.raw, second.raw, mode)
        await self._ask_two(request, first.given, second.given, timeout)

    async def _ask_two(self, request: Any, first: str, second: str, timeout: float | None) -> Any:
        """A request about two paths: its error names both, as those of ``os`` do."""
        try:
            return await self._ask(request, first, timeout)
        except MemfsError as error:
            error.filename2 = second
            raise

    async def replace(
        self, source: PathLike, target: PathLike, *, timeout: float | None = None
    ) -> None:
        """Rename, replacing the target: as ``os.replace``."""
        await self.rename(source, target, timeout=timeout)

    async def remove(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove a file or symlink."""
        where = wire(path)
        await self._ask(m.Unlink(where.raw), where.given, timeout)

    async def rmdir(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove an empty directory."""
        where = wire(path)
        await self._ask(m.RemoveDirectory(where.raw), where.given, timeout)

    async def rmtree(
        self, path: PathLike, *, ignore_errors: bool = False, timeout: float | None = None
    ) -> None:
        """Remove a directory with all below it: one atomic command, whatever its size."""
        where = wire(path)
        try:
            await self._ask(m.RemoveDirectory(where.raw, True), where.given, timeout)
        except MemfsError:
            if not ignore_errors:
                raise

    async def link(
        self, source: PathLike, target: PathLike, *, timeout: float | None = None
    ) -> None:
        """Give a file a further name."""
        first, second = wire(source), wire(target)
        request = m.MakeLink(first.raw, second.raw)
        await self._ask_two(request, first.given, second.given, timeout)

    async def symlink(
        self, target: str, path: PathLike, *, parents: bool = False, timeout: float | None = None
    ) -> None:
        """Create the symbolic link ``path`` with the text ``target`` (as ``os.symlink``)."""
        where = wire(path)
        request = m.MakeSymlink(where.raw, os.fspath(target).encode("utf-8"), parents)
        await self._ask_two(request, os.fspath(target), where.given, timeout)

    async def concat(
        self, target: PathLike, sources: Iterable[PathLike], *, timeout: float | None = None
    ) -> None:
        """Move the blocks of ``sources`` to the end of ``target``, removing them; no data moves.

        Block sizes must be equal, and each file but the last must end on a block boundary.
        """
        where = wire(target)
        request = m.Concat(where.raw, tuple(wire(source).raw for source in sources))
        await self._ask(request, where.given, timeout)

    # --- changing attributes ----------------------------------------------------------------

    async def _set(self, path: PathLike, timeout: float | None, **fields: Any) -> Stat:
        where = wire(path)
        reply = await self._ask(m.SetAttributes(where.raw, **fields), where.given, timeout)
        return Stat(reply.attributes)

    async def chmod(
        self,
        path: PathLike,
        mode: int,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set the permission bits."""
        await self._set(path, timeout, mode=mode & 0o7777, follow=follow_symlinks)

    async def chown(
        self,
        path: PathLike,
        owner: str | None = None,
        group: str | None = None,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set owner and group by name; None leaves one alone."""
        await self._set(path, timeout, owner=owner, group=group, follow=follow_symlinks)

    async def utime(
        self,
        path: PathLike,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int, int] | None = None,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set (accessed, modified), in seconds or ``ns``; neither: to the cluster's present."""
        if times is not None and ns is not None:
            raise InvalidArgumentError("give times or ns, not both", path=wire(path).given)
        if times is not None:
            ns = (round(times[0] * 1e9), round(times[1] * 1e9))
        if ns is None:
            await self._set(path, timeout, now=True, follow=follow_symlinks)
        else:
            await self._set(
                path, timeout, accessed_ns=ns[0], modified_ns=ns[1], follow=follow_symlinks
            )

    async def set_replication(
        self, path: PathLike, replication: int, *, timeout: float | None = None
    ) -> None:
        """Set how many copies of each block the file wants."""
        await self._set(path, timeout, replication=replication)

    async def getxattr(self, path: PathLike, name: str, *, timeout: float | None = None) -> bytes:
        """One extended attribute. Raises NoAttributeError (ENODATA)."""
        where = wire(path)
        reply = await self._ask(m.GetXattrs(where.raw, (name,)), where.given, timeout)
        return bytes(reply.xattrs[0].value)

    async def getxattrs(self, path: PathLike, *, timeout: float | None = None) -> dict[str, bytes]:
        """All extended attributes."""
        where = wire(path)
        reply = await self._ask(m.GetXattrs(where.raw), where.given, timeout)
        return {each.name: each.value for each in reply.xattrs}

    async def listxattr(self, path: PathLike, *, timeout: float | None = None) -> list[str]:
        """Names of the extended attributes."""
        return list(await self.getxattrs(path, timeout=timeout))

    async def setxattr(
        self,
        path: PathLike,
        name: str,
        value: bytes,
        flags: int = 0,
        *,
        timeout: float | None = None,
    ) -> None:
        """Set an extended attribute; ``flags``: ``os.XATTR_CREATE``, ``os.XATTR_REPLACE``."""
        where = wire(path)
        request = m.SetXattr(where.raw, name, bytes(value), m.XattrMode(flags))
        await self._ask(request, where.given, timeout)

    async def removexattr(self, path: PathLike, name: str, *, timeout: float | None = None) -> None:
        """Remove an extended attribute."""
        where = wire(path)
        await self._ask(m.RemoveXattr(where.raw, name), where.given, timeout)


def directory_mode(mode: int | None, unmasked: int | None) -> tuple[int, int | None]:
    """Mode and unmasked mode of a new directory whose maker may not care."""
    return (0o755, 0o777) if mode is None else (mode, unmasked)
