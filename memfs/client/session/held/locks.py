"""File locks of one client: fcntl's ranges and flock's whole files, against clients everywhere.

Owns which owners hold something, whether the cluster still knows of it, and the return of locks
that no caller got: a call that is cancelled, interrupted or never answered holds nothing once it
has ended and the work on the side is done. Must not know paths or file objects.

What a mount calls, for the kernel's requests (an owner is any number of 64 bits, so the kernel's
``lock_owner`` is one; ``inode`` is the node id):

========================== ====================================================================
GETLK                      :meth:`SessionLocks.test`
SETLK, SETLKW              :meth:`SessionLocks.acquire` with ``kind=LockKind.RANGE``; SETLK with
                           ``wait=False``, which raises WouldBlockError (EAGAIN)
the same with FUSE_LK_FLOCK ... with ``kind=LockKind.WHOLE``
F_UNLCK in either          :meth:`SessionLocks.release`
INTERRUPT of a SETLKW      set the event given as ``interrupted``: exactly one of "granted" and
                           InterruptedError (EINTR) is the answer
FLUSH                      :meth:`SessionLocks.release` of the owner's ranges, all bytes
RELEASE with FLOCK_UNLOCK  :meth:`SessionLocks.release` with ``kind=LockKind.WHOLE``
========================== ====================================================================

A release of what is not held costs no request, so that each FLUSH may call it. LocksLostError tells
that the session ended meanwhile, for the cluster heard nothing of this client for too long: others
may have had the lock.

Invariant: while anything is held or waited for, the session is kept alive.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from memfs import limits
from memfs.client.calls.arguments import whole
from memfs.client.calls.deadline import ended, seconds_left
from memfs.client.session.background_work import BackgroundWork
from memfs.client.session.held.keepalive import Keepalive
from memfs.client.session.primary_requests import PrimaryRequests
from memfs.concurrency import Coro
from memfs.errors import (
    ClusterError,
    DeadlineError,
    InvalidArgumentError,
    LocksLostError,
    MemfsError,
    StaleHandleError,
)
from memfs.protocol import messages as m
from memfs.protocol.messages import LockMode, LockState
from memfs.types import LOCK_END, ROOT_INODE, LockKind

T = TypeVar("T")
log = logging.getLogger(__name__)

OWNERS_FROM = 1 << 62
"""Owners that :meth:`SessionLocks.new_owner` makes begin here."""


class Holding(NamedTuple):
    """Where an owner holds something."""

    inode: int
    kind: int
    owner: int


class LockHolder(NamedTuple):
    """Who is in the way, as F_GETLK tells it."""

    exclusive: bool
    start: int
    end: int
    """The last byte, ``LOCK_END``: whatever may follow."""
    pid: int
    """A process of the host of ``client``."""
    client: int
    """The same number for the same client; not the id of another one."""
    own: bool
    """Whether that is this client."""


class SessionLocks:
    """Locks of one session."""

    def __init__(
        self, primary: PrimaryRequests, background: BackgroundWork, keepalive: Keepalive
    ) -> None:
        self._primary = primary
        self._aside = background
        self._keepalive = keepalive
        keepalive.followers.append(self.verify)
        self._number = 0
        """Number of the session at the primary, 0: there is none yet."""
        self._held: dict[Holding, int] = {}
        """The session's number when it was locked; 0: that session is known to have ended."""
        self._asking: Counter[Holding] = Counter()
        """Calls that wait for an answer."""
        self._returning: dict[Holding, dict[asyncio.Task[None], None]] = {}
        """What is given back on the side."""
        self._keeping = 0
        self._owners = OWNERS_FROM

    def new_owner(self) -> int:
        """A number that no other owner of this client has."""
        self._owners += 1
        return self._owners

    def holds(self, inode: int, owner: int, kind: int = LockKind.RANGE) -> bool:
        """Whether the owner holds a lock there, as far as this client knows."""
        return Holding(inode, int(kind), owner) in self._held

    def go_on_with(self, holdings: Iterable[Holding], number: int) -> None:
        """What a former process of this client held, or may have held, under session ``number``;
        0: that session has ended."""
        self._notice(number)
        for where in holdings:
            self._keep()
            self._held[where] = number

    def knows(self, inode: int, owner: int, kind: int) -> bool:
        """Whether the owner holds a lock there, asks for one, or has one that goes back."""
        where = Holding(inode, int(kind), owner)
        return where in self._held or where in self._asking or where in self._returning

    # --- locking ----------------------------------------------------------------------------

    async def acquire(
        self,
        inode: int,
        owner: int,
        *,
        exclusive: bool = True,
        kind: int = LockKind.RANGE,
        start: int = 0,
        end: int = LOCK_END,
        pid: int = 0,
        wait: bool = True,
        interrupted: asyncio.Event | None = None,
        timeout: float | None = None,
    ) -> None:
        """Lock bytes ``start`` to ``end`` (the last one), or the whole file.

        Without a ``timeout`` it waits for as long as it takes; the configured budget is for the
        cluster's silence. Raises WouldBlockError, LockDeadlockError, NoLocksError, InterruptedError
        once ``interrupted`` is set, DeadlineError.
        """
        mode = LockMode.EXCLUSIVE if exclusive else LockMode.SHARED
        request = m.SetLock(inode, int(mode), owner, int(kind), start, end, pid, wait)
        deadline = None if timeout is None else self._primary.deadline(timeout)
        where = Holding(inode, int(kind), owner)
        await self._returned(where, deadline)
        self._keep()
        self._asking[where] += 1
        try:
            number = await self._acquire(request, where, interrupted, deadline)
            if where not in self._held:
                self._keep()
                self._held[where] = number
        finally:
            self._asking[where] -= 1
            if not self._asking[where]:
                del self._asking[where]
            self._unkeep()

    async def _acquire(
        self,
        request: m.SetLock,
        where: Holding,
        interrupted: asyncio.Event | None,
        deadline: float | None,
    ) -> int:
        """The number of the session under which it is granted."""
        while True:
            reply = await self._primary.ask_or_undo(
                request,
                None,
                self._primary.deadline() if deadline is None else deadline,
                lambda reply: self._undo(request, where, reply),
                lambda task: self._leave(where, task),
            )
            self._notice(reply.session)
            if not reply.ticket or await self._wait(request, where, reply, interrupted, deadline):
                return reply.session
            # The session ended, and the wait with it: once more under a new one.

    async def _wait(
        self,
        request: m.SetLock,
        where: Holding,
        reply: m.LockReply,
        interrupted: asyncio.Event | None,
        deadline: float | None,
    ) -> bool:
        """Wait until it is granted (True) or lost. Raises InterruptedError, DeadlineError."""
        granted = asyncio.ensure_future(self._granted(request.inode, reply))
        signal = None if interrupted is None else asyncio.ensure_future(interrupted.wait())
        waiting = {granted} if signal is None else {granted, signal}
        try:
            await asyncio.wait(
                waiting,
                timeout=seconds_left(deadline),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if granted.done():
                return granted.result()
            if signal is None or not signal.done():
                raise DeadlineError("somebody else has locked it, and the time given is over")
            withdrawn = await self._withdraw(request.inode, reply)
        except (asyncio.CancelledError, MemfsError):
            self._give_back(where, lambda: self._undo(request, where, reply))
            raise
        finally:
            granted.add_done_callback(_look)
            granted.cancel()
            if signal is not None:
                signal.cancel()
        if withdrawn:
            raise InterruptedError("the wait for a lock was interrupted")
        return True

    async def _granted(self, inode: int, reply: m.LockReply) -> bool:
        """Wait for a ticket; False when its session ended."""
        while True:
            state = await self._state(inode, reply, limits.LOCK_WAIT_MS)
            if state != LockState.WAITING:
                return state == LockState.GRANTED

    async def _withdraw(self, inode: int, reply: m.LockReply) -> bool:
        """Cancel the wait; False when the lock was granted before that."""
        cancelled = await self._primary.ask(m.CancelLock(reply.ticket))
        if cancelled.cancelled:
            return True
        return await self._state(inode, reply, 0) != LockState.GRANTED

    async def _state(self, inode: int, reply: m.LockReply, wait_ms: int) -> int:
        request = m.AwaitLock(self._primary.client, inode, reply.session, reply.ticket, wait_ms)
        found = await self._primary.ask(request)
        return found.state

    # --- unlocking --------------------------------------------------------------------------

    async def release(
        self,
        inode: int,
        owner: int,
        *,
        kind: int = LockKind.RANGE,
        start: int = 0,
        end: int = LOCK_END,
        timeout: float | None = None,
    ) -> None:
        """Unlock. Whatever becomes of the call, it is done as soon as the cluster can do it.

        Raises LocksLostError when it was not held all the time.
        """
        where = Holding(inode, int(kind), owner)
        request = m.SetLock(inode, int(LockMode.UNLOCK), owner, int(kind), start, end)
        everything = kind == LockKind.WHOLE or (start, end) == (0, LOCK_END)
        patience = None if timeout is None else self._primary.deadline(timeout)
        try:
            await self._returned(where, patience)
        except (ClusterError, asyncio.CancelledError):
            if where in self._held:
                if everything:
                    self._forget(where)
                self._give_back(where, lambda: self._unlock(request))
            raise
        number = self._held.get(where)
        if number is None:
            return
        if everything:
            self._forget(where)
        now = number
        try:
            now = (await self._primary.ask(request, None, self._primary.deadline(timeout))).session
        except StaleHandleError:  # its locks went with it
            self._forget(where)
        except (ClusterError, asyncio.CancelledError):
            self._give_back(where, lambda: self._unlock(request))
            raise
        if now:
            self._notice(now)
        if not number or now != number:
            self._forget(where)
            raise LocksLostError("the session ended meanwhile: others may have had the lock")

    def release_later(
        self,
        inode: int,
        owner: int,
        *,
        kind: int = LockKind.RANGE,
        first: Callable[[], Coro[None]],
        then: Callable[[], None],
    ) -> None:
        """Unlock all that the owner holds there, in the background: once ``first`` is done, which
        is tried again while the cluster cannot do it; and call ``then``.

        From now on the owner holds nothing, and what it asks for waits until that is so.
        """
        where = Holding(inode, int(kind), owner)
        if where not in self._held:
            return
        self._forget(where)
        request = m.SetLock(inode, int(LockMode.UNLOCK), owner, int(kind), 0, LOCK_END)

        async def work() -> None:
            try:
                await first()
            except ClusterError:
                raise
            except MemfsError as error:
                log.debug("unlocked all the same: %s", error)
            await self._unlock(request)

        self._give_back(where, work, then)

    def _forget(self, where: Holding) -> None:
        if self._held.pop(where, None) is not None:
            self._unkeep()

    # --- looking ----------------------------------------------------------------------------

    async def test(
        self,
        inode: int,
        owner: int,
        *,
        exclusive: bool = True,
        kind: int = LockKind.RANGE,
        start: int = 0,
        end: int = LOCK_END,
        timeout: float | None = None,
    ) -> LockHolder | None:
        """Who holds a lock that conflicts with this one, None: nobody (F_GETLK)."""
        mode = LockMode.EXCLUSIVE if exclusive else LockMode.SHARED
        client = self._primary.client
        request = m.GetLock(inode, int(mode), owner, client, int(kind), start, end)
        found = await self._primary.ask(request, None, self._primary.deadline(timeout))
        if found.mode == LockMode.UNLOCK:
            return None
        held = found.mode == LockMode.EXCLUSIVE
        own = found.client == client
        return LockHolder(held, found.start, found.end, found.pid, found.client, own)

    # --- the session ------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many owners hold a lock, by inode and kind."""
        return len(self._held)

    def is_leaked(self, inode: int, owner: int, kind: int) -> bool:
        """Is this lock, held as the primary says, neither held nor being returned?"""
        return not self.knows(inode, owner, kind) and not self._aside.busy

    def is_lost(self, inode: int, owner: int, kind: int = LockKind.RANGE) -> bool:
        """Is it known that the owner's locks there went with a session that ended?"""
        number = self._held.get(Holding(inode, int(kind), owner))
        return number is not None and number != self._number

    async def verify(self) -> None:
        """Ask whether the session is still the one that holds the locks. Raises what asking does.

        What is lost is told by :meth:`is_lost` and by a release.
        """
        if not self._held:
            return
        number = self._number
        request = m.AwaitLock(self._primary.client, ROOT_INODE, number, 0)
        reply = await self._primary.ask(request)
        if reply.state == LockState.LOST:
            lost = [where for where, held in self._held.items() if held == number]
            self._held.update(dict.fromkeys(lost, 0))
            if lost:
                log.warning("the cluster ended this client's session: its file locks are lost")

    def _notice(self, number: int) -> None:
        """Note the session's number from a reply; replies may overtake one another."""
        self._number = max(number, self._number)

    def _keep(self) -> None:
        self._keeping += 1
        if self._keeping == 1:
            self._keepalive.hold()

    def _unkeep(self) -> None:
        self._keeping -= 1
        if not self._keeping:
            self._keepalive.unhold()

    # --- the way back -----------------------------------------------------------------------

    async def _undo(self, request: m.SetLock, where: Holding, reply: m.LockReply) -> None:
        """No caller got the result of a request: wait no more, or unlock the range."""
        if reply.ticket and await self._withdraw(request.inode, reply):
            return
        if where in self._held:
            self._held[where] = 0  # what the owner had of the range before is gone as well
        await self._unlock(request._replace(mode=int(LockMode.UNLOCK), wait=False))

    async def _unlock(self, request: m.SetLock) -> None:
        try:
            await self._primary.ask(request)
        except StaleHandleError:  # its locks went with it
            return

    def _give_back(
        self,
        where: Holding,
        work: Callable[[], Coro[None]],
        then: Callable[[], None] | None = None,
    ) -> None:
        """Release it in the background; retried for as long as the session lasts."""
        task = self._aside.run(self._insist(work))
        self._leave(where, task)
        if then is not None:
            task.add_done_callback(lambda _: then())

    async def _insist(self, work: Callable[[], Coro[None]]) -> None:
        try:
            await self._aside.insist(work)
        except MemfsError as error:  # the end of the session gives it back
            log.debug("no lock is given back: %s", error)

    def _leave(self, where: Holding, task: asyncio.Task[None]) -> None:
        """Note a release in the background: the owner's next call waits for it."""
        tasks = self._returning.setdefault(where, {})
        tasks[task] = None
        task.add_done_callback(lambda task: self._left(where, task))

    def _left(self, where: Holding, task: asyncio.Task[None]) -> None:
        tasks = self._returning[where]
        tasks.pop(task, None)
        if not tasks:
            del self._returning[where]

    async def _returned(self, where: Holding, deadline: float | None) -> None:
        """Wait for the owner's releases in the background there. Raises DeadlineError."""
        while returning := self._returning.get(where):  # one may begin while others end
            await ended(returning, deadline)


def last_byte(start: int, length: int) -> int:
    """The last byte of a range as lockf(3) gives it: of length 0 it has no end.

    Raises InvalidArgumentError.
    """
    start, length = whole("start", start), whole("length", length)
    if start < 0 or length < 0:
        raise InvalidArgumentError("start and length of a lock are not negative")
    return min(start + length - 1, LOCK_END) if length else LOCK_END


def _look(task: asyncio.Future[T]) -> None:
    """Retrieve its error, if any, which no caller needs any more."""
    if not task.cancelled():
        task.exception()
