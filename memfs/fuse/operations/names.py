"""Names: looking them up, making, moving and removing them."""

from __future__ import annotations

import errno
import stat
from typing import Final

from memfs import limits
from memfs.client.inodes import Made, Owner
from memfs.client.session.request_ids import repeats
from memfs.errors import InvalidPathError, PathNotFoundError, StaleHandleError
from memfs.fuse.attributes import Validity
from memfs.fuse.kernel.protocol import (
    LINK_IN,
    MKDIR_IN,
    MKNOD_IN,
    RENAME2_IN,
    RENAME_IN,
    InHeader,
    Opcode,
)
from memfs.fuse.mount import MountSession
from memfs.fuse.operations.handler import (
    DONE,
    Handler,
    Parts,
    Reply,
    check_utf8,
    failure,
    name_at,
    two_names_at,
)
from memfs.types import KIND_OF_TYPE, FileKind, RenameMode

NOREPLACE: Final = 1
EXCHANGE: Final = 2
"""Of renameat2(2)."""
_RENAME_MODES: Final = {
    0: RenameMode.REPLACE,
    NOREPLACE: RenameMode.KEEP,
    EXCHANGE: RenameMode.EXCHANGE,
}
_DEVICES: Final = (FileKind.CHARACTER_DEVICE, FileKind.BLOCK_DEVICE)
_MODE_BITS: Final = 0o7777
_REFUSED_LINKS: Final = 64
"""Remembered for the moment until the kernel asks again."""


def lookup(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """lookup."""
    name = name_at(body)
    if len(name) > limits.NAME_BYTES:
        raise failure(errno.ENAMETOOLONG)
    parent = mount.cluster.inode(header.nodeid)
    recalled = mount.recall_name(parent, name)
    if recalled is None:
        return _look_up(mount, parent, name)
    if isinstance(recalled, int):
        return _absent(mount, parent, name)
    return (recalled,)


async def _look_up(mount: MountSession, parent: int, name: bytes) -> Parts:
    try:
        found, validity = await mount.look_up(parent, name)
    except (PathNotFoundError, StaleHandleError, InvalidPathError):
        return _absent(mount, parent, name)
    return mount.entry(found, validity, mount.named(parent, name, found))


def _absent(mount: MountSession, parent: int, name: bytes) -> Parts:
    seconds = mount.unnamed(parent, name)
    if not seconds:
        raise failure(errno.ENOENT) from None
    return (mount.shapes.absent(Validity(seconds)),)


def forget(mount: MountSession, header: InHeader, body: bytes) -> None:
    """forget: nothing is kept for a node, so there is nothing to do."""


async def make_directory(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """mkdir."""
    asked = MKDIR_IN.unpack(body)
    name = check_utf8(name_at(body, MKDIR_IN.size))
    unmasked = asked.mode & _MODE_BITS
    parent = mount.cluster.inode(header.nodeid)
    mode, owner = unmasked & ~asked.umask, mount.owner(header)
    making = mount.cluster.make_directory(parent, name, mode, unmasked, owner)
    return await mount.make(parent, name, making)


async def make_node(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """mknod."""
    asked = MKNOD_IN.unpack(body)
    name = check_utf8(name_at(body, MKNOD_IN.size))
    unmasked = asked.mode & _MODE_BITS
    mode = unmasked & ~asked.umask
    kind = KIND_OF_TYPE.get(stat.S_IFMT(asked.mode), FileKind.FILE)
    parent, owner = mount.cluster.inode(header.nodeid), mount.owner(header)
    if kind.special:
        device = asked.rdev if kind in _DEVICES else 0
        making = mount.cluster.make_node(parent, name, kind, mode, unmasked, device, owner)
        return await mount.make(parent, name, making)
    return await mount.make(parent, name, _make_file(mount, parent, name, mode, unmasked, owner))


async def _make_file(
    mount: MountSession, parent: int, name: bytes, mode: int, unmasked: int, owner: Owner
) -> Made:
    if repeats():  # a former worker has made it
        inode = await mount.cluster.find_created(parent, name, mode, unmasked, owner)
        return Made(await mount.cluster.attributes(inode), ())
    handle, also_changed = await mount.cluster.create(parent, name, mode, unmasked, owner)
    await handle.close()
    return Made(handle.file.attributes, also_changed)


async def make_symlink(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """symlink."""
    name, target = map(check_utf8, two_names_at(body, 0))
    parent = mount.cluster.inode(header.nodeid)
    making = mount.cluster.make_symlink(parent, name, target, mount.owner(header))
    return await mount.make(parent, name, making)


async def read_link(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """readlink."""
    return (await mount.cluster.read_link(mount.cluster.inode(header.nodeid)),)


async def make_link(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """link."""
    source = mount.cluster.inode(LINK_IN.unpack(body).oldnodeid)
    file = mount.files.get(source)
    if file is not None and file.dirty:  # the reply says its size
        await file.publish_for_stat()
    name = check_utf8(name_at(body, LINK_IN.size))
    parent = mount.cluster.inode(header.nodeid)
    try:
        return await mount.make(parent, name, mount.cluster.make_link(source, parent, name))
    except StaleHandleError:
        if mount.refused_links.pop(header.pid, None) == source:
            raise failure(errno.ENOENT) from None
        if len(mount.refused_links) >= _REFUSED_LINKS:
            del mount.refused_links[next(iter(mount.refused_links))]
        mount.refused_links[header.pid] = source
        raise failure(errno.ESTALE) from None


async def unlink(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """unlink."""
    parent, name = mount.cluster.inode(header.nodeid), name_at(body)
    await mount.outlast_name(parent, name)
    with mount.removing(parent, name) as change:
        change.also_changed = await mount.cluster.unlink(parent, name)
    return DONE


async def remove_directory(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """rmdir."""
    parent, name = mount.cluster.inode(header.nodeid), name_at(body)
    with mount.removing(parent, name) as change:
        change.also_changed = await mount.cluster.remove_directory(parent, name)
    return DONE


def rename(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """rename."""
    new_parent = RENAME_IN.unpack(body).newdir
    return _rename(mount, header, body, RENAME_IN.size, new_parent, 0)


def rename2(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """renameat2."""
    asked = RENAME2_IN.unpack(body)
    return _rename(mount, header, body, RENAME2_IN.size, asked.newdir, asked.flags)


async def _rename(
    mount: MountSession, header: InHeader, body: bytes, offset: int, new_parent: int, flags: int
) -> Parts:
    if flags not in _RENAME_MODES:
        raise failure(errno.EINVAL)
    name, new_name = two_names_at(body, offset)
    check_utf8(new_name)
    parent, target = mount.cluster.inode(header.nodeid), mount.cluster.inode(new_parent)
    if flags != EXCHANGE:
        await mount.outlast_name(target, new_name)
    with mount.renaming(parent, name, target, new_name) as change:
        mode = _RENAME_MODES[flags]
        change.also_changed = await mount.cluster.rename(parent, name, target, new_name, mode)
        change.swaps = mode == RenameMode.EXCHANGE
    return DONE


HANDLERS: Final[dict[int, Handler]] = {
    Opcode.LOOKUP: lookup,
    Opcode.FORGET: forget,
    Opcode.BATCH_FORGET: forget,
    Opcode.MKDIR: make_directory,
    Opcode.MKNOD: make_node,
    Opcode.SYMLINK: make_symlink,
    Opcode.READLINK: read_link,
    Opcode.LINK: make_link,
    Opcode.UNLINK: unlink,
    Opcode.RMDIR: remove_directory,
    Opcode.RENAME: rename,
    Opcode.RENAME2: rename2,
}
