"""CREATE, APPEND, TRUNCATE: content.

The first step checks all that can be checked and redirects; the second one checks again and
receives. A body that comes at once is taken at once. ``Expect: 100-continue`` is answered when
everything is checked, never before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

from memfs.client import modes
from memfs.client.handle import Handle
from memfs.errors import (
    IsDirectoryError,
    MemfsError,
    PathExistsError,
    PathNotFoundError,
    StaleHandleError,
)
from memfs.gateway.admission import (
    WRITE,
    being_created,
    check_create,
    exists,
    layout,
    replication,
)
from memfs.gateway.call import Call
from memfs.gateway.exceptions import (
    EXISTS,
    FILE_NOT_FOUND,
    Refusal,
)
from memfs.gateway.inflow import receive
from memfs.gateway.parameters import illegal
from memfs.gateway.redirects import base_url, file_url, is_second_step, to_second_step
from memfs.gateway.replies import Reply
from memfs.gateway.status import etag, look_up
from memfs.gateway.tree import boolean, find
from memfs.protocol import messages as m
from memfs.types import Attributes, FileKind

_HINTS = "SYNC_BLOCK LAZY_PERSIST NEW_BLOCK NO_LOCALWRITE SHOULD_REPLICATE NO_LOCAL_RACK"
_FLAGS: Final = frozenset(
    {"CREATE", "OVERWRITE", "APPEND", "IGNORE_CLIENT_LOCALITY", *_HINTS.split(" ")}
)
_REPLACE: Final = modes.parse("wb")
_EXCLUSIVE: Final = modes.parse("xb")
EXISTING: Final = modes.parse("r+b")._replace(reading=False)


# --- CREATE --------------------------------------------------------------------------------------


async def create(call: Call) -> web.StreamResponse:
    """CREATE, either step."""
    flags = call.parameters.choices("createflag", _FLAGS)
    overwrite = call.parameters.flag("overwrite") or "OVERWRITE" in flags
    conditional = call.request.headers.get(hdrs.IF_NONE_MATCH, "").strip() == "*"
    if "APPEND" in flags and not conditional:
        return await _create_or_append(call)
    if conditional:
        overwrite = False
    existed = await check_create(call, overwrite, conditional)
    if not _takes_body(call):
        return to_second_step(call)
    handle = await _open_new(call, _REPLACE if overwrite else _EXCLUSIVE, conditional)
    if existed:
        await _set_mode(call, handle)
    await _continue(call.request)
    await _fill(call, handle, lambda: _discard(call, handle))
    reply = Reply(b"", 201)
    where = base_url(call.request, call.shared.config.advertise)
    reply.headers[hdrs.LOCATION] = file_url(where, call.path)
    reply.headers[hdrs.ETAG] = etag(handle.file.attributes)
    return reply


async def _create_or_append(call: Call) -> web.StreamResponse:
    if await find(call, call.path) is not None:
        return await append(call)
    await check_create(call, False, False)
    if not _takes_body(call):
        return to_second_step(call)
    handle = await _open_new(call, _EXCLUSIVE, False)
    await _continue(call.request)
    await _fill(call, handle, lambda: _discard(call, handle))
    return Reply(b"", 201)


def _takes_body(call: Call) -> bool:
    """Whether the body is here (or, in a second step, may be empty)."""
    return is_second_step(call) or call.request.can_read_body


async def _open_new(call: Call, mode: modes.Mode, conditional: bool) -> Handle:
    """The file, visible and empty from now on."""
    permission = call.parameters.permission(0o644)
    block_size, group_blocks = layout(call)
    try:
        handle = await call.fs.open_handle(
            call.path,
            mode,
            permissions=permission,
            parents=call.parameters.flag("createparent", True),
            replication=replication(call),
            block_size=block_size,
            group_blocks=group_blocks,
            unmasked=call.parameters.permission(permission, "unmaskedpermission"),
        )
    except PathExistsError:
        raise exists(call, conditional) from None
    except IsDirectoryError:
        raise Refusal(EXISTS, f"{call.path} already exists as a directory") from None
    return handle


async def _set_mode(call: Call, handle: Handle) -> None:
    """A file that was there before keeps its mode when it is emptied; HDFS gives the new one."""
    permission = call.parameters.permission(0o644)
    if handle.file.attributes.mode != permission:
        with contextlib.suppress(MemfsError):  # it is somebody else's
            await call.fs.chmod(call.path, permission)


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send the body."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def _fill(call: Call, handle: Handle, undo: Callable[[], Awaitable[None]]) -> None:
    shared = call.shared
    shared.uploads += 1
    try:
        await receive(
            call.request,
            handle,
            shared.slots,
            shared.blocks,
            shared.config.upload_idle_seconds,
            lambda: _look_at_quotas(call, handle),
            undo,
        )
    finally:
        shared.uploads -= 1


async def _look_at_quotas(call: Call, handle: Handle) -> None:
    """Raise SpaceQuotaError when what has come since the last flush is too much already.

    A body of unknown length would otherwise fill the memory before its end is refused.
    """
    published = handle.file.attributes
    growth = max(0, handle.size - published.size) * published.replication
    with contextlib.suppress(StaleHandleError):  # deleted meanwhile: nobody's quota
        await call.ask(m.Access(b"", 0, base=published.inode, space=growth))


async def _discard(call: Call, handle: Handle) -> None:
    """Empty what was begun, and remove it if it is still at its path and nobody else's."""
    with contextlib.suppress(MemfsError):  # a block that failed earlier fails here again
        await handle.truncate(0)
    begun = handle.file.attributes
    with contextlib.suppress(PathNotFoundError, StaleHandleError):
        await call.ask(m.Unlink(call.raw, inode=begun.inode, generation=begun.generation))


