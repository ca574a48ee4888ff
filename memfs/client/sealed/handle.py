"""One open file whose content is sealed: the logical file over the stored one.

Owns the pieces that were written and are not sealed yet. Must not know the layout's bytes or the
cryptography (:mod:`memfs.security.sealing`), or how stored bytes travel (:class:`Handle`).
Invariants: every byte that leaves is sealed; what is returned was authenticated; where a read
reaches the end, the end was authenticated, too. There are no holes: zeros are sealed as well.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from memfs.client.calls.arguments import whole
from memfs.client.calls.deadline import turn
from memfs.client.context import ClientContext
from memfs.client.handles.drafts import Draft
from memfs.client.handles.handle import Handle
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.reader import FileReader
from memfs.errors import IntegrityError, InvalidArgumentError, UnsupportedError
from memfs.security.sealing import (
    END_BYTES,
    HEADER_BYTES,
    PIECE_BYTES,
    STORED_PIECE_BYTES,
    FileKeys,
    Keyring,
    content_size,
    open_pieces,
    stored_size,
)
from memfs.types import Buffer

UNSEALED_PIECES = 64
"""Most pieces that wait to be sealed: 4 MiB, one block of the default size."""
READ_BYTES = 8 * 1024 * 1024
"""Most that is fetched and opened in one go."""
LOOKS = 4
"""How often a read that met another version of the file is tried."""


class SealedHandle(Handle):
    """A sealed file, open. It is used after :meth:`begin`."""

    def __init__(self, context: ClientContext, file: BlockMap, *given: Any, **options: Any) -> None:
        """Arguments are those of :class:`Handle` or :class:`Draft`."""
        super().__init__(context, file, *given, **options)
        self._ring: Keyring | None = None
        self._keys: FileKeys | None = None
        self._stored = 0  # bytes of content that lie sealed in the stored file
        self._length = 0  # bytes of content, what waits included
        self._unsealed: dict[int, bytearray] = {}
        self._sealing = asyncio.Lock()

    async def begin(self, ring: Keyring, timeout: float | None = None) -> None:
        """Make the keys of an empty file that is written, or find those of another."""
        self._ring = ring
        if self.writer is None:
            await self._look(timeout)
        elif self.file.size:
            await self._look(timeout)
            at = self.file.size - END_BYTES
            self._known.check_end(self._stored, await super().read(at, END_BYTES, timeout))
            self._length = self._stored
        else:
            await self._write_empty(timeout)

    async def _write_empty(self, timeout: float | None) -> None:
        assert self._ring is not None, "begin comes first"
        self._keys = self._ring.new_file(os.urandom)
        await super().write(0, memoryview(self._keys.header + self._keys.end(0)), timeout)

    async def _look(self, timeout: float | None) -> None:
        """See which keys the stored file has, and how long it is."""
        assert self._ring is not None, "begin comes first"
        self._keys = self._ring.keys_of(await super().read(0, HEADER_BYTES, timeout))
        self._stored = self._stored_content()

    def _stored_content(self) -> int:
        found = content_size(self.file.size)
        if found is None:
            raise IntegrityError(
                "the end is missing: the file was cut, or is being written", path=self.file.path
            )
        return found

    @property
    def _known(self) -> FileKeys:
        assert self._keys is not None, "begin comes first"
        return self._keys

    @property
    def size(self) -> int:
        """Bytes of content as this handle knows it."""
        return self._length if self.writer is not None else content_size(self.file.size) or 0

    # --- reading ----------------------------------------------------------------------------

    async def read(self, offset: int, length: int, timeout: float | None = None) -> bytes:
        """At most ``length`` bytes (all when negative) from byte ``offset``."""
        timeout = self._session.budget(timeout)
        if length < 0:
            await self._see_growth(offset, timeout)
            length = max(0, self.size - offset)
        parts: list[bytes] = []
        while length > 0:
            part = await self._read(offset, min(length, READ_BYTES), timeout)
            if not part:
                break
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_into(self, offset: int, into: memoryview, timeout: float | None = None) -> int:
        """Fill ``into`` from byte ``offset``; fewer bytes only at the end."""
        timeout = self._session.budget(timeout)
        done = 0
        while done < len(into):
            wanted = min(len(into) - done, READ_BYTES)
            part = await self._read(offset + done, wanted, timeout)
            if not part:
                break
            into[done : done + len(part)] = part
            done += len(part)
        return done

    def read_now(self, offset: int, into: memoryview) -> int:
        """Never: content has to be opened."""
        return -1

    def read_all_now(self, offset: int) -> bytes | None:
        """Never: content has to be opened."""
        return None

    async def view(self, timeout: float | None = None) -> memoryview:
        """The whole content, opened into memory of this process."""
        return memoryview(await self.read(0, -1, timeout))

    async def _see_growth(self, offset: int, timeout: float | None) -> None:
        """At the end, look whether somebody appended, as a reader of a plain file does."""
        if self.writer is None and offset >= self.size:
            await super().read(self.file.size, 1, timeout)

    async def _read(self, offset: int, length: int, timeout: float | None) -> bytes:
        if self.writer is not None:
            async with turn(self._sealing, timeout):
                await self._seal_all(timeout)
                return await self._opened(offset, min(length, self._length - offset), timeout)
        await self._see_growth(offset, timeout)
        for left in reversed(range(LOOKS)):
            change = self.file.attributes.change
            try:
                self._stored = self._stored_content()
                return await self._opened(offset, min(length, self._stored - offset), timeout)
            except IntegrityError as error:
                await self.file.refresh(self._session.deadline(timeout))
                if not left or self.file.attributes.change == change:
                    error.filename = self.file.path
                    raise
                await self._look(timeout)
        raise AssertionError("the last look returns or raises")

    async def _opened(self, offset: int, length: int, timeout: float | None) -> bytes:
        """So much content of the stored file, the end checked where it is reached."""
        if length <= 0:
            return b""
        keys, size = self._known, self._stored
        first, last = offset // PIECE_BYTES, (offset + length - 1) // PIECE_BYTES
        begin = HEADER_BYTES + first * STORED_PIECE_BYTES
        at_end = offset + length >= size
        end = HEADER_BYTES + (last + 1) * STORED_PIECE_BYTES
        end = stored_size(size) if at_end else min(end, stored_size(size) - END_BYTES)
        raw = memoryview(await super().read(begin, end - begin, timeout))
        if len(raw) != end - begin:
            raise IntegrityError("the file was cut meanwhile", path=self.file.path)
        if at_end:
            keys.check_end(size, raw[-END_BYTES:])
            raw = raw[:-END_BYTES]
        content = b"".join(open_pieces(keys, first, raw))
        start = offset - first * PIECE_BYTES
        return content[start : start + length]

    # --- writing ----------------------------------------------------------------------------

    async def write(
        self, offset: int | None, data: memoryview, timeout: float | None = None
    ) -> int:
        """Write at byte ``offset``, None: at the end; returns the position after it."""
        timeout = self._session.budget(timeout)
        async with turn(self._sealing, timeout):
            at = self._length if offset is None else offset
            if data:
                await self._grow(at, timeout)
                await self._put(at, data, timeout)
            return at + len(data)

    async def append_block(self, pieces: tuple[Buffer, ...]) -> asyncio.Task[None]:
        """Append ``pieces``; they must not change before the task has ended."""

        async def append() -> None:
            await self.write(None, memoryview(b"".join(pieces)))

        return asyncio.create_task(append())

    async def _grow(self, size: int, timeout: float | None) -> None:
        """Zeros from the end up to ``size``."""
        zeros = memoryview(bytes(min(PIECE_BYTES, max(0, size - self._length))))
        while self._length < size:
            await self._put(self._length, zeros[: size - self._length], timeout)

    async def _put(self, at: int, data: memoryview, timeout: float | None) -> None:
        for index, start, part in _parts(at, data):
            known = min(PIECE_BYTES, max(0, self._length - index * PIECE_BYTES))
            if not start and len(part) >= known:
                self._unsealed[index] = bytearray(part)
            else:
                piece = await self._piece(index, timeout)
                piece[start : start + len(part)] = part
            self._length = max(self._length, index * PIECE_BYTES + start + len(part))
            if len(self._unsealed) > UNSEALED_PIECES:
                await self._seal_whole(timeout)

    async def _piece(self, index: int, timeout: float | None) -> bytearray:
        """A piece to be changed."""
        found = self._unsealed.get(index)
        if found is None:
            start = index * PIECE_BYTES
            held = await self._opened(start, min(PIECE_BYTES, self._stored - start), timeout)
            found = self._unsealed[index] = bytearray(held)
        return found

    async def _seal_whole(self, timeout: float | None) -> None:
        """Seal what waits but the piece at the end, which will still grow."""
        tail = self._length // PIECE_BYTES
        kept = self._unsealed.pop(tail, None)
        try:
            await self._seal(max(self._stored, tail * PIECE_BYTES), timeout)
        finally:
            if kept is not None:
                self._unsealed[tail] = kept

    async def _seal_all(self, timeout: float | None) -> None:
        await self._seal(self._length, timeout)

    async def _seal(self, size: int, timeout: float | None) -> None:
        """Seal what waits; the stored content then has ``size`` bytes."""
        keys, ending = self._known, size != self._stored
        for indexes in _runs(sorted(self._unsealed)):
            sealed = [keys.seal(index, self._unsealed[index], os.urandom) for index in indexes]
            if ending and (indexes[-1] + 1) * PIECE_BYTES >= size:
                sealed.append(keys.end(size))
                ending = False
            at = HEADER_BYTES + indexes[0] * STORED_PIECE_BYTES
            await super().write(at, memoryview(b"".join(sealed)), timeout)
        if ending:
            at = stored_size(size) - END_BYTES
            await super().write(at, memoryview(keys.end(size)), timeout)
        self._stored = size
        self._unsealed.clear()

    async def flush(self, timeout: float | None = None) -> None:
        """Publish what was written: others see it when this returns."""
        timeout = self._session.budget(timeout)
        if self.writer is not None:
            async with turn(self._sealing, timeout):
                await self._seal_all(timeout)
        await super().flush(timeout)

    async def truncate(self, size: int, timeout: float | None = None) -> None:
        """Set the length of the content, at once and visibly; what is added are sealed zeros."""
        timeout = self._session.budget(timeout)
        async with turn(self._sealing, timeout):
            if size < self._length:
                await self._cut(size, timeout)
            else:
                await self._grow(size, timeout)
                await self._seal_all(timeout)
        await super().truncate(stored_size(size), timeout)

    async def _cut(self, size: int, timeout: float | None) -> None:
        index, rest = divmod(size, PIECE_BYTES)
        if rest:
            del (await self._piece(index, timeout))[rest:]
        for beyond in [each for each in self._unsealed if each * PIECE_BYTES >= size]:
            del self._unsealed[beyond]
        self._length = size
        await self._seal(size, timeout)

    async def zero(
        self, offset: int, length: int, *, grow: bool = False, timeout: float | None = None
    ) -> None:
        """Let ``length`` bytes from ``offset`` read as zeros, which take as much memory."""
        offset, length = whole("offset", offset), whole("length", length)
        if offset < 0 or length <= 0:
            raise InvalidArgumentError("a range begins at 0 or later and has at least a byte")
        timeout = self._session.budget(timeout)
        async with turn(self._sealing, timeout):
            end = offset + length if grow else min(offset + length, self._length)
            zeros = memoryview(bytes(PIECE_BYTES))
            for at in range(offset, min(end, self._length), PIECE_BYTES):
                await self._put(at, zeros[: min(end, self._length) - at], timeout)
            await self._grow(end, timeout)

    async def copy_range(
        self,
        source: Handle,
        start: int,
        offset: int,
        length: int,
        timeout: float | None = None,
    ) -> int:
        """copy_file_range: read, opened, sealed and written by this client."""
        for name, value in (("start", start), ("offset", offset), ("length", length)):
            if whole(name, value) < 0:
                raise InvalidArgumentError(f"{name} is negative")
        same = source.file.attributes.inode == self.file.attributes.inode
        length = min(length, source.size - start)
        if same and abs(start - offset) < length:
            raise InvalidArgumentError("the ranges overlap", path=self.file.path)
        done = 0
        while done < length:
            part = await source.read(start + done, min(READ_BYTES, length - done), timeout)
            if not part:
                break
            await self.write(offset + done, memoryview(part), timeout)
            done += len(part)
        return done

    async def copy_in(
        self,
        reader: FileReader,
        start: int,
        offset: int,
        length: int,
        timeout: float | None = None,
    ) -> None:
        """Refused: stored bytes of one sealed file mean nothing in another."""
        raise UnsupportedError("nodes cannot copy into a sealed file: read and write it")

    async def data_from(self, offset: int, timeout: float | None = None) -> int | None:
        """lseek(SEEK_DATA): a sealed file has no holes."""
        return offset if 0 <= offset < self.size else None

    async def hole_from(self, offset: int, timeout: float | None = None) -> int | None:
        """lseek(SEEK_HOLE): the end, for a sealed file has no holes."""
        return self.size if 0 <= offset < self.size else None

    async def close(self, timeout: float | None = None) -> None:
        """Seal and publish, give lease and locks back."""
        timeout = self._session.budget(timeout)
        try:
            if self.writer is not None and self._keys is not None:
                async with turn(self._sealing, timeout):
                    await self._seal_all(timeout)
        finally:
            await super().close(timeout)

    async def discard(self, timeout: float | None = None) -> None:
        """Close without publishing what was not published yet."""
        self._unsealed.clear()
        await super().discard(timeout)


class SealedDraft(SealedHandle, Draft):
    """A sealed file without a name; ``close`` publishes it, ``discard`` forgets it."""


def _parts(at: int, data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Cut ``data`` where pieces begin: index, first byte within it, and bytes of each."""
    while data:
        index, start = divmod(at, PIECE_BYTES)
        part = data[: PIECE_BYTES - start]
        yield index, start, part
        at, data = at + len(part), data[len(part) :]


def _runs(indexes: list[int]) -> Iterator[list[int]]:
    """Consecutive numbers together."""
    run: list[int] = []
    for index in indexes:
        if run and index != run[-1] + 1:
            yield run
            run = []
        run.append(index)
    if run:
        yield run
