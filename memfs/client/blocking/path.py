"""A ``pathlib``-like path on a blocking file system.

Pure composition: ``PurePosixPath`` for the arithmetic, :mod:`memfs.client.blocking.patterns` for
``glob``, the file system for everything else. Not there: what asks for a current directory or a
home (``cwd``, ``home``, ``expanduser``), for a cluster has neither.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any

from memfs.client.blocking import patterns
from memfs.client.blocking.cluster_files import ClusterFiles
from memfs.client.calls.wire import (
    ClusterPath,
    PathLike,
    check_cluster,
    named_nodes,
    normal_text,
    text_of,
)
from memfs.client.stat import Stat
from memfs.client.trees import realpath
from memfs.errors import PathNotFoundError
from memfs.types import Buffer, FileKind


class MemfsPath(ClusterPath):
    """An absolute path of one cluster: ``fs.path("/data") / "part-0"``.

    Methods are those of ``pathlib.Path`` and mean the same. Two paths are equal when their text
    and the settings of their connections are, so those of two connections to one cluster are. It is
    no ``os.PathLike``: the builtin ``open`` would read a local file of that name.
    """

    __slots__ = ("_pure", "fs")

    def __init__(self, fs: ClusterFiles, path: PathLike = "/") -> None:
        self.fs = fs
        text = text_of(path)
        if nodes := named_nodes(text):
            check_cluster(text, nodes, fs.config, fs.view)
        self._pure = PurePosixPath(normal_text(text))

    # --- arithmetic -------------------------------------------------------------------------

    def _with(self, pure: PurePosixPath) -> MemfsPath:
        return MemfsPath(self.fs, str(pure))

    def with_segments(self, *segments: PathLike) -> MemfsPath:
        """A path of the same file system."""
        return self._with(PurePosixPath("/", *map(text_of, segments)))

    def __truediv__(self, other: PathLike) -> MemfsPath:
        if not isinstance(other, str | bytes | ClusterPath) and not hasattr(other, "__fspath__"):
            return NotImplemented
        return self._with(self._pure / text_of(other))

    def __rtruediv__(self, other: PathLike) -> MemfsPath:
        if not isinstance(other, str | bytes | ClusterPath) and not hasattr(other, "__fspath__"):
            return NotImplemented
        return self._with(text_of(other) / self._pure)

    def joinpath(self, *others: PathLike) -> MemfsPath:
        """This path with others after it."""
        return self._with(self._pure.joinpath(*map(text_of, others)))

    @property
    def name(self) -> str:
        """The last component."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last component without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The last component's suffix, its dot included."""
        return self._pure.suffix

    @property
    def suffixes(self) -> list[str]:
        """All suffixes of the last component."""
        return self._pure.suffixes

    @property
    def parts(self) -> tuple[str, ...]:
        """The components, ``/`` first."""
        return self._pure.parts

    @property
    def drive(self) -> str:
        """Always empty."""
        return self._pure.drive

    @property
    def root(self) -> str:
        """Always ``/``."""
        return self._pure.root

    @property
    def anchor(self) -> str:
        """Always ``/``."""
        return self._pure.anchor

    @property
    def parent(self) -> MemfsPath:
        """The directory above."""
        return self._with(self._pure.parent)

    @property
    def parents(self) -> list[MemfsPath]:
        """The directories above, the nearest first."""
        return [self._with(each) for each in self._pure.parents]

    def with_name(self, name: str) -> MemfsPath:
        """Another last component."""
        return self._with(self._pure.with_name(name))

    def with_stem(self, stem: str) -> MemfsPath:
        """Another last component with the same suffix."""
        return self._with(self._pure.with_stem(stem))

    def with_suffix(self, suffix: str) -> MemfsPath:
        """Another suffix."""
        return self._with(self._pure.with_suffix(suffix))

    def relative_to(
        self, other: PathLike, *others: PathLike, walk_up: bool = False
    ) -> PurePosixPath:
        """What is left after ``other`` (joined by ``others``); ``walk_up``: by ``..`` if need be.

        Raises ValueError when this is not below it.
        """
        top = PurePosixPath(text_of(other), *map(text_of, others))
        if not walk_up or not top.is_absolute():
            return self._pure.relative_to(top)
        if ".." in top.parts:
            raise ValueError(f"'..' segment in {str(top)!r} cannot be walked")
        steps = 0
        while not self._pure.is_relative_to(top):
            top, steps = top.parent, steps + 1
        return PurePosixPath(*[".."] * steps, self._pure.relative_to(top))

    def is_relative_to(self, other: PathLike, *others: PathLike) -> bool:
        """Whether this is ``other`` (joined by ``others``) or below it."""
        return self._pure.is_relative_to(PurePosixPath(text_of(other), *map(text_of, others)))

    def is_absolute(self) -> bool:
        """Always true."""
        return True

    def is_reserved(self) -> bool:
        """Always false."""
        return False

    def match(self, pattern: str, *, case_sensitive: bool | None = None) -> bool:
        """Whether the end of the path matches a pattern, the whole path an absolute one."""
        pure, pattern = self._cased(pattern, case_sensitive)
        return pure.match(pattern)

    def _cased(self, pattern: str, case_sensitive: bool | None) -> tuple[PurePosixPath, str]:
        """Path and pattern, without their case where it does not count; None: it does."""
        if case_sensitive is None or case_sensitive:
            return self._pure, pattern
        return PurePosixPath(str(self).lower()), pattern.lower()

    def as_posix(self) -> str:
        """The path as text."""
        return self._pure.as_posix()

    def as_uri(self) -> str:
        """The path as a ``memfs://`` URL that names the cluster."""
        return f"memfs://{','.join(map(str, self.fs.config.endpoints))}{self._pure}"

    def absolute(self) -> MemfsPath:
        """This path: all are absolute."""
        return self

    def __str__(self) -> str:
        return str(self._pure)

    def __repr__(self) -> str:
        return f"MemfsPath({str(self)!r})"

    def __bytes__(self) -> bytes:
        return bytes(self._pure)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemfsPath):
            return NotImplemented
        return self._pure == other._pure and self.fs.config == other.fs.config

    def __lt__(self, other: MemfsPath) -> bool:
        return self._pure < other._pure if isinstance(other, MemfsPath) else NotImplemented

    def __le__(self, other: MemfsPath) -> bool:
        return self._pure <= other._pure if isinstance(other, MemfsPath) else NotImplemented

    def __gt__(self, other: MemfsPath) -> bool:
        return self._pure > other._pure if isinstance(other, MemfsPath) else NotImplemented

    def __ge__(self, other: MemfsPath) -> bool:
        return self._pure >= other._pure if isinstance(other, MemfsPath) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.fs.config.endpoints, self._pure))

    def __reduce__(self) -> tuple[Any, ...]:
        return MemfsPath, (self.fs, str(self))

    # --- looking ----------------------------------------------------------------------------

    def stat(self, *, follow_symlinks: bool = True) -> Stat:
        """Attributes."""
        return self.fs.stat(self, follow_symlinks=follow_symlinks)

    def lstat(self) -> Stat:
        """Attributes of a symlink itself."""
        return self.fs.lstat(self)

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
        """What the directory holds, ordered by name."""
        for page in self.fs.scandir_pages(self):
            for entry in page:
                yield MemfsPath(self.fs, entry.path)

    def glob(
        self, pattern: str, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Iterator[MemfsPath]:
        """Paths below this one that match ``pattern``, by the rules of this Python's ``pathlib``.

        Names with a leading dot match as others do; ``**`` does not follow symlinks unless told to.
        """
        cased = case_sensitive is None or case_sensitive
        for found in patterns.below(self.fs, str(self), pattern, cased, recurse_symlinks):
            yield MemfsPath(self.fs, found)

    def rglob(
        self, pattern: str, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Iterator[MemfsPath]:
        """As ``glob`` with ``**/`` in front."""
        return self.glob(
            f"**/{pattern}", case_sensitive=case_sensitive, recurse_symlinks=recurse_symlinks
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
        **options: Any,
    ) -> IO[Any]:
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
        """Create the directory; no ``mode``: as :meth:`memfs.FileSystem.mkdir`."""
        if parents:
            self.fs.makedirs(self.parent, exist_ok=True)
        try:
            self.fs.mkdir(self, mode)
        except FileExistsError:
            if not exist_ok or not self.is_dir():
                raise

    def touch(self, mode: int | None = None, exist_ok: bool = True) -> None:
        """Create an empty file or set the times to now."""
        self.fs.touch(self, mode, exist_ok)

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

    if sys.version_info >= (3, 13):

        def full_match(self, pattern: str, *, case_sensitive: bool | None = None) -> bool:
            """Whether the whole path matches a pattern."""
            pure, pattern = self._cased(pattern, case_sensitive)
            return pure.full_match(pattern)
