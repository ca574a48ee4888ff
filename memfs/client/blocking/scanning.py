"""``scandir`` of the blocking API: entries that follow symlinks when asked, as ``os.DirEntry``.

Owns the iterator and its entries. A page of a directory is fetched when it is needed.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from memfs.client.calls.bound import Bound
from memfs.client.stat import DirEntry, Stat, known

if TYPE_CHECKING:
    from memfs.client.blocking.generated.namespace import BlockingNamespace


class ScannedEntry(DirEntry):
    """An entry of ``fs.scandir``: follows symlinks by default, with one request, made once."""

    __slots__ = ("_followed", "_fs")

    def __init__(self, fs: BlockingNamespace, entry: DirEntry) -> None:
        self.name = entry.name
        self.path = entry.path
        self._stat = entry.listed
        self._fs = fs
        self._followed: Stat | None = None

    def stat(self, *, follow_symlinks: bool = True) -> Stat:
        """Attributes; of what a symlink leads to unless told otherwise."""
        if not follow_symlinks or not self._stat.is_symlink():
            return known(self._stat, self.path)
        if self._followed is None:
            self._followed = self._fs.stat(self.path)
        return self._followed

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory, or a symlink that leads to one."""
        found = self._leads_to(follow_symlinks)
        return found is not None and found.is_dir()

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a regular file, or a symlink that leads to one."""
        found = self._leads_to(follow_symlinks)
        return found is not None and found.is_file()

    def _leads_to(self, follow_symlinks: bool) -> Stat | None:
        if not follow_symlinks or not self._stat.is_symlink():
            return self._stat
        try:
            return self.stat()
        except FileNotFoundError:
            return None


class Scandir(Bound, Iterator[ScannedEntry]):
    """What ``fs.scandir`` returns: go to its end, close it, or leave its ``with`` block."""

    _open = False

    def __init__(self, fs: BlockingNamespace, pages: Iterator[list[DirEntry]]) -> None:
        first = next(pages, [])  # what is no directory is refused at once
        self._entries: Iterator[ScannedEntry] = (
            ScannedEntry(fs, entry) for page in itertools.chain([first], pages) for entry in page
        )
        self._open = True

    def __next__(self) -> ScannedEntry:
        try:
            return next(self._entries)
        except BaseException:
            self._open = False
            raise

    def close(self) -> None:
        """Fetch nothing more."""
        self._open = False
        self._entries = iter(())

    def __del__(self) -> None:
        if self._open:
            warnings.warn(f"unclosed scandir iterator {self!r}", ResourceWarning, 2, self)

    def __enter__(self) -> Scandir:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
