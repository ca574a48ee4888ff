"""A ``pathlib``-like path on a blocking file system.

Pure composition: ``PurePosixPath`` for the arithmetic, the file system for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from memfs.client.stat import Stat
from memfs.client.wire import PathLike, wire
from memfs.errors import PathNotFoundError
from memfs.types import Buffer

if TYPE_CHECKING:
    from memfs.client.sync import FileSystem


class MemfsPath:
    """An absolute path of one cluster: ``fs.path("/data") / "part-0"``.

    Methods are those of ``pathlib.Path`` that make sense for a cluster. Two paths are equal when
    their text and their file system are.
    """

    __slots__ = ("_pure", "fs")

    def __init__(self, fs: FileSystem, path: PathLike = "/") -> None:
        self.fs = fs
        self._pure = PurePosixPath(wire(path).text)

    # --- arithmetic -------------------------------------------------------------------------

    def _with(self, pure: PurePosixPath) -> MemfsPath:
        return MemfsPath(self.fs, str(pure))

    def __truediv__(self, other: PathLike) -> MemfsPath:
        return self._with(self._pure / other)

    def joinpath(self, *others: PathLike) -> MemfsPath:
        """This path with others after it."""
        return self._with(self._pure.joinpath(*others))

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

    def with_suffix(self, suffix: str) -> MemfsPath:
        """Another suffix."""
        return self._with(self._pure.with_suffix(suffix))

    def relative_to(self, other: PathLike | MemfsPath) -> PurePosixPath:
        """What is left after ``other``. Raises ValueError when this is not below it."""
        return self._pure.relative_to(str(other))

    def __fspath__(self) -> str:
        return str(self._pure)

    def __str__(self) -> str:
        return str(self._pure)

    def __repr__(self) -> str:
        return f"MemfsPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemfsPath) and (self.fs, self._pure) == (other.fs, other._pure)

    def __lt__(self, other: MemfsPath) -> bool:
        return self._pure < other._pure

    def __hash__(self) -> int:
        return hash((id(self.fs), self._pure))

    # --- looking ----------------------------------------------------------------------------

    def stat(self, *, follow_symlinks: bool = True) -> Stat:
        """Attributes."""
        return self.fs.stat(self, follow_symlinks=follow_symlinks)

    def exists(self) -> bool:
        """Whether it leads to something."""
        return self.fs.exists(self)

    def is_dir(self) -> bool:
        """Whether it leads to a directory."""
        return self.fs.isdir(self)

    def is_file(self) -> bool:
        """Whether it leads to a regular file."""
        return self.fs.isfile(self)

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self.fs.islink(self)

    def iterdir(self) -> Iterator[MemfsPath]:
        """What the directory holds, ordered by name."""
        for page in self.fs.scandir_pages(self):
            for entry in page:
                yield MemfsPath(self.fs, entry.path)

    def glob(self, pattern: str) -> Iterator[MemfsPath]:
        """Paths below this one that match ``pattern``."""
        for found in self.fs.iglob(f"{self}/{pattern}"):
            yield MemfsPath(self.fs, found)

    def rglob(self, pattern: str) -> Iterator[MemfsPath]:
        """As ``glob`` with ``**/`` in front."""
        return self.glob(f"**/{pattern}")

    def readlink(self) -> str:
        """The text of a symbolic link."""
        return self.fs.readlink(self)

    # --- files ------------------------------------------------------------------------------

    def open(self, mode: str = "r", buffering: int = -1, **options: Any) -> IO[Any]:
        """Open the file; options as for :meth:`memfs.FileSystem.open`."""
        return self.fs.open(self, mode, buffering, **options)

    def read_bytes(self) -> bytes:
        """The whole content."""
        return self.fs.read_bytes(self)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The whole content as text."""
        return self.fs.read_text(self, encoding, errors)

    def write_bytes(self, data: Buffer) -> int:
        """Replace the content."""
        return self.fs.write_bytes(self, data)

    def write_text(self, text: str, encoding: str = "utf-8", errors: str = "strict") -> int:
        """Replace the content by text."""
        return self.fs.write_text(self, text, encoding, errors)

    # --- changing ---------------------------------------------------------------------------

    def mkdir(self, mode: int = 0o755, parents: bool = False, exist_ok: bool = False) -> None:
        """Create the directory."""
        if parents:
            self.fs.makedirs(self, mode, exist_ok)
            return
        try:
            self.fs.mkdir(self, mode)
        except FileExistsError:
            if not exist_ok or not self.is_dir():
                raise

    def touch(self, mode: int = 0o644, exist_ok: bool = True) -> None:
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

    def chmod(self, mode: int) -> None:
        """Set the permission bits."""
        self.fs.chmod(self, mode)

    def symlink_to(self, target: PathLike) -> None:
        """Make this path a symbolic link to ``target``."""
        self.fs.symlink(str(target), self)

    def hardlink_to(self, target: PathLike) -> None:
        """Make this path a further name of ``target``."""
        self.fs.link(target, self)
