"""``torch.save`` and ``torch.load`` of files in memfs, at once or in the background."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor

from memfs import errors
from memfs.checksum import crc32c
from memfs.client.blocking.files import RawReplacement
from memfs.client.blocking.filesystem import FileSystem
from memfs.integrations.library import missing
from memfs.types import Untyped

try:
    import torch
except ImportError as error:
    raise missing("torch", "torch", error) from error

COMPARED_BYTES = 16 << 20
"""Read back at a time."""


def save(fs: FileSystem, value: object, path: str, **options: object) -> None:
    """As ``torch.save``; what was at ``path`` stays until all of the new content is stored.

    Tensors are sent from where they lie, one after the other.
    """
    with fs.replacing(path) as file:
        torch.save(value, file, **options)


def load(fs: FileSystem, path: str, **options: object) -> Untyped:
    """As ``torch.load``; tensors are read into their own memory."""
    with fs.open(path, "rb") as file:
        return torch.load(file, **options)


class AsyncCheckpointer:
    """Saves in the background, one checkpoint after the other.

    Each is read back from the cluster and compared before it takes its name, so whoever loads
    finds the one before or a whole one. An error is raised by the future, and by whichever of
    ``save``, ``wait`` and ``close`` comes next.
    """

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs
        self._thread = ThreadPoolExecutor(1, "memfs-checkpoint")
        self._last: Future[int] | None = None
        self._closed = False

    def save(self, value: object, path: str, **options: object) -> Future[int]:
        """Copy ``value`` as ``torch.save`` writes it, and return while that is stored.

        The tensors may change at once. Waits for the checkpoint before, so that there is one copy
        in memory at a time. The future's result: the bytes stored. Raises ValueError once closed.
        """
        if self._closed:
            raise ValueError("the checkpointer is closed")
        self.wait()
        content = _content(value, options)
        self._last = self._thread.submit(self._store, content, path)
        return self._last

    def wait(self) -> None:
        """Until nothing is under way."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def close(self) -> None:
        """Wait, and end the thread."""
        self._closed = True
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def __enter__(self) -> AsyncCheckpointer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _store(self, content: memoryview, path: str) -> int:
        with self._fs.replacing(path) as file:
            file.write(content)
            file.flush()
            _compare(content, file.raw, path)
        return len(content)


def _compare(content: memoryview, stored: RawReplacement, path: str) -> None:
    """Raise DataLossError unless the nodes have ``content``."""
    at = 0
    while piece := stored.pread(COMPARED_BYTES, at):
        if crc32c(piece) != crc32c(content[at : at + len(piece)]):
            break
        at += len(piece)
    if at != len(content) or piece:
        text = f"what was read back differs at byte {at}: it was not given its name"
        raise errors.DataLossError(text, path=path)


def _content(value: object, options: dict[str, object]) -> memoryview:
    content = io.BytesIO()
    torch.save(value, content, **options)
    return content.getbuffer()
