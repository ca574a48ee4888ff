"""File locks of all clients: what is held, who waits, who would wait for ever.

Owns the rules of fcntl(2) and flock(2) and nothing of files or permissions. A lock belongs to an
owner, which its client names: a process for ranges (``RANGE``), an open file for whole files
(``WHOLE``); locks of the two kinds do not meet. They go when their owner unlocks, when the session
of their client ends, or with the inode.

Owners that have to wait are queued in the replicated state under a ticket, the log index of their
request: a new primary knows them too, and an unlock grants what others wait for in the same
command, first come first served among those that do not conflict (as on Linux, a request that
conflicts with no lock that is held does not wait behind those that do).

Invariants: locks of different owners that overlap are all shared; those of one owner do not
overlap, and neighbours of the same mode are one; everybody who waits is in conflict with a lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

from memfs import limits
from memfs.errors import LockDeadlockError, NoLocksError
from memfs.node.namespace.tables.sessions import ClientSession, ClientSessions
from memfs.types import LockKind, Packed

Owner: TypeAlias = tuple[int, int]
"""(client, what it calls the owner)"""
Table: TypeAlias = tuple[int, int]
"""(slot, :class:`LockKind`)"""

_RANGE: Final = int(LockKind.RANGE)
_start: Final = attrgetter("start")


class Lock(NamedTuple):
    """A lock that is held, or wanted."""

    start: int
    end: int
    """The last byte; ``LOCK_END``: whatever may follow."""
    exclusive: bool
    client: int
    owner: int
    pid: int
    """Process, as the client knows it: what F_GETLK tells others."""

    @property
    def by(self) -> Owner:
        """Whose it is."""
        return self.client, self.owner

    def meets(self, other: Lock) -> bool:
        """Do the two exclude one another?"""
        return (
            self.start <= other.end
            and other.start <= self.end
            and (self.exclusive or other.exclusive)
            and self.by != other.by
        )


class Waiter(NamedTuple):
    """A request in a queue."""

    ticket: int
    table: Table
    lock: Lock


class Locks:
    """Locks of all inodes, by table, and the queues of those who wait."""

    __slots__ = ("_sessions", "count", "held", "waiting")

    def __init__(self, sessions: ClientSessions) -> None:
        """``sessions`` know where their clients have locks, and their tickets."""
        self._sessions = sessions
        self.held: dict[Table, list[Lock]] = {}
        """Ordered by the first byte."""
        self.waiting: dict[Table, dict[int, Waiter]] = {}
        """By ticket, the oldest first."""
        self.count = 0
        """Locks held, in all tables."""

    @property
    def most(self) -> int:
        """Locks of the client that holds most of them."""
        sessions = self._sessions.by_client.values()
        return max((sum(session.locked.values()) for session in sessions), default=0)

    # --- looking -----------------------------------------------------------------------------

    def conflict(self, table: Table, wanted: Lock) -> Lock | None:
        """The first lock that keeps ``wanted`` out."""
        return next(self._conflicts(table, wanted), None)

    def of(self, table: Table, owner: Owner) -> list[Lock]:
        """What an owner holds in a table."""
        return [lock for lock in self.held.get(table, ()) if lock.by == owner]

    def check_room(self, client: int, table: Table) -> None:
        """Raise NoLocksError where the client may take or await no further lock."""
        session = self._sessions.by_client.get(client) or ClientSession()
        for count, most, what in (
            (sum(session.locked.values()), limits.LOCKS_PER_SESSION, "this client's locks"),
            (len(session.waits), limits.LOCK_WAITS_PER_SESSION, "this client's waits for locks"),
            (len(self.held.get(table, ())), limits.LOCKS_PER_FILE, "the file's locks"),
            (self.count, limits.LOCKS, "the cluster's locks"),
        ):
            if count >= most:
                raise NoLocksError(f"{what} are {most} already")

    def check_deadlock(self, waiter: Waiter) -> None:
        """Raise LockDeadlockError if what ``waiter`` would wait for waits for its own owner.

        Of ranges only, as on Linux: an open file, the owner of a lock on the whole, does not tell
        who waits with it.
        """
        if waiter.table[1] != _RANGE:
            return
        seen: set[Owner] = set()
        unseen = [waiter]
        while unseen:
            at = unseen.pop()
            for lock in self._conflicts(at.table, at.lock):
                if at is not waiter and lock.by == waiter.lock.by:
                    raise LockDeadlockError("its holder waits for a lock of the one who asks")
                if lock.by not in seen:
                    seen.add(lock.by)
                    unseen += self._waits_of(lock.by)

    def _conflicts(self, table: Table, wanted: Lock) -> Iterator[Lock]:
        return filter(wanted.meets, self.held.get(table, ()))

    def _waits_of(self, owner: Owner) -> Iterator[Waiter]:
        session = self._sessions.by_client.get(owner[0]) or ClientSession()
        for ticket, table in session.waits.items():
            waiter = self.waiting[table][ticket]
            if table[1] == _RANGE and waiter.lock.by == owner:
                yield waiter

    # --- changing ----------------------------------------------------------------------------

    def set(self, table: Table, lock: Lock) -> None:
        """Let the owner hold ``lock``, in place of what they held of the range; it fits."""
        kept, start, end = [], lock.start, lock.end
        for each in self.held.get(table, ()):
            if each.by != lock.by:
                kept.append(each)
            elif each.exclusive == lock.exclusive and _touch(each, lock):
                start, end = min(start, each.start), max(end, each.end)
            else:
                kept += _remainder(each, lock)
        kept.append(lock._replace(start=start, end=end))
        kept.sort(key=_start)
        self._store(table, kept, lock.client)

    def drop(self, table: Table, lock: Lock) -> None:
        """Remove the owner's locks in the range of ``lock``."""
        kept = []
        for each in self.held.get(table, ()):
            kept += [each] if each.by != lock.by else _remainder(each, lock)
        kept.sort(key=_start)
        self._store(table, kept, lock.client)

    def _store(self, table: Table, kept: list[Lock], client: int) -> None:
        """Replace one client's locks in a table."""
        self.count += len(kept) - len(self.held.get(table, ()))
        own = sum(lock.client == client for lock in kept)
        session = self._sessions.by_client.get(client)
        if kept:
            self.held[table] = kept
        else:
            self.held.pop(table, None)
        if session is not None:
            if own:
                session.locked[table] = own
            else:
                session.locked.pop(table, None)

    def enqueue(self, waiter: Waiter) -> None:
        """Let a request wait; its client has a session."""
        self.waiting.setdefault(waiter.table, {})[waiter.ticket] = waiter
        self._sessions.by_client[waiter.lock.client].waits[waiter.ticket] = waiter.table

    def leave(self, client: int, ticket: int) -> bool:
        """Take a client's request out of its queue; False when it is in none (any more)."""
        session = self._sessions.by_client.get(client)
        table = session.waits.pop(ticket, None) if session is not None else None
        if table is None:
            return False
        queue = self.waiting[table]
        del queue[ticket]
        if not queue:
            del self.waiting[table]
        return True

    def grant(self, table: Table) -> list[int]:
        """Grant the waiting requests that no lock conflicts with; returns their tickets."""
        granted: list[int] = []
        found: Waiter | None = None
        while table in self.waiting:
            queue = self.waiting[table].values()
            found = next((w for w in queue if self.conflict(table, w.lock) is None), None)
            if found is None:
                break
            self.leave(found.lock.client, found.ticket)
            self.set(table, found.lock)
            granted.append(found.ticket)
        return granted

    # --- snapshots ---------------------------------------------------------------------------

    def rows(self) -> list[tuple[Table, list[Lock]]]:
        """All tables as they are now: their lists are replaced, never changed."""
        return sorted(self.held.items())

    def waiters(self) -> list[Waiter]:
        """Everybody who waits, the oldest first."""
        return sorted(waiter for queue in self.waiting.values() for waiter in queue.values())

    def restore(self, slot: int, kind: int, *lock: Packed) -> None:
        """The next lock that a snapshot names; its client's session is there."""
        table, held = (slot, kind), Lock(*lock)
        self.held.setdefault(table, []).append(held)
        locked = self._sessions.by_client[held.client].locked
        locked[table] = locked.get(table, 0) + 1
        self.count += 1

    # --- ends --------------------------------------------------------------------------------

    def end_session(self, client: int, session: ClientSession) -> list[int]:
        """Remove all locks and requests of a client; returns the tickets granted by that."""
        tables = sorted({*session.locked, *session.waits.values()})
        for ticket, table in session.waits.items():
            del self.waiting[table][ticket]
            if not self.waiting[table]:
                del self.waiting[table]
        for table in session.locked:
            kept = [lock for lock in self.held[table] if lock.client != client]
            self._store(table, kept, client)
        return [ticket for table in tables for ticket in self.grant(table)]

    def end_inode(self, slot: int) -> list[int]:
        """Remove an inode's locks; returns the tickets of the requests that waited for it."""
        ended: list[int] = []
        for kind in LockKind:
            table = slot, int(kind)
            for waiter in list(self.waiting.get(table, {}).values()):
                self.leave(waiter.lock.client, waiter.ticket)
                ended.append(waiter.ticket)
            for client in {lock.client for lock in self.held.get(table, ())}:
                self._sessions.by_client[client].locked.pop(table, None)
            self.count -= len(self.held.pop(table, ()))
        return ended


def _touch(one: Lock, other: Lock) -> bool:
    """Do they overlap, or follow one another without a gap?"""
    return one.start <= other.end + 1 and other.start <= one.end + 1


def _remainder(lock: Lock, without: Lock) -> list[Lock]:
    """What is left of a lock beside the range of another one."""
    if lock.end < without.start or without.end < lock.start:
        return [lock]
    pieces = []
    if lock.start < without.start:
        pieces.append(lock._replace(end=without.start - 1))
    if lock.end > without.end:
        pieces.append(lock._replace(start=without.end + 1))
    return pieces
