"""The blocking file system: the asynchronous one, driven on a background thread.

Owns no behaviour of its own beyond the hand-over, the reconnection after a fork and the closing at
exit; every method is the one of the same name in :mod:`memfs.client.filesystem`, where the
semantics are described. Safe to use from any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import IO, Any

from memfs.client import bridge as bridges
from memfs.client import filesystem as aio
from memfs.client import modes
from memfs.client.copying import Transferred
from memfs.client.files import RawFile, compose
from memfs.client.handle import Handle
from memfs.client.inheritance import TrackedNetwork
from memfs.client.opening import open_session
from memfs.client.path import MemfsPath
from memfs.client.stat import Stat
from memfs.client.sync_namespace import BlockingNamespace
from memfs.client.wire import PathLike
from memfs.config import ClientConfig
from memfs.errors import InvalidArgumentError
from memfs.transport.environment import production_environment
from memfs.types import Buffer, View


class FileSystem(BlockingNamespace):
    """A cluster seen as a file system, for ordinary blocking code.

    Paths are absolute, ``str`` or ``os.PathLike``. Every method takes ``timeout=``, seconds for the
    whole call; errors are those of ``memfs.errors`` and inherit the builtin ones. Close it, or
    leave the ``with`` block, to give back connections; at exit that happens by itself.
    """

    def __init__(self, config: ClientConfig) -> None:
        """Connects. Raises UnavailableError when no node answers."""
        self.config = config
        self._reconnecting = threading.Lock()
        self._closed = False
        self._connect()

    def _connect(self) -> None:
        bridge = bridges.bridge()
        self._generation = bridges.generation()
        self._opened = bridge.run(self._open_core())
        bridge.close_session_at_exit(self)

    async def _open_core(self) -> aio.FileSystem:
        environment = replace(production_environment(), network=TrackedNetwork())
        return aio.FileSystem(await open_session(self.config, environment))

    @property
    def _core(self) -> aio.FileSystem:
        """The asynchronous file system of this process; a forked child makes its own."""
        if self._generation != bridges.generation():
            with self._reconnecting:
                if self._generation != bridges.generation():
                    bridges.abandon(self._opened)
                    self._connect()
        if self._closed:
            raise InvalidArgumentError("the file system is closed")
        return self._opened

    @property
    def view(self) -> View:
        """The newest cluster view known: members, primary, epoch."""
        return self._core.view

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """End the session: leases still held are released, connections closed."""
        if self._closed:
            return
        self._closed = True
        if self._generation == bridges.generation() and bridges.bridge().running:
            self._run(self._opened.close())

    def __enter__(self) -> FileSystem:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<memfs.FileSystem {','.join(map(str, self.config.endpoints))}>"

    def path(self, path: PathLike = "/") -> MemfsPath:
        """A ``pathlib``-like path on this file system."""
        return MemfsPath(self, path)

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
    ) -> IO[Any]:
        """Open a file as the builtin ``open`` does, with the same modes and objects.

        Text is UTF-8 unless ``encoding`` says otherwise. Keyword options: ``permissions``
        (0o644, or what a default ACL grants), ``parents`` (create missing directories),
        ``replication``, ``block_size``, ``group_blocks`` for a file that is created; ``timeout``.
        ``flush`` publishes: readers see what was written before it. A file has one writer:
        LeaseHeldError tells of another.
        """
        parsed = modes.parse(mode)
        modes.check_text_arguments(parsed, buffering, encoding, errors, newline)
        handle = self._run(self._core.open_handle(path, parsed, **options))
        raw = RawFile(handle, os.fspath(path), parsed, self._reopen)
        return compose(raw, parsed, buffering, encoding, errors, newline)

    def _reopen(self, handle: Handle) -> Handle:
        """In a forked child: the same inode over this process's connections."""
        fresh: Handle = self._run(self._core.reopen_handle(handle))
        return fresh

    def read_bytes(self, path: PathLike, *, timeout: float | None = None) -> bytes:
        """The whole content, as of one moment. A small file takes one round trip."""
        return self._run(self._core.read_bytes(path, timeout=timeout))

    def write_bytes(
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
        """Replace the content (or create the file); returns the bytes written."""
        return self._run(
            self._core.write_bytes(
                path,
                data,
                exclusive=exclusive,
                parents=parents,
                permissions=permissions,
                replication=replication,
                timeout=timeout,
            )
        )

    def map(self, path: PathLike, *, timeout: float | None = None) -> memoryview:
        """The whole content as a read-only view, which stays valid when the file is deleted.

        Nothing is copied when a node of this host holds the file and it is no larger than a group
        (64 MiB by default): the view is the node's memory. ``numpy.frombuffer`` takes it.
        """
        file = self._run(self._core.open_map(path, timeout=timeout))
        if file.content is not None:
            return memoryview(file.content)
        mapped = file.local.view_now()
        if mapped is None:
            return memoryview(self.read_bytes(path, timeout=timeout))
        return mapped

    def read_text(
        self,
        path: PathLike,
        encoding: str = "utf-8",
        errors: str = "strict",
        *,
        timeout: float | None = None,
    ) -> str:
        """The whole content, decoded; line ends become ``\\n``."""
        return self._run(self._core.read_text(path, encoding, errors, timeout=timeout))

    def write_text(
        self,
        path: PathLike,
        text: str,
        encoding: str = "utf-8",
        errors: str = "strict",
        **options: Any,
    ) -> int:
        """Encode and write the whole content; returns the characters. Options: ``write_bytes``."""
        return self._run(self._core.write_text(path, text, encoding, errors, **options))

    def read_many(
        self,
        paths: Iterable[PathLike],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """Contents of many small files, in order: a request per batch and node."""
        return self._run(self._core.read_many(paths, return_errors=return_errors, timeout=timeout))

    def write_many(
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
        """Write many small files, each atomically: two round trips a batch."""
        return self._run(
            self._core.write_many(
                files,
                exclusive=exclusive,
                parents=parents,
                permissions=permissions,
                replication=replication,
                return_errors=return_errors,
                timeout=timeout,
            )
        )

    def copy(self, source: PathLike, target: PathLike, *, timeout: float | None = None) -> Stat:
        """Copy one file's content and permissions; an existing target is replaced."""
        return self._run(self._core.copy(source, target, timeout=timeout))

    def truncate(self, path: PathLike, size: int, *, timeout: float | None = None) -> None:
        """Set a file's length: cut it, or add zeros."""
        self._run(self._core.truncate(path, size, timeout=timeout))

    def put(self, local: str | os.PathLike[str], target: PathLike, **options: Any) -> Transferred:
        """Copy a local file or tree into the cluster, as ``target``, in parallel.

        Keyword options: ``preserve`` (exact modes and times), ``follow_symlinks``,
        ``replication``, ``progress`` (called with ``ProgressEvent``, on the background thread),
        ``return_errors``, ``timeout``; see :func:`memfs.client.transfer.put`.
        """
        return self._run(self._core.put(local, target, **options))

    def get(self, source: PathLike, local: str | os.PathLike[str], **options: Any) -> Transferred:
        """Copy a file or tree of the cluster to the local disk as ``local``; options: ``put``."""
        return self._run(self._core.get(source, local, **options))

    def recover_lease(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """End another writer's lease at its last flush: what a crashed writer left behind."""
        return self._run(self._core.recover_lease(path, timeout=timeout))

    def touch(
        self,
        path: PathLike,
        mode: int = 0o644,
        exist_ok: bool = True,
        *,
        timeout: float | None = None,
    ) -> None:
        """Create an empty file, or set the times of an existing one to now."""
        self._run(self._core.touch(path, mode, exist_ok, timeout=timeout))
