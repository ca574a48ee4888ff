"""A simulated application: the asynchronous client on a host of its own that may die or stall.
Passes calls from a workload, which runs outside of every host, to the client's code, which runs as
a process of its host. A call whose host died, or whose task a fault cancelled, ends with
OutcomeUnknownError; the next call starts a new client with a new session. Handles of the former one
stay invalid. Must not know the methods that are called.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVar

from memfs.client.aiofiles import AsyncFile, AsyncTextFile
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.session.session import Session
from memfs.errors import OutcomeUnknownError
from memfs.testing.simulation.virtual import Process, ProcessKilledError

T = TypeVar("T")


class SimulatedClient:
    """Has the methods of :class:`~memfs.client.filesystem.AsyncFileSystem`."""

    def __init__(
        self,
        name: str,
        process: Callable[[], Process],
        connect: Callable[[], Awaitable[AsyncFileSystem]],
    ) -> None:
        """``process`` is the process on the client's host now; ``connect`` opens a session in
        it."""
        self.name = name
        self.process = process
        self._connect = connect
        self._owner: Process | None = None
        self._fs: AsyncFileSystem | None = None
        self._connecting = asyncio.Lock()

    async def connected(self) -> tuple[Process, AsyncFileSystem]:
        """The running client; starts one when there is none."""
        async with self._connecting:
            process = self.process()
            if self._fs is None or self._owner is not process:
                self._fs = await perform(process, self._connect())
                self._owner = process
            return process, self._fs

    @property
    def session(self) -> Session | None:
        """The session of the running client, None when there is none."""
        alive = self._fs is not None and self._owner is not None and self._owner.alive
        return self._fs._session if self._fs is not None and alive else None

    async def close(self) -> None:
        """Close the client, if it is running."""
        fs, owner, self._fs = self._fs, self._owner, None
        if fs is not None and owner is not None and owner.alive:
            await perform(owner, fs.close())

    def open(self, *arguments: Any, **options: Any) -> SimulatedOpening:
        """As the client's: awaited or entered."""
        return SimulatedOpening(self, arguments, options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(AsyncFileSystem, name)
        if not inspect.iscoroutinefunction(method):
            return lambda *arguments, **options: self._iterate(name, arguments, options)

        async def call(*arguments: object, **options: object) -> object:
            process, fs = await self.connected()
            return await perform(process, getattr(fs, name)(*arguments, **options))

        return call

    async def _iterate(
        self, name: str, arguments: tuple[object, ...], options: dict[str, object]
    ) -> AsyncIterator[object]:
        process, fs = await self.connected()
        found = getattr(fs, name)(*arguments, **options)
        while True:
            try:
                item = await perform(process, anext(found))
            except StopAsyncIteration:
                return
            yield item


class SimulatedOpening:
    """What ``open`` returns."""

    def __init__(
        self, client: SimulatedClient, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._client = client
        self._arguments = arguments
        self._options = options
        self._file: SimulatedFile | None = None

    def __await__(self) -> Generator[object, None, SimulatedFile]:
        return self._open().__await__()

    async def _open(self) -> SimulatedFile:
        process, fs = await self._client.connected()
        file = await perform(process, fs.open(*self._arguments, **self._options))
        return SimulatedFile(process, file)

    async def __aenter__(self) -> SimulatedFile:
        self._file = await self._open()
        return self._file

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        await self._file.exit(kind, error, trace)


class SimulatedFile:
    """An open file of a simulated client."""

    def __init__(self, process: Process, file: AsyncFile | AsyncTextFile) -> None:
        self._process = process
        self._file = file

    def __getattr__(self, name: str) -> object:
        found = getattr(self._file, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *arguments, **options: perform(self._process, found(*arguments, **options))

    async def exit(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the file's ``async with``."""
        await perform(self._process, self._file.__aexit__(kind, error, trace))

    async def __aenter__(self) -> SimulatedFile:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.exit(kind, error, trace)


async def perform(process: Process, work: Awaitable[T]) -> T:
    """Await ``work`` as ``process``; what ends it from outside leaves its outcome unknown."""
    coroutine = work if isinstance(work, Coroutine) else _await(work)
    try:
        return await process.perform(coroutine)
    except ProcessKilledError as error:
        raise OutcomeUnknownError(f"the client on {process.name} was killed") from error
    except asyncio.CancelledError as error:
        caller = asyncio.current_task()
        if caller is not None and caller.cancelling():
            raise
        raise OutcomeUnknownError(f"a call on {process.name} was cancelled") from error


async def _await(work: Awaitable[T]) -> T:
    return await work
