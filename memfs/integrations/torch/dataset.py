"""Map-style datasets, of which a DataLoader gets a whole batch with one request for each node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from memfs.client.blocking.filesystem import FileSystem
from memfs.types import Buffer, Untyped

Item: TypeAlias = str | tuple[str, int | None, int | None]
"""A path: all of the file; or path, start and stop: ``content[start:stop]``."""
Decode: TypeAlias = Callable[[Untyped, memoryview], Untyped]
"""Makes the sample that is returned from an item and its content."""


class FileDataset:
    """``dataset[i]`` is ``decode(item, content)`` of the i-th item; nothing is decoded by default.

    What is decoded is a read-only view, and no copy where a node of this host holds the file. It is
    valid as long as somebody holds it, and so long its memory stays in use. Args: ``items``, all
    paths, or all parts of files: (path, start, stop). Workers of a DataLoader, forked or spawned,
    connect for themselves.
    """

    def __init__(
        self,
        fs: FileSystem,
        items: Sequence[Item],
        decode: Decode | None = None,
    ) -> None:
        self._fs = fs
        self._items = items
        self._decode = decode

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, item: int) -> Untyped:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> Sequence[Untyped]:
        """What a DataLoader calls with all the items of a batch."""
        wanted = [self._items[item] for item in items]
        return decoded(wanted, contents(self._fs, wanted, self._decode), self._decode)


def contents(fs: Untyped, items: Sequence[Item], decode: Decode | None) -> Untyped:
    """Read the contents of items from a blocking or asynchronous file system."""
    if items and isinstance(items[0], tuple):
        return fs.read_ranges(items)
    return fs.read_many(items) if decode is None else fs.map_many(items)


def decoded(
    items: Sequence[Item], found: Sequence[Buffer], decode: Decode | None
) -> Sequence[Untyped]:
    """The samples of a batch."""
    if decode is None:
        return found
    return [decode(item, memoryview(content)) for item, content in zip(items, found, strict=True)]
