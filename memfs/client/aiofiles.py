"""Asynchronous file objects: the methods of the builtin ones, awaited.

Owns position, small-read buffering, lines and text. Must not know blocks or leases: all that is
the handle's. ``tell``, ``readable`` and their like need no waiting and are plain methods.
"""

from __future__ import annotations

import asyncio
import codecs
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from typing import Any

from memfs.client.calls import arguments, modes, unclosed
from memfs.client.calls.bound import Bound
from memfs.client.calls.modes import Mode
from memfs.client.handles.handle import Handle
from memfs.types import Buffer

BUFFER_BYTES = 64 * 1024


class AsyncFile(Bound):
    """A binary file of the asynchronous API.

    ``name`` is the path as given, ``mode`` the open mode, ``closed`` whether it was closed. Reads
    and writes move one position, as in the standard library; ``pread`` and ``pwrite`` do not.
    """

    def __init__(self, handle: Handle, name: str, mode: Mode, buffered: bool = True) -> None:
        self.name = name
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._mode = mode
        self._handle = handle
        self._position = 0
        self._buffered = buffered
        self._buffer = b""
        self._buffer_at = 0
        if mode.appending:
            self._position = handle.size

    @property
    def mode(self) -> str:
        """The mode it was opened with."""
        return self._mode.text

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        return self._mode.reading

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        return self._mode.writing

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        self._check()
        return self._position

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; returns it. Past the end is allowed.

        ``os.SEEK_DATA`` and ``os.SEEK_HOLE`` go to the next data or hole from ``offset`` on, holes
        being what takes no memory; OSError with ENXIO when there is none.
        """
        self._check()
        if modes.sparse(whence):
            offset = arguments.offset("offset", offset)
            look = self._handle.data_from if whence == os.SEEK_DATA else self._handle.hole_from
            self._position = modes.found(await look(offset))
            return self._position
        self._position = modes.absolute(self._position, offset, whence, self._handle.size)
        return self._position

    # --- reading ----------------------------------------------------------------------------

    async def read(self, size: int | None = -1, *, timeout: float | None = None) -> bytes:
        """At most ``size`` bytes, fewer only at the end; everything when negative or None."""
        self._check(reading=True)
        if size is None or size < 0:
            data = self._buffered_from(self._position)
            rest = await self._handle.read(self._position + len(data), -1, timeout)
            data = data + rest if data else rest
        elif not self._buffered or size >= BUFFER_BYTES:
            data = await self._handle.read(self._position, size, timeout)
        else:
            data = await self._read_small(size, timeout)
        self._position += len(data)
        return data

    async def readinto(self, buffer: object, *, timeout: float | None = None) -> int:
        """Fill a writable buffer; returns the bytes read, fewer than asked only at the end."""
        self._check(reading=True)
        got = await self.pread_into(buffer, self._position, timeout=timeout)
        self._position += got
        return got

    async def locate(self, size: int) -> bool:
        """Learn where the next ``size`` bytes lie; whether ``readinto_now`` can read them then."""
        self._check(reading=True)
        return await self._handle.locate(self._position, size)

    def readinto_now(self, buffer: object) -> int:
        """As ``readinto``, in the caller's thread, whichever that is; -1: it would have to wait.

        For who moves much out of nodes of this host: only :meth:`locate` needs the event loop.
        """
        self._check(reading=True)
        got = self._handle.read_now(self._position, arguments.writable(buffer))
        self._position += max(got, 0)
        return got

    async def pread_into(self, buffer: object, offset: int, *, timeout: float | None = None) -> int:
        """As ``readinto``, from byte ``offset``, without moving the position."""
        self._check(reading=True)
        at, view = arguments.position("offset", offset), arguments.writable(buffer)
        return await self._handle.read_into(at, view, timeout)

    async def pread(self, size: int, offset: int, *, timeout: float | None = None) -> bytes:
        """At most ``size`` bytes from byte ``offset``, without moving the position."""
        self._check(reading=True)
        at, size = arguments.position("offset", offset), arguments.whole("size", size)
        return await self._handle.read(at, size, timeout)

    async def view(self, *, timeout: float | None = None) -> memoryview:
        """The whole content, read-only, usable by numpy; it outlives the file.

        Without a copy for a file of at most a group on a node of this host, else read into memory.
        """
        self._check(reading=True)
        return await self._handle.view(timeout)

    async def readline(self, size: int = -1) -> bytes:
        """One line with its ``\\n``, at most ``size`` bytes; empty at the end."""
        self._check(reading=True)
        pieces: list[bytes] = []
        left = size if size is not None and size >= 0 else -1
        while left:
            piece = await self._peek()
            end = piece.find(b"\n", 0, left if left > 0 else len(piece)) + 1
            taken = piece[: end or (left if left > 0 else len(piece))]
            self._position += len(taken)
            pieces.append(taken)
            if end or not taken:
                break
            left -= len(taken) if left > 0 else 0
        return b"".join(pieces)

    async def readlines(self) -> list[bytes]:
        """The rest of the lines."""
        return [line async for line in self]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def _buffered_from(self, position: int) -> bytes:
        """What is buffered from ``position`` on."""
        at = position - self._buffer_at
        return self._buffer[at:] if 0 <= at < len(self._buffer) else b""

    async def _peek(self, timeout: float | None = None) -> bytes:
        """Some bytes at the position without moving it; empty at the end."""
        ready = self._buffered_from(self._position)
        if not ready:
            ready = await self._handle.read(self._position, BUFFER_BYTES, timeout)
            self._buffer, self._buffer_at = ready, self._position
        return ready

    async def _read_small(self, size: int, timeout: float | None) -> bytes:
        data = self._buffered_from(self._position)[:size]
        if len(data) == size:
            return data
        at = self._position + len(data)
        fresh = await self._handle.read(at, max(io.DEFAULT_BUFFER_SIZE, size), timeout)
        self._buffer, self._buffer_at = fresh, at
        return data + fresh[: size - len(data)]

    # --- writing ----------------------------------------------------------------------------

    async def write(self, data: Buffer, *, timeout: float | None = None) -> int:
        """Write all of ``data`` at the position (at the end in append mode); returns its length."""
        self._check(writing=True)
        view = memoryview(data).cast("B")
        at = None if self._mode.appending else self._position
        self._buffer = b""
        self._position = await self._handle.write(at, view, timeout)
        return len(view)

    async def pwrite(self, data: Buffer, offset: int, *, timeout: float | None = None) -> int:
        """Write at byte ``offset`` without moving the position."""
        self._check(writing=True)
        at, view = arguments.position("offset", offset), memoryview(data).cast("B")
        self._buffer = b""
        await self._handle.write(at, view, timeout)
        return len(view)

    async def writelines(self, lines: Iterable[Buffer]) -> None:
        """Write each of ``lines``; no separators are added."""
        for line in lines:
            await self.write(line)

    async def flush(self, *, timeout: float | None = None) -> None:
        """Publish what was written: when this returns every reader sees it."""
        self._check()
        await self._handle.flush(timeout)

    async def truncate(self, size: int | None = None, *, timeout: float | None = None) -> int:
        """Set the length (None: the position) at once; the position stays. Returns the length."""
        self._check(writing=True)
        size = self._position if size is None else arguments.position("size", size)
        self._buffer = b""
        await self._handle.truncate(size, timeout)
        return size

    # --- locks ------------------------------------------------------------------------------

    async def lock(
        self,
        start: int = 0,
        length: int = 0,
        *,
        exclusive: bool = True,
        blocking: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Lock ``length`` bytes from ``start`` (0: all that may follow) until ``unlock`` or close.

        Advisory, as fcntl(2)'s: it excludes other locks, not reads and writes, and those of every
        open file on every host. Ranges are split and merged; locking again changes the mode. Waits
        unless not ``blocking``: WouldBlockError (a BlockingIOError) then tells of somebody else.
        Raises LockDeadlockError when it would wait for ever, DeadlineError after ``timeout``.
        """
        self._check()
        await self._handle.lock(
            start, length, exclusive=exclusive, blocking=blocking, timeout=timeout
        )

    async def unlock(
        self, start: int = 0, length: int = 0, *, timeout: float | None = None
    ) -> None:
        """Unlock a range. Raises LocksLostError when others may have had it meanwhile.

        That happens when the cluster received nothing from this client for the session timeout.
        """
        self._check()
        await self._handle.unlock(start, length, timeout=timeout)

    # --- the end ----------------------------------------------------------------------------

    async def copy_range(
        self,
        source: AsyncFile,
        length: int,
        *,
        source_offset: int = 0,
        offset: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Copy bytes of another open file, as ``os.copy_file_range``; returns how many.

        Nodes copy them among themselves. Positions stay. Others see it after a flush.
        """
        self._check(writing=True)
        source._check(reading=True)
        self._buffer = b""
        return await self._handle.copy_range(source._handle, source_offset, offset, length, timeout)

    async def punch_hole(self, offset: int, length: int, *, timeout: float | None = None) -> None:
        """Let ``length`` bytes from ``offset`` read as zeros; whole blocks give their memory back.

        The size stays. Others see it after a flush, as what is written.
        """
        self._check(writing=True)
        self._buffer = b""
        await self._handle.zero(offset, length, timeout=timeout)

    async def close(self) -> None:
        """Publish what was written and close; errors of earlier writes surface here."""
        if not self.closed:
            self.closed = True
            self._buffer = b""
            await self._handle.close()

    def __del__(self) -> None:
        if getattr(self, "closed", True) or self._handle.over:
            return
        unclosed.warn("file", self)
        if not self._handle.quiet:
            unclosed.close_soon(self._loop, self._handle.close)

    def fileno(self) -> int:
        """There is no descriptor. Raises ``io.UnsupportedOperation``."""
        raise io.UnsupportedOperation("fileno")

    def isatty(self) -> bool:
        """Never."""
        return False

    async def __aenter__(self) -> AsyncFile:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _check(self, *, reading: bool = False, writing: bool = False) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if reading and not self._mode.reading:
            raise io.UnsupportedOperation("not readable")
        if writing and not self._mode.writing:
            raise io.UnsupportedOperation("not writable")

    def __repr__(self) -> str:
        return f"<memfs.aio file {self.name!r} mode={self.mode!r}>"


class AsyncTextFile(Bound):
    """A text file of the asynchronous API: decodes, encodes and translates line ends.

    ``seek`` goes to the beginning, to the end, or to what ``tell`` returned; ``tell`` works between
    whole reads, not while decoded text is buffered by line reading.
    """

    def __init__(
        self, file: AsyncFile, encoding: str | None, errors: str | None, newline: str | None
    ) -> None:
        self.buffer = file
        self.encoding = encoding if encoding not in (None, "locale") else "utf-8"
        self.errors = errors or "strict"
        self.newline = newline
        self._text = ""
        self._encoder = codecs.getincrementalencoder(self.encoding)(self.errors)
        self._decoder = self._new_decoder()
        if file.tell():
            self._encoder.setstate(0)  # appending: no second byte order mark

    def _new_decoder(self) -> codecs.IncrementalDecoder | io.IncrementalNewlineDecoder:
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors)
        if self.newline in (None, ""):
            return io.IncrementalNewlineDecoder(decoder, translate=self.newline is None)
        return decoder

    @property
    def name(self) -> str:
        """The path as given."""
        return self.buffer.name

    @property
    def mode(self) -> str:
        """The mode it was opened with."""
        return self.buffer.mode

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.buffer.closed

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        return self.buffer.readable()

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        return self.buffer.writable()

    def seekable(self) -> bool:
        """Always true."""
        return True

    async def read(self, size: int | None = -1) -> str:
        """At most ``size`` characters; everything when negative or None."""
        self.buffer._check(reading=True)
        if size is None or size < 0:
            text: str = self._text + self._decoder.decode(await self.buffer.read(), final=True)
            self._text = ""
            return text
        while len(self._text) < size and await self._more():
            pass
        return self._take(size)

    async def readline(self) -> str:
        """One line with its end; empty at the end of the file."""
        while True:
            end = self._line_end()
            if end:
                return self._take(end)
            if not await self._more():
                return self._take(len(self._text))

    def _line_end(self) -> int:
        """One past the end of the first whole line in the buffered text, 0 when there is none."""
        if self.newline == "":
            ends = [at for at in (self._text.find("\n"), self._text.find("\r")) if at >= 0]
            if not ends:
                return 0
            first = min(ends)
            pair = self._text.startswith("\r\n", first)
            return first + (2 if pair else 1)
        mark = self.newline or "\n"
        at = self._text.find(mark)
        return at + len(mark) if at >= 0 else 0

    async def _more(self) -> bool:
        """Decode another piece; False at the end of the file."""
        raw = await self.buffer.read(BUFFER_BYTES)
        text = self._decoder.decode(raw, final=not raw)
        self._text += text
        return bool(raw or text)

    def _take(self, size: int) -> str:
        text, self._text = self._text[:size], self._text[size:]
        return text

    async def readlines(self) -> list[str]:
        """The rest of the lines."""
        return [line async for line in self]

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def write(self, text: str) -> int:
        """Write ``text``; returns its length in characters."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        given = len(text)
        end = os.linesep if self.newline is None else self.newline
        if end not in ("", "\n"):
            text = text.replace("\n", end)
        await self.buffer.write(self._encoder.encode(text))
        return given

    async def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``; no separators are added."""
        for line in lines:
            await self.write(line)

    def tell(self) -> int:
        """An opaque position for ``seek``."""
        if self._text or self._decoder.getstate()[0]:
            raise io.UnsupportedOperation("tell while decoded text is buffered")
        return self.buffer.tell()

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """To what ``tell`` returned, or by 0 from the current position or the end."""
        if whence != os.SEEK_SET and offset:
            raise io.UnsupportedOperation("can't do nonzero cur- or end-relative seeks")
        if whence == os.SEEK_CUR:
            offset, whence = self.tell(), os.SEEK_SET
        position = await self.buffer.seek(offset, whence)
        self._text = ""
        self._decoder = self._new_decoder()
        self._encoder.reset()
        if position:
            self._encoder.setstate(0)
        return position

    async def flush(self) -> None:
        """Publish what was written."""
        await self.buffer.flush()

    async def truncate(self, size: int | None = None) -> int:
        """Set the length in bytes."""
        return await self.buffer.truncate(self.tell() if size is None else size)

    async def close(self) -> None:
        """Publish what was written and close."""
        await self.buffer.close()

    async def __aenter__(self) -> AsyncTextFile:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<memfs.aio text file {self.name!r} mode={self.mode!r} encoding={self.encoding!r}>"


class Opening(Bound):
    """What ``open`` of the asynchronous API returns: await it, or enter it with ``async with``."""

    def __init__(self, start: Callable[[], Awaitable[Any]]) -> None:
        self._start = start
        self._file: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._start().__await__()

    async def __aenter__(self) -> Any:
        self._file = await self._start()
        return self._file

    async def __aexit__(self, *_: object) -> None:
        await self._file.close()
