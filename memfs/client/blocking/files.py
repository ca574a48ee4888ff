"""Blocking file objects: the standard library's, over a raw file that lives on the cluster.

Owns :class:`RawFile` and the composition that the builtin ``open`` makes: raw, buffered, text.
Must not know requests. Two things differ from local files: ``flush`` also publishes (every reader
sees what was written before it), and so a ``close``, which publishes by itself, must not flush
first.

After a fork a file that reads goes on in the child over the child's own connections; one that
writes stays the parent's, and the child gets StaleHandleError.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from memfs import limits
from memfs.client.blocking import bridge as bridges
from memfs.client.calls import arguments, modes
from memfs.client.calls.modes import Mode
from memfs.client.handles.drafts import Draft
from memfs.client.handles.handle import Handle
from memfs.errors import StaleHandleError
from memfs.types import OpenedFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BUFFER_BYTES = 256 * limits.KIB
"""Of the buffered objects: 25 us of hand-over to the loop are little beside moving this."""
FIRST_FILL = io.DEFAULT_BUFFER_SIZE
"""What a buffered reader fetches after a jump; it grows as the reading goes on."""

Reopen = Callable[[Handle], Handle]
"""Opens the inode of a handle anew, in a forked child."""


class RawFile(io.RawIOBase):
    """An unbuffered file: every call is an operation on the cluster. Safe to use from threads."""

    closefd = True
    """As ``io.FileIO`` has it; there is no descriptor."""

    def __init__(self, handle: Handle, name: str | bytes, mode: Mode, reopen: Reopen) -> None:
        """``name`` as it was given; ``reopen`` is called when a forked child first reads."""
        self.name = name
        self._mode = mode
        self._handle = handle
        self._reopen = reopen
        self._generation = bridges.generation()
        self._position = handle.size if mode.appending else 0
        self._fill = BUFFER_BYTES
        self._filled_to = 0

    @property
    def mode(self) -> str:
        """The mode, as ``io.FileIO`` shows it."""
        return self._mode.raw

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        self._check()
        return self._mode.reading

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        self._check()
        return self._mode.writing

    def seekable(self) -> bool:
        """Always true."""
        self._check()
        return True

    def tell(self) -> int:
        """The position in bytes."""
        self._check()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position; returns it. ``os.SEEK_DATA``, ``os.SEEK_HOLE``: as ``os.lseek``."""
        self._check()
        if modes.sparse(whence):
            offset = arguments.offset("offset", offset)
            look = self._handle.data_from if whence == os.SEEK_DATA else self._handle.hole_from
            self._position = modes.found(bridges.bridge().run(look, offset))
            return self._position
        self._position = modes.absolute(self._position, offset, whence, self._handle.size)
        return self._position

    # --- reading ----------------------------------------------------------------------------

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes, fewer at the end or where no more is buffered; None: all."""
        return super().read(-1 if size is None else size)

    def readinto(self, buffer: object, /) -> int:
        """Read straight into ``buffer``; fewer bytes at the end, or for a buffer being filled."""
        view = arguments.writable(buffer)
        handle = self._for_reading()
        if len(view) == BUFFER_BYTES:
            view = view[: self._next_fill()]
        got = _read(handle, self._position, view)
        self._position += got
        self._filled_to = self._position
        return got

    def _next_fill(self) -> int:
        """How much to fetch for a buffered reader that would take ``BUFFER_BYTES``."""
        jumped = self._position != self._filled_to
        self._fill = FIRST_FILL if jumped else min(BUFFER_BYTES, 4 * self._fill)
        return self._fill

    def readall(self) -> bytes:
        """Everything from the position to the end."""
        handle = self._for_reading()
        data = handle.read_all_now(self._position)
        if data is None:
            data = bridges.bridge().run(handle.read, self._position, -1)
        self._position += len(data)
        return data

    def pread(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset`` without moving the position."""
        at, size = arguments.position("offset", offset), arguments.whole("size", size)
        return bridges.bridge().run(self._for_reading().read, at, size)

    def pread_into(self, buffer: object, offset: int) -> int:
        """As ``readinto``, from byte ``offset``, without moving the position."""
        at, view = arguments.position("offset", offset), arguments.writable(buffer)
        return _read(self._for_reading(), at, view)

    def view(self) -> memoryview:
        """The whole content, read-only, usable by numpy; it outlives the file.

        Without a copy for a file of at most a group on a node of this host, else read into memory.
        """
        return bridges.bridge().run(self._for_reading().view)

    def _for_reading(self) -> Handle:
        self._check()
        if not self._mode.reading:
            raise io.UnsupportedOperation("not readable")
        if self._generation != bridges.generation():
            self._check_not_writing()
            self._handle = self._reopen(self._handle)
            self._generation = bridges.generation()
        return self._handle

    # --- writing ----------------------------------------------------------------------------

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data`` at the position (at the end in append mode); returns its length."""
        view = memoryview(data).cast("B")
        handle = self._for_writing()
        at = None if self._mode.appending else self._position
        self._position = bridges.bridge().run(handle.write, at, view)
        return len(view)

    def flush(self) -> None:
        """Publish what was written: when this returns every reader sees it."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self._mode.writing and self._generation == bridges.generation():
            bridges.bridge().run(self._handle.flush)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length (None: the position), at once; the position stays."""
        handle = self._for_writing()
        size = self._position if size is None else arguments.position("size", size)
        bridges.bridge().run(handle.truncate, size)
        return size

    def _for_writing(self) -> Handle:
        self._check()
        if not self._mode.writing:
            raise io.UnsupportedOperation("not writable")
        self._check_not_writing()
        return self._handle

    @property
    def _inherited(self) -> bool:
        """Whether it is open for writing in the process that this one was forked from."""
        open_there = not self.closed and self._generation != bridges.generation()
        return open_there and self._mode.writing

    def _check_not_writing(self) -> None:
        if self._inherited:
            raise StaleHandleError(
                "opened for writing before a fork: the parent has it", path=os.fsdecode(self.name)
            )

    def copy_range(
        self, source: RawFile, length: int, *, source_offset: int = 0, offset: int = 0
    ) -> int:
        """Copy bytes of another open file, as ``os.copy_file_range``; returns how many.

        Nodes copy them among themselves. Positions stay. Others see it after a flush.
        """
        copied: int = bridges.bridge().run(
            self._for_writing().copy_range, source._for_reading(), source_offset, offset, length
        )
        return copied

    def punch_hole(self, offset: int, length: int) -> None:
        """Let ``length`` bytes from ``offset`` read as zeros; whole blocks give their memory back.

        The size stays. Others see it after a flush, as what is written.
        """
        bridges.bridge().run(self._for_writing().zero, offset, length)

    # --- locks ------------------------------------------------------------------------------

    def lock(
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
        bridges.bridge().run(
            self._handle.lock,
            start,
            length,
            exclusive=exclusive,
            blocking=blocking,
            timeout=timeout,
        )

    def unlock(self, start: int = 0, length: int = 0, *, timeout: float | None = None) -> None:
        """Unlock a range. Raises LocksLostError when others may have had it meanwhile.

        That happens when the cluster received nothing from this client for the session timeout.
        """
        self._check()
        bridges.bridge().run(self._handle.unlock, start, length, timeout=timeout)

    # --- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Publish, give the lease back; errors of writes under way surface here."""
        if self.closed:
            return
        try:
            if bridges.serves(self._generation):
                self._close_handle()
        finally:
            self._generation = -1
            super().close()

    def _close_handle(self) -> None:
        handle = self._handle
        if handle.quiet:
            handle.drop()
            return
        bridge = bridges.bridge()
        waits = self._mode.writing or handle.locking
        if bridge.inside or not waits:  # or a finaliser in the loop's thread
            bridge.begin(handle.close)
        else:
            bridge.run(handle.close)

    def _dealloc_warn(self, source: object) -> None:
        """Also called by the layers above that are collected unclosed, as in CPython."""
        if not self.closed:
            warnings.warn(f"unclosed file {source!r}", ResourceWarning, 2, source)

    def __del__(self) -> None:
        if hasattr(self, "_filled_to"):  # it was made whole
            self._dealloc_warn(self)
            self.close()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError("an open memfs file cannot be pickled: pass its path and open it there")

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"mode={self.mode!r}"
        return f"<memfs.RawFile {self.name!r} {state}>"


