"""CREATE, APPEND, TRUNCATE: content.

The first step checks everything that can be checked and redirects; the second one checks again and
receives. A body that comes with the first step is stored without a redirect. ``Expect:
100-continue`` is answered when everything is checked, never before.
"""

from __future__ import annotations

import contextlib
from typing import Final, TypedDict

from aiohttp import hdrs, web

from memfs.client.calls import modes
from memfs.client.calls.deadline import Deadline
from memfs.client.handles.drafts import Draft
from memfs.client.handles.handle import Handle
from memfs.errors import (
    IsDirectoryError,
    LeaseLostError,
    MemfsError,
    PathExistsError,
    PathNotFoundError,
    StaleHandleError,
)
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop.exceptions import (
    EXISTS,
    FILE_NOT_FOUND,
    ILLEGAL_ARGUMENT,
    UNSUPPORTED,
    RemoteException,
)
from memfs.gateway.hadoop.parameters import illegal
from memfs.gateway.http.expectations import awaits_continue
from memfs.gateway.http.inflow import Undo, receive
from memfs.gateway.http.preconditions import check_match, failed, wants_unchanged
from memfs.gateway.http.redirects import hadoop_url, is_second_step, to_second_step
from memfs.gateway.http.replies import HttpReply
from memfs.gateway.operations.create_conditions import (
    WRITE,
    being_created,
    check_create,
    exists,
    layout,
    replication,
)
from memfs.gateway.operations.file_status import etag, look_up
from memfs.gateway.operations.names import boolean
from memfs.types import Attributes, FileKind

_HINTS = "SYNC_BLOCK LAZY_PERSIST NEW_BLOCK NO_LOCALWRITE SHOULD_REPLICATE NO_LOCAL_RACK"
_FLAGS: Final = frozenset(
    {"CREATE", "OVERWRITE", "APPEND", "IGNORE_CLIENT_LOCALITY", *_HINTS.split(" ")}
)
BLOCKS_HELD: Final = 3
"""By an upload: the one that is received, and those in flight."""
_EXCLUSIVE: Final = modes.parse("xb")
EXISTING: Final = modes.parse("r+b")._replace(reading=False)


# --- CREATE --------------------------------------------------------------------------------------


async def create(call: WebCall) -> web.StreamResponse:
    """CREATE, either step."""
    flags = call.parameters.choices("createflag", _FLAGS)
    overwrite = call.parameters.flag("overwrite") or "OVERWRITE" in flags
    conditional = call.request.headers.get(hdrs.IF_NONE_MATCH, "").strip() == "*"
    if "APPEND" in flags:
        raise illegal("createflag APPEND: CREATE does not append, op=APPEND does")
    if conditional:
        overwrite = False
    found = await check_create(call, overwrite, conditional)
    if not _takes_body(call):
        return to_second_step(call)
    if found is None:
        try:
            return _created(call, await _write_new(call, overwrite))
        except PathExistsError:  # made by somebody else meanwhile, or a broken symlink
            if not overwrite:
                raise exists(call, conditional) from None
    return _created(call, await _replace(call, found))


def _created(call: WebCall, attributes: Attributes) -> HttpReply:
    reply = HttpReply(b"", 201)
    reply.headers[hdrs.LOCATION] = hadoop_url(call)
    reply.headers[hdrs.ETAG] = etag(attributes)
    return reply


async def _write_new(call: WebCall, overwrite: bool) -> Attributes:
    """Create a file that is visible while it is written: Spark sets its permission meanwhile. With
    ``overwrite`` the upload also succeeds when a newer one has replaced the file.
    """
    handle = await _open_new(call)
    await _continue(call.request)
    try:
        await _fill(call, handle, lambda deadline: _discard(call, handle, deadline))
    except (LeaseLostError, StaleHandleError):
        newer = await call.fs.stat(call.path, timeout=call.deadline) if overwrite else None
        if newer is None or newer.st_ino == handle.file.attributes.inode:
            raise
        return newer.attributes
    return handle.file.attributes


async def _replace(call: WebCall, found: Attributes | None) -> Attributes:
    """Replace the content of an existing file: readers see the old or the new one; the newest
    upload wins."""
    options = _options(call)
    async with call.fs.replacing(
        call.path, recover=True, **options, timeout=call.deadline
    ) as draft:
        if found is not None and wants_unchanged(call.request):
            draft.made_from(found)
        await _continue(call.request)
        try:
            await _fill(call, draft, draft.discard)
        except StaleHandleError:
            if wants_unchanged(call.request):
                raise failed(call, "it was changed meanwhile") from None
            raise
    return await _with_mode(call, draft, found, options["permissions"])


async def _with_mode(
    call: WebCall, draft: Draft, before: Attributes | None, mode: int
) -> Attributes:
    """Set the new mode, as HDFS does; publishing keeps that of the replaced file. Not when another
    mode was set meanwhile.
    """
    written = draft.file.attributes
    if before is None or written.mode != before.mode or written.mode == mode:
        return written
    try:
        return await draft.chmod(mode, call.deadline)
    except MemfsError:  # it is somebody else's
        return written


