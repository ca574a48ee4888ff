"""Checkpoints of ``torch.distributed.checkpoint`` on memfs, in the format of its own files.

Owns the mapping of its file operations to memfs's. What one rank stores is one file; the metadata
name a checkpoint when all ranks have stored theirs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO

from memfs import paths
from memfs.client.blocking.filesystem import FileSystem
from memfs.integrations.library import missing

try:
    from torch.distributed.checkpoint import filesystem
except ImportError as error:
    raise missing("torch", "torch", error) from error
if not hasattr(filesystem, "FileSystemBase"):
    raise ImportError("distributed checkpoints on memfs need torch 2.3 or newer")


class _Files(filesystem.FileSystemBase):  # type: ignore[misc]  # not there when types are checked
    """What the reader and the writer do with files."""

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs

    @contextlib.contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[IO[bytes]]:
        with self._fs.open(path, mode) as stream:
            yield stream

    def concat_path(self, path: str | os.PathLike[str], suffix: str) -> str:
        return paths.join(os.fspath(path), suffix)

    def init_path(self, path: str | os.PathLike[str]) -> str:
        return os.fspath(path)

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        self._fs.replace(path, new_path)

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        self._fs.makedirs(path, exist_ok=True)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return "://" not in str(checkpoint_id) or str(checkpoint_id).startswith(paths.SCHEME)

    def exists(self, path: str | os.PathLike[str]) -> bool:
        return self._fs.exists(path)

    def rm_file(self, path: str | os.PathLike[str]) -> None:
        self._fs.remove(path)

    def ls(self, path: str | os.PathLike[str]) -> list[str]:
        return [entry.path for entry in self._fs.scandir(path)]


class CheckpointWriter(filesystem.FileSystemWriter):  # type: ignore[misc]
    """``dcp.save(state, storage_writer=CheckpointWriter(fs, "/run/step-100"))``, and async_save.

    Each checkpoint has a directory of its own. Options: those of torch's ``FileSystemWriter``.
    """

    def __init__(self, fs: FileSystem, path: str, **options: object) -> None:
        super().__init__(path, **({"sync_files": False} | options))  # closing a file stores it
        self.fs = _Files(fs)
        self.path = path

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether it may name a directory on memfs."""
        return _Files.validate_checkpoint_id(checkpoint_id)


class CheckpointReader(filesystem.FileSystemReader):  # type: ignore[misc]
    """``dcp.load(state, storage_reader=CheckpointReader(fs, "/run/step-100"))``."""

    def __init__(self, fs: FileSystem, path: str, **options: object) -> None:
        super().__init__(path, **options)
        self.fs = _Files(fs)
        self.path = path

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether it may name a directory on memfs."""
        return _Files.validate_checkpoint_id(checkpoint_id)
