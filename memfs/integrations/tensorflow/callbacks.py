"""The operations of TensorFlow's file system interface, over the blocking client.

Owns the meaning of each operation, for which TensorFlow's local file system is the model, and the
objects that TensorFlow holds by number. A URL's authority names the cluster when it has a port.
"""

from __future__ import annotations

import itertools
import os
import re
from typing import NamedTuple

from memfs import errors, paths
from memfs.client.blocking import patterns
from memfs.client.blocking.entry import shared
from memfs.client.blocking.filesystem import FileSystem
from memfs.integrations.tensorflow import c_interface
from memfs.integrations.tensorflow.c_interface import Code, IntPointer
from memfs.integrations.tensorflow.files import ReadHandle, WriteHandle
from memfs.integrations.tensorflow.status_codes import StatusError
from memfs.types import Untyped


class UrlPath(NamedTuple):
    """A path on a cluster, and the part of its URL before the path."""

    fs: FileSystem
    path: str
    prefix: str


def place(url: bytes) -> UrlPath:
    """Where a URL leads; connects to the cluster when nothing has yet."""
    given = os.fsdecode(url)
    location = paths.parse_url(given)
    authority = ",".join(map(str, location.endpoints))
    return UrlPath(shared(location.endpoints), location.path, f"memfs://{authority}")


