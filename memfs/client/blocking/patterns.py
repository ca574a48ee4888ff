"""``pathlib``'s patterns below a directory of a cluster.

Owns what ``MemfsPath.glob`` means; ``FileSystem.glob`` means what the ``glob`` module does. Rules
that changed between releases of Python are those of the running one. Must not know requests: it
asks the blocking file system for directories and attributes.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from memfs import paths
from memfs.client.blocking.cluster_files import ClusterFiles
from memfs.client.stat import DirEntry
from memfs.client.trees import realpath

_MAGIC = re.compile(r"[*?\[]")
_ANY_DEPTH = "**"
_LINKS_TOO = sys.version_info >= (3, 12)
"""A name without magic at the end matches a broken symlink."""
_NEWER = sys.version_info >= (3, 13)
"""``**`` at the end matches files too, and beside others in a name it is a star."""


def below(
    fs: ClusterFiles, top: str, pattern: str, cased: bool = True, through: bool = False
) -> Iterator[str]:
    """Paths below ``top`` that match, each once. Raises ValueError, NotImplementedError.

    ``cased``: a and A differ; ``through``: ``**`` goes through symlinks to directories.
    """
    parsed = PurePosixPath(pattern)
    if not _NEWER and any(_ANY_DEPTH in part and part != _ANY_DEPTH for part in parsed.parts):
        raise ValueError("Invalid pattern: '**' can only be an entire path component")
    if not pattern or not parsed.parts:
        raise ValueError(f"Unacceptable pattern: {pattern!r}")
    if parsed.is_absolute():
        raise NotImplementedError("Non-relative patterns are unsupported")
    parts = list(parsed.parts)
    return _Matching(fs, pattern.endswith("/"), cased, through).run(top, parts)


def matches_whole(path: PurePosixPath, pattern: PurePosixPath) -> bool:
    """``full_match`` of ``pathlib``: ``**`` stands for any number of names, at the end for one or
    more; names with a leading dot match as others do."""
    names = str(path).split("/")
    parts = str(pattern).split("/") if pattern.parts else [""]
    reached = {0}  # how many of the names the pattern's parts so far may have matched
    for part in parts[:-1]:
        if part == _ANY_DEPTH:
            first = min(reached, default=len(names))
            reached |= {at for at in range(first, len(names)) if any(names[first:at])}
        else:
            reached = {at + 1 for at in reached if at < len(names) and _is(names[at], part)}
    if parts[-1] == _ANY_DEPTH:
        return bool(reached) and min(reached) < len(names)
    return len(names) - 1 in reached and _is(names[-1], parts[-1])


def _is(name: str, part: str) -> bool:
    """Whether one name matches: nothing only nothing, and a star something."""
    return bool(name) == bool(part) and fnmatch.fnmatchcase(name, part)


class _Matching:
    """One search: an explicit stack, for trees are deeper than Python's."""

    def __init__(self, fs: ClusterFiles, directories: bool, cased: bool, through: bool) -> None:
        """``directories``: the pattern ended in a slash, so only they match."""
        self._fs = fs
        self._directories = directories
        self._cased = cased
        self._through = through

    def run(self, top: str, parts: list[str]) -> Iterator[str]:
        found: set[str] = set()
        # The last part of the pattern is done when the whole is: (where, parts left, is it one?)
        waiting = [(top, parts, True)]
        while waiting:
            path, rest, directory = waiting.pop()
            if rest:
                waiting += reversed(list(self._step(path, rest, directory)))
            elif path not in found and (not self._directories or directory or self._is_dir(path)):
                found.add(path)
                yield path

    def _step(
        self, path: str, parts: list[str], directory: bool
    ) -> Iterator[tuple[str, list[str], bool]]:
        part, rest = parts[0], parts[1:]
        if part == _ANY_DEPTH:
            yield from self._any_depth(path, rest)
        elif part == "..":
            if directory or self._is_dir(path):
                yield paths.join(path, part), rest, True
        elif self._cased and _MAGIC.search(part) is None:
            where = paths.join(path, part)
            if self._fs.exists(where) if rest or not _LINKS_TOO else self._fs.lexists(where):
                yield where, rest, False
        else:
            matches = _matcher(part, self._cased)
            for entry in self._entries(path):
                if matches(entry.name) and not (rest and entry.is_file(follow_symlinks=False)):
                    yield entry.path, rest, entry.is_dir(follow_symlinks=False)

    def _any_depth(self, path: str, rest: list[str]) -> Iterator[tuple[str, list[str], bool]]:
        """``rest`` here, and ``**`` again in every directory below."""
        while rest and rest[0] == _ANY_DEPTH:
            rest = rest[1:]
        if rest or self._is_dir(path):
            yield path, rest, True
        for entry in self._entries(path):
            if entry.is_dir(follow_symlinks=False) or (
                self._through and entry.is_symlink() and self._is_dir(entry.path)
            ):
                yield entry.path, [_ANY_DEPTH, *rest], True
            elif not rest and _NEWER and not self._directories:  # which a link to one is not
                yield entry.path, rest, False

    def _entries(self, path: str) -> Iterator[DirEntry]:
        """What a directory holds; nothing where it is none, vanished or may not be read."""
        try:
            for page in self._fs.scandir_pages(path):
                yield from page
        except realpath.NOT_SEEN:
            return

    def _is_dir(self, path: str) -> bool:
        return self._fs.isdir(path)


def _matcher(part: str, cased: bool) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(part), 0 if cased else re.IGNORECASE).match
