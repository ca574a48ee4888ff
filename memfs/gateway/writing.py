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

from memfs import limits
from memfs.client import modes
from memfs.client.handle import Handle
from memfs.errors import (
    IsDirectoryError,
    MemfsError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
)
from memfs.gateway.call import Call, parent
from memfs.gateway.exceptions import (
    BEING_CREATED,
    EXISTS,
    FILE_NOT_FOUND,
    PARENT_NOT_DIRECTORY,
    Refusal,
)
from memfs.gateway.inflow import receive
from memfs.gateway.parameters import illegal
from memfs.gateway.redirects import base_url, file_url, is_second_step, to_second_step
from memfs.gateway.replies import Reply
from memfs.gateway.status import etag, look_up
from memfs.gateway.tree import boolean, find
from memfs.protocol import messages as m
from memfs.types import FileKind

_HINTS = "SYNC_BLOCK LAZY_PERSIST NEW_BLOCK NO_LOCAL_WRITE SHOULD_REPLICATE NO_LOCAL_RACK"
_FLAGS: Final = frozenset(
    {"CREATE", "OVERWRITE", "APPEND", "IGNORE_CLIENT_LOCALITY", *_HINTS.split(" ")}
)
_WRITE, _SEARCH = 2, 1
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
    existed = await _check_create(call, overwrite, conditional)
    if not _takes_body(call):
        return to_second_step(call)
    handle = await _open_new(call, _REPLACE if overwrite else _EXCLUSIVE, conditional)
    if existed:
        await _set_mode(call, handle)
    await _continue(call.request)
    await _fill(call, handle, lambda: _discard(call, handle))
    reply = Reply(b"", 201)
    where = base_url(call.request, call.gateway.config.advertise)
    reply.headers[hdrs.LOCATION] = file_url(where, call.path)
    reply.headers[hdrs.ETAG] = etag(handle.file.attributes)
    return reply


async def _create_or_append(call: Call) -> web.StreamResponse:
    if await find(call, call.path) is not None:
        return await append(call)
    await _check_create(call, False, False)
    if not _takes_body(call):
        return to_second_step(call)
    handle = await _open_new(call, _EXCLUSIVE, False)
    await _continue(call.request)
    await _fill(call, handle, lambda: _discard(call, handle))
    return Reply(b"", 201)


async def _check_create(call: Call, overwrite: bool, conditional: bool) -> bool:
    """Raise what creating the file would, without creating it; whether it is there already."""
    call.parameters.permission(0o644)
    _layout(call)
    try:
        found = await look_up(call)
    except PathNotFoundError:
        await _check_room_for_new(call)
        return False
    except NotDirectoryError:
        raise _parent_is_file(call) from None
    if found.kind == FileKind.DIRECTORY:
        raise Refusal(EXISTS, f"{call.path} already exists as a directory")
    if not overwrite:
        raise _exists(call, conditional)
    await call.ask(m.Access(call.raw, _WRITE))
    if found.leased:
        raise _being_created(call)
    return True


async def _check_room_for_new(call: Call) -> None:
    """The nearest directory that exists must be one, and the caller's to write in."""
    create_parents = call.parameters.flag("createparent", True)
    above = parent(call.path)
    while True:
        try:
            found = await look_up(call, above)
            break
        except PathNotFoundError:
            if not create_parents:
                text = f"Parent directory doesn't exist: {above}"
                raise Refusal(FILE_NOT_FOUND, text) from None
            above = parent(above)
        except NotDirectoryError:
            raise _parent_is_file(call) from None
    if found.kind != FileKind.DIRECTORY:
        raise _parent_is_file(call)
    await call.ask(m.Access(above.encode(), _WRITE | _SEARCH), above)


def _exists(call: Call, conditional: bool) -> Refusal:
    text = f"{call.path} for client {call.request.remote} already exists"
    return Refusal(EXISTS, text, 412 if conditional else 0)


def _parent_is_file(call: Call) -> Refusal:
    text = f"Parent path is not a directory: {parent(call.path)}"
    return Refusal(PARENT_NOT_DIRECTORY, text)


