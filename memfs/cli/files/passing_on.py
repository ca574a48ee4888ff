"""Content of files on its way to a pipe, in constant memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from memfs.cli.pipes import PIECE_BYTES, Pipe
from memfs.limits import MIB

if TYPE_CHECKING:
    from memfs.client.aiofiles import AsyncFile

LOCATED_BYTES: Final = 64 * MIB
"""Passed on by the pipe's thread between two questions where the bytes lie."""


async def copy_range(file: AsyncFile, start: int, count: int | None, output: Pipe) -> int:
    """Bytes from ``start`` to the output, ``count`` of them or all; the position reached."""
    await file.seek(start)
    end = None if count is None else start + count
    position = await _copy_from_here(file, start, end, output)
    buffer, other = (memoryview(bytearray(PIECE_BYTES)) for _ in range(2))
    writing: asyncio.Task[None] | None = None
    try:
        while end is None or position < end:
            left = PIECE_BYTES if end is None else min(PIECE_BYTES, end - position)
            got = await file.readinto(buffer[:left])
            if writing is not None:
                await writing
            if not got:
                break
            writing = asyncio.create_task(output.write(buffer[:got]))
            position += got
            buffer, other = other, buffer
        if writing is not None:
            await writing
    finally:
        if writing is not None:
            writing.cancel()
    return position


async def _copy_from_here(file: AsyncFile, start: int, end: int | None, output: Pipe) -> int:
    """As :func:`copy_range`, as far as nodes of this host lend what comes next."""
    position = start
    while end is None or position < end:
        left = LOCATED_BYTES if end is None else min(LOCATED_BYTES, end - position)
        if not await file.locate(left):
            break
        got = await output.write_from(file.readinto_now, left)
        if not got:
            break
        position += got
    return position
