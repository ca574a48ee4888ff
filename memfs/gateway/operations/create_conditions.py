"""CREATE's conditions: errors of creating a file, found before anything is made or sent. Also the
block size and copies that a client asks for. Changes nothing: the operation checks again.
"""

from __future__ import annotations

from memfs import limits
from memfs.errors import NotDirectoryError, PathNotFoundError
from memfs.gateway.call import WebCall, check_new_name, parent
from memfs.gateway.hadoop.exceptions import (
    BEING_CREATED,
    EXISTS,
    FILE_NOT_FOUND,
    PARENT_NOT_DIRECTORY,
    RemoteException,
)
from memfs.gateway.operations.file_status import look_up
from memfs.types import Attributes, FileKind

WRITE, _SEARCH = 2, 1
_SHORT_MAX = (1 << 15) - 1


async def check_create(call: WebCall, overwrite: bool, conditional: bool) -> Attributes | None:
    """Raise what creating the file would raise, without creating it; returns the existing file, if
    any."""
    check_new_name(call.path)
    call.parameters.permission(0o644)
    layout(call)
    replication(call)
    try:
        found = await look_up(call)
    except PathNotFoundError:
        await _check_room_for_new(call)
        return None
    except NotDirectoryError:
        raise _parent_is_file(call) from None
    if found.kind == FileKind.DIRECTORY:
        raise RemoteException(EXISTS, f"{call.path} already exists as a directory")
    if not overwrite:
        raise exists(call, conditional)
    growth = _least_space(call) - found.size * found.replication
    await call.fs.check_access(call.path, WRITE, space=max(0, growth), timeout=call.deadline)
    return found


async def _check_room_for_new(call: WebCall) -> None:
    """The nearest directory that exists must be one, the caller's to write in, and have room."""
    create_parents = call.parameters.flag("createparent", True)
    above = parent(call.path)
    names = 1
    while True:
        try:
            found = await look_up(call, above)
            break
        except PathNotFoundError:
            if not create_parents:
                text = f"Parent directory doesn't exist: {above}"
                raise RemoteException(FILE_NOT_FOUND, text) from None
            above = parent(above)
            names += 1
        except NotDirectoryError:
            raise _parent_is_file(call) from None
    if found.kind != FileKind.DIRECTORY:
        raise _parent_is_file(call)
    space = _least_space(call)
    await call.fs.check_access(
        above, WRITE | _SEARCH, names=names, space=space, timeout=call.deadline
    )


def _least_space(call: WebCall) -> int:
    """Bytes times copies that the body will take at least, as far as its head tells."""
    return (call.request.content_length or 0) * (replication(call) or 1)


def exists(call: WebCall, conditional: bool) -> RemoteException:
    text = f"{call.path} for client {call.request.remote} already exists"
    return RemoteException(EXISTS, text, 412 if conditional else 0)


def _parent_is_file(call: WebCall) -> RemoteException:
    text = f"Parent path is not a directory: {parent(call.path)}"
    return RemoteException(PARENT_NOT_DIRECTORY, text)


def being_created(call: WebCall) -> RemoteException:
    text = f"Failed to write {call.path} for {call.principal.user}: another writer has it open"
    return RemoteException(BEING_CREATED, text)


def layout(call: WebCall) -> tuple[int | None, int | None]:
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


def replication(call: WebCall) -> int | None:
    """Copies: the gateway's setting, else what the client asks for, within bounds."""
    wanted = call.parameters.whole("replication", 0, 1, _SHORT_MAX)
    fixed = call.shared.config.replication
    if fixed:
        return fixed
    if not wanted:
        return None
    return min(wanted, limits.REPLICAS_MAX, max(1, len(call.session.known.members)))
