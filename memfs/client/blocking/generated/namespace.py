"""The blocking form of :class:`memfs.client.namespace.NamespaceOperations`.

Made from it by `make blocking`: not to be edited.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from memfs.client.blocking.generated.mounts import BlockingMounts
from memfs.client.calls.wire import PathLike
from memfs.client.stat import BlockLocation, DirEntry, Stat, StatVfs, Usage
from memfs.client.trees import walking
from memfs.errors import MemfsError
from memfs.protocol import messages as m


class BlockingNamespace(BlockingMounts):
    """As :class:`memfs.client.namespace.NamespaceOperations`; each call waits."""

    def stat(
        self, path: PathLike, *, follow_symlinks: bool = True, timeout: float | None = None
    ) -> Stat:
        """Attributes, as ``os.stat``."""
        return self._run(self._core.stat, path, follow_symlinks=follow_symlinks, timeout=timeout)

    def lstat(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """Attributes of a symlink itself."""
        return self._run(self._core.lstat, path, timeout=timeout)

    def stat_many(
        self,
        paths: Iterable[PathLike],
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> list[Stat | None]:
        """Attributes of many paths in few requests.

        None for what cannot be found or seen, and what cannot be a path.
        """
        return self._run(
            self._core.stat_many, paths, follow_symlinks=follow_symlinks, timeout=timeout
        )

    def exists(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """As ``os.path.exists``: whether the path leads to something that can be seen.

        False for a broken symlink, a directory that may not be searched, and what cannot be a
        path; a cluster that does not answer is an error.
        """
        return self._run(self._core.exists, path, timeout=timeout)

    def lexists(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """As ``exists``, true for a broken symlink too."""
        return self._run(self._core.lexists, path, timeout=timeout)

    def isdir(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to a directory."""
        return self._run(self._core.isdir, path, timeout=timeout)

    def isfile(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path leads to a regular file."""
        return self._run(self._core.isfile, path, timeout=timeout)

    def islink(self, path: PathLike, *, timeout: float | None = None) -> bool:
        """Whether the path is a symbolic link."""
        return self._run(self._core.islink, path, timeout=timeout)

    def realpath(
        self, path: PathLike, *, strict: bool = False, timeout: float | None = None
    ) -> str:
        """As ``os.path.realpath``: without symlinks and ``..``; a request for each component.

        What does not exist stays as it is unless ``strict``; so does a symlink in a loop.
        """
        return self._run(self._core.realpath, path, strict=strict, timeout=timeout)

    def scandir_pages(
        self, path: PathLike = "/", *, after: str = "", timeout: float | None = None
    ) -> Iterator[list[DirEntry]]:
        """A directory page by page, ordered by the bytes of the names, beginning after a name.

        For directories of any size: nothing holds all of it.
        """
        return self._iterate(self._core.scandir_pages(path, after=after, timeout=timeout))

    def listdir(self, path: PathLike = "/", *, timeout: float | None = None) -> list[str]:
        """Names in a directory, ordered by their bytes."""
        return self._run(self._core.listdir, path, timeout=timeout)

    def walk(
        self,
        top: PathLike = "/",
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
        followlinks: bool = False,
    ) -> Iterator[walking.Walked]:
        """As ``os.walk``: yields (directory, names of directories, names of the others)."""
        return self._iterate(self._core.walk(top, topdown, onerror, followlinks))

    def glob(self, pattern: str) -> list[str]:
        """Paths matching a pattern with ``*``, ``?``, ``[...]`` and ``**`` (any depth)."""
        return self._run(self._core.glob, pattern)

    def iglob(self, pattern: str) -> Iterator[str]:
        """As ``glob``, one at a time."""
        return self._iterate(self._core.iglob(pattern))

    def access(self, path: PathLike, mode: int = os.F_OK, *, timeout: float | None = None) -> bool:
        """As ``os.access``: may this client's user do it? ``mode``: R_OK, W_OK, X_OK, F_OK."""
        return self._run(self._core.access, path, mode, timeout=timeout)

    def readlink(self, path: PathLike, *, timeout: float | None = None) -> str:
        """The text of a symbolic link."""
        return self._run(self._core.readlink, path, timeout=timeout)

    def du(self, path: PathLike = "/", *, timeout: float | None = None) -> Usage:
        """Totals of a subtree; usually one request whatever its size, see :meth:`summarise`."""
        return self._run(self._core.du, path, timeout=timeout)

    def statvfs(self, *, timeout: float | None = None) -> StatVfs:
        """Capacity and use of the whole cluster."""
        return self._run(self._core.statvfs, timeout=timeout)

    def cluster_status(self, *, timeout: float | None = None) -> m.StatusReply:
        """Nodes, their use and state, and the namespace's counts, as the primary sees them."""
        return self._run(self._core.cluster_status, timeout=timeout)

    def block_locations(
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
        return self._run(self._core.block_locations, path, offset, length, timeout=timeout)

    def mkdir(
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
        self._run(self._core.mkdir, path, mode, unmasked=unmasked, timeout=timeout)

    def makedirs(
        self,
        path: PathLike,
        mode: int | None = None,
        exist_ok: bool = False,
        *,
        unmasked: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Create a directory and the missing ones above it, in one command; modes as ``mkdir``."""
        self._run(self._core.makedirs, path, mode, exist_ok, unmasked=unmasked, timeout=timeout)

    def rename(
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
        self._run(
            self._core.rename,
            source,
            target,
            overwrite=overwrite,
            exchange=exchange,
            timeout=timeout,
        )

    def replace(self, source: PathLike, target: PathLike, *, timeout: float | None = None) -> None:
        """Rename, replacing the target: as ``os.replace``."""
        self._run(self._core.replace, source, target, timeout=timeout)

    def remove(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove a file or symlink."""
        self._run(self._core.remove, path, timeout=timeout)

    def remove_many(
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
        return self._run(
            self._core.remove_many, paths, return_errors=return_errors, timeout=timeout
        )

    def rmdir(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove an empty directory."""
        self._run(self._core.rmdir, path, timeout=timeout)

    def rmtree(
        self, path: PathLike, *, ignore_errors: bool = False, timeout: float | None = None
    ) -> None:
        """Remove a directory with all below it: one atomic command, whatever its size.

        Only where more than a million names lie among directories of several owners it takes
        steps; nothing is removed then either when a directory refuses.
        """
        self._run(self._core.rmtree, path, ignore_errors=ignore_errors, timeout=timeout)

    def link(
        self,
        source: PathLike,
        target: PathLike,
        *,
        replace: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Give a file a further name. ``replace``: in place of what has it, as ``rename`` would."""
        self._run(self._core.link, source, target, replace=replace, timeout=timeout)

    def symlink(
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
        self._run(
            self._core.symlink, target, path, parents=parents, replace=replace, timeout=timeout
        )

    def mknod(
        self, path: PathLike, mode: int, device: int = 0, *, timeout: float | None = None
    ) -> None:
        """Create a special file: a FIFO, a socket or, for superusers, a device.

        ``mode``: ``stat.S_IFIFO`` or its like, and the permissions that it gets. ``device``: its
        number, by ``os.makedev``. Only mounts can open one.
        """
        self._run(self._core.mknod, path, mode, device, timeout=timeout)

    def concat(
        self, target: PathLike, sources: Iterable[PathLike], *, timeout: float | None = None
    ) -> None:
        """Move the blocks of ``sources`` to the end of ``target``, removing them; no data moves.

        Block sizes must be equal, and each file but the last must end on a block boundary. Nobody
        may have one of them open for writing.
        """
        self._run(self._core.concat, target, sources, timeout=timeout)
