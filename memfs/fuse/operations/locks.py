"""File locks: fcntl's ranges and flock's whole files, kept in the cluster for all hosts.

A lock is also a promise about bytes: what was written under it is published before it is given up,
and what is read under it is asked for anew. Ranges may belong to what was opened instead of to a
process (F_OFD_SETLK): the kernel tells neither the difference nor the end of these, so that what
was locked through a descriptor, and no process has unlocked by closing it, goes with the last one.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
from typing import Final

from memfs.errors import LocksLostError
from memfs.fuse.kernel.protocol import FILE_LOCK, LK_FLOCK, LK_IN, InHeader, LkIn, Opcode
from memfs.fuse.ledger import Locked
from memfs.fuse.mount import MountSession
from memfs.fuse.operations.handler import DONE, Handler, Parts
from memfs.types import LOCK_END, LockKind

log = logging.getLogger(__name__)


async def test(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """F_GETLK: the lock that would conflict."""
    asked = LK_IN.unpack(body)
    found = await mount.cluster.locks.test(
        mount.cluster.inode(header.nodeid),
        asked.owner,
        exclusive=asked.type == fcntl.F_WRLCK,
        start=asked.start,
        end=asked.end,
    )
    if found is None:
        return (FILE_LOCK.pack(asked.start, asked.end, fcntl.F_UNLCK, 0),)
    kind = fcntl.F_WRLCK if found.exclusive else fcntl.F_RDLCK
    return (FILE_LOCK.pack(found.start, found.end, kind, found.pid if found.own else 0),)


async def set_now(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """F_SETLK, and flock with LOCK_NB: lock or unlock, but do not wait."""
    return await _set(mount, header, LK_IN.unpack(body), None)


async def set_waiting(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """F_SETLKW, and flock: wait for a lock, until a signal comes."""
    interrupted = mount.interruptible[header.unique] = asyncio.Event()
    try:
        return await _set(mount, header, LK_IN.unpack(body), interrupted)
    finally:
        del mount.interruptible[header.unique]


async def _set(
    mount: MountSession, header: InHeader, asked: LkIn, interrupted: asyncio.Event | None
) -> Parts:
    inode = mount.cluster.inode(header.nodeid)
    kind = LockKind.WHOLE if asked.lk_flags & LK_FLOCK else LockKind.RANGE
    if asked.type == fcntl.F_UNLCK:
        await unlock(mount, inode, asked.owner, kind, asked.start, asked.end)
        return DONE
    if kind == LockKind.RANGE:
        mount.range_owners.setdefault(asked.fh, set()).add(asked.owner)
    mount.ledger.lock(Locked(asked.owner, kind, asked.fh, inode))
    try:
        await mount.cluster.locks.acquire(
            inode,
            asked.owner,
            exclusive=asked.type == fcntl.F_WRLCK,
            kind=kind,
            start=asked.start,
            end=asked.end,
            pid=asked.pid,
            wait=interrupted is not None,
            interrupted=interrupted,
        )
    finally:
        _note_unlocked(mount, inode, asked.owner, kind)
    await mount.forget(inode)
    return DONE


async def unlock(
    mount: MountSession, inode: int, owner: int, kind: LockKind, start: int, end: int
) -> None:
    """Publish what was written under a lock, then give it up."""
    locks = mount.cluster.locks
    if not locks.holds(inode, owner, kind):
        _note_unlocked(mount, inode, owner, kind)
        return
    file = mount.files.get(inode)
    if file is not None:
        await file.pass_on()
    try:
        await locks.release(inode, owner, kind=kind, start=start, end=end)
    except LocksLostError as error:
        log.warning("process unlocks inode %d in vain: %s", inode, error)
    _note_unlocked(mount, inode, owner, kind)


async def unlock_closed(mount: MountSession, inode: int, owner: int, kind: LockKind) -> None:
    """As :func:`unlock`, of all that is locked, when a descriptor is closed: nobody asks for it
    again, so that what cannot be published now is published, and unlocked, later."""
    file = mount.files.get(inode)
    try:
        await unlock(mount, inode, owner, kind, 0, LOCK_END)
    except BaseException:
        if file is not None:
            mount.cluster.locks.release_later(
                inode,
                owner,
                kind=kind,
                first=file.settle,
                then=lambda: _note_unlocked(mount, inode, owner, kind),
            )
        raise


def _note_unlocked(mount: MountSession, inode: int, owner: int, kind: LockKind) -> None:
    """Another worker need not care for the locks of an owner who has none (any more)."""
    if not mount.cluster.locks.knows(inode, owner, kind):
        mount.ledger.unlock(inode, owner, kind)


HANDLERS: Final[dict[int, Handler]] = {
    Opcode.GETLK: test,
    Opcode.SETLK: set_now,
    Opcode.SETLKW: set_waiting,
}