def _being_created(call: Call) -> Refusal:
    text = f"Failed to write {call.path} for {call.principal.user}: another writer has it open"
    return Refusal(BEING_CREATED, text)


def _takes_body(call: Call) -> bool:
    """Whether the body is here (or, in a second step, may be empty)."""
    return is_second_step(call) or call.request.can_read_body


def _layout(call: Call) -> tuple[int | None, int | None]:
    """(block size, blocks a group) for the ``blocksize`` that the client asks for.

    Hadoop's block is the placement group here. What is no multiple of blocks is left to the
    cluster's defaults.
    """
    wanted = call.parameters.whole("blocksize", 0, 1)
    wanted = min(wanted, limits.GROUP_BYTES_MAX)
    block = limits.BLOCK_BYTES_DEFAULT
    if wanted and wanted % block == 0:
        return block, wanted // block
    if limits.BLOCK_BYTES_MIN <= wanted < block and wanted % limits.BLOCK_BYTES_MIN == 0:
        return wanted, 1
    return None, None


async def _open_new(call: Call, mode: modes.Mode, conditional: bool) -> Handle:
    """The file, visible and empty from now on."""
    permission = call.parameters.permission(0o644)
    block_size, group_blocks = _layout(call)
    try:
        handle = await call.fs.open_handle(
            call.path,
            mode,
            permissions=permission,
            parents=call.parameters.flag("createparent", True),
            replication=_replication(call),
            block_size=block_size,
            group_blocks=group_blocks,
            unmasked=call.parameters.permission(permission, "unmaskedpermission"),
        )
    except PathExistsError:
        raise _exists(call, conditional) from None
    except IsDirectoryError:
        raise Refusal(EXISTS, f"{call.path} already exists as a directory") from None
    return handle


async def _set_mode(call: Call, handle: Handle) -> None:
    """A file that was there before keeps its mode when it is emptied; HDFS gives the new one."""
    permission = call.parameters.permission(0o644)
    if handle.file.attributes.mode != permission:
        with contextlib.suppress(MemfsError):  # it is somebody else's
            await call.fs.chmod(call.path, permission)


def _replication(call: Call) -> int | None:
    """Copies: what the gateway is told, else what the client asks, within reason."""
    wanted = call.parameters.whole("replication", 0, 1)
    fixed = call.gateway.config.replication
    if fixed:
        return fixed
    if not wanted:
        return None
    return min(wanted, limits.REPLICAS_MAX, max(1, len(call.session.members)))


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send the body."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def _fill(call: Call, handle: Handle, undo: Callable[[], Awaitable[None]]) -> None:
    gateway = call.gateway
    gateway.uploads += 1
    try:
        await receive(
            call.request,
            handle,
            gateway.slots,
            gateway.config.upload_idle_seconds,
            undo,
        )
    finally:
        gateway.uploads -= 1


async def _discard(call: Call, handle: Handle) -> None:
    """Empty what was begun, and remove it if it is still at its path."""
    with contextlib.suppress(MemfsError):  # a block that failed earlier fails here again
        await handle.truncate(0)
    if await _is_at_path(call, handle):
        with contextlib.suppress(PathNotFoundError):
            await call.ask(m.Unlink(call.raw))


async def cut_back(call: Call, handle: Handle, before: int) -> None:
    """Give a file the length that it had."""
    try:
        await handle.truncate(before)
    except MemfsError:
        with contextlib.suppress(MemfsError):
            await handle.close()
        if await _is_at_path(call, handle):
            await call.fs.truncate(call.path, before)


async def _is_at_path(call: Call, handle: Handle) -> bool:
    found = await find(call, call.path)
    return found is not None and found.inode == handle.file.attributes.inode


# --- APPEND --------------------------------------------------------------------------------------


async def append(call: Call) -> web.StreamResponse:
    """APPEND, either step."""
    found = await look_up(call)
    if found.kind == FileKind.DIRECTORY:
        text = f"Cannot append to directory {call.path}; already exists as a directory."
        raise Refusal(EXISTS, text)
    await call.ask(m.Access(call.raw, _WRITE))
    if found.leased:
        raise _being_created(call)
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
