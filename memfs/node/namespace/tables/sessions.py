"""What clients hold: writer's leases, reserved inodes, file locks.

Owns who may commit to which inode. Whether a client is alive is decided by the service, which ends
sessions by a command (NoTimeSafety). Invariant (SingleWriter): a slot has at most one lease, and
its generation grew when that was granted, so that commits of a former writer are recognised
(WriterFence).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from memfs import limits
from memfs.errors import BusyError

RESERVED_PER_SESSION: Final = 16 * limits.INODES_PER_RESERVATION


class Holder(NamedTuple):
    """Who has a lease, as it is shown to those whom it excludes."""

    user: str
    where: str
    """What runs on which host, in the holder's own words; empty: it did not say."""
    since_ns: int

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_ns // 10**9, UTC).isoformat()
        where = f", {self.where}" if self.where else ""
        return f"{self.user}{where}, since {since.removesuffix('+00:00')}Z"


class ClientSession:
    """Slots that one client holds, each kind in the order in which it got them."""

    __slots__ = ("leases", "locked", "number", "opens", "reserved", "user", "waits")

    def __init__(self, user: str = "") -> None:
        self.user = user
        """Whose client it is; empty: that was not recorded when it began."""
        self.leases: dict[int, int] = {}
        """... with the request id of the newest commit under each, 0: none."""
        self.reserved: dict[int, None] = {}
        self.number = 0
        """Log index of the first command about locks: tells this session from a later one of the
        same client. A client that has one keeps its session until it expires, locks or not."""
        self.opens = False
        """Has the client ever opened files for reading? Only the primary knows which; that they
        were closed is not logged, so this stays until the session expires."""
        self.locked: dict[tuple[int, int], int] = {}
        """Locks held in a table of :class:`~memfs.node.namespace.tables.locks.Locks`."""
        self.waits: dict[int, tuple[int, int]] = {}
        """Tables in whose queues the client waits, by ticket."""


class ClientSessions:
    """Holdings of all clients; one that holds nothing and never locked has no session."""

    __slots__ = ("by_client", "by_user", "holders", "reserved", "writers")

    def __init__(self) -> None:
        self.by_client: dict[int, ClientSession] = {}
        self.by_user: dict[str, int] = {}
        """Sessions of each user's clients."""
        self.writers: dict[int, int] = {}
        """Client that has the lease of a slot."""
        self.holders: dict[int, Holder] = {}
        """... and who that is, in words; slots leased before this was recorded are missing."""
        self.reserved = 0
        """Slots promised to all clients together."""

    def check_room(self, client: int, user: str, most: int, reserve: int = 0) -> None:
        """Raise BusyError when a client of ``user``, who gets ``most``, may hold nothing more."""
        session = self.by_client.get(client)
        if session is None:
            if len(self.by_client) >= limits.SESSIONS:
                raise BusyError(f"{limits.SESSIONS} clients hold leases or locks already")
            if self.by_user.get(user, 0) >= most:
                raise BusyError(
                    f"{most} clients of {user} hold leases or locks already, as many as may: end "
                    "some (limit sessions)"
                )
        elif len(session.reserved) + reserve > RESERVED_PER_SESSION:
            raise BusyError("too many inodes are reserved and unused")

    def grant(self, client: int, slot: int, holder: Holder | None, user: str = "") -> None:
        """Make the client the writer of a slot that has none."""
        assert slot not in self.writers, "a file has two writers"
        self.writers[slot] = client
        if holder is not None:
            self.holders[slot] = holder
        self._session(client, user).leases[slot] = 0

    def note_commit(self, slot: int, request_id: int) -> bool:
        """The writer of a slot commits; False: what it has sent later was here before.

        A commit that a client gave up may still be on its way when the next one has arrived.
        """
        leases = self.by_client[self.writers[slot]].leases
        if 0 < request_id < leases[slot]:
            return False
        leases[slot] = request_id
        return True

    def drop_lease(self, slot: int) -> None:
        """End the lease of a slot, if it has one."""
        client = self.writers.pop(slot, None)
        self.holders.pop(slot, None)
        if client is not None:
            session = self.by_client[client]
            del session.leases[slot]
            self._close(client, session)

    def reserve(self, client: int, slot: int, user: str = "") -> None:
        """Promise a slot to the client."""
        self._session(client, user).reserved[slot] = None
        self.reserved += 1

    def has_reserved(self, client: int, slot: int) -> bool:
        """Is the slot reserved for this client and unused?"""
        session = self.by_client.get(client)
        return session is not None and slot in session.reserved

    def drop_reservation(self, client: int, slot: int) -> None:
        """The client used the slot, or will not."""
        session = self.by_client[client]
        del session.reserved[slot]
        self.reserved -= 1
        self._close(client, session)

    def number(self, client: int, index: int, user: str = "") -> ClientSession:
        """The session of a client that locks, numbered ``index`` unless it has a number."""
        session = self._session(client, user)
        session.number = session.number or index
        return session

    def expect_opens(self, client: int, user: str = "") -> None:
        """The client has files open for reading."""
        self._session(client, user).opens = True

    def restore(self, client: int, user: str = "") -> None:
        """Begin the session of a client that a snapshot names, or say whose it is."""
        session = self._session(client)
        if user:
            assert not session.user, "a session has two users"
            session.user = user
            self.by_user[user] = self.by_user.get(user, 0) + 1

    def expire(self, client: int) -> ClientSession:
        """End a session; returns what it held, which no longer counts."""
        session = self.by_client.pop(client, None) or ClientSession()
        self._uncount(session)
        self._uncount_writing(session)
        return session

    def end_writing(self, client: int) -> ClientSession:
        """End a client's leases and reservations; returns them, its waits and its number."""
        ended, session = ClientSession(), self.by_client.get(client)
        if session is None:
            return ended
        ended.leases, session.leases = session.leases, {}
        ended.reserved, session.reserved = session.reserved, {}
        ended.waits, ended.number = dict(session.waits), session.number
        self._uncount_writing(ended)
        self._close(client, session)
        return ended

    def _uncount_writing(self, held: ClientSession) -> None:
        for slot in held.leases:
            del self.writers[slot]
            self.holders.pop(slot, None)
        self.reserved -= len(held.reserved)

    def _session(self, client: int, user: str = "") -> ClientSession:
        session = self.by_client.get(client)
        if session is None:
            session = self.by_client[client] = ClientSession(user)
            if user:
                self.by_user[user] = self.by_user.get(user, 0) + 1
        return session

    def _uncount(self, session: ClientSession) -> None:
        if session.user:
            self.by_user[session.user] -= 1
            if not self.by_user[session.user]:
                del self.by_user[session.user]

    def _close(self, client: int, session: ClientSession) -> None:
        if not (session.leases or session.reserved or session.number or session.opens):
            del self.by_client[client]
            self._uncount(session)
