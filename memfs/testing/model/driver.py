"""The asynchronous client under the model's method names, for workloads and comparisons."""

from __future__ import annotations

from typing import Any

from memfs import paths
from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import MemfsError, OutcomeUnknownError
from memfs.security.acls import format_entry
from memfs.testing.model.operations import Operation, comparable, failure


class Driver:
    """One client; most methods are its own, the others are made of its own."""

    def __init__(self, fs: AsyncFileSystem) -> None:
        """Args: ``fs``, a connected client, which stays the caller's."""
        self.fs = fs

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return getattr(self.fs, method)

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Whole content of a new or existing file."""
        await self.fs.write_bytes(path, data)

    async def acl(self, path: str) -> list[str]:
        """The access control list as text."""
        return [format_entry(entry) for entry in (await self.fs.get_acl(path)).entries]

    async def append(self, path: str, data: bytes) -> None:
        """Add to the end, creating the file."""
        async with self.fs.open(path, "ab") as file:
            await file.write(data)

    async def write_at(self, path: str, offset: int, data: bytes) -> None:
        """Overwrite inside an existing file."""
        async with self.fs.open(path, "r+b") as file:
            await file.pwrite(data, offset)

    async def makedirs(self, path: str) -> None:
        """With all above it."""
        await self.fs.makedirs(path, exist_ok=True)

    async def exchange(self, first: str, second: str) -> None:
        """Swap two names."""
        await self.fs.rename(first, second, exchange=True)

    async def utime(self, path: str, modified_ns: int, accessed_ns: int) -> None:
        """Set both times."""
        await self.fs.utime(path, ns=(accessed_ns, modified_ns))

    async def outcome(self, operation: Operation) -> Any:
        """What an operation gives, in comparable form; an unknown outcome is raised."""
        try:
            return comparable(await operation.on(self))
        except OutcomeUnknownError:
            raise
        except MemfsError as error:
            return failure(error)

    async def snapshot(self, top: str = "/") -> dict[str, tuple[Any, ...]]:
        """Everything below ``top``: as ``memfs.testing.model.operations.snapshot``."""
        found: dict[str, tuple[object, ...]] = {}
        for entry in await self.fs.scandir(top):
            path = paths.join(top, entry.name)
            facts = comparable(entry.stat())
            if entry.is_dir():
                found[path] = (facts,)
                found |= await self.snapshot(path)
            elif entry.is_symlink():
                found[path] = (facts, await self.fs.readlink(path))
            else:
                found[path] = (facts, await self.fs.read_bytes(path))
        return found
