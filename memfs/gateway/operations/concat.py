"""CONCAT: the sources become the end of the target and vanish.

The namespace moves the blocks where files end on block boundaries. HDFS joins any files, and
clients write large ones in pieces that way, so other sources are copied here. The sources are then
removed in one step, all or none, and only if they are unchanged since they were copied; otherwise
the target is truncated to its former length. As in HDFS, none of the files may be open for writing.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from memfs.client.handles.handle import Handle
from memfs.errors import (
    InvalidArgumentError,
    LeaseHeldError,
    MemfsError,
    OutcomeUnknownError,
    PathNotFoundError,
    StaleHandleError,
)
from memfs.gateway.call import WebCall, normal
from memfs.gateway.hadoop.exceptions import FILE_NOT_FOUND, HADOOP_ILLEGAL_ARGUMENT, RemoteException
from memfs.gateway.hadoop.parameters import illegal
from memfs.gateway.http.budget import LARGEST
from memfs.gateway.http.replies import HttpReply
from memfs.gateway.operations.file_status import look_up
from memfs.gateway.operations.writing import EXISTING, cut_back
from memfs.types import Attributes, FileKind


async def concat(call: WebCall) -> web.StreamResponse:
    """CONCAT."""
    sources = [normal(each) for each in call.parameters.paths("sources", call.operation)]
    if len({call.path, *sources}) <= len(sources):
        raise illegal("concat: the target is one of the sources, or a source is named twice")
    try:
        try:
            await call.fs.concat(call.path, sources, timeout=call.deadline)
        except InvalidArgumentError:
            await _copy_together(call, sources)
    except PathNotFoundError as error:
        raise RemoteException(FILE_NOT_FOUND, f"File does not exist: {error.filename}") from None
    except (LeaseHeldError, StaleHandleError) as error:
        if error.filename not in sources:
            raise
        raise _under_construction(error.filename) from None
    return HttpReply()


def _under_construction(source: str) -> RemoteException:
    text = f"concat: source file {source} is invalid or empty or underConstruction"
    return RemoteException(HADOOP_ILLEGAL_ARGUMENT, text)


class _End:
    """Writes behind the former end of an open file."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._end = handle.size

    async def write(self, offset: int, data: memoryview) -> None:
        """Write ``data`` at ``offset`` after the old end."""
        await self._handle.write(self._end + offset, data)

    async def truncate(self, size: int) -> None:
        """Set the length to ``size`` bytes after the old end."""
        await self._handle.truncate(self._end + size)


async def _copy_together(call: WebCall, sources: list[str]) -> None:
    for path in (call.path, *sources):
        if (await look_up(call, path)).kind != FileKind.FILE:
            raise RemoteException(FILE_NOT_FOUND, f"Path is not a file: {path}")
    handle = await call.fs.open_handle(call.path, EXISTING, timeout=call.deadline)
    before = handle.size
    try:
        versions = [await _append(call, handle, source) for source in sources]
        await handle.flush(call.deadline)
    except BaseException:
        await asyncio.shield(_undo(call, handle, before))
        raise
    await asyncio.shield(_remove_sources(call, handle, before, sources, versions))


async def _append(call: WebCall, handle: Handle, source: str) -> Attributes:
    """Copy one source to the end; returns the version that was copied."""
    found = await look_up(call, source)
    if found.leased:
        raise _under_construction(source)
    await call.fs.copy_into(source, _End(handle), piece=LARGEST)
    call.progressed()
    return found


async def _remove_sources(
    call: WebCall, handle: Handle, before: int, sources: list[str], copied: list[Attributes]
) -> None:
    """The last step, which is completed even when the client disconnects."""
    try:
        await call.fs.remove_copied(call.path, sources, copied, timeout=call.deadline)
    except OutcomeUnknownError:
        await handle.close(call.progressed())
        raise
    except MemfsError:
        await _undo(call, handle, before)
        raise
    await handle.close(call.deadline)


async def _undo(call: WebCall, handle: Handle, before: int) -> None:
    deadline = call.progressed()
    try:
        await cut_back(call, handle, before, deadline)
    finally:
        try:
            await handle.close(deadline)
        except MemfsError:
            pass  # what failed first is what the client hears


POST = {"CONCAT": concat}
