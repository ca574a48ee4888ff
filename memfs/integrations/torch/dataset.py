"""Map-style datasets, of which a DataLoader gets a whole batch with one request for each node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from memfs.client.blocking.filesystem import FileSystem

Item: TypeAlias = str | tuple[str, int | None, int | None]
"""A path: all of the file; or path, start and stop: ``content[start:stop]``."""


class FileDataset:
    """``dataset[i]`` is ``decode(item, content)`` of the i-th item; nothing is decoded by default.

    Args: ``items``, all paths, or all parts of files: (path, start, stop). Workers of a DataLoader,
    forked or spawned, connect for themselves.
    """

    def __init__(
        self,
        fs: FileSystem,
        items: Sequence[Item],
        decode: Callable[[Any, bytes], Any] | None = None,
    ) -> None:
        self._fs = fs
        self._items = items
        self._decode = decode

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, item: int) -> Any:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[Any]:
        """What a DataLoader calls with all the items of a batch."""
        wanted = [self._items[item] for item in items]
        return decoded(wanted, contents(self._fs, wanted), self._decode)


def contents(fs: Any, items: Sequence[Item]) -> Any:
    """What is asked of a file system, blocking or asynchronous, for the contents of items."""
    return fs.read_ranges(items) if items and isinstance(items[0], tuple) else fs.read_many(items)


def decoded(
    items: Sequence[Item], found: list[bytes], decode: Callable[[Any, bytes], Any] | None
) -> list[Any]:
    """What is handed out for a batch."""
    if decode is None:
        return found
    return [decode(*each) for each in zip(items, found, strict=True)]
