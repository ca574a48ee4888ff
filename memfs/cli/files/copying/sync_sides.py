"""The two ends of a ``memfs sync``: what it asks of a local disk and of a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from memfs.checksum import crc32c
from memfs.cli.files.looking.checksums import kept_checksum
from memfs.cli.shell import Shell
from memfs.client.stat import nearest_time_ns
from memfs.client.transfer.copying import Item
from memfs.types import KIND_OF_TYPE, Attributes, FileKind

_READ_BYTES = 1 << 20


class State(NamedTuple):
    """What is compared of a file."""

    kind: FileKind | None
    size: int
    modified_ns: int
    mode: int


class Side(Protocol):
    """One of the two ends."""

    async def states(self, paths: Sequence[str]) -> list[State | None]:
        """The states of several paths, None for one that does not exist."""

    async def make_parent(self, path: str) -> None:
        """Make the directory that ``path`` is to lie in, if it is not there."""

    async def link(self, path: str) -> str:
        """The text of a symbolic link."""

    async def checksum(self, path: str) -> str:
        """CRC32C of the content."""

    async def set_attributes(self, item: Item) -> None:
        """Set mode and times of a target whose content is right."""

    def below(self, top: str) -> AsyncIterator[tuple[str, State]]:
        """Everything below a directory, parents first; nothing when the directory does not
        exist."""

    async def remove(self, path: str, state: State) -> None:
        """Remove it, a directory with all in it."""


class LocalSide:
    """The disk of this machine."""

    async def states(self, paths: Sequence[str]) -> list[State | None]:
        return await asyncio.to_thread(lambda: [_state(path) for path in paths])

    async def make_parent(self, path: str) -> None:
        with contextlib.suppress(FileExistsError):
            await asyncio.to_thread(Path(path).parent.mkdir)

    async def link(self, path: str) -> str:
        return await asyncio.to_thread(os.readlink, path)

    async def checksum(self, path: str) -> str:
        return await asyncio.to_thread(_checksum, path)

    async def set_attributes(self, item: Item) -> None:
        def change() -> None:
            Path(item.target).chmod(item.mode)
            os.utime(item.target, ns=(item.accessed_ns, item.modified_ns))

        await asyncio.to_thread(change)

    async def below(self, top: str) -> AsyncIterator[tuple[str, State]]:
        waiting = [top] if _is_directory(top) else []
        while waiting:
            path = waiting.pop()
            for name in await asyncio.to_thread(os.listdir, path):
                found = _state(below := f"{path}/{name}")
                if found is not None:
                    yield below, found
                    waiting += [below] * (found.kind == FileKind.DIRECTORY)

    async def remove(self, path: str, state: State) -> None:
        is_directory = state.kind == FileKind.DIRECTORY
        await asyncio.to_thread(shutil.rmtree if is_directory else os.unlink, path)


class ClusterSide:
    """The cluster."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def states(self, paths: Sequence[str]) -> list[State | None]:
        found = await self._shell.fs.stat_many(paths, follow_symlinks=False)
        return [None if each is None else _state_of(each.attributes) for each in found]

    async def make_parent(self, path: str) -> None:
        with contextlib.suppress(FileExistsError):
            await self._shell.fs.mkdir(path.rpartition("/")[0] or "/")

    async def link(self, path: str) -> str:
        return await self._shell.fs.readlink(path)

    async def checksum(self, path: str) -> str:
        return await kept_checksum(self._shell.fs, path)

    async def set_attributes(self, item: Item) -> None:
        await self._shell.fs.chmod(item.target, item.mode)
        await self._shell.fs.utime(item.target, ns=(item.accessed_ns, item.modified_ns))

    async def below(self, top: str) -> AsyncIterator[tuple[str, State]]:
        if await self._shell.fs.isdir(top):
            async for path, found in self._shell.below(top):
                yield path, _state_of(found.attributes)

    async def remove(self, path: str, state: State) -> None:
        if state.kind == FileKind.DIRECTORY:
            await self._shell.fs.rmtree(path)
        else:
            await self._shell.fs.remove(path)


def _state(path: str) -> State | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    kind = KIND_OF_TYPE.get(stat.S_IFMT(found.st_mode))
    modified_ns = nearest_time_ns(found.st_mtime_ns)
    return State(kind, found.st_size, modified_ns, stat.S_IMODE(found.st_mode))


def _state_of(attributes: Attributes) -> State:
    return State(
        FileKind(attributes.kind), attributes.size, attributes.modified_ns, attributes.mode
    )


def _is_directory(path: str) -> bool:
    return Path(path).is_dir()


def _checksum(path: str) -> str:
    total, buffer = 0, memoryview(bytearray(_READ_BYTES))
    with Path(path).open("rb", buffering=0) as file:
        while got := file.readinto(buffer):
            total = crc32c(buffer[:got], total)
    return f"{total:08x}"