class RawReplacement(RawFile):
    """A new file that is written out of sight: closing it gives it its name."""

    _handle: Draft

    def discard(self) -> None:
        """Forget it, unless it was closed."""
        if self.closed:
            return
        ours, self._generation = bridges.serves(self._generation), -1
        try:
            if ours:
                bridge = bridges.bridge()
                (bridge.begin if bridge.inside else bridge.run)(self._handle.discard)
        finally:
            self.close()


class Replacement(io.BufferedWriter):
    """A new file that is written out of sight, with a buffer.

    Closing it gives it its name, if all of it could be written; otherwise it is forgotten. After
    ``flush`` its ``raw`` file reads back what the nodes have (``pread``, ``pread_into``).
    """

    raw: RawReplacement

    def __init__(self, raw: RawReplacement) -> None:
        super().__init__(raw, BUFFER_BYTES)

    def close(self) -> None:
        """Write out the buffer and publish."""
        if self.closed:
            return
        try:
            self.flush()
        except BaseException:
            self.raw.discard()
            raise
        self.raw.close()

    def __del__(self) -> None:
        self.raw.discard()


class PublishingBuffer(io.BufferedIOBase):
    """A buffer of the standard library whose ``flush`` publishes."""

    raw: RawFile
    closing = False

    def flush(self) -> None:
        """Write out the buffer and publish."""
        super().flush()
        if not self.closing:
            self.raw.flush()

    def close(self) -> None:
        """Write out the buffer; the raw file publishes as it closes."""
        self.closing = True
        super().close()

    def __del__(self) -> None:
        _forget_if_inherited(self, getattr(self, "raw", None))
        super().__del__()


