"""GETFILECHECKSUM: read the content once, remember the answer until the file changes."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from memfs import limits
from memfs.client.handles.handle import Handle
from memfs.errors import BlockNotFoundError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop.checksum_rules import FileDigest, composite
from memfs.gateway.hadoop.shapes import hadoop_block
from memfs.gateway.http.budget import LARGEST
from memfs.gateway.http.redirects import is_second_step, to_second_step
from memfs.gateway.http.replies import json_reply
from memfs.gateway.operations.reading import READ

COMPOSITE = "COMPOSITE_CRC"
"""Value of the parameter ``combinemode``, which HDFS has as a setting."""
ZEROS_AT_ONCE: Final = 1 * limits.GIB
"""Bytes of a hole per turn of the loop: at most 8 MiB are hashed, or one digest per block."""


async def get_file_checksum(call: WebCall) -> web.StreamResponse:
    """GETFILECHECKSUM: answered at once, which all clients accept."""
    if call.parameters.flag("noredirect") and not is_second_step(call):
        return to_second_step(call)
    mode = call.parameters.text("combinemode").upper()
    handle = await call.fs.open_handle(call.path, READ, timeout=call.deadline)
    try:
        before = handle.file.attributes
        key = (before.inode, before.change, mode)
        content = call.shared.checksums.get(key)
        if content is None:
            if mode == COMPOSITE:  # from the CRCs that the namespace keeps: no content is read
                content = composite(await handle.file.crc(call.deadline))
            else:
                content = await _md5(call, handle)
            if handle.file.attributes.change == before.change:
                call.shared.checksums.put(key, content)
    finally:
        await handle.close()
    return json_reply(call.request, content)


async def _md5(call: WebCall, handle: Handle) -> dict[str, object]:
    """Read what is stored, a piece at a time; others get their turn after each."""
    size = handle.size
    digest = FileDigest(hadoop_block(handle.file.attributes))
    buffers = call.shared.buffers
    buffer = buffers.take(min(LARGEST, max(1, size)))
    try:
        position = 0
        async for start, end in handle.file.extents(0, size):
            await _zeros(digest, start - position)
            await _content(digest, handle, start, end, memoryview(buffer))
            position = end
    finally:
        buffers.give(buffer)
    if handle.size < size:
        raise _was_cut()
    await _zeros(digest, size - position)
    return digest.content()


async def _content(
    digest: FileDigest, handle: Handle, position: int, end: int, view: memoryview
) -> None:
    while position < end:
        room = min(len(view), digest.left, end - position)
        got = await handle.read_into(position, view[:room])
        if not got:
            raise _was_cut()
        digest.update(view[:got])
        position += got
        await asyncio.sleep(0)


async def _zeros(digest: FileDigest, length: int) -> None:
    for start in range(0, length, ZEROS_AT_ONCE):
        digest.zeros(min(ZEROS_AT_ONCE, length - start))
        await asyncio.sleep(0)


def _was_cut() -> BlockNotFoundError:
    return BlockNotFoundError("the file was cut while it was being read")


GET = {"GETFILECHECKSUM": get_file_checksum}
