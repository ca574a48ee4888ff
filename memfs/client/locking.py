"""A file as a lock: what ``fs.lock`` gives.

Owns the file that stands for the lock, made where it is missing, and the check that it is still
that file once the lock is held. Must not know how locks are kept
(``memfs.client.session.held.locks``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from memfs.client.calls import unclosed
from memfs.client.calls.bound import Bound
from memfs.client.calls.wire import WirePath
from memfs.client.session.session import Session
from memfs.concurrency import Coro
from memfs.errors import PathNotFoundError, StaleHandleError
from memfs.protocol import messages as m
from memfs.types import LockKind


class FileLock(Bound):
    """A lock on a whole file, as flock(2)'s; held from the beginning until :meth:`close`."""

    def __init__(self, session: Session, path: str, inode: int, owner: int) -> None:
        self.path = path
        self.closed = False
        self._session = session
        self._inode = inode
        self._owner = owner
        self._loop = asyncio.get_running_loop()

    @property
    def lost(self) -> bool:
        """Is it known that the cluster ended it, because it received nothing from this client?"""
        return self._session.locks.is_lost(self._inode, self._owner, LockKind.WHOLE)

    @property
    def over(self) -> bool:
        """Has the client's session ended, and the lock with it?"""
        return self._session.routing.closed

    async def close(self, timeout: float | None = None) -> None:
        """Unlock. Raises LocksLostError when others may have had the lock meanwhile."""
        if not self.closed:
            self.closed = True
            await self._session.locks.release(
                self._inode, self._owner, kind=LockKind.WHOLE, timeout=timeout
            )

    def forget(self) -> None:
        """It belongs to the parent of this forked process."""
        self.closed = True

    def __del__(self) -> None:
        if not self.closed and not self.over:
            unclosed.warn("lock", self)
            unclosed.close_soon(self._loop, self._dropped())

    def _dropped(self) -> Callable[[], Coro[None]]:
        """What unlocks when this object is gone."""
        release, inode, owner = self._session.locks.release, self._inode, self._owner

        async def unlock() -> None:
            await release(inode, owner, kind=LockKind.WHOLE)

        return unlock

    def __repr__(self) -> str:
        return f"<memfs lock {self.path!r}{' closed' if self.closed else ''}>"

    async def __aenter__(self) -> FileLock:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def lock_file(
    session: Session,
    where: WirePath,
    make: Callable[[], Awaitable[object]],
    *,
    exclusive: bool,
    blocking: bool,
    timeout: float | None,
) -> FileLock:
    """Lock the file at a path; ``make`` makes it. Raises what :meth:`SessionLocks.acquire` does."""
    deadline = None if timeout is None else session.deadline(timeout)
    owner = session.locks.new_owner()
    while True:
        inode = await _inode(session, where, make, deadline)
        try:
            await session.locks.acquire(
                inode,
                owner,
                exclusive=exclusive,
                kind=LockKind.WHOLE,
                pid=session.process,
                wait=blocking,
                timeout=deadline,
            )
        except StaleHandleError:  # somebody has removed it meanwhile
            continue
        lock = FileLock(session, where.given, inode, owner)
        try:
            if await _inode(session, where, make, deadline) == inode:
                return lock
        except BaseException:
            await lock.close()
            raise
        await lock.close()


async def _inode(
    session: Session, where: WirePath, make: Callable[[], Awaitable[object]], deadline: float | None
) -> int:
    """What the path means, once there is something."""
    until = session.deadline() if deadline is None else deadline
    while True:
        try:
            reply = await session.ask(m.Lookup(where.raw), where.given, until)
            return reply.attributes.inode
        except PathNotFoundError:
            await make()
