"""Extended attributes; access control lists are two of them for the kernel."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable
from typing import Final

from memfs import limits
from memfs.fuse import acls
from memfs.fuse.kernel.protocol import (
    GETXATTR_IN,
    GETXATTR_OUT,
    SETXATTR_ACL_KILL_SGID,
    SETXATTR_IN,
    InHeader,
    Opcode,
)
from memfs.fuse.mount import MountSession
from memfs.fuse.operations.handler import DONE, Handler, Parts, Reply, failure, name_at
from memfs.types import XattrMode

_MODES: Final = {
    0: XattrMode.SET,
    os.XATTR_CREATE: XattrMode.CREATE,
    os.XATTR_REPLACE: XattrMode.REPLACE,
}
_HIDDEN: Final = "trusted."
"""For the superuser's eyes only."""
_OFFERED: Final = ("user.", _HIDDEN)
"""Namespaces of the cluster; beside them there are access control lists."""


def _name(body: bytes, offset: int) -> str:
    """The attribute's name. Raises EOPNOTSUPP for one that no file has."""
    try:
        name = name_at(body, offset).decode("utf-8")
    except UnicodeDecodeError:
        raise failure(errno.EILSEQ) from None
    if not name.startswith(_OFFERED) and name not in acls.NAMES:
        raise failure(errno.EOPNOTSUPP)
    if name in _OFFERED:
        raise failure(errno.EINVAL)
    return name


def get(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """getxattr."""
    name = _name(body, GETXATTR_IN.size)
    inode = mount.cluster.inode(header.nodeid)
    if name in acls.NAMES:
        if mount.shapes.has_list.get(inode) is False:
            raise failure(errno.ENODATA)  # the kernel asks for each that it has just looked up
        value = _list_of(mount, inode, name)
    else:
        value = _value_of(mount, inode, name)
    return _sized_later(value, GETXATTR_IN.unpack(body).size)


async def _value_of(mount: MountSession, inode: int, name: str) -> bytes:
    return (await mount.cluster.xattrs(inode, name))[name]


async def _list_of(mount: MountSession, inode: int, name: str) -> bytes:
    """An access control list, as the kernel writes it."""
    entries = await mount.cluster.acl(inode)
    value = acls.encode(entries, name, mount.numbers.uid, mount.numbers.gid)
    if value is None:
        raise failure(errno.ENODATA)
    return value


async def _sized_later(value: Awaitable[bytes], room: int) -> Parts:
    return _sized(await value, room)


async def names(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """listxattr."""
    inode = mount.cluster.inode(header.nodeid)
    found = list(await mount.cluster.xattr_names(inode))
    if header.uid:
        found = [name for name in found if not name.startswith(_HIDDEN)]
    if mount.shapes.has_list.get(inode) is not False:
        entries = await mount.cluster.acl(inode)
        uid, gid = mount.numbers.uid, mount.numbers.gid
        found += [name for name in acls.NAMES if acls.encode(entries, name, uid, gid) is not None]
    text = b"".join(name.encode() + b"\0" for name in found)
    return _sized(text, GETXATTR_IN.unpack(body).size)


def _sized(value: bytes, room: int) -> Parts:
    """A value, or its length for a caller without a buffer. Raises ERANGE."""
    if room == 0:
        return (GETXATTR_OUT.pack(len(value)),)
    if len(value) > room:
        raise failure(errno.ERANGE)
    return (value,)


async def put(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """setxattr."""
    asked = SETXATTR_IN.unpack(body)
    name = _name(body, SETXATTR_IN.size)
    begin = SETXATTR_IN.size + len(name.encode()) + 1
    value = body[begin : begin + asked.size]
    if asked.flags not in _MODES:
        raise failure(errno.EINVAL)
    if name in acls.NAMES:
        drop = bool(asked.setxattr_flags & SETXATTR_ACL_KILL_SGID)
        await _change_list(mount, mount.cluster.inode(header.nodeid), name, value, drop)
        return DONE
    if len(value) > limits.XATTR_VALUE_BYTES:
        raise failure(errno.E2BIG)
    inode = mount.cluster.inode(header.nodeid)
    await mount.cluster.set_xattr(inode, name, value, _MODES[asked.flags])
    mount.changed(inode)
    return DONE


async def remove(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """removexattr."""
    name = _name(body, 0)
    inode = mount.cluster.inode(header.nodeid)
    if name in acls.NAMES:
        await _change_list(mount, inode, name, None, False)
    else:
        await mount.cluster.remove_xattr(inode, name)
        mount.changed(inode)
    return DONE


async def _change_list(
    mount: MountSession, inode: int, name: str, value: bytes | None, drop_set_gid: bool
) -> None:
    """setfacl. ``drop_set_gid``: by somebody who is not of the file's group."""
    mode = (await mount.cluster.attributes(inode)).mode
    user, group = mount.numbers.user, mount.numbers.group
    mount.shapes.has_list.pop(inode, None)
    entries = acls.replacement(name, value, mode, user, group)
    if entries:
        found = await mount.cluster.set_acl(inode, entries)
    else:
        found = await mount.cluster.remove_default_acl(inode)
    if drop_set_gid and found.mode & stat.S_ISGID:
        await mount.cluster.set_attributes(inode, mode=found.mode & ~stat.S_ISGID)
    mount.changed(inode)


HANDLERS: Final[dict[int, Handler]] = {
    Opcode.GETXATTR: get,
    Opcode.LISTXATTR: names,
    Opcode.SETXATTR: put,
    Opcode.REMOVEXATTR: remove,
}
