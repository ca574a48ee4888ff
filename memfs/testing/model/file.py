"""File objects over the oracle: one raw file, wrapped by the standard library's own buffers."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from memfs import errors as _errors
from memfs.testing.model.tree import Inode
from memfs.types import OpenedFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class ModelFile(io.RawIOBase):
    """An open file: an inode and a position. It outlives the deletion of its name."""

    def __init__(self, inode: Inode, mode: str) -> None:
        """Args: ``mode``, one of ``r w x a``, with ``+`` for both directions."""
        super().__init__()
        self._inode = inode
        self._mode = mode
        self._position = len(inode.data) if "a" in mode else 0

    def readable(self) -> bool:
        return "r" in self._mode or "+" in self._mode

    def writable(self) -> bool:
        return self._mode != "r"

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` from the position."""
        if not self.readable():
            raise io.UnsupportedOperation("not readable")
        view = memoryview(buffer).cast("B")
        piece = self._inode.data[self._position : self._position + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def write(self, data: ReadableBuffer) -> int:
        """Overwrite at the position (appending: at the end); a gap becomes zeros."""
        if not self.writable():
            raise io.UnsupportedOperation("not writable")
        piece, content = bytes(data), self._inode.data
        if "a" in self._mode:
            self._position = len(content)
        if piece:
            content.extend(bytes(max(0, self._position - len(content))))
            content[self._position : self._position + len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        start = {0: 0, 1: self._position, 2: len(self._inode.data)}[whence]
        if start + offset < 0:
            raise _errors.InvalidArgumentError("negative position")
        self._position = start + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Cut, or extend with zeros; the position stays."""
        if not self.writable():
            raise io.UnsupportedOperation("not writable")
        wanted = self._position if size is None else size
        if wanted < 0:
            raise _errors.InvalidArgumentError("negative size")
        content = self._inode.data
        del content[wanted:]
        content.extend(bytes(wanted - len(content)))
        return wanted


def open_model_file(
    find: Callable[[str], Inode],
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> OpenedFile:
    """As the builtin ``open``; ``find`` makes or finds what is opened with a mode."""
    with Path(os.devnull).open(mode.replace("x", "w"), buffering, encoding, errors, newline):
        pass  # the builtin has refused what it refuses
    binary, kind = "b" in mode, mode.replace("b", "").replace("t", "")
    raw = ModelFile(find(kind), kind)
    if buffering == 0 and binary:
        return raw  # type: ignore[return-value]
    buffered: object
    if "+" in kind:
        buffered = io.BufferedRandom(raw)
    else:
        buffered = io.BufferedReader(raw) if kind == "r" else io.BufferedWriter(raw)
    if binary:
        return buffered
    text = io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline, buffering == 1)
    text.mode = mode  # type: ignore[misc]
    return text
