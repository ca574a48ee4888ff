"""TAR shards as WebDataset writes them: the members that share a name up to its first dot."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from memfs.types import Buffer


class _Bytes(io.RawIOBase):
    """A file object over memory that copies only the bytes that are read: the headers."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._at, len(self._data))[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size < 0 else self._at + size
        found = bytes(self._data[self._at : end])
        self._at += len(found)
        return found


def samples(shard: Buffer) -> Iterator[tuple[str, dict[str, memoryview]]]:
    """Name and parts (by extension) of each sample of an uncompressed shard, as views of it.

    As WebDataset groups them: a name without a dot, or with one at its beginning, is of no sample.
    Raises ValueError for a shard that is damaged or cut off, and for a part that comes twice.
    """
    data = memoryview(shard).cast("B")
    name, parts = "", dict[str, memoryview]()
    for member in _members(data):
        folder, slash, base = member.name.rpartition("/")
        stem, _, extension = base.partition(".")
        if not stem or stem == base:
            continue
        if parts and folder + slash + stem != name:
            yield name, parts
            parts = {}
        name = folder + slash + stem
        if extension in parts:
            raise ValueError(f"{member.name} is in the shard twice")
        parts[extension] = data[member.offset_data : member.offset_data + member.size]
    if parts:
        yield name, parts


def _members(data: memoryview) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=_Bytes(data), mode="r:") as archive:
            for member in archive:
                if member.issparse() or member.offset_data + member.size > len(data):
                    raise ValueError(f"{member.name} of the shard is sparse or cut off")
                if member.isreg():
                    yield member
            # tarfile takes a header that it cannot read for the end.
            if any(data[archive.offset : archive.offset + tarfile.BLOCKSIZE]):
                raise ValueError(f"the shard is damaged or cut off at byte {archive.offset}")
    except tarfile.TarError as error:
        raise ValueError(f"the shard cannot be read: {error}") from error
