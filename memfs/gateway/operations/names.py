"""MKDIRS, RENAME, DELETE, CREATESYMLINK: the names.

Rename tries first and finds the reason of a failure afterwards: a success costs one round trip.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

from aiohttp import web

from memfs import paths
from memfs.errors import (
    DirectoryNotEmptyError,
    InvalidArgumentError,
    IsDirectoryError,
    MemfsError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
)
from memfs.gateway.call import WebCall, check_new_name, parent, valid
from memfs.gateway.hadoop.exceptions import (
    EXISTS,
    FILE_NOT_FOUND,
    IO,
    PARENT_NOT_DIRECTORY,
    JavaException,
    RemoteException,
)
from memfs.gateway.http.replies import HttpReply, json_reply
from memfs.gateway.operations.file_status import look_up
from memfs.types import Attributes, FileKind

_OPTIONS = frozenset({"NONE", "OVERWRITE", "TO_TRASH"})
_OWNER_WRITES = 0o300
_CANNOT = (
    PathExistsError,
    PathNotFoundError,
    NotDirectoryError,
    IsDirectoryError,
    InvalidArgumentError,
)
"""Errors for which the old form of rename answers false."""


def boolean(call: WebCall, value: bool) -> HttpReply:
    """``{"boolean": ...}``."""
    return json_reply(call.request, {"boolean": value})


async def find(call: WebCall, path: str) -> Attributes | None:
    """The attributes of ``path`` itself, None when it does not exist."""
    try:
        return await look_up(call, path, follow=False)
    except (PathNotFoundError, NotDirectoryError):
        return None


# --- directories ---------------------------------------------------------------------------------


async def mkdirs(call: WebCall) -> web.StreamResponse:
    """MKDIRS: with the missing parents, which get the same mode; an existing directory is no
    error."""
    mode = call.parameters.permission(0o755)
    unmasked = call.parameters.permission(mode, "unmaskedpermission")
    if call.path == "/":
        return boolean(call, True)
    check_new_name(call.path)
    try:
        await call.fs.mkdir(call.path, mode, unmasked=unmasked, timeout=call.deadline)
    except PathNotFoundError:
        await _make_all(call, mode, unmasked)
    except (PathExistsError, NotDirectoryError):
        await _check_is_directory(call)
    return boolean(call, True)


async def _make_all(call: WebCall, mode: int, unmasked: int) -> None:
    """Make directories from the top down. As in HDFS the owner can always create below what they
    make."""
    missing = [call.path]
    while await find(call, above := parent(missing[-1])) is None:
        missing.append(above)
    for path in reversed(missing):
        extra = 0 if path == call.path else _OWNER_WRITES
        try:
            await call.fs.mkdir(
                path, mode | extra, unmasked=unmasked | extra, timeout=call.deadline
            )
        except PathExistsError:
            if path == call.path:  # made by somebody else meanwhile
                await _check_is_directory(call)


async def _check_is_directory(call: WebCall) -> None:
    try:
        if (await look_up(call)).kind == FileKind.DIRECTORY:
            return
    except (PathNotFoundError, NotDirectoryError):
        pass
    await _refuse_mkdirs(call)


async def _refuse_mkdirs(call: WebCall) -> NoReturn:
    if await find(call, call.path) is not None:
        raise RemoteException(EXISTS, f"Path is not a directory: {call.path}")
    raise RemoteException(
        PARENT_NOT_DIRECTORY, f"Parent path is not a directory: {parent(call.path)}"
    )


async def create_symlink(call: WebCall) -> web.StreamResponse:
    """CREATESYMLINK: the link is the path, ``destination`` what it points to."""
    target = call.parameters.required("destination", call.operation)
    parents = call.parameters.flag("createparent", False)
    check_new_name(call.path)
    try:
        await call.fs.symlink(target, call.path, parents=parents, timeout=call.deadline)
    except PathExistsError:
        raise RemoteException(EXISTS, f"failed to create link {call.path}: it exists") from None
    return HttpReply()


async def delete(call: WebCall) -> web.StreamResponse:
    """DELETE: false when there is nothing, or for the root."""
    recursive = call.parameters.flag("recursive")
    found = await find(call, call.path)
    if call.path == "/" and not recursive and found is not None and found.children:
        raise DirectoryNotEmptyError("the root is not empty", path="/")
    if found is None or call.path == "/":
        return boolean(call, False)
    try:
        if found.kind == FileKind.DIRECTORY:
            await _remove_directory(call, recursive)
        else:
            await call.fs.remove(call.path, timeout=call.deadline)
    except PathNotFoundError:
        return boolean(call, False)
    return boolean(call, True)


async def _remove_directory(call: WebCall, recursive: bool) -> None:
    if recursive:
        await call.fs.rmtree(call.path, timeout=call.deadline)
    else:
        await call.fs.rmdir(call.path, timeout=call.deadline)


# --- rename --------------------------------------------------------------------------------------


async def rename(call: WebCall) -> web.StreamResponse:
    """RENAME: with options it succeeds or says why; without it answers true or false."""
    target = call.parameter_path("destination")
    check_new_name(target)
    options = call.parameters.choices("renameoptions", _OPTIONS)
    if not options:
        return boolean(call, await _rename_or_false(call, target))
    await _rename_or_raise(call, target, "OVERWRITE" in options)
    return HttpReply()


async def _rename_or_false(call: WebCall, target: str) -> bool:
    if "/" in (call.path, target) and call.path == "/":
        return False
    if await _moved(call, target):
        return True
    source = await find(call, call.path)
    held = await find(call, target)
    if source is None or held is None:
        return False
    if held.kind == FileKind.DIRECTORY and target != call.path:
        return await _moved(call, paths.join(target, call.path.rpartition("/")[2]))
    return held.inode == source.inode and source.kind != FileKind.DIRECTORY


async def _moved(call: WebCall, target: str) -> bool:
    """Rename to a name that does not exist; False when it exists or the rename is not allowed."""
    if target == "/":
        return False
    try:
        await call.fs.rename(call.path, valid(target), overwrite=False, timeout=call.deadline)
    except _CANNOT:
        return False
    return True


async def _rename_or_raise(call: WebCall, target: str, overwrite: bool) -> None:
    source = call.path
    _check_names(source, target)
    try:
        await call.fs.rename(source, valid(target), overwrite=overwrite, timeout=call.deadline)
    except (*_CANNOT, DirectoryNotEmptyError) as error:
        await _refuse_rename(call, target, error)


def _check_names(source: str, target: str) -> None:
    if source == target:
        raise RemoteException(EXISTS, f"The source {source} and destination {target} are the same")
    if source == "/":
        raise RemoteException(IO, "rename source cannot be the root")
    if target == "/":
        raise RemoteException(IO, "rename destination cannot be the root")
    if target.startswith(source + "/"):
        text = f"Rename destination {target} is a directory or file under source {source}"
        raise RemoteException(IO, text)


async def _refuse_rename(call: WebCall, target: str, error: MemfsError) -> NoReturn:
    """Raise the reason, in HDFS's order and words."""
    source = await find(call, call.path)
    if source is None:
        raise RemoteException(FILE_NOT_FOUND, f"rename source {call.path} is not found.")
    held = await find(call, target)
    if held is not None:
        directories = [each.kind == FileKind.DIRECTORY for each in (source, held)]
        if directories[0] != directories[1]:
            text = f"Source {call.path} and destination {target} must both be directories"
            raise RemoteException(IO, text)
        if isinstance(error, DirectoryNotEmptyError):
            raise RemoteException(IO, f"rename destination directory is not empty: {target}")
        raise RemoteException(EXISTS, f"rename destination {target} already exists")
    raise RemoteException(*await _about_parent(call, target))


async def _about_parent(call: WebCall, target: str) -> tuple[JavaException, str]:
    above = parent(target)
    try:
        await look_up(call, above)
    except (PathNotFoundError, NotDirectoryError):
        return FILE_NOT_FOUND, f"rename destination parent {above} not found."
    return PARENT_NOT_DIRECTORY, f"rename destination parent {above} is a file."


Operation = Callable[[WebCall], Awaitable[web.StreamResponse]]
PUT: dict[str, Operation] = {
    "MKDIRS": mkdirs,
    "CREATESYMLINK": create_symlink,
    "RENAME": rename,
}
DELETE: dict[str, Operation] = {"DELETE": delete}