def _takes_body(call: WebCall) -> bool:
    """Whether the request has a body (which may be empty in a second step or in chunks). Raises
    RemoteException for a partial body, whose rest would be lost (RFC 9110, 14.5), and for one with
    a transfer coding, which would be stored encoded (RFC 9112, 6.1).
    """
    request = call.request
    coding = request.headers.get(hdrs.TRANSFER_ENCODING, "chunked")
    if coding.strip().lower() != "chunked":
        raise RemoteException(UNSUPPORTED, f"Transfer-Encoding: {coding[:255]}: chunked is known")
    if hdrs.CONTENT_RANGE in request.headers:
        raise RemoteException(ILLEGAL_ARGUMENT, "Content-Range: a part of a file cannot be written")
    return (
        is_second_step(call) or request.can_read_body or hdrs.TRANSFER_ENCODING in request.headers
    )


class _FileOptions(TypedDict):
    """Options of the file to create."""

    permissions: int
    parents: bool
    replication: int | None
    block_size: int | None
    group_blocks: int | None
    unmasked: int


def _options(call: WebCall) -> _FileOptions:
    permission = call.parameters.permission(0o644)
    block_size, group_blocks = layout(call)
    return {
        "permissions": permission,
        "parents": call.parameters.flag("createparent", True),
        "replication": replication(call),
        "block_size": block_size,
        "group_blocks": group_blocks,
        "unmasked": call.parameters.permission(permission, "unmaskedpermission"),
    }


async def _open_new(call: WebCall) -> Handle:
    """Create the file, visible and empty. Raises PathExistsError."""
    try:
        return await call.fs.open_handle(
            call.path, _EXCLUSIVE, **_options(call), timeout=call.deadline
        )
    except IsDirectoryError:
        raise RemoteException(EXISTS, f"{call.path} already exists as a directory") from None


async def _continue(request: web.BaseRequest) -> None:
    """Send 100 (Continue) to a client that waits for it."""
    if awaits_continue(request):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def _fill(call: WebCall, handle: Handle, undo: Undo) -> None:
    shared = call.shared
    shared.uploads += 1
    try:
        await receive(
            call.request,
            handle,
            shared.slots,
            shared.blocks,
            shared.config.upload_idle_seconds,
            undo,
            call.progressed,
        )
    except BaseException:
        shared.wreckage.add(BLOCKS_HELD * handle.file.attributes.block_size)
        raise
    finally:
        shared.uploads -= 1


async def _discard(call: WebCall, handle: Handle, deadline: Deadline) -> None:
    """Empty a new file whose upload failed, and remove it if nobody else has replaced or written
    it."""
    with contextlib.suppress(MemfsError):  # a block that failed earlier fails here again
        await handle.truncate(0, deadline)
    with contextlib.suppress(PathNotFoundError, StaleHandleError):
        await call.fs.remove_unchanged(call.path, handle.file.attributes, timeout=deadline)


async def cut_back(call: WebCall, handle: Handle, before: int, deadline: Deadline) -> None:
    """Restore a file's former length, unless somebody else has written to it since."""
    try:
        await handle.truncate(before, deadline)
    except MemfsError:
        with contextlib.suppress(MemfsError):
            await handle.close(deadline)
        await _cut_again(call, handle.file.attributes, before, deadline)


async def _cut_again(call: WebCall, begun: Attributes, before: int, deadline: Deadline) -> None:
    """Truncate under a new lease: the writer of the first one has failed."""
    handle = await call.fs.open_handle(call.path, EXISTING, timeout=deadline)
    try:
        found = handle.file.attributes
        if (found.inode, found.generation) == (begun.inode, begun.generation + 1):
            await handle.truncate(before, deadline)
    finally:
        await handle.close(deadline)


# --- APPEND --------------------------------------------------------------------------------------


async def append(call: WebCall) -> web.StreamResponse:
    """APPEND, either step."""
    found = await look_up(call)
    if found.kind == FileKind.DIRECTORY:
        text = f"Cannot append to directory {call.path}; already exists as a directory."
        raise RemoteException(EXISTS, text)
    await call.fs.check_access(call.path, WRITE, timeout=call.deadline)
    if found.leased:
        raise being_created(call)
    if not _takes_body(call):
        return to_second_step(call)
    handle = await call.fs.open_handle(call.path, EXISTING, timeout=call.deadline)
    try:
        _check_unchanged(call, found, handle.file.attributes)
        before = handle.size
        await _continue(call.request)
    except BaseException:
        await handle.discard(call.progressed())
        raise
    await _fill(call, handle, lambda deadline: cut_back(call, handle, before, deadline))
    return HttpReply()


def _check_unchanged(call: WebCall, found: Attributes, leased: Attributes) -> None:
    """Raises RemoteException when the file was changed after the state that the condition names."""
    check_match(call, found)
    same = (leased.inode, leased.generation) == (found.inode, found.generation + 1)
    if wants_unchanged(call.request) and not same:
        raise failed(call, "it was changed meanwhile")


# --- TRUNCATE ------------------------------------------------------------------------------------


async def truncate(call: WebCall) -> web.StreamResponse:
    """TRUNCATE: to a shorter length; done when it is answered, hence always true."""
    call.parameters.required("newlength", call.operation)
    size = call.parameters.whole("newlength", 0, 0)
    found = await look_up(call)
    if found.kind != FileKind.FILE:
        raise RemoteException(FILE_NOT_FOUND, f"Path is not a file: {call.path}")
    if size > found.size:
        text = "Cannot truncate to a larger file size. Current size"
        raise illegal(f"{text}: {found.size}, truncate size: {size}.")
    await call.fs.truncate(call.path, size, timeout=call.deadline)
    return boolean(call, True)


PUT = {"CREATE": create}
POST = {"APPEND": append, "TRUNCATE": truncate}