class Operations:
    """One callback a method; the first argument is always TensorFlow's file system or file."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, Untyped] = {}

    # --- objects ----------------------------------------------------------------------------

    def init(self, filesystem: object) -> None:
        """Nothing to prepare: the cluster is in the URL."""

    def cleanup(self, filesystem: object) -> None:
        """Nothing to give back: connections are closed at exit."""

    def _keep(self, target: IntPointer, handle: Untyped) -> None:
        number = next(self._numbers)
        self._open[number] = handle
        target[0] = number

    def _handle(self, file: IntPointer) -> Untyped:
        return self._open[file[0]]

    def forget(self, file: IntPointer) -> None:
        """TensorFlow releases a file; errors cannot be reported any more."""
        handle = self._open.pop(file[0], None)
        if handle is not None:
            try:
                handle.close()
            except Exception:
                pass  # a file that was to be kept has been closed, and its error told, before

    # --- files ------------------------------------------------------------------------------

    def new_random_access_file(self, filesystem: object, url: bytes, file: IntPointer) -> None:
        """Open for reading."""
        where = place(url)
        self._keep(file, ReadHandle(where.fs, where.path))

    def new_writable_file(self, filesystem: object, url: bytes, file: IntPointer) -> None:
        """Create, or empty what is there; missing directories are made."""
        where = place(url)
        self._keep(file, WriteHandle(where.fs, where.path, "wb"))

    def new_appendable_file(self, filesystem: object, url: bytes, file: IntPointer) -> None:
        """Open at the end, or create."""
        where = place(url)
        self._keep(file, WriteHandle(where.fs, where.path, "ab"))

    def read(self, file: IntPointer, offset: int, size: int, address: int) -> int:
        """Read; fewer bytes than asked for are out of range."""
        count: int = self._handle(file).read(offset, address, size)
        return count

    def append(self, file: IntPointer, address: int, size: int) -> None:
        """Write at the end."""
        self._handle(file).append(address, size)

    def tell(self, file: IntPointer) -> int:
        """The position of a file that is written."""
        position: int = self._handle(file).tell()
        return position

    def flush(self, file: IntPointer) -> None:
        """Publish, for readers of other processes too."""
        self._handle(file).flush()

    def close(self, file: IntPointer) -> None:
        """Publish and close."""
        self._handle(file).close()

    # --- names ------------------------------------------------------------------------------

    def create_dir(self, filesystem: object, url: bytes) -> None:
        """One directory, in one that exists."""
        where = place(url)
        where.fs.mkdir(where.path)

    def recursively_create_dir(self, filesystem: object, url: bytes) -> None:
        """A directory and those above it, if need be."""
        where = place(url)
        try:
            where.fs.makedirs(where.path, exist_ok=True)
        except FileExistsError as error:
            raise StatusError(Code.FAILED_PRECONDITION, str(error)) from error

    def delete_file(self, filesystem: object, url: bytes) -> None:
        """Remove a file or symlink."""
        where = place(url)
        where.fs.remove(where.path)

    def delete_dir(self, filesystem: object, url: bytes) -> None:
        """Remove an empty directory."""
        where = place(url)
        where.fs.rmdir(where.path)

    def delete_recursively(
        self,
        filesystem: object,
        url: bytes,
        files: IntPointer,
        dirs: IntPointer,
    ) -> None:
        """Remove a tree in one step, or a file."""
        files[0], dirs[0] = 0, 1
        where = place(url)
        try:
            tree = where.fs.lstat(where.path).is_dir()
        except (NotADirectoryError, errors.NameTooLongError) as error:
            raise _nothing(url) from error
        if tree:
            where.fs.rmtree(where.path)
        else:
            where.fs.remove(where.path)
        dirs[0] = 0

    def rename_file(self, filesystem: object, source: bytes, target: bytes) -> None:
        """Rename atomically, replacing a file."""
        first, second = _of_one_cluster(source, target)
        first.fs.rename(first.path, second.path)

    def copy_file(self, filesystem: object, source: bytes, target: bytes) -> None:
        """Copy inside the cluster."""
        first, second = _of_one_cluster(source, target)
        if first.fs.isdir(first.path):
            raise StatusError(Code.INVALID_ARGUMENT, f"{os.fsdecode(source)} is a directory")
        first.fs.copy(first.path, second.path)

    def path_exists(self, filesystem: object, url: bytes) -> None:
        """Fails with NOT_FOUND where there is nothing."""
        where = place(url)
        if not where.fs.exists(where.path):
            raise _nothing(url)

    def stat(self, filesystem: object, url: bytes, stats: Untyped) -> None:
        """Length, time and kind."""
        where = place(url)
        found = where.fs.stat(where.path)
        stats[0].length = found.st_size
        stats[0].mtime_nsec = found.st_mtime_ns
        stats[0].is_directory = found.is_dir()

    def is_directory(self, filesystem: object, url: bytes) -> bool:
        """Fails with FAILED_PRECONDITION for a file."""
        where = place(url)
        if not where.fs.stat(where.path).is_dir():
            raise StatusError(Code.FAILED_PRECONDITION, f"{os.fsdecode(url)} is not a directory")
        return True

    def get_file_size(self, filesystem: object, url: bytes) -> int:
        """Bytes of a file."""
        where = place(url)
        return where.fs.stat(where.path).st_size

    def get_children(self, filesystem: object, url: bytes, entries: Untyped) -> int:
        """Names in a directory."""
        where = place(url)
        return c_interface.texts(where.fs.listdir(where.path), entries)

    def get_matching_paths(self, filesystem: object, pattern: bytes, entries: Untyped) -> int:
        """Paths that match; ``*`` matches a leading dot too, and no slash. What is no pattern is
        returned as it is given, if it is there."""
        where = place(pattern)
        if not _MAGIC.search(where.path):
            given = [os.fsdecode(pattern)] if where.fs.exists(where.path) else []
            return c_interface.texts(given, entries)
        wanted = as_pathlib(where.path.lstrip("/"))
        found = patterns.below(where.fs, "/", wanted) if wanted else iter(["/"])
        return c_interface.texts(sorted(where.prefix + path for path in found), entries)

    def translate_name(self, filesystem: object, url: bytes) -> int:
        """The URL itself: its authority tells clusters apart."""
        return c_interface.text(os.fsdecode(url))

    def flush_caches(self, filesystem: object) -> None:
        """Nothing is cached."""


def as_pathlib(pattern: str) -> str:
    """fnmatch(3)'s pattern as ``pathlib`` has it: no ``**``, no backslash, ``!`` for ``^``."""
    return _DIFFERENT.sub(_in_pathlib, pattern)


_MAGIC = re.compile(r"[*?\[\\]")
_DIFFERENT = re.compile(r"\\(.)|\*{2,}|\[\^", re.DOTALL)


def _in_pathlib(found: re.Match[str]) -> str:
    escaped: str | None = found[1]
    if escaped is None:
        return "*" if found[0][0] == "*" else "[!"
    return f"[{escaped}]" if escaped in "*?[" else escaped


def _nothing(url: bytes) -> StatusError:
    return StatusError(Code.NOT_FOUND, f"{os.fsdecode(url)}: there is nothing")


def _of_one_cluster(source: bytes, target: bytes) -> tuple[UrlPath, UrlPath]:
    first, second = place(source), place(target)
    if first.fs is not second.fs:
        text = f"{os.fsdecode(source)} and {os.fsdecode(target)} are on two clusters"
        raise StatusError(Code.UNIMPLEMENTED, text)
    return first, second
