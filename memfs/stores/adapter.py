"""``fsspec+SCHEME:``, whatever fsspec has a file system for, in threads.

Each call has an instance to itself, since not all of them are thread-safe. A put writes a temporary
file and moves it. Where fsspec moves by copying, readers may see the copy grow: prefer memfs's own
kind of store where there is one. Versions are ETags where fsspec tells them, else size and time:
best effort.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar, cast

from memfs.errors import (
    ConfigError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    MemfsError,
    ObjectChangedError,
    ObjectMissingError,
    PathExistsError,
    StoreConflictError,
    StoreDeniedError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.limits import MIB
from memfs.stores.errors import leads_nowhere, of_os_error, of_status
from memfs.stores.interface import Capabilities, ObjectInfo, Page
from memfs.stores.key_names import PARTS, is_key, joined, parent
from memfs.stores.levels import Levels
from memfs.stores.retry import Retry
from memfs.stores.sending import Sending, checked
from memfs.stores.staged import StagedStore
from memfs.types import Buffer, Untyped

T = TypeVar("T")
Names: TypeAlias = list[str]
THREADS: Final = 4
"""Threads, and file systems, at a time; each has a connection of its own."""
_PIECE_BYTES: Final = 4 * MIB
_NOBODY: Final = cast("FsspecFiles", object())
"""Passed where a call needs no file system."""
_CAPABILITIES: Final = Capabilities(
    conditional_put=False, rename=True, real_directories=True, modes=False, exact_tags=False
)
_TIMES: Final = ("mtime", "modified", "LastModified", "last_modified", "updated", "created")
_DENIED: Final = ("auth", "permission", "credential", "denied", "hostkey")
_ETAGS: Final = ("ETag", "etag", "e_tag")


class FsspecFiles(Protocol):
    """The methods of fsspec's file systems that are used here; fsspec has no types."""

    protocol: str | tuple[str, ...]

    def info(self, path: str) -> Mapping[str, Untyped]: ...
    def ls(self, path: str, detail: bool) -> Sequence[object]: ...
    def isdir(self, path: str) -> bool: ...
    def open(self, path: str, mode: str) -> Untyped: ...
    def cat_file(self, path: str, start: int, end: int) -> bytes: ...
    def makedirs(self, path: str, exist_ok: bool) -> None: ...
    def rm_file(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def mv(self, source: str, target: str) -> None: ...
    def invalidate_cache(self) -> None: ...


class FsspecStore(StagedStore):
    """The store below ``root`` of a file system that ``make`` returns."""

    def __init__(
        self, make: Callable[[], FsspecFiles], root: str, retry: Retry, dice: random.Random
    ) -> None:
        super().__init__(dice)
        self._make = make
        self._root = root.rstrip("/")
        self._retry = retry
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="fsspec-store")
        self._idle: list[FsspecFiles] = []
        """Idle file systems."""
        self._puts = asyncio.Semaphore(THREADS)
        self._levels = Levels()

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def stat(self, key: str) -> ObjectInfo | None:
        return await self._run(lambda files: self._stat(files, key), key)

    async def list(self, directory: str, after: str | None = None, limit: int = 1000) -> Page:
        async def names() -> list[str]:
            return await self._run(lambda files: self._names(files, directory), directory)

        def look(files: FsspecFiles, some: list[str]) -> list[ObjectInfo | None]:
            known = dict.fromkeys(some)
            return [self._stat(files, joined(directory, name)) for name in known]

        some, invalid, following = await self._levels.some(directory, after, limit, names)
        found = await self._run(lambda files: look(files, some), directory)
        entries = tuple(info for info in found if info is not None)
        return Page(entries, invalid + len(some) - len(entries), following)

    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        return await self._run(lambda files: self._read(files, key, offset, size, tag), key)

    async def delete(self, key: str, tag: bytes | None = None) -> None:
        def work(files: FsspecFiles) -> None:
            found = self._stat(files, key)
            if found is None:
                return
            if tag is not None and found.tag != tag:
                raise StoreConflictError(f"{key}: another version of the file is in the store")
            with contextlib.suppress(FileNotFoundError):
                files.rm_file(self._path(key))

        await self._run(work, key)

    async def make_directory(self, key: str) -> None:
        await self._run(lambda files: files.makedirs(self._path(key), exist_ok=True), key)

    async def remove_directory(self, key: str) -> None:
        def work(files: FsspecFiles) -> None:
            try:
                names = self._names(files, key)
            except FileNotFoundError:
                return
            if names:
                raise DirectoryNotEmptyError(f"{key}: the directory has entries in the store")
            files.rmdir(self._path(key))

        await self._run(work, key)

    async def rename(self, source: str, target: str) -> None:
        await self._run(lambda files: self._move(files, source, target), source)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def sweep(self, older_than_seconds: float) -> int:
        def work(files: FsspecFiles) -> int:
            oldest_ns, swept = (time.time() - older_than_seconds) * 1e9, 0
            try:
                names = self._names(files, PARTS)
            except FileNotFoundError:
                return 0
            for name in names:
                info = self._stat(files, joined(PARTS, name))
                if info is not None and info.modified_ns < oldest_ns:
                    files.rm_file(self._path(info.key))
                    swept += 1
            return swept

        return await self._run(work, PARTS)

    # --- a put ---------------------------------------------------------------------------------

    async def _write(self, part: str, chunks: Sending) -> None:
        def begin(files: FsspecFiles) -> Untyped:
            if not files.isdir(self._path("")):
                raise FileNotFoundError(self._root)
            files.makedirs(self._path(PARTS), exist_ok=True)
            file = files.open(self._path(part), "wb")
            if hasattr(file, "set_pipelined"):  # paramiko's: else each 32 KiB waits for an answer
                file.set_pipelined(True)
            return file

        async with self._puts:
            files = await self._in_thread(lambda _: self._borrowed(), part, _NOBODY)
            file = await self._in_thread(begin, part, files)
            try:
                async for chunk in chunks:
                    await self._in_thread(lambda _, chunk=chunk: file.write(chunk), part, files)  # type: ignore[misc]
            finally:
                await self._in_thread(lambda _: file.close(), part, files)
            self._idle.append(files)  # not after a failure: it may be in the middle of something

    async def _publish(self, part: str, key: str, *, fresh: bool) -> None:
        def work(files: FsspecFiles) -> None:
            if fresh and self._stat(files, key) is not None:
                raise PathExistsError(f"{key}: there is one already")
            self._move(files, part, key)

        await self._run(work, key)

    # --- in threads ----------------------------------------------------------------------------

    def _stat(self, files: FsspecFiles, key: str) -> ObjectInfo | None:
        files.invalidate_cache()
        try:
            return info_of(key, files.info(self._path(key)))
        except OSError as error:
            if leads_nowhere(error):
                return None
            raise

    def _names(self, files: FsspecFiles, directory: str) -> Names:
        files.invalidate_cache()
        found = files.ls(self._path(directory), detail=False)
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def _read(self, files: FsspecFiles, key: str, offset: int, size: int, tag: bytes) -> Buffer:
        data = _range(files, self._path(key), offset, size)
        after = self._stat(files, key)
        if after is None:
            raise ObjectMissingError(f"{key}: the store has no such file any more")
        if (tag and after.tag != tag) or after.size < offset + size:
            raise ObjectChangedError(f"{key}: the file was changed in the store")
        return checked(data, size, key)

    def _move(self, files: FsspecFiles, source: str, target: str) -> None:
        if directory := parent(target):
            files.makedirs(self._path(directory), exist_ok=True)
        files.mv(self._path(source), self._path(target))

    def _path(self, key: str) -> str:
        if not is_key(key):
            raise StoreUnsupportedError(f"{key!r} is no name of a file")
        return f"{self._root}/{key}" if key else self._root or "/"

    async def _run(self, work: Callable[[FsspecFiles], T], key: str) -> T:
        """Run ``work`` with a file system; retried while that may help."""

        async def attempt() -> T:
            return await self._in_thread(work, key)

        return await self._retry.run(attempt, key or "the mount's directory")

    async def _in_thread(
        self, work: Callable[[FsspecFiles], T], key: str, files: FsspecFiles | None = None
    ) -> T:
        """Run ``work`` once, with ``files``, an idle file system or a new one."""
        what = key or "the mount's directory"

        def in_thread() -> T:
            used = files
            failure: MemfsError | None = None
            try:
                used = self._borrowed() if files is None else files
                return work(used)
            except ConfigError:
                raise
            except OSError as error:
                failure = of_os_error(error, what)
                raise failure from None
            except Exception as error:  # a library's own: it may know none of Python's
                failure = of_library_error(error, what)
                raise failure from None
            finally:
                # One that did not answer is not asked again: its connection may be the reason.
                unreachable = isinstance(failure, StoreUnreachableError)
                if files is None and used is not None and not unreachable:
                    self._idle.append(used)

        return await asyncio.get_running_loop().run_in_executor(self._threads, in_thread)

    def _borrowed(self) -> FsspecFiles:
        """An idle or new file system, reserved until it is returned."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()


def _range(files: FsspecFiles, path: str, offset: int, size: int) -> Buffer:
    """Bytes of a file, fewer at its end."""
    if "sftp" not in files.protocol:
        return files.cat_file(path, start=offset, end=offset + size)
    with files.open(path, "rb") as file:  # paramiko's readv asks for all of a piece at once
        end = min(offset + size, file.stat().st_size)
        ranges = [(at, min(_PIECE_BYTES, end - at)) for at in range(offset, end, _PIECE_BYTES)]
        return b"".join(b"".join(file.readv([each])) for each in ranges)


def of_library_error(error: Exception, what: str) -> MemfsError:
    """Maps an error that is no OSError by the HTTP status it tells, or by the name of its class;
    its text is not shown."""
    name = type(error).__name__
    if any(word in name.lower() for word in _DENIED):
        return StoreDeniedError(f"{what}: the store refuses these credentials ({name})")
    if status := _status_of(error):
        return of_status(status, what, name)
    if isinstance(error, NotImplementedError):
        return StoreUnsupportedError(f"{what}: the store does not offer this ({name})")
    if isinstance(error, (AttributeError, TypeError)):
        return InvalidArgumentError(f"{what}: the library cannot do this ({name})")
    return StoreUnreachableError(f"{what}: the store fails ({name})")


def _status_of(error: Exception) -> int:
    """The HTTP status in an error of one of the usual libraries; 0: there is none."""
    response = getattr(error, "response", None)
    for told in (error, response):
        for attribute in ("status", "status_code", "code"):
            found = getattr(told, attribute, None)
            if isinstance(found, int) and 300 <= found < 600:
                return found
    return 0


def info_of(key: str, found: Mapping[str, Untyped]) -> ObjectInfo:
    """The record for the result of fsspec's ``info``."""
    modified_ns = next((_ns(found[name]) for name in _TIMES if found.get(name) is not None), 0)
    if found.get("type") == "directory":
        return ObjectInfo(key, 0, modified_ns, b"", True)
    size = int(found.get("size") or 0)
    etag = next((str(found[name]) for name in _ETAGS if found.get(name)), "")
    tag = etag.encode() if etag else b"%x-%x-%x" % (int(found.get("ino") or 0), size, modified_ns)
    return ObjectInfo(key, size, modified_ns, tag)


