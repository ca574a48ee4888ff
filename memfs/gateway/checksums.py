"""GETFILECHECKSUM: read the content once, remember the answer until the file changes."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from memfs.checksum import combine
from memfs.client.blockmap import BlockMap
from memfs.client.handle import Handle
from memfs.client.layout import block_count
from memfs.errors import BlockNotFoundError
from memfs.gateway.budget import LARGEST
from memfs.gateway.call import Call
from memfs.gateway.checksum_rules import FileDigest, composite, crc_of_zeros
from memfs.gateway.reading import READ
from memfs.gateway.redirects import is_second_step, to_second_step
from memfs.gateway.replies import json_reply
from memfs.gateway.shapes import hadoop_block

COMPOSITE = "COMPOSITE_CRC"
"""Value of the parameter ``combinemode``, which HDFS has as a setting."""


async def get_file_checksum(call: Call) -> web.StreamResponse:
    """GETFILECHECKSUM: answered at once, which all clients accept."""
    if call.parameters.flag("noredirect") and not is_second_step(call):
        return to_second_step(call)
    mode = call.parameters.text("combinemode").upper()
    handle = await call.fs.open_handle(call.path, READ)
    try:
        before = handle.file.attributes
        key = (before.inode, before.change, mode)
        content = call.shared.checksums.get(key)
        if content is None:
            content = await (_composite(handle) if mode == COMPOSITE else _md5(call, handle))
            if handle.file.attributes.change == before.change:
                call.shared.checksums.put(key, content)
    finally:
        await handle.close()
    return json_reply(call.request, content)


async def _md5(call: Call, handle: Handle) -> dict[str, Any]:
    """Read everything, a piece at a time; others get their turn after each."""
    attributes = handle.file.attributes
    block, size = hadoop_block(attributes), handle.size
    digest = FileDigest(block)
    buffers = call.shared.buffers
    buffer = buffers.take(min(LARGEST, max(1, size)))
    try:
        view, position = memoryview(buffer), 0
        while position < size:
            room = min(len(view), block - position % block)
            got = await handle.read_into(position, view[:room])
            if not got:
                raise BlockNotFoundError("the file was cut while it was being read")
            digest.update(view[:got])
            position += got
            await asyncio.sleep(0)
    finally:
        buffers.give(buffer)
    return digest.content()


async def _composite(handle: Handle) -> dict[str, Any]:
    """From the CRCs that the namespace keeps: no content is read."""
    file = handle.file
    return composite([await _part(file, index) for index in range(_blocks(file))])


def _blocks(file: BlockMap) -> int:
    return block_count(file.size, file.attributes.block_size)


async def _part(file: BlockMap, index: int) -> tuple[int, int]:
    """CRC and length of a block, the zeros that are not stored included."""
    ref = await file.ref(index, file.session.deadline())
    size = file.attributes.block_size
    length = min(size, file.size - index * size)
    stored = min(ref.length, length)
    zeros = length - stored
    crc = ref.crc if stored else 0
    return (combine(crc, crc_of_zeros(zeros), zeros) if zeros else crc), length


GET = {"GETFILECHECKSUM": get_file_checksum}
