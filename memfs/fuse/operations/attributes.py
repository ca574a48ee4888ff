"""Attributes: stat, chmod, chown, utimens, truncate, statfs."""

from __future__ import annotations

from typing import Final, TypedDict

from memfs import limits
from memfs.client.stat import nearest_time_ns
from memfs.errors import NotPermittedError, StaleHandleError
from memfs.fuse.kernel.protocol import SETATTR_IN, STATFS_OUT, InHeader, Opcode, SetAttr, SetattrIn
from memfs.fuse.mount import MountSession
from memfs.fuse.operations.handler import Handler, Parts, Reply
from memfs.types import Attributes, FileKind

_BILLION: Final = 1_000_000_000
_MODE_BITS: Final = 0o7777
_UNSAID: Final = SetAttr.FH | SetAttr.LOCKOWNER | SetAttr.CTIME
"""SETATTR without any other bit: a chown that changes nothing, or the content was changed by a call
other than write(2). It sets the change time and clears the set-id bits."""
_NOW: Final = SetAttr.ATIME_NOW | SetAttr.MTIME_NOW


def get(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """stat."""
    inode = mount.cluster.inode(header.nodeid)
    recalled = mount.recall(inode)
    return _get(mount, inode) if recalled is None else (recalled,)


async def _get(mount: MountSession, inode: int) -> Parts:
    await mount.names.run_out(inode)
    try:
        found, validity = await mount.attributes(inode)
    except StaleHandleError:
        if not mount.has_directory_open(inode):
            raise
        found, validity = removed_directory(inode), mount.shapes.attributes
    return (mount.shapes.attr(found, validity),)


def removed_directory(inode: int) -> Attributes:
    """The attributes of a removed directory that a process has open or works in."""
    return Attributes(inode, FileKind.DIRECTORY, 0o700, 0, "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0)


async def change(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """chmod, chown, utimens, truncate, in one request or several."""
    asked = SETATTR_IN.unpack(body)
    inode = mount.cluster.inode(header.nodeid)
    try:
        found = await _change(mount, header, inode, asked)
    except StaleHandleError:
        if not mount.has_directory_open(inode):
            raise
        found = removed_directory(inode)
    return (mount.shapes.attr(found),)


async def _change(
    mount: MountSession, header: InHeader, inode: int, asked: SetattrIn
) -> Attributes:
    found: Attributes | None = None
    if asked.valid & SetAttr.SIZE:
        found = await _truncate(mount, inode, asked.size)
    else:
        file = mount.files.get(inode)
        if file is not None and file.dirty:  # or publishing it would change the times again
            await file.publish_for_stat()
    if not asked.valid & ~_UNSAID:
        return await _touch(mount, header, inode)
    fields = await _fields(mount, header, inode, asked, found)
    if fields or found is None:
        found = await mount.cluster.set_attributes(inode, **fields)
        mount.changed(inode)
    return found


class AttributeChanges(TypedDict, total=False):
    """Arguments of ``InodeOperations.set_attributes``."""

    mode: int
    owner: str
    group: str
    modified_ns: int
    accessed_ns: int
    now: bool
    modified_now: bool
    accessed_now: bool


async def _touch(mount: MountSession, header: InHeader, inode: int) -> Attributes:
    """Change the time of the inode, and its set-id bits."""
    found = await mount.cluster.attributes(inode)
    mode = mount.without_set_id(found, header)
    fields = AttributeChanges(owner=found.owner)
    if mode != found.mode and found.kind != FileKind.DIRECTORY:
        fields = AttributeChanges(mode=mode)
    try:
        found = await mount.cluster.set_attributes(inode, **fields)
    except NotPermittedError:  # a mount in somebody's name, and a file of another's
        return found
    mount.changed(inode)
    return found


async def _truncate(mount: MountSession, inode: int, size: int) -> Attributes:
    file = mount.files.use(inode)
    try:
        return await file.truncate(size)
    finally:
        if not file.writers:
            await file.release()
        await mount.files.put_down(file)


async def _fields(
    mount: MountSession,
    header: InHeader,
    inode: int,
    asked: SetattrIn,
    found: Attributes | None,
) -> AttributeChanges:
    """The attributes to set, by their names in the client's API."""
    valid = asked.valid
    fields = AttributeChanges()
    if valid & SetAttr.MODE:
        fields["mode"] = asked.mode & _MODE_BITS
    elif valid & SetAttr.KILL_SUIDGID and not valid & (SetAttr.UID | SetAttr.GID):
        found = found or await mount.cluster.attributes(inode)
        mode = mount.without_set_id(found, header)
        if mode != found.mode and found.kind != FileKind.DIRECTORY:
            fields["mode"] = mode
    if valid & SetAttr.UID:
        fields["owner"] = mount.numbers.user(asked.uid)
    if valid & SetAttr.GID:
        fields["group"] = mount.numbers.group(asked.gid)
    _set_times(fields, asked)
    return fields


def _set_times(fields: AttributeChanges, asked: SetattrIn) -> None:
    valid = asked.valid
    if valid & _NOW == _NOW:
        fields["now"] = True
        return
    if valid & SetAttr.ATIME_NOW:  # the cluster's time, as of all that is written
        fields["accessed_now"] = True
    elif valid & SetAttr.ATIME:
        fields["accessed_ns"] = nearest_time_ns(asked.atime * _BILLION + asked.atimensec)
    if valid & SetAttr.MTIME_NOW:
        fields["modified_now"] = True
    elif valid & SetAttr.MTIME:
        fields["modified_ns"] = nearest_time_ns(asked.mtime * _BILLION + asked.mtimensec)


async def capacity(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """statfs: bytes of all nodes, each copy counted once."""
    found = await mount.cluster.capacity()
    unit = limits.BLOCK_BYTES_MIN
    free = max(0, found.capacity - found.used) // unit
    used = found.files + found.directories
    return (
        STATFS_OUT.pack(
            found.capacity // unit,
            free,
            free,
            used + free,  # a file takes a block at least
            free,
            unit,
            limits.NAME_BYTES,
            unit,
        ),
    )


HANDLERS: Final[dict[int, Handler]] = {
    Opcode.GETATTR: get,
    Opcode.SETATTR: change,
    Opcode.STATFS: capacity,
}
