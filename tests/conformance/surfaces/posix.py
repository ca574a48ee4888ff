"""A directory of this machine as a surface: the kernel's opinion on the cases themselves."""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from memfs.types import KIND_OF_TYPE

from ..surface import Feature
from .served import Served

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _NOREPLACE, _EXCHANGE = -100, 1, 2


class PosixSurface:
    """``os`` functions below a temporary directory, which plays the root."""

    name = "posix"
    features = frozenset(Feature) - {
        Feature.USERS,
        Feature.ACL,
        Feature.QUOTA,
        Feature.CHOWN,
        Feature.DU,
        Feature.CONCAT,
        Feature.LEASES,
        Feature.MEMFS,
        Feature.XATTR,
    }
    block_size = 4096

    def __init__(self, served: Served | None = None) -> None:
        self._root = tempfile.mkdtemp(prefix="conformance-")

    def settle(self) -> None:
        pass

    def close(self) -> None:
        shutil.rmtree(self._root)

    def _real(self, path: str) -> str:
        return self._root + path

    def open(self, path: str, mode: str = "r", **options: Any) -> Any:
        return builtins.open(self._real(path), mode, **options)

    def read_bytes(self, path: str) -> bytes:
        with self.open(path, "rb") as file:
            return file.read()

    def write_bytes(self, path: str, data: bytes) -> None:
        with self.open(path, "wb") as file:
            file.write(data)

    def append(self, path: str, data: bytes) -> None:
        with self.open(path, "ab") as file:
            file.write(data)

    def write_at(self, path: str, offset: int, data: bytes) -> None:
        with self.open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self._real(path), size)

    def stat(self, path: str) -> Any:
        return _facts(os.stat(self._real(path)))

    def lstat(self, path: str) -> Any:
        facts = _facts(os.lstat(self._real(path)))
        if facts.kind == 2:
            facts.size = len(self.readlink(path).encode())
        return facts

    def exists(self, path: str) -> bool:
        return os.path.exists(self._real(path))

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(self._real(path)), key=str.encode)

    def mkdir(self, path: str) -> None:
        os.mkdir(self._real(path), 0o755)

    def makedirs(self, path: str) -> None:
        os.makedirs(self._real(path), 0o755, exist_ok=True)

    def rename(self, source: str, target: str, *, overwrite: bool = True) -> None:
        if not overwrite:
            self._renameat2(source, target, _NOREPLACE)
        else:
            os.rename(self._real(source), self._real(target))

    def exchange(self, first: str, second: str) -> None:
        self._renameat2(first, second, _EXCHANGE)

    def _renameat2(self, source: str, target: str, flags: int) -> None:
        old, new = self._real(source).encode(), self._real(target).encode()
        if _libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, flags):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), source)

    def remove(self, path: str) -> None:
        os.remove(self._real(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self._real(path))

    def rmtree(self, path: str) -> None:
        if os.path.islink(self._real(path)):
            os.rmdir(self._real(path))  # refused: not a directory
        shutil.rmtree(self._real(path))

    def symlink(self, target: str, path: str, *, replace: bool = False) -> None:
        text = self._real(target) if target.startswith("/") else target
        with self._replacing(path, replace) as place:
            os.symlink(text, place)

    @contextlib.contextmanager
    def _replacing(self, path: str, replace: bool) -> Iterator[str]:
        """Where a link is made: with ``replace`` under another name, to be moved."""
        place = self._real(path)
        if not replace:
            yield place
            return
        aside = f"{place}.aside"
        yield aside
        try:
            os.rename(aside, place)
        finally:
            if os.path.lexists(aside):  # a name of the same file, or refused
                os.remove(aside)

    def readlink(self, path: str) -> str:
        return os.readlink(self._real(path)).removeprefix(self._root)

    def mknod(self, path: str, mode: int) -> None:
        os.mknod(self._real(path), mode)
        os.chmod(self._real(path), stat.S_IMODE(mode))

    def link(self, source: str, path: str, *, replace: bool = False) -> None:
        with self._replacing(path, replace) as place:
            os.link(self._real(source), place, follow_symlinks=False)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._real(path), mode)

    def utime(self, path: str, modified_ns: int, accessed_ns: int) -> None:
        os.utime(self._real(path), ns=(accessed_ns, modified_ns))


def _facts(result: os.stat_result) -> Any:
    kind = int(KIND_OF_TYPE[stat.S_IFMT(result.st_mode)])
    return SimpleNamespace(
        kind=kind,
        mode=stat.S_IMODE(result.st_mode),
        size=0 if kind == 1 else result.st_size,
        links=result.st_nlink,
        modified_ns=result.st_mtime_ns,
        accessed_ns=result.st_atime_ns,
    )
