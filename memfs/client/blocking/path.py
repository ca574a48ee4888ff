"""A ``pathlib``-like path on a blocking file system.

Pure composition: :mod:`memfs.client.blocking.pure_path` for the arithmetic,
:mod:`memfs.client.blocking.patterns` for ``glob``, the file system for everything else. Not there:
what asks for a current directory or a home (``cwd``, ``home``, ``expanduser``), for a cluster has
neither, and ``from_uri``, for ``fs.path`` takes URLs. What newer releases of Python added is there
on every one.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Unpack, overload

from memfs.client.blocking import bridge as bridges
from memfs.client.blocking import path_copies, patterns
from memfs.client.blocking.cluster_files import ClusterFiles
from memfs.client.blocking.path_info import PathInfo
from memfs.client.blocking.pure_path import PureMemfsPath
from memfs.client.calls import arguments
from memfs.client.calls.wire import PathLike, text_of
from memfs.client.handles.create_options import OpenKeywords
from memfs.client.stat import DirEntry, Stat
from memfs.client.transfer import moving
from memfs.client.trees import realpath
from memfs.errors import CrossMountError, PathNotFoundError
from memfs.machine import current_umask
from memfs.types import Buffer, FileKind, OpenedFile


class MemfsPath(PureMemfsPath):
    """An absolute path of one cluster: ``fs.path("/data") / "part-0"``.

    Methods are those of ``pathlib.Path`` and mean the same. Two paths are equal when their text
    and the settings of their connections are, so those of two connections to one cluster are. It is
    no ``os.PathLike``: the builtin ``open`` would read a local file of that name.
    """

    __slots__ = ("_info",)

    def __init__(self, fs: ClusterFiles, path: PathLike = "/") -> None:
        super().__init__(fs, path)
        self._info: PathInfo | None = None

    # --- looking ----------------------------------------------------------------------------

    def stat(self, *, follow_symlinks: bool = True) -> Stat:
        """Attributes."""
        return self.fs.stat(self, follow_symlinks=follow_symlinks)

    def lstat(self) -> Stat:
        """Attributes of a symlink itself."""
        return self.fs.lstat(self)

    @property
    def info(self) -> PathInfo:
        """Its kind, as it was when first asked for; of what ``iterdir`` returned, as listed."""
        if self._info is None:
            self._info = PathInfo(self.fs, str(self))
        return self._info

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it leads to something; not following, whether the name is taken."""
        return self.fs.exists(self) if follow_symlinks else self.fs.lexists(self)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it leads to a directory."""
        return self.fs.isdir(self) and (follow_symlinks or not self.is_symlink())

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it leads to a regular file."""
        return self.fs.isfile(self) and (follow_symlinks or not self.is_symlink())

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self.fs.islink(self)

    def is_mount(self) -> bool:
        """Whether it is the root."""
        return str(self) == "/"

    def is_junction(self) -> bool:
        """Always false: there are none."""
        return False

    def is_fifo(self) -> bool:
        """Whether it leads to a FIFO."""
        return self._is(FileKind.FIFO)

    def is_socket(self) -> bool:
        """Whether it leads to a socket."""
        return self._is(FileKind.SOCKET)

    def is_block_device(self) -> bool:
        """Whether it leads to a block device."""
        return self._is(FileKind.BLOCK_DEVICE)

    def is_char_device(self) -> bool:
        """Whether it leads to a character device."""
        return self._is(FileKind.CHARACTER_DEVICE)

    def _is(self, kind: FileKind) -> bool:
        try:
            return self.stat().kind == kind
        except realpath.NOT_SEEN:
            return False

    def samefile(self, other: PathLike) -> bool:
        """Whether both lead to the same file. Raises PathNotFoundError."""
        return self.stat().st_ino == self.fs.stat(other).st_ino

    def owner(self, *, follow_symlinks: bool = True) -> str:
        """Name of the owner."""
        return self.stat(follow_symlinks=follow_symlinks).owner

    def group(self, *, follow_symlinks: bool = True) -> str:
        """Name of the group."""
        return self.stat(follow_symlinks=follow_symlinks).group

    def resolve(self, strict: bool = False) -> MemfsPath:
        """Without symlinks and ``..``; ``strict``: PathNotFoundError for what does not exist."""
        return MemfsPath(self.fs, self.fs.realpath(self, strict=strict))

    def readlink(self) -> str:
        """The text of a symbolic link."""
        return self.fs.readlink(self)

    def iterdir(self) -> Iterator[MemfsPath]:
        """What the directory holds, ordered by name; one that cannot be listed is refused now."""
        pages = self.fs.scandir_pages(self)
        first = next(pages, [])
        return map(self._listed, itertools.chain(first, itertools.chain.from_iterable(pages)))

    def _listed(self, entry: DirEntry) -> MemfsPath:
        path = MemfsPath(self.fs, entry.path)
        path._info = PathInfo(self.fs, entry.path, entry.listed)
        return path

    def glob(
        self,
        pattern: PathLike,
        *,
        case_sensitive: bool | None = None,
        recurse_symlinks: bool = False,
    ) -> Iterator[MemfsPath]:
        """Paths below this one that match ``pattern``, by the rules of this Python's ``pathlib``.

        Names with a leading dot match as others do; ``**`` does not follow symlinks unless told to.
        """
        cased = case_sensitive is None or case_sensitive
        for found in patterns.below(self.fs, str(self), text_of(pattern), cased, recurse_symlinks):
            yield MemfsPath(self.fs, found)

    def rglob(
        self,
        pattern: PathLike,
        *,
        case_sensitive: bool | None = None,
        recurse_symlinks: bool = False,
    ) -> Iterator[MemfsPath]:
        """As ``glob`` with ``**/`` in front."""
        text = text_of(pattern)
        if text.startswith("/"):
            raise NotImplementedError("Non-relative patterns are unsupported")
        return self.glob(
            f"**/{text}",
            case_sensitive=case_sensitive,
            recurse_symlinks=recurse_symlinks,
        )

    def walk(
        self,
        top_down: bool = True,
        on_error: Callable[[OSError], object] | None = None,
        follow_symlinks: bool = False,
    ) -> Iterator[tuple[MemfsPath, list[str], list[str]]]:
        """As ``pathlib``'s: a symlink to a directory is among the files unless followed."""
        waiting: list[tuple[str, tuple[list[str], list[str]] | None]] = [(str(self), None)]
        while waiting:
            path, listed = waiting.pop()
            if listed is not None:
                yield MemfsPath(self.fs, path), *listed
                continue
            try:
                entries = list(self.fs.scandir(path))
            except OSError as error:
                if on_error is not None:
                    on_error(error)
                continue
            below = [e.name for e in entries if e.is_dir(follow_symlinks=follow_symlinks)]
            others = [e.name for e in entries if not e.is_dir(follow_symlinks=follow_symlinks)]
            if top_down:
                yield MemfsPath(self.fs, path), below, others
            else:
                waiting.append((path, (below, others)))
            waiting += [(f"{path.rstrip('/')}/{name}", None) for name in reversed(below)]

    # --- files ------------------------------------------------------------------------------

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **options: Unpack[OpenKeywords],
    ) -> OpenedFile:
        """Open the file; options as for :meth:`memfs.FileSystem.open`."""
        return self.fs.open(self, mode, buffering, encoding, errors, newline, **options)

    def read_bytes(self) -> bytes:
        """The whole content."""
        return self.fs.read_bytes(self)

    def read_text(
        self, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> str:
        """The whole content as text; ``newline`` as for ``open``."""
        if newline is None and encoding != "locale":
            return self.fs.read_text(self, encoding or "utf-8", errors or "strict")
        with self.open("r", -1, encoding, errors, newline) as file:
            text: str = file.read()
        return text

    def write_bytes(self, data: Buffer) -> int:
        """Replace the content."""
        return self.fs.write_bytes(self, data)

    def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> int:
        """Replace the content by text; ``newline`` as for ``open``."""
        if not isinstance(data, str):
            raise TypeError(f"data must be str, not {type(data).__name__}")
        with self.open("w", -1, encoding, errors, newline) as file:
            return file.write(data)

    # --- changing ---------------------------------------------------------------------------

    def mkdir(self, mode: int | None = None, parents: bool = False, exist_ok: bool = False) -> None:
        """Create the directory, with ``mode`` less the process's umask."""
        if parents:
            self.fs.makedirs(self.parent, exist_ok=True)
        try:
            self.fs.mkdir(self, masked(mode), unmasked=mode)
        except FileExistsError:
            if not exist_ok or not self.is_dir():
                raise

    def touch(self, mode: int | None = None, exist_ok: bool = True) -> None:
        """Create an empty file, with ``mode`` less the umask, or set the times to now."""
        self.fs.touch(self, masked(mode), exist_ok)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file or symlink."""
        try:
            self.fs.remove(self)
        except PathNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Remove the empty directory."""
        self.fs.rmdir(self)

    def rmtree(self) -> None:
        """Remove the directory with all below it."""
        self.fs.rmtree(self)

    def rename(self, target: PathLike) -> MemfsPath:
        """Rename; returns the new path."""
        self.fs.rename(self, target)
        return MemfsPath(self.fs, target)

    def replace(self, target: PathLike) -> MemfsPath:
        """Rename, replacing the target; returns the new path."""
        return self.rename(target)

    @overload
    def copy(
        self, target: Path, *, follow_symlinks: bool = ..., preserve_metadata: bool = ...
    ) -> Path: ...
    @overload
    def copy(
        self, target: PathLike, *, follow_symlinks: bool = ..., preserve_metadata: bool = ...
    ) -> MemfsPath | Path: ...
    def copy(
        self,
        target: PathLike | Path,
        *,
        follow_symlinks: bool = True,
        preserve_metadata: bool = False,
    ) -> MemfsPath | Path:
        """Copy the file or tree to ``target``, its new name, and return that.

        A ``pathlib.Path`` is on the local disk, a path of another cluster there, anything else in
        this cluster. A file there gets the new content; a directory there is an error.
        """
        how = path_copies.How(follow_symlinks, preserve_metadata)
        if isinstance(target, Path):
            path_copies.to_disk(self.fs, str(self), target, how)
            return target
        there = self._distinct(target)
        if there.fs.config == self.fs.config:
            path_copies.within(self.fs, str(self), str(there), how)
        else:
            path_copies.between(self.fs, str(self), there.fs, str(there), how)
        return there

    def _distinct(self, target: PathLike) -> MemfsPath:
        """The path that ``target`` means, which may not be this one or below it."""
        there = target if isinstance(target, MemfsPath) else MemfsPath(self.fs, target)
        if there == self or self in there.parents:
            text = "are the same path" if there == self else "contain each other"
            text = f"source and target {text}"
            raise OSError(errno.EINVAL, text, str(self), None, str(there))
        return there

    @overload
    def copy_into(
        self, target_dir: Path, *, follow_symlinks: bool = ..., preserve_metadata: bool = ...
    ) -> Path: ...
    @overload
    def copy_into(
        self, target_dir: PathLike, *, follow_symlinks: bool = ..., preserve_metadata: bool = ...
    ) -> MemfsPath | Path: ...
    def copy_into(
        self,
        target_dir: PathLike | Path,
        *,
        follow_symlinks: bool = True,
        preserve_metadata: bool = False,
    ) -> MemfsPath | Path:
        """As ``copy`` to the same name in a directory."""
        return self.copy(
            self._inside(target_dir),
            follow_symlinks=follow_symlinks,
            preserve_metadata=preserve_metadata,
        )

    def _inside(self, directory: PathLike | Path) -> PathLike | Path:
        if not self.name:
            raise ValueError(f"{self!r} has an empty name")
        if isinstance(directory, Path | MemfsPath):
            return directory / self.name
        return MemfsPath(self.fs, directory) / self.name

    @overload
    def move(self, target: Path) -> Path: ...
    @overload
    def move(self, target: PathLike) -> MemfsPath | Path: ...
    def move(self, target: PathLike | Path) -> MemfsPath | Path:
        """Rename within the cluster; else copy, with metadata, and remove. Returns ``target``.

        What somebody has open for writing, or writes to meanwhile, is not removed: LeaseHeldError
        or StaleHandleError says so. A rename into or out of the mount of an external store is such
        a copy too.
        """
        if not isinstance(target, Path):
            there = target if isinstance(target, MemfsPath) else MemfsPath(self.fs, target)
            if there.fs.config == self.fs.config:
                self._check_other_file(there)
                with contextlib.suppress(CrossMountError):
                    return self.rename(there)
        run, core = bridges.bridge().run, self.fs.asynchronous
        seen = run(moving.look, core, str(self))
        there_too = self.copy(target, follow_symlinks=False, preserve_metadata=True)
        run(moving.remove, core, seen)
        return there_too

    def _check_other_file(self, there: MemfsPath) -> None:
        try:
            same = self.samefile(there)
        except realpath.NOT_SEEN:
            return
        if same:
            text = "source and target are the same file"
            raise OSError(errno.EINVAL, text, str(self), None, str(there))

    @overload
    def move_into(self, target_dir: Path) -> Path: ...
    @overload
    def move_into(self, target_dir: PathLike) -> MemfsPath | Path: ...
    def move_into(self, target_dir: PathLike | Path) -> MemfsPath | Path:
        """As ``move`` to the same name in a directory."""
        return self.move(self._inside(target_dir))

    def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        """Set the permission bits."""
        self.fs.chmod(self, mode, follow_symlinks=follow_symlinks)

    def lchmod(self, mode: int) -> None:
        """Set the permission bits of a symlink itself."""
        self.chmod(mode, follow_symlinks=False)

    def symlink_to(self, target: PathLike, target_is_directory: bool = False) -> None:
        """Make this path a symbolic link to ``target``."""
        self.fs.symlink(text_of(target), self)

    def hardlink_to(self, target: PathLike) -> None:
        """Make this path a further name of ``target``."""
        self.fs.link(target, self)


def masked(mode: int | None) -> int | None:
    """What ``os.mkdir`` and ``os.open`` make of a mode; None stays."""
    return None if mode is None else arguments.whole("mode", mode) & ~current_umask()
