"""MKDIRS, RENAME, DELETE, CREATESYMLINK: the names.

Rename tries first and asks why afterwards: what succeeds costs one round trip.
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
from memfs.gateway.call import Call, parent, wire_path
from memfs.gateway.exceptions import (
    EXISTS,
    FILE_NOT_FOUND,
    IO,
    PARENT_NOT_DIRECTORY,
    Kind,
    Refusal,
)
from memfs.gateway.replies import Reply, json_reply
from memfs.gateway.status import look_up
from memfs.protocol import messages as m
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
"""What makes the old rename answer false."""


def boolean(call: Call, value: bool) -> Reply:
    """``{"boolean": ...}``."""
    return json_reply(call.request, {"boolean": value})


async def find(call: Call, path: str) -> Attributes | None:
    """What is at ``path`` itself, None: nothing."""
    try:
        return await look_up(call, path, follow=False)
    except (PathNotFoundError, NotDirectoryError):
        return None


# --- directories ---------------------------------------------------------------------------------


async def mkdirs(call: Call) -> web.StreamResponse:
    """MKDIRS: with the missing directories above, which get the same mode; an old one is fine."""
    mode = call.parameters.permission(0o755)
    unmasked = call.parameters.permission(mode, "unmaskedpermission")
    if call.path == "/":
        return boolean(call, True)
    try:
        await call.ask(m.MakeDirectory(call.raw, mode, unmasked=unmasked))
    except PathNotFoundError:
        await _make_all(call, mode, unmasked)
    except (PathExistsError, NotDirectoryError):
        await _check_is_directory(call)
    return boolean(call, True)


async def _make_all(call: Call, mode: int, unmasked: int) -> None:
    """From the top down. As in HDFS the owner can always go on below what he makes."""
    missing = [call.path]
    while await find(call, above := parent(missing[-1])) is None:
        missing.append(above)
    for path in reversed(missing):
        extra = 0 if path == call.path else _OWNER_WRITES
        request = m.MakeDirectory(path.encode(), mode | extra, unmasked=unmasked | extra)
        try:
            await call.ask(request, path)
        except PathExistsError:
            if path == call.path:  # made by somebody else meanwhile
                await _check_is_directory(call)


async def _check_is_directory(call: Call) -> None:
    try:
        if (await look_up(call)).kind == FileKind.DIRECTORY:
            return
    except (PathNotFoundError, NotDirectoryError):
        pass
    await _refuse_mkdirs(call)


async def _refuse_mkdirs(call: Call) -> NoReturn:
    if await find(call, call.path) is not None:
        raise Refusal(EXISTS, f"Path is not a directory: {call.path}")
    raise Refusal(PARENT_NOT_DIRECTORY, f"Parent path is not a directory: {parent(call.path)}")


async def create_symlink(call: Call) -> web.StreamResponse:
    """CREATESYMLINK: the link is the path, ``destination`` what it points to."""
    target = call.parameters.required("destination", call.operation)
    parents = call.parameters.flag("createparent", False)
    try:
        await call.fs.symlink(target, call.path, parents=parents)
    except PathExistsError:
        raise Refusal(EXISTS, f"failed to create link {call.path}: it exists") from None
    return Reply()


async def delete(call: Call) -> web.StreamResponse:
    """DELETE: false when there is nothing (or for the root)."""
    recursive = call.parameters.flag("recursive")
    found = await find(call, call.path)
    if found is None or call.path == "/":
        return boolean(call, False)
    try:
        if found.kind == FileKind.DIRECTORY:
            await call.ask(m.RemoveDirectory(call.raw, recursive))
        else:
            await call.ask(m.Unlink(call.raw))
    except PathNotFoundError:
        return boolean(call, False)
    return boolean(call, True)


# --- rename --------------------------------------------------------------------------------------


async def rename(call: Call) -> web.StreamResponse:
    """RENAME: with options it succeeds or says why; without it answers true or false."""
    target = call.parameter_path("destination")
    options = call.parameters.choices("renameoptions", _OPTIONS)
    if not options:
        return boolean(call, await _rename_or_false(call, target))
    await _rename_or_raise(call, target, "OVERWRITE" in options)
    return Reply()


async def _rename_or_false(call: Call, target: str) -> bool:
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


async def _moved(call: Call, target: str) -> bool:
    """Rename to a name that is free; False when it is not, or cannot be had."""
    if target == "/":
        return False
    try:
        await call.ask(m.Rename(call.raw, wire_path(target), m.RenameMode.KEEP))
    except _CANNOT:
        return False
    return True


async def _rename_or_raise(call: Call, target: str, overwrite: bool) -> None:
    source = call.path
    _check_names(source, target)
    mode = m.RenameMode.REPLACE if overwrite else m.RenameMode.KEEP
    try:
        await call.ask(m.Rename(call.raw, wire_path(target), mode))
    except (*_CANNOT, DirectoryNotEmptyError) as error:
        await _refuse_rename(call, target, error)


def _check_names(source: str, target: str) -> None:
    if source == target:
        raise Refusal(EXISTS, f"The source {source} and destination {target} are the same")
    if source == "/":
        raise Refusal(IO, "rename source cannot be the root")
    if target == "/":
        raise Refusal(IO, "rename destination cannot be the root")
    if target.startswith(source + "/"):
        text = f"Rename destination {target} is a directory or file under source {source}"
        raise Refusal(IO, text)


async def _refuse_rename(call: Call, target: str, error: MemfsError) -> NoReturn:
    """Say why, in HDFS's order and words."""
    source = await find(call, call.path)
    if source is None:
        raise Refusal(FILE_NOT_FOUND, f"rename source {call.path} is not found.")
    held = await find(call, target)
    if held is not None:
        directories = [each.kind == FileKind.DIRECTORY for each in (source, held)]
        if directories[0] != directories[1]:
            text = f"Source {call.path} and destination {target} must both be directories"
            raise Refusal(IO, text)
        if isinstance(error, DirectoryNotEmptyError):
            raise Refusal(IO, f"rename destination directory is not empty: {target}")
        raise Refusal(EXISTS, f"rename destination {target} already exists")
    raise Refusal(*await _about_parent(call, target))


async def _about_parent(call: Call, target: str) -> tuple[Kind, str]:
    above = parent(target)
    try:
        await look_up(call, above)
    except (PathNotFoundError, NotDirectoryError):
        return FILE_NOT_FOUND, f"rename destination parent {above} not found."
    return PARENT_NOT_DIRECTORY, f"rename destination parent {above} is a file."


Operation = Callable[[Call], Awaitable[web.StreamResponse]]
PUT: dict[str, Operation] = {
    "MKDIRS": mkdirs,
    "CREATESYMLINK": create_symlink,
    "RENAME": rename,
}
DELETE: dict[str, Operation] = {"DELETE": delete}
