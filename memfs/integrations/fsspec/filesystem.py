"""The file system of the protocol ``memfs`` for fsspec.

Owns the mapping from fsspec's operations to memfs's, and the rule for URLs: an authority counts
only when it has a port. Must not know requests. Operations on many files (``cat``, ``pipe``,
``find``) are mapped to batches; nothing is cached, so nothing is stale.

A synchronous instance runs on the loop of memfs's background thread, over the connection that all
users of the same settings share in this process; after a fork it connects again. Coroutines in
other loops (``asynchronous=True``, ``fsspec.generic``) have a connection in each loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from glob import has_magic

from memfs import aio, paths
from memfs.client.blocking import bridge as bridges
from memfs.client.blocking.filesystem import FileSystem, reconnect
from memfs.client.connect import client_config
from memfs.client.stat import DirEntry, Stat
from memfs.client.transfer.moving import move
from memfs.concurrency import results
from memfs.config import ClientConfig
from memfs.errors import NameTooLongError, NotDirectoryError, PathNotFoundError
from memfs.integrations import library
from memfs.integrations.fsspec.call_options import block_bytes, creates_only
from memfs.integrations.fsspec.file import MemfsFile
from memfs.integrations.fsspec.info import entry, in_memory, version
from memfs.integrations.fsspec.loops import LoopConnections
from memfs.types import Untyped

try:
    from fsspec.asyn import AsyncFileSystem, sync, sync_wrapper
    from fsspec.callbacks import DEFAULT_CALLBACK, Callback
    from fsspec.utils import stringify_path, tokenize

    from memfs.integrations.fsspec.async_file import AsyncMemfsFile
    from memfs.integrations.fsspec.moves import gathered, paired
except ImportError as error:
    raise library.missing("fsspec", "fsspec", error) from error

PARALLEL = 32
"""Directories that one call lists at a time."""
NOTHING_THERE = (PathNotFoundError, NotDirectoryError, NameTooLongError)
"""Why a path names nothing."""
_OURS = object()
"""Passed to fsspec in place of a loop, so that it does not make one; see
:attr:`MemfsFileSystem.loop`."""
_CLIENT_OPTIONS = {each.name for each in fields(ClientConfig)} - {"endpoints"}
_OPEN_OPTIONS = ("permissions", "replication", "group_blocks", "timeout", "buffering")


class MemfsFileSystem(AsyncFileSystem):  # type: ignore[misc]  # fsspec has no types
    """``fsspec.filesystem("memfs", url="memfs://host:10500")``.

    Args: ``url``, the cluster, None: ``MEMFS_URL`` or ``memfs://localhost:10500``; ``auto_mkdir``,
    make missing directories above what is written, as object stores need none; further
    options are fields of ``memfs.config.ClientConfig`` (``user``, ``replication``, ...).
    """

    protocol = "memfs"
    root_marker = "/"

    def __init__(
        self,
        url: str | None = None,
        auto_mkdir: bool = True,
        asynchronous: bool = False,
        batch_size: int | None = None,
        **options: object,
    ) -> None:
        ours = {name: options.pop(name) for name in list(options) if name in _CLIENT_OPTIONS}
        self.config = client_config(url, **ours)
        self.auto_mkdir = auto_mkdir
        self._own = LoopConnections(self.config)
        super().__init__(
            asynchronous=asynchronous,
            loop=_OURS,
            batch_size=batch_size,
            use_listings_cache=False,
            **options,
        )

    # --- connections ------------------------------------------------------------------------

    @property
    def blocking(self) -> FileSystem:
        """The blocking file system underneath, connected when it is first needed."""
        return reconnect(self.config)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of a synchronous instance, of this process even after a fork."""
        return self.blocking.loop

    async def _fs(self) -> aio.AsyncFileSystem:
        if bridges.bridge().inside:
            return self.blocking.asynchronous
        return await self._own.here()

    async def _close(self) -> None:
        """Close the connection of the running loop."""
        await self._own.close()

    # --- names ------------------------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path: Untyped) -> Untyped:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = stringify_path(path)
        if not isinstance(text, str):
            raise TypeError(f"a path is text, not {type(path).__name__}")
        return paths.parse_url(text).path

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, object]:
        endpoints = paths.parse_url(path).endpoints
        return {"url": f"memfs://{','.join(map(str, endpoints))}"} if endpoints else {}

    def unstrip_protocol(self, name: str) -> str:
        """The path with its protocol, of the default cluster."""
        return f"memfs://{self._strip_protocol(name)}"

    @property
    def fsid(self) -> str:
        """Names the cluster."""
        return f"memfs_{self.blocking.view.cluster}"

    # --- looking ----------------------------------------------------------------------------

    async def _info(self, path: str, **options: object) -> dict[str, object]:
        fs, path = await self._fs(), self._strip_protocol(path)
        own = await fs.lstat(path)
        if not own.is_symlink():
            (residence,) = await fs.residence([own])
            return entry(path, own, None) | in_memory(residence)
        return entry(path, own, await fs.stat(path), await fs.readlink(path))

    async def _ls(self, path: str, detail: bool = True, **options: object) -> list[Untyped]:
        fs, path = await self._fs(), self._strip_protocol(path)
        try:
            if detail:
                return await self._entries(fs, path)
            return sorted([each.path for each in await fs.scandir(path)])
        except NotDirectoryError:
            own = await self._info(path)  # it may be below a file
            return [own if detail else path]

    async def _entries(self, fs: aio.AsyncFileSystem, path: str) -> list[dict[str, object]]:
        """A directory; what symlinks lead to comes in one further request."""
        listed: list[DirEntry] = await fs.scandir(path)
        links = [each.path for each in listed if each.is_symlink()]
        behind: dict[str, Stat | None] = {}
        if links:
            behind = dict(zip(links, await fs.stat_many(links), strict=True))
        return [entry(each.path, each.stat(), behind.get(each.path)) for each in listed]

    async def _exists(self, path: str, **options: object) -> bool:
        return await (await self._fs()).exists(self._strip_protocol(path))

    async def _isdir(self, path: str) -> bool:
        return await (await self._fs()).isdir(self._strip_protocol(path))

    async def _isfile(self, path: str) -> bool:
        return await (await self._fs()).isfile(self._strip_protocol(path))

    async def _lexists(self, path: str, **options: object) -> bool:
        return await (await self._fs()).lexists(self._strip_protocol(path))

    async def _islink(self, path: str) -> bool:
        return await (await self._fs()).islink(self._strip_protocol(path))

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **options: object,
    ) -> Untyped:
        """All below, the directories of one depth listed at the same time."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        fs, top = await self._fs(), self._strip_protocol(path)
        detail, found = options.pop("detail", False), {}
        level, depth = [top], 0
        if withdirs and top != "/" and await fs.isdir(top):
            found[top] = await self._info(top)
        while level and (maxdepth is None or depth < maxdepth):
            depth += 1
            below: list[str] = []
            for listed in await results([self._listing(fs, each) for each in level], PARALLEL):
                for each in listed:
                    name = str(each["name"])
                    if each["type"] == "directory":
                        if not each["islink"]:
                            below.append(name)
                        if not withdirs:
                            continue
                    found[name] = each
            level = below
        if not found and await fs.isfile(top):
            found[top] = await self._info(top)
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    async def _walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: Untyped = "omit",
        **options: object,
    ) -> AsyncIterator[tuple[str, Untyped, Untyped]]:
        """As fsspec's own, and as ``os.walk``: nothing of a directory that cannot be listed."""
        failed: list[OSError] = []

        def note(error: OSError) -> None:
            failed.append(error)
            if callable(on_error):
                on_error(error)

        told = on_error if on_error == "raise" else note
        async for found in super()._walk(path, maxdepth, topdown, told, **options):
            if not failed:
                yield found

    async def _listing(self, fs: aio.AsyncFileSystem, path: str) -> list[dict[str, object]]:
        """A directory's entries; empty when it was removed or is no directory."""
        try:
            return await self._entries(fs, path)
        except NOTHING_THERE:
            return []

    async def _du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **options: object,
    ) -> Untyped:
        """Of a whole tree: one request, whatever its size. Of nothing: 0."""
        if total and maxdepth is None and not withdirs:
            try:
                return (await (await self._fs()).du(self._strip_protocol(path))).length
            except NOTHING_THERE:
                return 0
        found = await self._find(path, maxdepth, withdirs, detail=True)
        sizes = {name: each["size"] for name, each in found.items()}
        return sum(sizes.values()) if total else sizes

    async def _checksum(self, path: str) -> int:
        """Equal as long as the file is unchanged."""
        return int(tokenize(await self._ukey(path)), 16)

    async def _ukey(self, path: str) -> str:
        """The file's version in the namespace: another one after every change."""
        return version(await (await self._fs()).stat(self._strip_protocol(path)))

    async def _created(self, path: str) -> datetime:
        """When an attribute last changed, as fsspec's local file system has it."""
        found = await (await self._fs()).stat(self._strip_protocol(path))
        return datetime.fromtimestamp(found.st_ctime, tz=UTC)

    async def _modified(self, path: str) -> datetime:
        """When the content last changed."""
        found = await (await self._fs()).stat(self._strip_protocol(path))
        return datetime.fromtimestamp(found.st_mtime, tz=UTC)

    # --- reading ----------------------------------------------------------------------------

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: object
    ) -> bytes:
        fs, path = await self._fs(), self._strip_protocol(path)
        if start is None and end is None:
            return await fs.read_bytes(path)
        data: bytes = (await fs.read_ranges([(path, start, end)]))[0]
        return data

    async def _cat(
        self,
        path: Untyped,
        recursive: bool = False,
        on_error: str = "raise",
        batch_size: int | None = None,
        **options: object,
    ) -> Untyped:
        """Whole files as a batch, a request for each node."""
        names = await self._expand_path(path, recursive=recursive)
        fs = await self._fs()
        if recursive:
            kinds = await fs.stat_many(names)
            names = [n for n, kind in zip(names, kinds, strict=True) if not kind or kind.is_file()]
        found = await fs.read_many(names, return_errors=True)
        if on_error == "raise":
            _raise_first(found)
        single = isinstance(path, str) and names == [self._strip_protocol(path)]
        if single:
            return found[0]
        return {
            name: each
            for name, each in zip(names, found, strict=True)
            if on_error != "omit" or not isinstance(each, Exception)
        }

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: Untyped,
        ends: Untyped,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **options: object,
    ) -> list[Untyped]:
        """Ranges in order, as a batch, a request for each node. ``max_gap`` is not needed."""
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        firsts = starts if isinstance(starts, Iterable) else [starts] * len(paths)
        lasts = ends if isinstance(ends, Iterable) else [ends] * len(paths)
        wanted = zip(map(self._strip_protocol, paths), firsts, lasts, strict=True)
        fs = await self._fs()
        return await fs.read_ranges(wanted, return_errors=on_error != "raise")

    async def _get_file(
        self, rpath: str, lpath: Untyped, callback: Callback = DEFAULT_CALLBACK, **options: object
    ) -> None:
        fs, rpath = await self._fs(), self._strip_protocol(rpath)
        if await fs.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)  # noqa: PTH103
        elif hasattr(lpath, "write"):
            lpath.write(await fs.read_bytes(rpath))
        else:
            os.makedirs(os.path.dirname(lpath) or ".", exist_ok=True)  # noqa: PTH103, PTH120
            await fs.get(rpath, lpath, follow_symlinks=True, progress=_told(callback))

    # --- writing ----------------------------------------------------------------------------

    async def _pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **options: object
    ) -> None:
        exclusive = creates_only(mode)
        fs = await self._fs()
        await fs.write_bytes(
            self._strip_protocol(path), value, exclusive=exclusive, parents=self.auto_mkdir
        )

    async def _pipe(
        self, path: Untyped, value: Untyped = None, batch_size: int | None = None, **options: object
    ) -> None:
        """Whole files as a batch, each atomically."""
        exclusive = creates_only(options.get("mode", "overwrite"))
        if not isinstance(path, str | os.PathLike | Mapping):
            raise TypeError(f"path is one path, or contents by path, not {type(path).__name__}")
        files = path if isinstance(path, Mapping) else {path: value}
        pairs = [(self._strip_protocol(name), data) for name, data in files.items()]
        await (await self._fs()).write_many(pairs, exclusive=exclusive, parents=self.auto_mkdir)

    async def _put_file(
        self,
        lpath: Untyped,
        rpath: str,
        mode: str = "overwrite",
        callback: Callback = DEFAULT_CALLBACK,
        **options: object,
    ) -> None:
        exclusive = creates_only(mode)
        fs, rpath = await self._fs(), self._strip_protocol(rpath)
        if os.path.isdir(lpath):  # noqa: ASYNC240, PTH112
            await fs.makedirs(rpath, exist_ok=True)
            return
        if exclusive and await fs.lexists(rpath):
            raise FileExistsError(rpath)
        await self._make_parent(fs, rpath)
        await fs.put(lpath, rpath, follow_symlinks=True, progress=_told(callback))

    async def _cp_file(self, path1: str, path2: str, **options: object) -> None:
        fs = await self._fs()
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        await self._make_parent(fs, target)
        if await fs.isdir(source):
            await fs.makedirs(target, exist_ok=True)
        else:
            await fs.copy(source, target)

    async def _make_parent(self, fs: aio.AsyncFileSystem, path: str) -> None:
        if self.auto_mkdir:
            await fs.makedirs(self._parent(path), exist_ok=True)

    async def _rm_file(self, path: str, **options: object) -> None:
        await (await self._fs()).remove(self._strip_protocol(path))

    async def _rm(
        self,
        path: Untyped,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **options: object,
    ) -> None:
        """Trees in one step each, whatever their size; files in batches."""
        if maxdepth is not None:
            await super()._rm(path, recursive, batch_size, maxdepth)
            return
        fs = await self._fs()
        names = await self._named(fs, path)
        files: list[str] = []
        trees: list[str] = []
        found = await fs.stat_many(names, follow_symlinks=False)
        for name, known in zip(names, found, strict=True):
            own = known or await fs.lstat(name)
            if own.is_dir() and not recursive:
                raise ValueError(f"{name} is a directory: set recursive=True to remove it")
            (trees if own.is_dir() else files).append(name)
        await fs.remove_many(files)
        for name in reversed(trees):
            await fs.rmtree(name)

    async def _mkdir(self, path: str, create_parents: bool = True, **options: object) -> None:
        fs, path = await self._fs(), self._strip_protocol(path)
        if create_parents:
            await fs.makedirs(path)
        else:
            await fs.mkdir(path)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        await (await self._fs()).makedirs(self._strip_protocol(path), exist_ok=exist_ok)

    async def _rmdir(self, path: str) -> None:
        await (await self._fs()).rmdir(self._strip_protocol(path))

    async def _mv_file(self, path1: str, path2: str, **options: object) -> None:
        """Rename, atomically, a file or a whole tree; into a directory that exists."""
        fs = await self._fs()
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if await fs.isdir(target):
            target = paths.join(target, source.rpartition("/")[2])
        else:
            await self._make_parent(fs, target)
        await move(fs, source, target)

    def mv(
        self, path1: Untyped, path2: Untyped, recursive: bool = False, **options: object
    ) -> None:
        """Move: renames, no data moves but across mounts of stores. One path gets the name
        ``path2``, or goes into that directory; what a pattern or a list names goes below ``path2``,
        where ``copy`` would put it; of two lists each goes to its partner."""
        sync(self.loop, self._mv, path1, path2)

    async def _mv(self, path1: Untyped, path2: Untyped, **options: object) -> None:
        fs = await self._fs()
        sources, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if isinstance(sources, str):
            if not has_magic(sources) or await fs.lexists(sources):
                await self._mv_file(sources, target)
                return
            if not isinstance(target, str):
                raise TypeError("a list of targets is for a list of paths")
        if isinstance(target, list):
            moves = paired(sources, target)
        else:
            names = await self._named(fs, sources)
            moves = gathered(names, target, listed=isinstance(sources, list))
        for source, name in moves:
            await self._make_parent(fs, name)
            await move(fs, source, name)

    async def _named(self, fs: aio.AsyncFileSystem, path: Untyped) -> list[str]:
        """What a path, a pattern, or a list of them names. A file whose own name looks like a
        pattern is named by it."""
        names: set[str] = set()
        patterns = []
        for each in self._strip_protocol(path if isinstance(path, list) else [path]):
            if has_magic(each) and await fs.lexists(each):
                names.add(each)
            else:
                patterns.append(each)
        if patterns or not names:
            names.update(await self._expand_path(patterns))
        return sorted(names)

    _rename = _mv

    async def _touch(self, path: str, truncate: bool = True, **options: object) -> None:
        fs, path = await self._fs(), self._strip_protocol(path)
        await self._make_parent(fs, path)
        await fs.touch(path)
        if truncate:
            await fs.truncate(path, 0)

    async def _symlink(self, src: str, dst: str, **options: object) -> None:
        await (await self._fs()).symlink(self._strip_protocol(src), self._strip_protocol(dst))

    async def _link(self, src: str, dst: str, **options: object) -> None:
        await (await self._fs()).link(self._strip_protocol(src), self._strip_protocol(dst))

    async def _chmod(self, path: str, mode: int) -> None:
        await (await self._fs()).chmod(self._strip_protocol(path), mode)

    # fsspec does not make these synchronous by itself.
    checksum = sync_wrapper(_checksum)
    ukey = sync_wrapper(_ukey)
    created = sync_wrapper(_created)
    modified = sync_wrapper(_modified)
    lexists = sync_wrapper(_lexists)
    islink = sync_wrapper(_islink)
    rmdir = sync_wrapper(_rmdir)
    touch = sync_wrapper(_touch)
    symlink = sync_wrapper(_symlink)
    link = sync_wrapper(_link)
    chmod = sync_wrapper(_chmod)

    # --- open files -------------------------------------------------------------------------

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | str | None = None,
        autocommit: bool = True,
        cache_options: dict[str, object] | None = None,
        **options: object,
    ) -> MemfsFile:
        block = block_bytes(block_size)
        given = {name: options[name] for name in _OPEN_OPTIONS if name in options}
        if "r" not in mode:
            given["parents"] = self.auto_mkdir
        return MemfsFile(self, path, mode, autocommit, given, block)

    async def open_async(self, path: str, mode: str = "rb", **options: object) -> AsyncMemfsFile:
        """A file whose methods are awaited."""
        if "b" not in mode:
            raise ValueError("an asynchronous file is binary: add 'b' to the mode")
        block_bytes(options.get("block_size"))
        fs = await self._fs()
        parents = self.auto_mkdir and "r" not in mode
        opened = await fs.open(self._strip_protocol(path), mode, parents=parents)
        return await AsyncMemfsFile.over(self, mode, opened)


def _raise_first(found: list[object]) -> None:
    for each in found:
        if isinstance(each, Exception):
            raise each


def _told(callback: Callback) -> Untyped:
    """Reports the progress of a copy to fsspec's callback; None when there is none."""
    if callback is DEFAULT_CALLBACK:
        return None

    def progress(event: Untyped) -> None:
        callback.set_size(event.total_bytes)
        callback.absolute_update(event.bytes)

    return progress
