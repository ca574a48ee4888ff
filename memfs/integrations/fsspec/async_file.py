"""The open file of fsspec's ``open_async``, whose methods are awaited, over the asynchronous API's.

Invariant: ``loc`` is where the next read or write begins. As fsspec has it, ``seek`` and ``tell``
are plain calls.
"""

from __future__ import annotations

import os

from fsspec.asyn import AbstractAsyncStreamedFile

from memfs import aio
from memfs.client.calls import modes
from memfs.integrations.fsspec.file import FileOwner


class AsyncMemfsFile(AbstractAsyncStreamedFile):  # type: ignore[misc]  # fsspec has no types
    """What ``open_async`` returns; use it with ``async with``."""

    def __init__(self, fs: FileOwner, mode: str, file: aio.AsyncFile, size: int) -> None:
        self.fs = fs
        self.path = file.name
        self.mode = mode
        self.loc = file.tell()
        self.size = size
        """The size in bytes: as it was opened, or as this file has made it."""
        self._file = file

    @classmethod
    async def over(cls, fs: FileOwner, mode: str, file: aio.AsyncFile) -> AsyncMemfsFile:
        """The one over an open ``file``."""
        position = file.tell()
        size = await file.seek(0, os.SEEK_END)
        await file.seek(position)
        return cls(fs, mode, file, size)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._file.closed

    def seek(self, loc: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; returns it. Past the end is allowed."""
        self._file.tell()  # refuses when it is closed
        self.loc = modes.absolute(self.loc, loc, whence, self.size)
        return self.loc

    async def read(self, length: int = -1) -> bytes:
        """At most ``length`` bytes, all that is left when negative."""
        await self._file.seek(self.loc)
        data = await self._file.read(length)
        self.loc += len(data)
        return data

    async def write(self, data: bytes) -> int:
        """Write all of ``data``; its length."""
        await self._file.seek(self.loc)
        written = await self._file.write(data)
        self.loc = self._file.tell()
        self.size = max(self.size, self.loc)
        return written

    async def flush(self, force: bool = False) -> None:
        """Publish: every reader sees what was written."""
        await self._file.flush()

    async def close(self) -> None:
        """Publish and close."""
        await self._file.close()

    def __del__(self) -> None:
        """The file underneath says that nobody closed it."""
