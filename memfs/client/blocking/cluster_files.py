"""A cluster's files for blocking code: the asynchronous file system on a background thread.

Owns no behaviour of its own beyond the hand-over, the connection anew after a fork and the closing
at exit. Written here are the methods that differ when they block; all others are generated from
those of the same name of the asynchronous API (``memfs/client/blocking/generated``). Safe to use
from any number of threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Self, Unpack

from memfs.client import filesystem as aio
from memfs.client.blocking import bridge as bridges
from memfs.client.blocking.files import RawFile, RawReplacement, Replacement, compose
from memfs.client.blocking.generated.transfers import BlockingTransfers
from memfs.client.blocking.inheritance import tracked
from memfs.client.blocking.locks import FileLock
from memfs.client.blocking.scanning import Scandir
from memfs.client.calls import modes
from memfs.client.calls.modes import Mode
from memfs.client.calls.wire import PathLike, name_of
from memfs.client.connect import open_file_system
from memfs.client.credentials import client_proof
from memfs.client.handles.create_options import DraftKeywords, OpenKeywords
from memfs.client.handles.handle import Handle
from memfs.config import ClientConfig
from memfs.errors import InvalidArgumentError
from memfs.transport.environment import production_environment
from memfs.types import OpenedFile, View


class ClusterFiles(BlockingTransfers):
    """A cluster seen as a file system, for ordinary blocking code.

    Paths are absolute, ``str`` or ``os.PathLike``. Every method takes ``timeout=``, seconds for the
    whole call; errors are those of ``memfs.errors`` and inherit the builtin ones. Close it, or
    leave the ``with`` block, to give back connections; at exit that happens by itself.
    """

    def __init__(self, config: ClientConfig) -> None:
        """Connects. Raises UnavailableError when no node answers."""
        self.config = config
        self._reconnecting = threading.Lock()
        self._closed = True
        self._connect()
        self._open_for_writing: weakref.WeakSet[OpenedFile] = weakref.WeakSet()
        self._closed = False

    def _connect(self) -> None:
        bridge = bridges.bridge()
        self._generation = bridges.generation()
        self._opened = bridge.run(self._open_core)
        bridge.close_session_at_exit(self)

    async def _open_core(self) -> aio.AsyncFileSystem:
        proof = client_proof(self.config)
        environment = tracked(production_environment(*proof))
        opened = await open_file_system(self.config, environment)
        opened._session.allow_direct()
        return opened

    @property
    def _core(self) -> aio.AsyncFileSystem:
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
    def asynchronous(self) -> aio.AsyncFileSystem:
        """The asynchronous file system underneath, for coroutines that run on :attr:`loop`."""
        return self._core

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of memfs's background thread, once connected in this process."""
        self._core  # noqa: B018  # connects in a forked child
        return bridges.bridge().loop

    @property
    def view(self) -> View:
        """The newest cluster view known: members, primary, epoch."""
        return self._core.view

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _begin_closing(self) -> None:
        """Have what is called from now on end within one budget, files closed in turn included."""
        if not self._closed and bridges.serves(self._generation):
            self._run(self._opened._begin_closing)

    def close(self) -> None:
        """Close the files that are open for writing, as at exit, and end the session.

        Raises the error of the first file that could not be published, once all is closed. All
        together have the budget of one call.
        """
        if self._closed:
            return
        failed: BaseException | None = None
        self._begin_closing()
        if bridges.serves(self._generation):
            for file in list(self._open_for_writing):
                try:
                    file.close()
                except OSError as error:
                    failed = failed or error
        self._closed = True
        if bridges.serves(self._generation):
            self._run(self._opened.close)
        if failed is not None:
            raise failed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_closed", True) or not bridges.serves(self._generation):
            return
        warnings.warn(f"unclosed file system {self!r}", ResourceWarning, 2, self)
        self._closed = True
        bridges.bridge().begin(self._opened.close)

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
    ) -> OpenedFile:
        """Open a file as the builtin ``open`` does, with the same modes and objects.

        Text is UTF-8 unless ``encoding`` says otherwise. Keyword options: ``permissions`` (exactly;
        None: 0o666 less the process's umask, or what a default ACL grants), ``parents`` (create
        missing directories), ``replication``, ``block_size``, ``group_blocks`` for a file that is
        created; ``timeout``.
        ``flush`` publishes: readers see what was written before it. A file has one writer:
        LeaseHeldError tells of another, unless ``recover`` is given: then the lease of the other
        ends at its last flush.
        """
        parsed = modes.parse(mode)
        modes.check_text_arguments(parsed, buffering, encoding, errors, newline)
        raw = self._run(self._open_raw, self._core, file, parsed, options)
        opened = compose(raw, parsed, buffering, encoding, errors, newline)
        if parsed.writing:
            self._open_for_writing.add(opened)
        return opened

    async def _open_raw(
        self, core: aio.AsyncFileSystem, path: PathLike, mode: Mode, options: OpenKeywords
    ) -> RawFile:
        """Made on the loop: whoever is interrupted has a file that closes itself, or nothing."""
        handle = await core.open_handle(path, mode, **options)
        return RawFile(handle, name_of(path), mode, self._reopen)

    @contextlib.contextmanager
    def replacing(
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
    ) -> Iterator[Replacement]:
        """A binary file to write, which takes the name ``path`` when the block ends well.

        Until then nobody sees it, and what was there stays; when the block fails, or this process
        ends, nothing of it is left. The other options are those of :meth:`open`.
        """
        options = DraftKeywords(
            exclusive=exclusive,
            recover=recover,
            permissions=permissions,
            parents=parents,
            replication=replication,
            block_size=block_size,
            group_blocks=group_blocks,
            unmasked=unmasked,
            timeout=timeout,
        )
        raw = self._run(self._open_replacement, self._core, path, options)
        file = Replacement(raw)
        try:
            yield file
        except BaseException:
            raw.discard()
            raise
        file.close()

    async def _open_replacement(
        self, core: aio.AsyncFileSystem, path: PathLike, options: DraftKeywords
    ) -> RawReplacement:
        """Made on the loop: whoever is interrupted has a file that is given up, or nothing."""
        draft = await core.open_draft(path, **options)
        return RawReplacement(draft, name_of(path), draft.mode, self._reopen)

    def _reopen(self, handle: Handle) -> Handle:
        """In a forked child: the same inode over this process's connections."""
        fresh: Handle = self._run(self._core.reopen_handle, handle)
        return fresh

    def map(self, path: PathLike, *, timeout: float | None = None) -> memoryview:
        """The whole content as a read-only view, which stays valid when the file is deleted.

        Nothing is copied when a node of this host holds the file and it is no larger than a group
        (64 MiB by default): the view is the node's memory. ``numpy.frombuffer`` takes it.
        """
        timeout = self._core._session.budget(timeout)
        file = self._run(self._core.open_map, path, timeout=timeout)
        if file.content is not None:
            return memoryview(file.content)
        mapped = file.local.view_now()
        if mapped is None:
            return memoryview(self.read_bytes(path, timeout=timeout))
        return mapped

    def read_ranges(
        self,
        ranges: Iterable[tuple[PathLike, int | None, int | None]],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """``content[start:stop]`` of files, in order: small ranges by a request per batch and node.

        ``ranges``: path, start, stop; None and negative numbers as in Python.
        """
        return self._run(
            self._core.read_ranges, ranges, return_errors=return_errors, timeout=timeout
        )

    def scandir(self, path: PathLike = "/", *, timeout: float | None = None) -> Scandir:
        """As ``os.scandir``: entries with their attributes, ordered by name, page by page.

        Iterate over it, or leave it early by ``close`` or a ``with`` block. Only what a symlink
        leads to costs a further request.
        """
        return Scandir(self, self.scandir_pages(path, timeout=timeout))

    def lock(
        self,
        path: PathLike,
        *,
        exclusive: bool = True,
        blocking: bool = True,
        timeout: float | None = None,
    ) -> FileLock:
        """Lock a file as a whole: ``with fs.lock(path):``, or ``close`` what it returns.

        An empty file is made where there is none, and stays. Advisory, as flock(2)'s: it excludes
        other such locks, on every host, and no reads and writes. Once this process or host is gone,
        others get it after a quarter of a minute or the session timeout. A client that is cut off
        for so long loses it, too, and is not stopped: leaving the block raises LocksLostError.
        Waits unless not ``blocking`` (BlockingIOError); DeadlineError after ``timeout``.
        """
        options = {"exclusive": exclusive, "blocking": blocking, "timeout": timeout}
        return self._run(self._lock, self._core, path, options)

    async def _lock(
        self, core: aio.AsyncFileSystem, path: PathLike, options: dict[str, Any]
    ) -> FileLock:
        return FileLock(await core.lock(path, **options))
