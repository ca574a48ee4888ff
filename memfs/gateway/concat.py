"""CONCAT: the sources become the end of the target and vanish.

The namespace moves blocks, which it can where files end on block boundaries. HDFS joins any files,
and clients write large ones in pieces that way; what cannot be moved is copied here. The target
then changes when all of it has been copied, and the sources vanish after that.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from memfs.client.handle import Handle
from memfs.errors import InvalidArgumentError, MemfsError
from memfs.gateway.budget import LARGEST
from memfs.gateway.call import Call, normal, wire_path
from memfs.gateway.exceptions import FILE_NOT_FOUND, Refusal
from memfs.gateway.parameters import illegal
from memfs.gateway.reading import READ
from memfs.gateway.replies import Reply
from memfs.gateway.status import look_up
from memfs.gateway.writing import EXISTING, cut_back
from memfs.protocol import messages as m
from memfs.types import FileKind


async def concat(call: Call) -> web.StreamResponse:
    """CONCAT."""
    sources = [normal(each) for each in call.parameters.paths("sources", call.operation)]
    if len({call.path, *sources}) <= len(sources):
        raise illegal("concat: the target is one of the sources, or a source is named twice")
    try:
        await call.fs.concat(call.path, sources)
    except InvalidArgumentError:
        await _copy_together(call, sources)
    return Reply()


async def _copy_together(call: Call, sources: list[str]) -> None:
    for path in (call.path, *sources):
        if (await look_up(call, path)).kind != FileKind.FILE:
            raise Refusal(FILE_NOT_FOUND, f"Path is not a file: {path}")
    handle = await call.fs.open_handle(call.path, EXISTING)
    before = handle.size
    try:
        for source in sources:
            await _append(call, handle, source)
        await handle.close()
    except BaseException:
        await asyncio.shield(_take_back(call, handle, before))
        raise
    for source in sources:
        await call.ask(m.Unlink(wire_path(source)), source)


async def _append(call: Call, handle: Handle, source: str) -> None:
    """Copy one source to the end, a buffer at a time."""
    reading = await call.fs.open_handle(source, READ)
    buffer = call.shared.buffers.take(LARGEST)
    try:
        view, position = memoryview(buffer), 0
        while got := await reading.read_into(position, view):
            await handle.write(None, view[:got])
            position += got
    finally:
        call.shared.buffers.give(buffer)
        await reading.close()


async def _take_back(call: Call, handle: Handle, before: int) -> None:
    try:
        await cut_back(call, handle, before)
    finally:
        try:
            await handle.close()
        except MemfsError:
            pass  # what failed first is what the client hears


POST = {"CONCAT": concat}
