"""The arithmetic of a cluster's paths: what needs no request.

Owns the text of a path and which cluster it belongs to; ``PurePosixPath`` does the arithmetic.
"""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath
from typing import Self

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


class PureMemfsPath(ClusterPath):
    """An absolute path of one cluster, as text."""

    __slots__ = ("_pure", "fs")

    parser = posixpath
    """The module whose rules its text follows."""

    def __init__(self, fs: ClusterFiles, path: PathLike = "/") -> None:
        self.fs = fs
        text = text_of(path)
        if nodes := named_nodes(text):
            check_cluster(text, nodes, fs.config, fs.view)
        self._pure = PurePosixPath(normal_text(text))

    def _with(self, pure: PurePosixPath) -> Self:
        return type(self)(self.fs, str(pure))

    def with_segments(self, *segments: PathLike) -> Self:
        """A path of the same file system."""
        return self._with(PurePosixPath("/", *map(text_of, segments)))

    def __truediv__(self, other: PathLike) -> Self:
        if not isinstance(other, str | bytes | ClusterPath) and not hasattr(other, "__fspath__"):
            return NotImplemented
        return self._with(self._pure / text_of(other))

    def __rtruediv__(self, other: PathLike) -> Self:
        if not isinstance(other, str | bytes | ClusterPath) and not hasattr(other, "__fspath__"):
            return NotImplemented
        return self._with(text_of(other) / self._pure)

    def joinpath(self, *others: PathLike) -> Self:
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
    def parent(self) -> Self:
        """The directory above."""
        return self._with(self._pure.parent)

    @property
    def parents(self) -> list[Self]:
        """The directories above, the nearest first."""
        return [self._with(each) for each in self._pure.parents]

    def with_name(self, name: str) -> Self:
        """Another last component."""
        return self._with(self._pure.with_name(name))

    def with_stem(self, stem: str) -> Self:
        """Another last component with the same suffix."""
        return self._with(self._pure.with_stem(stem))

    def with_suffix(self, suffix: str) -> Self:
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

    def match(self, pattern: PathLike, *, case_sensitive: bool | None = None) -> bool:
        """Whether the end of the path matches a pattern, the whole path an absolute one."""
        pure, text = self._cased(pattern, case_sensitive)
        return pure.match(text)

    def full_match(self, pattern: PathLike, *, case_sensitive: bool | None = None) -> bool:
        """Whether the whole path matches a pattern, in which ``**`` is any number of names."""
        pure, text = self._cased(pattern, case_sensitive)
        return patterns.matches_whole(pure, PurePosixPath(text))

    def _cased(self, pattern: PathLike, case_sensitive: bool | None) -> tuple[PurePosixPath, str]:
        """Path and pattern, without their case where it does not count; None: it does."""
        if case_sensitive is None or case_sensitive:
            return self._pure, text_of(pattern)
        return PurePosixPath(str(self).lower()), text_of(pattern).lower()

    def as_posix(self) -> str:
        """The path as text."""
        return self._pure.as_posix()

    def as_uri(self) -> str:
        """The path as a ``memfs://`` URL that names the cluster."""
        return f"memfs://{','.join(map(str, self.fs.config.endpoints))}{self._pure}"

    def absolute(self) -> Self:
        """This path: all are absolute."""
        return self

    def __str__(self) -> str:
        return str(self._pure)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __bytes__(self) -> bytes:
        return bytes(self._pure)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PureMemfsPath):
            return NotImplemented
        return self._pure == other._pure and self.fs.config == other.fs.config

    def __lt__(self, other: PureMemfsPath) -> bool:
        return self._pure < other._pure if isinstance(other, PureMemfsPath) else NotImplemented

    def __le__(self, other: PureMemfsPath) -> bool:
        return self._pure <= other._pure if isinstance(other, PureMemfsPath) else NotImplemented

    def __gt__(self, other: PureMemfsPath) -> bool:
        return self._pure > other._pure if isinstance(other, PureMemfsPath) else NotImplemented

    def __ge__(self, other: PureMemfsPath) -> bool:
        return self._pure >= other._pure if isinstance(other, PureMemfsPath) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.fs.config.endpoints, self._pure))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.fs, str(self))
