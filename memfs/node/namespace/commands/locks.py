"""Locking and unlocking, waiting for a lock, and who is in the way.

A lock needs what holding an open descriptor of the inode would have needed: its owner, whoever may
read or write it, and the superuser, as whom a mount asks after the kernel has looked at the
descriptor. What a client holds, it may always give up.
"""

from __future__ import annotations

import hashlib
from typing import Final

from memfs.errors import InvalidArgumentError, StaleHandleError, WouldBlockError
from memfs.node.namespace.rules.permissions import READ, WRITE, Caller
from memfs.node.namespace.tables.inodes import SYMLINK, is_named
from memfs.node.namespace.tables.locks import Lock, Table, Waiter
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import (
    AwaitLock,
    AwaitLockReply,
    CancelLock,
    CancelLockReply,
    GetLock,
    GetLockReply,
    LockMode,
    LockReply,
    LockState,
    SetLock,
)
from memfs.types import LOCK_END, LockKind

_OWNERS: Final = range(1 << 64)
_EXCLUSIVE: Final = int(LockMode.EXCLUSIVE)
_UNLOCK: Final = int(LockMode.UNLOCK)


def set_lock(volume: Volume, command: Command, request: SetLock) -> LockReply:
    """fcntl(F_SETLK, F_SETLKW), flock."""
    locks, client = volume.locks, command.client
    slot = _inode(volume, request)
    table, lock = _wanted(slot, request, client, request.pid)
    if request.mode == _UNLOCK:
        locks.drop(table, lock)
        command.woken += locks.grant(table)
        session = volume.sessions.by_client.get(client)
        return LockReply(session.number if session is not None else 0)
    _check_permission(volume, command.caller, slot)
    if request.kind == LockKind.WHOLE and (had := locks.of(table, lock.by)):
        if had[0].exclusive == lock.exclusive:
            return LockReply(
                volume.sessions.number(client, command.index, command.caller.user).number
            )
        locks.drop(table, lock)
    try:
        return _lock(volume, command, request, table, lock)
    finally:  # a range may now be shared, or the old lock on the whole be gone
        command.woken += locks.grant(table)


def _lock(
    volume: Volume, command: Command, request: SetLock, table: Table, lock: Lock
) -> LockReply:
    """Grant it or let it wait. Raises WouldBlockError, LockDeadlockError, NoLocksError."""
    locks, client = volume.locks, command.client
    volume.check_session(command)
    locks.check_room(client, table)
    waiter = Waiter(command.index, table, lock)
    waits = locks.conflict(table, lock) is not None
    if waits:
        if not request.wait:
            raise WouldBlockError("somebody else has locked it")
        locks.check_deadlock(waiter)
    number = volume.sessions.number(client, command.index, command.caller.user).number
    if waits:
        locks.enqueue(waiter)
        return LockReply(number, waiter.ticket)
    locks.set(table, lock)
    return LockReply(number)


def cancel_lock(volume: Volume, command: Command, request: CancelLock) -> CancelLockReply:
    """Take a request back that waits still."""
    cancelled = volume.locks.leave(command.client, request.ticket)
    if cancelled:
        command.woken.append(request.ticket)
    return CancelLockReply(cancelled)


def get_lock(volume: Volume, caller: Caller, request: GetLock) -> GetLockReply:
    """fcntl(F_GETLK): the first lock that would be in the way."""
    slot = _inode(volume, request)
    _check_permission(volume, caller, slot)
    table, lock = _wanted(slot, request, request.client, 0)
    found = volume.locks.conflict(table, lock) if request.mode != _UNLOCK else None
    if found is None:
        return GetLockReply(_UNLOCK)
    mode = LockMode.EXCLUSIVE if found.exclusive else LockMode.SHARED
    whose = found.client if found.client == request.client else _pseudonym(found.client)
    return GetLockReply(int(mode), found.start, found.end, found.pid, whose, found.owner)


def _pseudonym(client: int) -> int:
    """A number that stands for another client: who knows a client's id can speak as that client."""
    digest = hashlib.blake2b(client.to_bytes(8, "little"), digest_size=8, person=b"lock holder")
    return int.from_bytes(digest.digest(), "little") >> 1


def await_lock(volume: Volume, caller: Caller, request: AwaitLock) -> AwaitLockReply:
    """The state of a waiting request; the service does the waiting."""
    session = volume.sessions.by_client.get(request.client)
    if session is None or session.number != request.session:
        return AwaitLockReply(int(LockState.LOST))
    if request.ticket in session.waits:
        return AwaitLockReply(int(LockState.WAITING))
    gone = not volume.tree.inodes.slot_of(request.inode)
    return AwaitLockReply(int(LockState.LOST if gone else LockState.GRANTED))


def _inode(volume: Volume, request: SetLock | GetLock) -> int:
    """The slot of what is to be locked. Raises StaleHandleError, InvalidArgumentError."""
    inodes = volume.tree.inodes
    slot = inodes.slot_of(request.inode)
    if not slot or not is_named(inodes.kind[slot]) or slot in volume.tree.nameless:
        raise StaleHandleError("the file was deleted")
    if inodes.kind[slot] == SYMLINK:
        raise InvalidArgumentError("a symlink cannot be locked")
    return slot


def _wanted(slot: int, request: SetLock | GetLock, client: int, pid: int) -> tuple[Table, Lock]:
    """The table and the lock that a request is about. Raises InvalidArgumentError."""
    if request.mode not in LockMode._value2member_map_:
        raise InvalidArgumentError(f"{request.mode} is no mode of a lock")
    if request.kind not in LockKind._value2member_map_:
        raise InvalidArgumentError(f"{request.kind} is no kind of lock")
    if request.owner not in _OWNERS:
        raise InvalidArgumentError("an owner of locks is a number of 64 bits")
    start, end = request.start, request.end
    if request.kind == LockKind.WHOLE:
        start, end = 0, LOCK_END
    if not 0 <= start <= end <= LOCK_END:
        raise InvalidArgumentError(f"bytes {start} to {end} are no range")
    return (slot, request.kind), Lock(
        start, end, request.mode == _EXCLUSIVE, client, request.owner, pid
    )


def _check_permission(volume: Volume, caller: Caller, slot: int) -> None:
    tree = volume.tree
    if not tree.owns(caller, slot) and not tree.may(caller, slot, WRITE):
        tree.require(caller, slot, READ)
