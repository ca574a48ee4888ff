"""The asynchronous file system's operations on the namespace: looking, and changing the tree.

Owns the mapping from calls to requests that move no file content. Must not know how requests
travel (session) or how bytes move (:mod:`memfs.client.filesystem` adds the files).
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterable

from memfs import limits, paths
from memfs.client.batches.batch_paths import BatchPaths, checked
from memfs.client.batches.batch_remove import remove_names
from memfs.client.batches.batching import path_batches
from memfs.client.calls.arguments import position, several, text, whole
from memfs.client.calls.single_questions import single_question
from memfs.client.calls.wire import PathLike, WirePath, named_nodes, text_of
from memfs.client.mounts import MountOperations
from memfs.client.reading.block_map import BlockMap
from memfs.client.stat import (
    BlockLocation,
    DirectoryPage,
    DirEntry,
    Stat,
    StatVfs,
    TreeSummary,
    Usage,
)
from memfs.client.trees import realpath, walking
from memfs.client.trees.removal import remove_tree
from memfs.client.trees.totals import summarise_tree
from memfs.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    InvalidPathError,
    MemfsError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
    SymlinkLoopError,
)
from memfs.machine import current_umask
from memfs.protocol import messages as m
from memfs.types import KIND_OF_TYPE, Attributes, BlockRef, Member, RenameMode


class NamespaceOperations(MountOperations):
    """Operations on paths that open no files."""

    # --- looking ----------------------------------------------------------------------------

    @single_question
    async def stat(
        self, path: PathLike, *, follow_symlinks: bool = True, timeout: float | None = None
    ) -> Stat:
        """Attributes, as ``os.stat``."""
        where = self._wire(path)
        deadline = None if timeout is None else self._session.deadline(timeout)
        reply = await self._session.ask(m.Lookup(where.raw, follow_symlinks), where.given, deadline)
        return Stat(reply.attributes)

    @single_question
    async def lstat(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """Attributes of a symlink itself."""
        return await self.stat(path, follow_symlinks=False, timeout=timeout)

    async def stat_many(
        self,
        paths: Iterable[PathLike],
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> list[Stat | None]:
        """Attributes of many paths in few requests.

        None for what cannot be found or seen, and what cannot be a path.
        """
        timeout = self._session.budget(timeout)
        places = BatchPaths(paths, self._wire)
        raws = [path.raw for path in places.wanted.values()]
        found: list[Stat | None] = []
        for batch in path_batches(raws):
            few = raws[batch.start : batch.stop]
            found += await self._stat_batch(few, follow_symlinks, timeout)
        return [each if isinstance(each, Stat) else None for each in places.results(found)]

    async def _stat_batch(
        self, raws: list[bytes], follow: bool, timeout: float | None
    ) -> list[Stat | None]:
        """One request, or two of half the paths each when the answers do not fit a record."""
        request = m.LookupMany(tuple(raws), follow)
        try:
            reply = await self._ask(request, "", timeout)
        except InvalidArgumentError:
            if len(raws) == 1:
                raise
            half = len(raws) // 2
            return [
                *await self._stat_batch(raws[:half], follow, timeout),
                *await self._stat_batch(raws[half:], follow, timeout),
            ]
        return [None if each is None else Stat(each) for each in reply.attributes]

    @single_question
    async def exists(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """As ``os.path.exists``: whether the path leads to something that can be seen.

        False for a broken symlink, a directory that may not be searched, and what cannot be a
        path; a cluster that does not answer is an error.
        """
        return await self._stat_or_none(path, timeout) is not None

    @single_question
    async def lexists(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """As ``exists``, true for a broken symlink too."""
        return await self._stat_or_none(path, timeout, follow_symlinks=False) is not None

    @single_question
    async def isdir(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to a directory."""
        found = await self._stat_or_none(path, timeout)
        return found is not None and found.is_dir()

    @single_question
    async def isfile(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to a regular file."""
        found = await self._stat_or_none(path, timeout)
        return found is not None and found.is_file()

    @single_question
    async def islink(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path is a symbolic link."""
        found = await self._stat_or_none(path, timeout, follow_symlinks=False)
        return found is not None and found.is_symlink()

    async def _stat_or_none(
        self, path: PathLike, timeout: float | None, follow_symlinks: bool = True
    ) -> Stat | None:
        try:
            return await self.stat(path, follow_symlinks=follow_symlinks, timeout=timeout)
        except realpath.NOT_SEEN:
            return None

    async def realpath(
        self, path: PathLike, *, strict: bool = False, timeout: float | None = None
    ) -> str:
        """As ``os.path.realpath``: without symlinks and ``..``; a request for each component.

        What does not exist stays as it is unless ``strict``; so does a symlink in a loop.
        """
        deadline = self._session.deadline(timeout)

        async def lstat(where: str) -> Stat:
            return await self.lstat(where, timeout=deadline)

        async def readlink(where: str) -> str:
            return await self.readlink(where, timeout=deadline)

        return await realpath.realpath(lstat, readlink, self._wire(path).text, strict)

    async def scandir_pages(
        self, path: PathLike = "/", *, after: str = "", timeout: float | None = None
    ) -> AsyncIterator[list[DirEntry]]:
        """A directory page by page, ordered by the bytes of the names, beginning after a name.

        For directories of any size: nothing holds all of it.
        """
        where = self._wire(path)
        last = text("after", after).encode("utf-8")
        while True:
            page = await self._list(where, last, timeout)
            if len(page.entries) == 1 and not page.entries[0].name:
                raise NotDirectoryError("it is no directory", path=where.given)
            if page.entries:
                last = page.entries[-1].name
                yield [
                    DirEntry(where.text, paths.decode(entry.name), entry.attributes)
                    for entry in page.entries
                ]
            if not page.remaining:
                return

    async def list_page(
        self, path: PathLike, after: bytes = b"", *, timeout: float | None = None
    ) -> DirectoryPage:
        """One page of a listing, from the name after ``after`` on, as it travels."""
        return await self._list(self._wire(path), after, timeout)

    async def _list(
        self, where: WirePath, after: bytes, timeout: float | None, *, names_only: bool = False
    ) -> DirectoryPage:
        request = m.List(where.raw, after, limits.ENTRIES_PER_PAGE, names_only=names_only)
        return DirectoryPage(*await self._ask(request, where.given, timeout))

    async def scandir(
        self, path: PathLike = "/", *, timeout: float | None = None
    ) -> list[DirEntry]:
        """Entries with their attributes, ordered by name; no further request per entry."""
        pages = self.scandir_pages(path, timeout=self._session.budget(timeout))
        return [entry async for page in pages for entry in page]

    async def listdir(self, path: PathLike = "/", *, timeout: float | None = None) -> list[str]:
        """Names in a directory, ordered by their bytes."""
        where, timeout = self._wire(path), self._session.budget(timeout)
        names: list[bytes] = []
        while True:
            page = await self._list(where, names[-1] if names else b"", timeout, names_only=True)
            if page.entries:
                raise NotDirectoryError("it is no directory", path=where.given)
            names += page.names
            if not page.remaining:
                return list(map(paths.decode, names))

    def walk(
        self,
        top: PathLike = "/",
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
        followlinks: bool = False,
    ) -> AsyncIterator[walking.Walked]:
        """As ``os.walk``: yields (directory, names of directories, names of the others)."""
        path = self._wire(top).text
        return walking.walk(
            self.scandir, self._directories_behind, path, topdown, onerror, followlinks
        )

    async def _directories_behind(self, links: list[str]) -> set[str]:
        found = zip(links, await self.stat_many(links), strict=True)
        return {path for path, stat in found if stat is not None and stat.is_dir()}

    async def glob(self, pattern: str) -> list[str]:
        """Paths matching a pattern with ``*``, ``?``, ``[...]`` and ``**`` (any depth)."""
        return [path async for path in self.iglob(pattern)]

    def iglob(self, pattern: str) -> AsyncIterator[str]:
        """As ``glob``, one at a time."""
        self._check_cluster(text("pattern", pattern), named_nodes(pattern))
        local = paths.parse_url(pattern).path if pattern.startswith("memfs:/") else pattern
        return walking.glob(self.scandir, self.exists, local)

    async def access(
        self, path: PathLike, mode: int = os.F_OK, *, timeout: float | None = None
    ) -> bool:
        """As ``os.access``: may this client's user do it? ``mode``: R_OK, W_OK, X_OK, F_OK."""
        try:
            await self.check_access(path, mode, timeout=timeout)
        except (AccessDeniedError, PathNotFoundError, NotDirectoryError, SymlinkLoopError):
            return False
        return True

    async def check_access(
        self,
        path: PathLike,
        mode: int = os.F_OK,
        *,
        names: int = 0,
        space: int = 0,
        timeout: float | None = None,
    ) -> None:
        """As ``access``, but raises what stands in the way: also whether quotas leave room.

        ``names``: so many more names in this directory; ``space``: so many more bytes, replicas
        counted. Raises AccessDeniedError, NameQuotaError, SpaceQuotaError.
        """
        where = self._wire(path)
        request = m.Access(where.raw, mode, names=names, space=space)
        await self._ask(request, where.given, timeout)

    async def readlink(self, path: PathLike, *, timeout: float | None = None) -> str:
        """The text of a symbolic link."""
        where = self._wire(path)
        reply = await self._ask(m.ReadLink(where.raw), where.given, timeout)
        return paths.decode(reply.target)

    async def du(self, path: PathLike = "/", *, timeout: float | None = None) -> Usage:
        """Totals of a subtree; usually one request whatever its size, see :meth:`summarise`."""
        return Usage(*(await self.summarise(path, timeout=timeout)).totals)

    async def summarise(self, path: PathLike, *, timeout: float | None = None) -> TreeSummary:
        """Totals of a subtree and the quotas of its top, in one request.

        A tree of several owners with more than a million names is counted in parts, which are not
        of one moment.
        """
        return await summarise_tree(self._session, self._wire(path), self._session.budget(timeout))

    async def statvfs(self, *, timeout: float | None = None) -> StatVfs:
        """Capacity and use of the whole cluster."""
        reply = await self._ask(m.StatFileSystem(), "/", timeout)
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
        reply = await self._ask(m.GetStatus(), "", timeout)
        return reply

    async def block_locations(
        self,
        path: PathLike,
        offset: int = 0,
        length: int | None = None,
        *,
        timeout: float | None = None,
    ) -> list[BlockLocation]:
        """Which nodes hold which blocks of the range (default: of the whole file).

        A hole is one entry, however many blocks it spans.
        """
        where = self._wire(path)
        offset = position("offset", offset)
        length = None if length is None else whole("length", length)
        timeout = self._session.budget(timeout)
        deadline = self._session.deadline(timeout)
        file = await BlockMap.fetch(self._session, where.given, where.raw, deadline)
        size, block_size = file.attributes.size, file.attributes.block_size
        end = size if length is None else min(size, offset + length)
        if end <= offset or not block_size:
            return []
        index, last = offset // block_size, -(-end // block_size)
        found: list[BlockLocation] = []
        while index < last:
            deadline = self._session.deadline(timeout)  # each may ask for a page
            stored = await file.stored(index, deadline)
            after = index + 1 if stored == index else min(last, stored or last)
            ref = await file.ref(index, deadline)
            found.append(self._location(file.attributes, index, after, ref))
            index = after
        return found

    async def first_holders(
        self, path: PathLike, *, timeout: float | None = None
    ) -> tuple[Stat, tuple[Member, ...]]:
        """A file's attributes, and the members that hold its first block: one small request."""
        where = self._wire(path)
        reply = await self._ask(m.GetBlocks(where.raw, 0, 1), where.given, timeout)
        known = self._session.known.members
        numbers = reply.blocks[0].replicas if reply.blocks else ()
        return Stat(reply.attributes), tuple(known[each] for each in numbers if each in known)

    def _location(
        self, attributes: Attributes, index: int, after: int, ref: BlockRef
    ) -> BlockLocation:
        """Of the block ``index``, or of the hole from there to the block ``after``."""
        offset = index * attributes.block_size
        known = self._session.known.members
        members = [known[number] for number in ref.replicas if number in known]
        return BlockLocation(
            index,
            offset,
            min(after * attributes.block_size, attributes.size) - offset,
            tuple(member.name for member in members),
            tuple(member.host for member in members),
            tuple(member.number for member in members),
            ref.crc,
            not ref.length,
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
        """Create one directory.

        ``mode`` is what it gets; None: 0o777 less the process's umask, or all that a default ACL of
        its parent grants. ``unmasked``: the mode before a umask; a default ACL is limited by it
        instead of ``mode``.
        """
        where = self._wire(path)
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
        where = self._wire(path)
        timeout = self._session.deadline(timeout)
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
        mode = RenameMode.REPLACE if overwrite else RenameMode.KEEP
        if exchange:
            mode = RenameMode.EXCHANGE
        first, second = self._wire(source), self._wire(target)
        request = m.Rename(first.raw, second.raw, mode)
        await self._ask_two(request, first.given, second.given, timeout)

    async def _ask_two(
        self, request: m.Request[m.R], first: str, second: str, timeout: float | None
    ) -> m.R:
        """A request with two paths: its error names both, as those of ``os`` do."""
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
        where = self._wire(path)
        await self._ask(m.Unlink(where.raw), where.given, timeout)

    async def remove_many(
        self,
        paths: Iterable[PathLike],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[MemfsError | None]:
        """Remove many files or symlinks, each by itself: one command a batch.

        Returns None for each, in order. With ``return_errors`` an error takes the place of a name
        that stays; otherwise the first one is raised, when all have been tried. An error that ends
        the call before, such as the end of ``timeout``, says how many names are gone.
        """
        deadline = self._session.budget(timeout)
        places = BatchPaths(paths, self._wire)
        if not return_errors:
            places.check()
        removed = await remove_names(self._session, list(places.wanted.values()), deadline)
        results = places.results(removed)
        return checked(results, return_errors)

    async def remove_unchanged(
        self, path: PathLike, found: Attributes, *, timeout: float | None = None
    ) -> None:
        """Remove a name that still leads to ``found``, of which nobody got a later lease.

        Raises PathNotFoundError, StaleHandleError.
        """
        where = self._wire(path)
        request = m.Unlink(where.raw, inode=found.inode, generation=found.generation)
        await self._ask(request, where.given, timeout)

    async def rmdir(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove an empty directory."""
        where = self._wire(path)
        await self._ask(m.RemoveDirectory(where.raw), where.given, timeout)

    async def rmtree(
        self, path: PathLike, *, ignore_errors: bool = False, timeout: float | None = None
    ) -> None:
        """Remove a directory with all below it: one atomic command, whatever its size.

        Only where more than a million names lie among directories of several owners it takes
        steps; nothing is removed then either when a directory refuses.
        """
        where = self._wire(path)
        try:
            await remove_tree(self._session, where, self._session.budget(timeout))
        except MemfsError:
            if not ignore_errors:
                raise

    async def link(
        self,
        source: PathLike,
        target: PathLike,
        *,
        replace: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Give a file a further name. ``replace``: in place of what has it, as ``rename`` would."""
        first, second = self._wire(source), self._wire(target)
        request = m.MakeLink(first.raw, second.raw, replace=replace)
        await self._ask_two(request, first.given, second.given, timeout)

    async def symlink(
        self,
        target: str,
        path: PathLike,
        *,
        parents: bool = False,
        replace: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Create the symbolic link ``path`` with the text ``target`` (as ``os.symlink``).

        ``replace``: in place of what has the name, which is there until the link is.
        """
        where = self._wire(path)
        text = text_of(target)
        if not text:
            raise PathNotFoundError("a symlink cannot have an empty text", path=where.given)
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError:
            error = "the text of a symlink has to be valid Unicode"
            raise InvalidPathError(error, path=where.given) from None
        request = m.MakeSymlink(where.raw, raw, parents, replace=replace)
        await self._ask_two(request, text, where.given, timeout)

    async def mknod(
        self, path: PathLike, mode: int, device: int = 0, *, timeout: float | None = None
    ) -> None:
        """Create a special file: a FIFO, a socket or, for superusers, a device.

        ``mode``: ``stat.S_IFIFO`` or its like, and the permissions that it gets. ``device``: its
        number, by ``os.makedev``. Only mounts can open one.
        """
        where = self._wire(path)
        kind = KIND_OF_TYPE.get(stat.S_IFMT(whole("mode", mode)))
        if kind is None or not kind.special:
            reason = "mode says the type of a special file, such as stat.S_IFIFO | 0o600"
            raise InvalidArgumentError(reason, path=where.given)
        request = m.MakeNode(where.raw, int(kind), stat.S_IMODE(mode), device)
        await self._ask(request, where.given, timeout)

    async def concat(
        self, target: PathLike, sources: Iterable[PathLike], *, timeout: float | None = None
    ) -> None:
        """Move the blocks of ``sources`` to the end of ``target``, removing them; no data moves.

        Block sizes must be equal, and each file but the last must end on a block boundary. Nobody
        may have one of them open for writing.
        """
        await self._concat(target, sources, (), timeout)

    async def remove_copied(
        self,
        target: PathLike,
        sources: Iterable[PathLike],
        copied: Iterable[Attributes],
        *,
        timeout: float | None = None,
    ) -> None:
        """Remove ``sources``, all or none, which the caller has copied to the end of ``target``.

        The caller has ``target`` open for writing. ``copied``: the attributes of the versions that
        were copied; StaleHandleError when a source has changed since.
        """
        versions = tuple(m.FileVersion(each.inode, each.change) for each in copied)
        await self._concat(target, sources, versions, timeout)

    async def _concat(
        self,
        target: PathLike,
        sources: Iterable[PathLike],
        copied: tuple[m.FileVersion, ...],
        timeout: float | None,
    ) -> None:
        raws = tuple(self._wire(each).raw for each in several(sources))
        request = m.Concat(self._wire(target).raw, raws, copied)
        await self._ask(request, None, timeout)  # an error names the file that it is about


def directory_mode(mode: int | None, unmasked: int | None) -> tuple[int, int | None]:
    """Mode and unmasked mode of a new directory; ``mode`` may be left out."""
    return (0o777 & ~current_umask(), 0o777) if mode is None else (mode, unmasked)
