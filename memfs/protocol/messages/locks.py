"""Messages 88-89 and 164-165: locks on files, as fcntl(2) and flock(2) have them.

A lock is advisory, belongs to an ``owner`` that its client names, and lives in the namespace with
the client's session: it goes with its inode, when its owner unlocks, and when the session ends.

A request that may wait and must is answered with a ticket at once. Its client asks with
:class:`AwaitLock` until the ticket waits no more; :class:`CancelLock` takes it back.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from memfs.protocol.messages.registry import message
from memfs.types import LOCK_END, LockKind


class LockMode(enum.IntEnum):
    """What an owner wants, by the numbers of Linux' F_RDLCK, F_WRLCK and F_UNLCK."""

    SHARED = 0
    EXCLUSIVE = 1
    UNLOCK = 2


class LockReply(NamedTuple):
    """It is done, or waits."""

    session: int
    """Number of the client's session: with another one than before, all former locks are lost.
    0: it has none, as it never locked anything."""
    ticket: int = 0
    """Of a request that waits; 0: it is granted."""


@message(164, command=True)
class SetLock(NamedTuple):
    """Lock or unlock; what the owner held of the range changes its mode.

    Raises WouldBlockError unless it may wait, LockDeadlockError when it would wait for ever,
    NoLocksError. To change the mode of a lock of kind WHOLE gives it up first, as on Linux.
    """

    inode: int
    mode: int
    """A :class:`LockMode`."""
    owner: int
    """Any 64 bits."""
    kind: int = LockKind.RANGE
    start: int = 0
    """First byte; of kind WHOLE no range counts."""
    end: int = LOCK_END
    """Last byte."""
    pid: int = 0
    """What others are told who find it held."""
    wait: bool = False

    @staticmethod
    def reply() -> type[LockReply]:
        return LockReply


class CancelLockReply(NamedTuple):
    """Which of the two came first."""

    cancelled: bool
    """False: the request was granted before, or its session or file ended."""


@message(165, command=True)
class CancelLock(NamedTuple):
    """Do not wait any more."""

    ticket: int

    @staticmethod
    def reply() -> type[CancelLockReply]:
        return CancelLockReply


class GetLockReply(NamedTuple):
    """The first lock that is in the way."""

    mode: int
    """A :class:`LockMode`; UNLOCK: nothing is in the way, the rest says nothing."""
    start: int = 0
    end: int = 0
    pid: int = 0
    client: int = 0
    """Whose process that is: the one that asks, or a number that stands for another client."""
    owner: int = 0


@message(88)
class GetLock(NamedTuple):
    """F_GETLK: what would be in the way of this lock?"""

    inode: int
    mode: int
    owner: int
    client: int
    """The one that asks, whose own locks are not in its way."""
    kind: int = LockKind.RANGE
    start: int = 0
    end: int = LOCK_END

    @staticmethod
    def reply() -> type[GetLockReply]:
        return GetLockReply


class LockState(enum.IntEnum):
    """What has become of a request that waited."""

    GRANTED = 0
    WAITING = 1
    LOST = 2
    """The session or the file has ended meanwhile."""


class AwaitLockReply(NamedTuple):
    """What has become of it."""

    state: int
    """A :class:`LockState`."""


@message(89)
class AwaitLock(NamedTuple):
    """Answer when a ticket waits no more, or the time is over."""

    client: int
    inode: int
    session: int
    """As of :class:`LockReply`."""
    ticket: int
    wait_ms: int = 0
    """Longest wait for the answer, at most ``limits.LOCK_WAIT_MS``."""

    @staticmethod
    def reply() -> type[AwaitLockReply]:
        return AwaitLockReply