def _ns(moment: Untyped) -> int:
    """Nanoseconds of a time as fsspec's file systems give it."""
    if isinstance(moment, datetime):
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1e9)
    if isinstance(moment, (int, float)):
        return int(moment * 1e9)
    with contextlib.suppress(ValueError):
        return int(datetime.fromisoformat(str(moment)).timestamp() * 1e9)
    return 0


def file_system(
    url: str, path: str, options: dict[str, str]
) -> tuple[Callable[[], FsspecFiles], str]:
    """A function that makes fsspec's file system for ``url``, and the path below it. Raises
    ConfigError."""
    try:
        import fsspec
    except ImportError:
        raise ConfigError(
            "mounts of fsspec+...: need fsspec on every node: pip install 'memfs-cluster[stores]'"
        ) from None
    scheme = url.partition(":")[0]
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise ConfigError(f"fsspec cannot open {scheme}: on this node: {error}") from None
    except ValueError:
        raise ConfigError(f"fsspec knows no {scheme}: file systems") from None
    given = {**kind._get_kwargs_from_urls(url), **options}

    def make() -> FsspecFiles:
        hidden = more_options(path) if path else {}
        try:
            made: FsspecFiles = kind(**given, **hidden, skip_instance_cache=True)
        except TypeError:  # without its words, which may quote an option
            raise ConfigError(f"fsspec's {scheme}: does not take these options") from None
        except OSError as error:
            if isinstance(error.filename, str):  # of this node: a key's file
                raise StoreDeniedError(
                    f"the node cannot read {error.filename}: {error.strerror}"
                ) from None
            raise
        return made

    return make, str(kind._strip_protocol(url))


def more_options(path: str) -> dict[str, Untyped]:
    """Further options of the file system, of a JSON file of the node. Raises StoreDeniedError."""
    try:
        found = json.loads(Path(path).read_text())
    except OSError as error:
        raise StoreDeniedError(
            f"the node cannot read the credentials in {path}: {error.strerror}"
        ) from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StoreDeniedError(f'{path} is no JSON file of options, as {{"password": "..."}}')
    return found
