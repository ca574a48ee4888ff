"""The blocking form of the namespace's operations: one line each.

Every method is the one of the same name in :mod:`memfs.client.namespace`, where the semantics are
described, run on the background loop.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TypeVar

from memfs.client import tree
from memfs.client.stat import BlockLocation, DirEntry, Stat, StatVfs, Usage
from memfs.client.sync_access import BlockingAccess
from memfs.client.wire import PathLike
from memfs.protocol import messages as m

T = TypeVar("T")


class BlockingNamespace(BlockingAccess):
    """What can be done with paths without opening files; a call waits for its answer."""

    def _iterate(self, found: AsyncIterator[T]) -> Iterator[T]:
        """Step an asynchronous iterator from here."""
        while True:
            try:
                yield self._run(_next(found))
            except StopAsyncIteration:
                return

    def stat(
        self, path: PathLike, *, follow_symlinks: bool = True, timeout: float | None = None
    ) -> Stat:
        """Attributes, as ``os.stat``."""
        return self._run(self._core.stat(path, follow_symlinks=follow_symlinks, timeout=timeout))

    def lstat(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """Attributes of a symlink itself."""
        return self._run(self._core.lstat(path, timeout=timeout))

    def stat_many(
        self, paths: Iterable[PathLike], *, timeout: float | None = None
    ) -> list[Stat | None]:
        """Attributes of many paths in few requests; None for what cannot be found or seen."""
        return self._run(self._core.stat_many(paths, timeout=timeout))

    def exists(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to something (a broken symlink does not)."""
        return self._run(self._core.exists(path, timeout=timeout))

    def isdir(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to a directory."""
        return self._run(self._core.isdir(path, timeout=timeout))

    def isfile(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to a regular file."""
        return self._run(self._core.isfile(path, timeout=timeout))

    def islink(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path is a symbolic link."""
        return self._run(self._core.islink(path, timeout=timeout))

    def scandir_pages(
        self, path: PathLike = "/", *, after: str = "", timeout: float | None = None
    ) -> Iterator[list[DirEntry]]:
        """A directory page by page, ordered by the bytes of the names, beginning after a name."""
        return self._iterate(self._core.scandir_pages(path, after=after, timeout=timeout))

    def scandir(self, path: PathLike = "/", *, timeout: float | None = None) -> list[DirEntry]:
        """Entries with their attributes, ordered by name; no further request per entry."""
        return self._run(self._core.scandir(path, timeout=timeout))

    def listdir(self, path: PathLike = "/", *, timeout: float | None = None) -> list[str]:
        """Names in a directory, ordered by their bytes."""
        return self._run(self._core.listdir(path, timeout=timeout))

    def walk(
        self,
        top: PathLike = "/",
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
    ) -> Iterator[tree.Walked]:
        """As ``os.walk``: iterate with ``async for directory, directories, files in ...``."""
        return self._iterate(self._core.walk(top, topdown, onerror))

    def glob(self, pattern: str) -> list[str]:
        """Paths matching a pattern with ``*``, ``?``, ``[...]`` and ``**`` (any depth)."""
        return self._run(self._core.glob(pattern))

    def iglob(self, pattern: str) -> Iterator[str]:
        """As ``glob``, one at a time."""
        return self._iterate(self._core.iglob(pattern))

    def access(self, path: PathLike, mode: int = os.F_OK, *, timeout: float | None = None) -> bool:
        """As ``os.access``: may this client's user do it? ``mode``: R_OK, W_OK, X_OK, F_OK."""
        return self._run(self._core.access(path, mode, timeout=timeout))

    def readlink(self, path: PathLike, *, timeout: float | None = None) -> str:
        """The text of a symbolic link."""
        return self._run(self._core.readlink(path, timeout=timeout))

    def du(self, path: PathLike = "/", *, timeout: float | None = None) -> Usage:
        """Totals of a subtree; costs one request whatever its size."""
        return self._run(self._core.du(path, timeout=timeout))

    def statvfs(self, *, timeout: float | None = None) -> StatVfs:
        """Capacity and use of the whole cluster."""
        return self._run(self._core.statvfs(timeout=timeout))

    def cluster_status(self, *, timeout: float | None = None) -> m.StatusReply:
        """Nodes, their use and state, and the namespace's counts, as the primary sees them."""
        return self._run(self._core.cluster_status(timeout=timeout))

    def block_locations(
        self,
        path: PathLike,
        offset: int = 0,
        length: int | None = None,
        *,
        timeout: float | None = None,
    ) -> list[BlockLocation]:
        """Which nodes hold which blocks of the range (default: of the whole file)."""
        return self._run(self._core.block_locations(path, offset, length, timeout=timeout))

    def mkdir(
        self,
        path: PathLike,
        mode: int | None = None,
        *,
        unmasked: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Create one directory; no ``mode``: 0o755, or what a default ACL of its parent grants."""
        self._run(self._core.mkdir(path, mode, unmasked=unmasked, timeout=timeout))

    def makedirs(
        self,
        path: PathLike,
        mode: int | None = None,
        exist_ok: bool = False,
        *,
        unmasked: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Create a directory and the missing ones above it, in one command."""
        self._run(self._core.makedirs(path, mode, exist_ok, unmasked=unmasked, timeout=timeout))

    def rename(
        self,
        source: PathLike,
        target: PathLike,
        *,
        overwrite: bool = True,
        exchange: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Rename atomically, a whole tree in one step; replaces a file as POSIX does."""
        self._run(
            self._core.rename(
                source, target, overwrite=overwrite, exchange=exchange, timeout=timeout
            )
        )

    def replace(self, source: PathLike, target: PathLike, *, timeout: float | None = None) -> None:
        """Rename, replacing the target: as ``os.replace``."""
        self._run(self._core.replace(source, target, timeout=timeout))

    def remove(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove a file or symlink."""
        self._run(self._core.remove(path, timeout=timeout))

    def rmdir(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove an empty directory."""
        self._run(self._core.rmdir(path, timeout=timeout))

    def rmtree(
        self, path: PathLike, *, ignore_errors: bool = False, timeout: float | None = None
    ) -> None:
        """Remove a directory with all below it: one atomic command, whatever its size."""
        self._run(self._core.rmtree(path, ignore_errors=ignore_errors, timeout=timeout))

    def link(self, source: PathLike, target: PathLike, *, timeout: float | None = None) -> None:
        """Give a file a further name."""
        self._run(self._core.link(source, target, timeout=timeout))

    def symlink(
        self, target: str, path: PathLike, *, parents: bool = False, timeout: float | None = None
    ) -> None:
        """Create the symbolic link ``path`` with the text ``target`` (as ``os.symlink``)."""
        self._run(self._core.symlink(target, path, parents=parents, timeout=timeout))

    def concat(
        self, target: PathLike, sources: Iterable[PathLike], *, timeout: float | None = None
    ) -> None:
        """Move the blocks of ``sources`` to the end of ``target``, removing them; no data moves."""
        self._run(self._core.concat(target, sources, timeout=timeout))

    def chmod(
        self,
        path: PathLike,
        mode: int,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set the permission bits."""
        self._run(self._core.chmod(path, mode, follow_symlinks=follow_symlinks, timeout=timeout))

    def chown(
        self,
        path: PathLike,
        owner: str | None = None,
        group: str | None = None,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set owner and group by name; None leaves one alone."""
        self._run(
            self._core.chown(path, owner, group, follow_symlinks=follow_symlinks, timeout=timeout)
        )

    def utime(
        self,
        path: PathLike,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int, int] | None = None,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set (accessed, modified), in seconds or ``ns``; neither: to the cluster's present."""
        self._run(
            self._core.utime(path, times, ns=ns, follow_symlinks=follow_symlinks, timeout=timeout)
        )

    def set_replication(
        self, path: PathLike, replication: int, *, timeout: float | None = None
    ) -> None:
        """Set how many copies of each block the file wants."""
        self._run(self._core.set_replication(path, replication, timeout=timeout))

    def getxattr(self, path: PathLike, name: str, *, timeout: float | None = None) -> bytes:
        """One extended attribute. Raises NoAttributeError (ENODATA)."""
        return self._run(self._core.getxattr(path, name, timeout=timeout))

    def getxattrs(self, path: PathLike, *, timeout: float | None = None) -> dict[str, bytes]:
        """All extended attributes."""
        return self._run(self._core.getxattrs(path, timeout=timeout))

    def listxattr(self, path: PathLike, *, timeout: float | None = None) -> list[str]:
        """Names of the extended attributes."""
        return self._run(self._core.listxattr(path, timeout=timeout))

    def setxattr(
        self,
        path: PathLike,
        name: str,
        value: bytes,
        flags: int = 0,
        *,
        timeout: float | None = None,
    ) -> None:
        """Set an extended attribute; ``flags``: ``os.XATTR_CREATE``, ``os.XATTR_REPLACE``."""
        self._run(self._core.setxattr(path, name, value, flags, timeout=timeout))

    def removexattr(self, path: PathLike, name: str, *, timeout: float | None = None) -> None:
        """Remove an extended attribute."""
        self._run(self._core.removexattr(path, name, timeout=timeout))


async def _next(found: AsyncIterator[T]) -> T:
    return await anext(found)
