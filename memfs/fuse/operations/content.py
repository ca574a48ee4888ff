"""Files: opening them, reading, writing and publishing their bytes."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

from memfs import limits
from memfs.client.session.request_ids import repeats
from memfs.errors import MemfsError, PathExistsError
from memfs.fuse.files.open_inode import OpenInode
from memfs.fuse.files.open_inodes import writes
from memfs.fuse.kept import Payload
from memfs.fuse.kernel.protocol import (
    COPY_FILE_RANGE_IN,
    CREATE_IN,
    FALLOCATE_IN,
    FLUSH_IN,
    FSYNC_IN,
    LSEEK_IN,
    LSEEK_OUT,
    OPEN_IN,
    OPEN_KILL_SUIDGID,
    OPEN_OUT,
    READ_IN,
    RELEASE_FLOCK_UNLOCK,
    RELEASE_IN,
    UNIQUE_RESEND,
    WRITE_CACHE,
    WRITE_IN,
    WRITE_KILL_SUIDGID,
    WRITE_OUT,
    CreateIn,
    InHeader,
    Opcode,
    OpenFlag,
)
from memfs.fuse.ledger import OpenDescriptor
from memfs.fuse.mount import FLAGS, MountSession
from memfs.fuse.operations.handler import (
    DONE,
    Handler,
    Parts,
    Reply,
    check_utf8,
    failure,
    name_at,
)
from memfs.fuse.operations.locks import unlock_closed
from memfs.types import Attributes, FileKind, LockKind

KEEP_SIZE: Final = 0x01
PUNCH_HOLE: Final = 0x02
ZERO_RANGE: Final = 0x10
"""Of fallocate(2)."""
COPIED_AT_ONCE: Final = 1 << 30
"""Bytes of one copy_file_range at most; programs go on where it ends."""
VIEWED_BYTES: Final = 64 * limits.KIB
"""Reads from this size on go out of the node's memory as it is mapped here: so much is mapped by
one fault. A smaller one is copied once more, which is cheaper than a fault."""
LENT_BYTES: Final = 64 * limits.KIB
"""Writes from this size on are sent from where they were received; smaller ones are copied, for a
message has few pieces."""
_FLAG_BITS: Final = 32
_MODE_BITS: Final = 0o7777


async def open_(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """open of an existing file."""
    asked = OPEN_IN.unpack(body)
    inode = mount.cluster.inode(header.nodeid)
    file = mount.files.use(inode)
    mount.files.opened(file, asked.flags)
    try:
        if asked.flags & os.O_TRUNC:  # whatever it may do then, as Linux has it
            await _emptied(mount, header, file, asked.open_flags)
            kept = False
        else:
            kept = await mount.files.look(file, asked.flags)
        await file.stay()
    except BaseException:
        await mount.files.give_up(inode, asked.flags)
        raise
    return (_opened(mount, header, inode, asked.flags, kept),)


async def _emptied(
    mount: MountSession, header: InHeader, file: OpenInode, open_flags: int
) -> Attributes:
    """The attributes of a file whose content an open drops."""
    found = await file.empty()
    if not open_flags & OPEN_KILL_SUIDGID:
        return found
    mode = await mount.drop_set_id(file, found, header)
    return found._replace(mode=mode)


def _opened(mount: MountSession, header: InHeader, inode: int, flags: int, kept: bool) -> bytes:
    """The reply: what was opened is known by its flags and, above them, a number."""
    number = next(mount.numbering) & FLAGS
    handle = number << _FLAG_BITS | flags & FLAGS
    mount.ledger.open(OpenDescriptor(handle, header.unique & ~UNIQUE_RESEND, inode))
    return OPEN_OUT.pack(handle, OpenFlag.KEEP_CACHE if kept else 0, 0)


async def create(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """open that creates the file."""
    asked = CREATE_IN.unpack(body)
    name = check_utf8(name_at(body, CREATE_IN.size))
    cluster = mount.cluster
    parent = cluster.inode(header.nodeid)
    unmasked = asked.mode & _MODE_BITS
    made = parent, name, unmasked & ~asked.umask, unmasked, mount.owner(header)
    try:
        with mount.making(parent, name) as change:
            if repeats():  # a former worker has made it, and its lease is over
                found = await cluster.attributes(await cluster.find_created(*made))
                asked = asked._replace(flags=asked.flags & ~os.O_TRUNC)
                return await _open_found(mount, header, found, asked)
            handle, change.also_changed = await cluster.create(*made)
            change.found = handle.file.attributes
    except PathExistsError:
        if asked.flags & os.O_EXCL:
            raise
        return await _open_found(mount, header, await cluster.lookup(parent, name), asked)
    found = handle.file.attributes
    file = mount.files.use(found.inode)
    file.begin_writing(handle)
    mount.files.opened(file, asked.flags)
    await file.stay()
    believed = mount.validity() if change.good else None
    opened = _opened(mount, header, found.inode, asked.flags, False)
    return (*mount.entry(found, believed, mount.named(parent, name, found)), opened)


async def create_unnamed(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """open with O_TMPFILE: link gives it a name, unless O_EXCL forbids that."""
    asked = CREATE_IN.unpack(body)
    cluster = mount.cluster
    unmasked = asked.mode & _MODE_BITS
    handle = await cluster.create_unnamed(
        cluster.inode(header.nodeid),
        unmasked & ~asked.umask,
        unmasked,
        mount.owner(header),
        linkable=not asked.flags & os.O_EXCL,
    )
    found = handle.file.attributes
    file = mount.files.use(found.inode)
    file.begin_writing(handle)
    mount.files.opened(file, asked.flags)
    await file.stay()
    await file.outlast_name()
    opened = _opened(mount, header, found.inode, asked.flags, False)
    return (*mount.entry(found), opened)


async def _open_found(
    mount: MountSession, header: InHeader, found: Attributes, asked: CreateIn
) -> Parts:
    """Open a file that was created elsewhere between the lookup and the create."""
    flags = asked.flags
    if found.kind != FileKind.FILE:
        raise failure(errno.EEXIST)
    file = mount.files.use(found.inode)
    mount.files.opened(file, flags)
    try:
        if flags & os.O_TRUNC:
            found = await _emptied(mount, header, file, asked.open_flags)
        await file.stay()
    except BaseException:
        await mount.files.give_up(found.inode, flags)
        raise
    return (*mount.entry(found), _opened(mount, header, found.inode, flags, False))


def read(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """read."""
    asked = READ_IN.unpack(body)
    file = mount.files.use(mount.cluster.inode(header.nodeid))
    if asked.size >= VIEWED_BYTES:
        views = file.views_now(asked.offset, asked.size)
        if views is not None:
            return views
    into = mount.scratch[: asked.size]
    length = file.read_now(asked.offset, into) if len(into) == asked.size else -1
    if length < 0:
        return _read(file, asked.offset, asked.size)
    return (into[:length],)


async def _read(file: OpenInode, offset: int, length: int) -> Parts:
    return (await file.read(offset, length),)


def write(mount: MountSession, header: InHeader, body: bytes, payload: Payload | None) -> Reply:
    """write."""
    asked = WRITE_IN.unpack(body)
    if payload is None:
        return (WRITE_OUT.pack(asked.size),)
    payload.request = header.unique & ~UNIQUE_RESEND
    if payload.request != header.unique and mount.kept.was_noted(payload.request):
        return (WRITE_OUT.pack(asked.size),)  # a former worker has done it
    file = mount.files.use(mount.cluster.inode(header.nodeid))
    at_end = asked.flags & os.O_APPEND and not asked.write_flags & WRITE_CACHE
    offset = None if at_end else asked.offset
    drops = bool(asked.write_flags & WRITE_KILL_SUIDGID)
    if not drops and file.write_now(offset, payload, lent=len(payload.data) >= LENT_BYTES):
        return (WRITE_OUT.pack(asked.size),)
    return _write(mount, file, offset, payload, header if drops else None)


async def _write(
    mount: MountSession,
    file: OpenInode,
    offset: int | None,
    payload: Payload,
    dropping: InHeader | None,
) -> Parts:
    """``dropping``: the request of somebody who may not keep set-id bits."""
    size = len(payload.data)
    await file.write(offset, payload)
    if dropping is not None:
        found = await mount.cluster.attributes(file.inode)
        await mount.drop_set_id(file, found, dropping)
    return (WRITE_OUT.pack(size),)


def flush(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """close of one descriptor: others see what was written when it returns."""
    asked = FLUSH_IN.unpack(body)
    inode = mount.cluster.inode(header.nodeid)
    if mount.range_owners:
        mount.range_owners.get(asked.fh, set()).discard(asked.lock_owner)
    file = mount.files.get(inode) if writes(asked.fh) else None
    if file is None and not mount.cluster.locks.holds(inode, asked.lock_owner, LockKind.RANGE):
        return DONE
    return _flush(mount, inode, file, asked.lock_owner)


async def _flush(mount: MountSession, inode: int, file: OpenInode | None, lock_owner: int) -> Parts:
    try:
        if file is not None:
            await (file.release_at_last() if file.writers <= 1 else file.publish())
    finally:
        await unlock_closed(mount, inode, lock_owner, LockKind.RANGE)
    return DONE


def release(mount: MountSession, header: InHeader, body: bytes) -> Reply:
    """release: the last descriptor of an open file was closed."""
    asked = RELEASE_IN.unpack(body)
    inode = mount.cluster.inode(header.nodeid)
    if not mount.ledger.close(asked.fh):  # a former worker has done it
        return DONE
    file = mount.files.released(inode, asked.flags)
    locked = [(each, LockKind.RANGE) for each in mount.range_owners.pop(asked.fh, ())]
    if asked.release_flags & RELEASE_FLOCK_UNLOCK:
        locked.append((asked.lock_owner, LockKind.WHOLE))
    if file is None and not locked:
        return DONE
    return _release(mount, inode, file, locked)


async def _release(
    mount: MountSession, inode: int, file: OpenInode | None, locked: list[tuple[int, LockKind]]
) -> Parts:
    try:
        if file is not None:
            await mount.files.put_down(file)
    finally:
        for owner, kind in locked:
            with contextlib.suppress(MemfsError):  # nobody hears it, and it is done later
                await unlock_closed(mount, inode, owner, kind)
    return DONE


async def synchronise(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """fsync and fdatasync: all copies of what was written exist when it returns."""
    FSYNC_IN.unpack(body)
    file = mount.files.get(mount.cluster.inode(header.nodeid))
    if file is not None:
        await file.publish()
    return DONE


async def allocate(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """fallocate: holes and zeros, and lengths. Space is not set aside, but it has to be there."""
    asked = FALLOCATE_IN.unpack(body)
    file = mount.files.use(mount.cluster.inode(header.nodeid))
    end = asked.offset + asked.length
    if asked.mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE):
        raise failure(errno.EOPNOTSUPP)
    if asked.mode & (PUNCH_HOLE | ZERO_RANGE):
        await file.zero(asked.offset, asked.length, grow=not asked.mode & KEEP_SIZE)
        return DONE
    found = await mount.cluster.capacity()
    if asked.length > found.capacity - found.used:
        raise failure(errno.ENOSPC)
    if not asked.mode & KEEP_SIZE and end > (await mount.attributes(file.inode))[0].size:
        await file.truncate(end)
    else:
        await file.touch()
    return DONE


async def copy(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """copy_file_range: no byte of it comes here."""
    asked = COPY_FILE_RANGE_IN.unpack(body)
    source = mount.files.use(mount.cluster.inode(header.nodeid))
    target = mount.files.use(mount.cluster.inode(asked.nodeid_out))
    length = min(asked.len, COPIED_AT_ONCE)
    done = await target.copy_from(source, asked.off_in, asked.off_out, length)
    return (WRITE_OUT.pack(done),)


async def seek(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """lseek to data or to a hole, which are told from one another by blocks."""
    asked = LSEEK_IN.unpack(body)
    file = mount.files.use(mount.cluster.inode(header.nodeid))
    if asked.whence not in (os.SEEK_DATA, os.SEEK_HOLE):
        raise failure(errno.EINVAL)
    found = await file.seek(asked.offset, asked.whence)
    if found is None:
        raise failure(errno.ENXIO)
    return (LSEEK_OUT.pack(found),)


HANDLERS: Final[dict[int, Handler]] = {
    Opcode.OPEN: open_,
    Opcode.CREATE: create,
    Opcode.TMPFILE: create_unnamed,
    Opcode.READ: read,
    Opcode.FLUSH: flush,
    Opcode.RELEASE: release,
    Opcode.FSYNC: synchronise,
    Opcode.FALLOCATE: allocate,
    Opcode.LSEEK: seek,
    Opcode.COPY_FILE_RANGE: copy,
}