async def cut_back(call: Call, handle: Handle, before: int) -> None:
    """Give a file the length that it had, unless somebody else has written to it since."""
    try:
        await handle.truncate(before)
    except MemfsError:
        with contextlib.suppress(MemfsError):
            await handle.close()
        await _cut_again(call, handle.file.attributes, before)


async def _cut_again(call: Call, begun: Attributes, before: int) -> None:
    """With a lease of its own, for the first one's writer has failed."""
    handle = await call.fs.open_handle(call.path, EXISTING)
    try:
        found = handle.file.attributes
        if (found.inode, found.generation) == (begun.inode, begun.generation + 1):
            await handle.truncate(before)
    finally:
        await handle.close()


# --- APPEND --------------------------------------------------------------------------------------


async def append(call: Call) -> web.StreamResponse:
    """APPEND, either step."""
    found = await look_up(call)
    if found.kind == FileKind.DIRECTORY:
        text = f"Cannot append to directory {call.path}; already exists as a directory."
        raise Refusal(EXISTS, text)
    await call.ask(m.Access(call.raw, WRITE))
    if found.leased:
        raise being_created(call)
    if not _takes_body(call):
        return to_second_step(call)
    handle = await call.fs.open_handle(call.path, EXISTING)
    before = handle.size
    await _continue(call.request)
    await _fill(call, handle, lambda: cut_back(call, handle, before))
    return Reply()


# --- TRUNCATE ------------------------------------------------------------------------------------


async def truncate(call: Call) -> web.StreamResponse:
    """TRUNCATE: to a shorter length; done when it is answered, hence always true."""
    call.parameters.required("newlength", call.operation)
    size = call.parameters.whole("newlength", 0, 0)
    found = await look_up(call)
    if found.kind != FileKind.FILE:
        raise Refusal(FILE_NOT_FOUND, f"Path is not a file: {call.path}")
    if size > found.size:
        text = "Cannot truncate to a larger file size. Current size"
        raise illegal(f"{text}: {found.size}, truncate size: {size}.")
    await call.fs.truncate(call.path, size)
    return boolean(call, True)


PUT = {"CREATE": create}
POST = {"APPEND": append, "TRUNCATE": truncate}
