"""An open file with fsspec's interface, over memfs's own.

Owns ``commit`` and ``discard`` of files that are written in a transaction: they have no name until
then, so that nothing of them is left when their process dies.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Protocol, SupportsIndex

from memfs.client.blocking.files import Replacement
from memfs.client.blocking.filesystem import FileSystem
from memfs.client.calls import modes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class FileOwner(Protocol):
    """The fsspec file system that a file belongs to."""

    @property
    def blocking(self) -> FileSystem:
        """The blocking file system underneath."""

    def unstrip_protocol(self, name: str) -> str:
        """A path with its protocol."""

    def info(self, path: str) -> dict[str, object]:
        """What fsspec calls the details of a file."""


class CacheOfRanges(Protocol):
    """The part of fsspec's ``BaseCache`` that files of ``blockcache`` need."""

    size: int

    def _fetch(self, start: int, end: int) -> bytes: ...


class MemfsFile(io.IOBase):
    """A binary file. Methods that are not fsspec's are those of the file underneath (``f``)."""

    def __init__(
        self,
        fs: FileOwner,
        path: str,
        mode: str,
        autocommit: bool,
        options: dict[str, Any],
        blocksize: int,
    ) -> None:
        """``options``: of ``open``; ``blocksize``, bytes that a cache of fsspec's fetches."""
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = autocommit
        self.blocksize = blocksize
        self._cache: CacheOfRanges | None = None
        self._draft: Replacement | None = None
        self._ended = False
        """Closed by its writer, and not committed yet."""
        if autocommit or ("r" in mode and "+" not in mode):
            self.f: IO[bytes] = fs.blocking.open(path, mode, **options)
            return
        if "w" not in mode and "x" not in mode:
            raise ValueError(f"a transaction writes whole files: mode {mode!r} is not for one")
        options.pop("buffering", None)
        # The generator gives the draft up when it is collected.
        self._held = fs.blocking.replacing(path, exclusive="x" in mode, **options)
        self.f = self._held.__enter__()
        assert isinstance(self.f, Replacement), "what replacing() yields"
        self._draft = self.f

    @property
    def full_name(self) -> str:
        """The path with its protocol."""
        return self.fs.unstrip_protocol(self.path)

    @property
    def size(self) -> int:
        """The size in bytes: as published, or as written so far in a transaction."""
        if self._draft is None:
            return self.fs.blocking.stat(self.path).st_size
        position = self._draft.tell()
        size = self._draft.seek(0, os.SEEK_END)
        self._draft.seek(position)
        return size

    @property
    def details(self) -> dict[str, object]:
        """What ``info`` says."""
        if self._draft is not None:
            return {"name": self.path, "size": self.size, "type": "file"}
        return self.fs.info(self.path)

    def commit(self) -> None:
        """Give the file its name, replacing what had it: readers see old or new."""
        if self._draft is not None:
            self._draft.close()
            self._stay_at_path()

    def discard(self) -> None:
        """Forget what was written."""
        if self._draft is not None:
            self._draft.raw.discard()
            self._stay_at_path()

    def _stay_at_path(self) -> None:
        self.autocommit, self._draft = True, None

    # --- what fsspec's block cache asks for -------------------------------------------------

    @property
    def cache(self) -> CacheOfRanges | None:
        """What fsspec's ``blockcache`` has put between the file and its readers."""
        return self._cache

    @cache.setter
    def cache(self, cache: CacheOfRanges) -> None:
        self._cache = cache
        self.f = io.BufferedReader(_ThroughCache(self.f, cache))

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = self.fs.blocking.read_ranges([(self.path, start, end)])[0]
        return data

    # io.IOBase has these itself, so __getattr__ is not asked for them.

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        return self.f.readable()

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        return self.f.writable()

    def seekable(self) -> bool:
        """Always true."""
        return self.f.seekable()

    def tell(self) -> int:
        """The position in bytes."""
        return self.f.tell()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move the position; returns it."""
        return self.f.seek(offset, whence)

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes, all that is left when negative."""
        return self.f.read(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into ``buffer``; the bytes read."""
        return self.f.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line."""
        return self.f.readline(-1 if size is None else size)

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """All up to ``char``, which is included, or to the end."""
        pieces, step = [], blocks or io.DEFAULT_BUFFER_SIZE
        while piece := self.read(step):
            at = piece.find(char)
            if at >= 0:
                self.seek(at + len(char) - len(piece), 1)
                pieces.append(piece[: at + len(char)])
                break
            pieces.append(piece)
        return b"".join(pieces)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data``; its length."""
        self._check_open()
        return self.f.write(data)

    def flush(self) -> None:
        """Publish: every reader sees what was written."""
        self.f.flush()

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length."""
        self._check_open()
        return self.f.truncate(size)

    @property
    def closed(self) -> bool:
        """Whether it was closed. fsspec's ``blockcache`` sets it, after ``close``."""
        return self._ended or self.f.closed

    @closed.setter
    def closed(self, ended: bool) -> None:
        self._ended = ended

    def close(self) -> None:
        """Publish and close; what a transaction writes is published with it."""
        if self._draft is None:
            self.f.close()
        elif not self._ended:
            self._draft.flush()
            self._ended = True

    def _check_open(self) -> None:
        if self._ended:
            raise ValueError("I/O operation on closed file")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.f)

    def __next__(self) -> bytes:
        return next(self.f)

    def __getattr__(self, name: str) -> Any:
        if name == "f":  # a file that could not be opened
            raise AttributeError(name)
        return getattr(self.f, name)

    def __enter__(self) -> MemfsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        """The file underneath says that nobody closed it."""

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> tuple[object, ...]:
        """A file that reads is opened anew elsewhere, at the same position."""
        if "r" not in self.mode or "+" in self.mode:
            raise TypeError("a memfs file that writes cannot be pickled")
        return _reopened, (self.fs, self.path, self.mode, self.tell(), self.blocksize)

    def __repr__(self) -> str:
        return f"<MemfsFile {self.path!r} mode={self.mode!r}>"


class _ThroughCache(io.RawIOBase):
    """A file read by way of a cache."""

    def __init__(self, file: IO[bytes], cache: CacheOfRanges) -> None:
        self._file = file
        self._cache = cache
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = modes.absolute(self._at, offset, whence, self._cache.size)
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._cache._fetch(self._at, min(self._at + len(view), self._cache.size))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _reopened(fs: FileOwner, path: str, mode: str, position: int, blocksize: int) -> MemfsFile:
    file = MemfsFile(fs, path, mode, True, {}, blocksize)
    file.seek(position)
    return file