class BufferedWriter(PublishingBuffer, io.BufferedWriter):
    """``io.BufferedWriter`` whose ``flush`` publishes."""

    raw: RawFile


class BufferedRandom(PublishingBuffer, io.BufferedRandom):
    """``io.BufferedRandom`` whose ``flush`` publishes."""

    raw: RawFile


class TextFile(io.TextIOWrapper):
    """``io.TextIOWrapper`` that does not publish twice as it closes."""

    mode: str

    def close(self) -> None:
        """Write out and close."""
        if isinstance(self.buffer, PublishingBuffer):
            self.buffer.closing = True
        super().close()

    def __del__(self) -> None:
        with contextlib.suppress(ValueError):  # detached
            _forget_if_inherited(self, getattr(self.buffer, "raw", None))
        super().__del__()


def _forget_if_inherited(file: io.IOBase, raw: object) -> None:
    """Close a forked child's copy of what its parent writes; its buffer is the parent's to write.

    Errors of closing a file that is collected are printed since CPython 3.13.
    """
    if isinstance(raw, RawFile) and raw._inherited:
        with contextlib.suppress(StaleHandleError):
            file.close()


def compose(
    raw: RawFile,
    mode: Mode,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> OpenedFile:
    """Put the layers over ``raw`` that the builtin ``open`` would. Closes it on failure."""
    try:
        file: Any = raw
        if buffering != 0:
            file = _buffered(raw, mode, buffering if buffering > 1 else BUFFER_BYTES)
        if not mode.binary:
            encoding = "utf-8" if encoding is None else encoding
            file = TextFile(file, encoding, errors, newline, line_buffering=buffering == 1)
            file.mode = mode.text
    except BaseException:
        raw.close()
        raise
    if mode.writing:
        bridges.bridge().close_file_at_exit(file)
    composed: OpenedFile = file
    return composed


def _buffered(raw: RawFile, mode: Mode, size: int) -> object:
    if mode.updating:
        return BufferedRandom(raw, size)
    if mode.writing:
        return BufferedWriter(raw, size)
    return io.BufferedReader(raw, size)


def _read(handle: Handle, offset: int, into: memoryview) -> int:
    """Fill ``into``, in this thread where the bytes lie on this host."""
    got = handle.read_now(offset, into)
    if got < 0:
        got = bridges.bridge().run(handle.locate_or_read, offset, into)
    if got < 0:
        got = handle.read_now(offset, into)
    return got if got >= 0 else bridges.bridge().run(handle.read_into, offset, into)
