"""The asynchronous and the blocking client as surfaces."""

from __future__ import annotations

import inspect
from typing import Any

from memfs.client.blocking.filesystem import FileSystem as BlockingFileSystem
from memfs.client.filesystem import AsyncFileSystem
from memfs.config import ClientConfig
from memfs.security.acls import format_entry

from ..surface import Feature
from .served import BLOCK_SIZE, Served

ADMIN = {"user": "root", "groups": ("root",)}


class ClientSurface:
    """Calls the client's methods; a subclass says how."""

    features = frozenset(Feature)
    block_size = BLOCK_SIZE

    def __init__(self, served: Served, **identity: Any) -> None:
        self.served = served
        self.fs = self.connect(**(identity or ADMIN))
        self._others: list[ClientSurface] = []

    def connect(self, **identity: Any) -> Any:
        raise AssertionError("a subclass connects")

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self.fs, method)(*arguments, **options)

    def __getattr__(self, method: str) -> Any:
        """Most methods are the client's own."""
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *arguments, **options: self.call(method, *arguments, **options)

    def as_user(self, user: str, groups: tuple[str, ...] = ()) -> ClientSurface:
        other = type(self)(self.served, user=user, groups=groups)
        self._others.append(other)
        return other

    def close(self) -> None:
        for other in self._others:
            other.close()
        self.call("close")

    def settle(self) -> None:
        self.served.settle()

    # --- where the suite's names are not the client's ------------------------------------------

    def stat(self, path: str) -> Any:
        return self.call("stat", path).attributes

    def lstat(self, path: str) -> Any:
        return self.call("lstat", path).attributes

    def acl(self, path: str) -> list[str]:
        return [format_entry(entry) for entry in self.call("get_acl", path).entries]

    def append(self, path: str, data: bytes) -> None:
        with self.open(path, "ab") as file:
            file.write(data)

    def write_at(self, path: str, offset: int, data: bytes) -> None:
        with self.open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def write_bytes(self, path: str, data: bytes) -> None:
        self.call("write_bytes", path, data)

    def makedirs(self, path: str) -> None:
        self.call("makedirs", path, exist_ok=True)

    def exchange(self, first: str, second: str) -> None:
        self.call("rename", first, second, exchange=True)

    def utime(self, path: str, modified_ns: int, accessed_ns: int) -> None:
        self.call("utime", path, ns=(accessed_ns, modified_ns))


class AioFile:
    """A file of the asynchronous client, its coroutines run to their end."""

    def __init__(self, file: Any, run: Any) -> None:
        self._file = file
        self._run = run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            result = found(*arguments)
            return self._run(result) if inspect.isawaitable(result) else result

        return call

    def __iter__(self) -> Any:
        return iter(self.readlines())

    def __enter__(self) -> AioFile:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


class AioSurface(ClientSurface):
    """``memfs.aio``."""

    name = "aio"

    def connect(self, **identity: Any) -> AsyncFileSystem:
        return self.served.run(self.served.cluster.connect(**identity))

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        async def work() -> Any:
            result = getattr(self.fs, method)(*arguments, **options)
            return await result if inspect.isawaitable(result) else result

        return self.served.run(work())

    def open(self, path: str, mode: str = "r", **options: Any) -> AioFile:
        async def work() -> Any:
            return await self.fs.open(path, mode, **options)

        return AioFile(self.served.run(work()), self.served.run)


class BlockingSurface(ClientSurface):
    """The blocking client."""

    name = "blocking"

    def connect(self, **identity: Any) -> BlockingFileSystem:
        config = ClientConfig(endpoints=self.served.cluster.endpoints, **identity)
        return BlockingFileSystem(config)

    def open(self, path: str, mode: str = "r", **options: Any) -> Any:
        return self.fs.open(path, mode, **options)
