"""The content of a put: counted, checksummed, and recognised when it is in the store already. A put
that is retried, by this process or after an earlier one was killed, finds its own content in the
store instead of the expected version. Comparing contents distinguishes that from a stranger's
change, at any kind of store, at the price of one read in a rare case.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from memfs.checksum import crc32c
from memfs.errors import ObjectChangedError, ObjectMissingError, StoreConflictError
from memfs.limits import MIB
from memfs.quantities import counted
from memfs.stores.interface import ABSENT, Expected, ObjectInfo, Store
from memfs.types import Buffer

_RANGE_BYTES: Final = 8 * MIB


class Sending:
    """The chunks of one put, checked against the size that was announced."""

    def __init__(self, chunks: AsyncIterator[Buffer], size: int) -> None:
        self.size = size
        self.crc = 0
        """CRC32C of the bytes read so far."""
        self._chunks = chunks
        self._taken = 0

    async def __aiter__(self) -> AsyncIterator[Buffer]:
        async for chunk in self._chunks:
            if not len(chunk):
                continue
            self._taken += len(chunk)
            if self._taken > self.size:
                raise ValueError(f"more came than the {counted(self.size, 'byte')} announced")
            self.crc = crc32c(chunk, self.crc)
            yield chunk
        if self._taken < self.size:
            raise ValueError(
                f"{counted(self._taken, 'byte')} came where {self.size} were announced"
            )

    async def pieces(self, size: int) -> AsyncGenerator[bytearray, None]:
        """All of it in pieces of ``size`` bytes, the last one shorter; one when it is empty."""
        piece = bytearray()
        async for chunk in self:
            view = memoryview(chunk)
            while len(view):
                taken = min(len(view), size - len(piece))
                piece += view[:taken]
                view = view[taken:]
                if len(piece) == size:
                    yield piece
                    piece = bytearray()
        if piece or not self.size:
            yield piece


def fits(present: ObjectInfo | None, expected: Expected) -> bool:
    """Whether ``present`` is the version that a put expects to replace."""
    if expected is None:
        return True
    if present is None:
        return expected is ABSENT
    return present.tag == expected


async def already_stored(store: Store, key: str, sending: Sending) -> ObjectInfo:
    """The record of ``key`` if it has the content that was sent. Raises StoreConflictError
    otherwise."""
    present = await store.stat(key)
    if present is not None and not present.is_directory and present.size == sending.size:
        try:
            if await _crc(store, present) == sending.crc:
                return present
        except (ObjectChangedError, ObjectMissingError):
            pass  # it is being changed by somebody else
    raise StoreConflictError(f"{key}: the object in the store is not the one to be replaced")


async def verified(store: Store, key: str, sending: Sending) -> ObjectInfo:
    """The record of the object just put. Raises StoreConflictError when its size is another."""
    present = await store.stat(key)
    if present is None or present.is_directory or present.size != sending.size:
        raise StoreConflictError(f"{key}: the object was changed in the store right after the put")
    return present


async def _crc(store: Store, info: ObjectInfo) -> int:
    crc = 0
    for at in range(0, info.size, _RANGE_BYTES):
        size = min(_RANGE_BYTES, info.size - at)
        crc = crc32c(await store.read(info.key, at, size, info.tag), crc)
    return crc


def checked(data: Buffer, size: int, what: str) -> Buffer:
    """``data``, which must have ``size`` bytes: less is another, shorter version."""
    if len(data) != size:
        raise ObjectChangedError(f"{what}: {counted(len(data), 'byte')} came instead of {size}")
    return data
