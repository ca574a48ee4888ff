"""What is known of a path, asked for once: ``pathlib.types.PathInfo`` for a cluster."""

from __future__ import annotations

from memfs.client.blocking.cluster_files import ClusterFiles
from memfs.client.stat import Stat
from memfs.client.trees import realpath
from memfs.types import FileKind


class PathInfo:
    """Kind of what a path names and leads to, as it was when first asked for.

    A path that ``iterdir`` returned knows its kind from the listing.
    """

    __slots__ = ("_fs", "_leads_to", "_named", "_path")

    def __init__(self, fs: ClusterFiles, path: str, listed: Stat | None = None) -> None:
        self._fs = fs
        self._path = path
        self._named: list[FileKind | None] = [] if listed is None else [listed.kind]
        self._leads_to: list[FileKind | None] = []

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it leads to something; not following, whether the name is taken."""
        return self._kind(follow_symlinks) is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it leads to a directory, or is one."""
        return self._kind(follow_symlinks) == FileKind.DIRECTORY

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it leads to a regular file, or is one."""
        return self._kind(follow_symlinks) == FileKind.FILE

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self._kind(False) == FileKind.SYMLINK

    def _kind(self, follow: bool) -> FileKind | None:
        """None: there is nothing. A name known to be no symlink leads to itself."""
        if follow and (not self._named or self._named[0] == FileKind.SYMLINK):
            return self._once(self._leads_to, follow)
        return self._once(self._named, follow)

    def _once(self, known: list[FileKind | None], follow: bool) -> FileKind | None:
        if not known:
            known.append(self._asked(follow))
        return known[0]

    def _asked(self, follow: bool) -> FileKind | None:
        try:
            return self._fs.stat(self._path, follow_symlinks=follow).kind
        except realpath.NOT_SEEN:
            return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path!r}>"
