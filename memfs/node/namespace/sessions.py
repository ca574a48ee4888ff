"""What clients hold: writer's leases and reserved inodes.

Owns who may commit to which inode; whether a client still lives is the service's to judge, and it
says so by a command (NoTimeSafety). Invariant (SingleWriter): a slot has at most one lease, and
its generation grew when that was granted, so that a former writer's commits are told apart
(WriterFence).
"""

from __future__ import annotations

from typing import Final

from memfs import limits
from memfs.errors import BusyError

RESERVED_PER_SESSION: Final = 16 * limits.INODES_PER_RESERVATION


class Session:
    """Slots that one client holds, each kind in the order in which it got them."""

    __slots__ = ("leases", "reserved")

    def __init__(self) -> None:
        self.leases: dict[int, None] = {}
        self.reserved: dict[int, None] = {}


class Sessions:
    """Holdings of all clients; one that holds nothing has no session."""

    __slots__ = ("by_client", "reserved", "writers")

    def __init__(self) -> None:
        self.by_client: dict[int, Session] = {}
        self.writers: dict[int, int] = {}
        """Client that has the lease of a slot."""
        self.reserved = 0
        """Slots promised to all clients together."""

    def check_room(self, client: int, reserve: int = 0) -> None:
        """Raise BusyError when the client may hold nothing more."""
        session = self.by_client.get(client)
        if session is None:
            if len(self.by_client) >= limits.SESSIONS:
                raise BusyError(f"{limits.SESSIONS} clients hold leases already")
        elif len(session.reserved) + reserve > RESERVED_PER_SESSION:
            raise BusyError("too many inodes are reserved and unused")

    def grant(self, client: int, slot: int) -> None:
        """Make the client the writer of a slot that has none."""
        assert slot not in self.writers, "a file has two writers"
        self.writers[slot] = client
        self._session(client).leases[slot] = None

    def drop_lease(self, slot: int) -> None:
        """End the lease of a slot, if it has one."""
        client = self.writers.pop(slot, None)
        if client is not None:
            session = self.by_client[client]
            del session.leases[slot]
            self._close(client, session)

    def reserve(self, client: int, slot: int) -> None:
        """Promise a slot to the client."""
        self._session(client).reserved[slot] = None
        self.reserved += 1

    def has_reserved(self, client: int, slot: int) -> bool:
        """Was the slot promised to this client, and not used yet?"""
        session = self.by_client.get(client)
        return session is not None and slot in session.reserved

    def drop_reservation(self, client: int, slot: int) -> None:
        """The client used the slot, or will not."""
        session = self.by_client[client]
        del session.reserved[slot]
        self.reserved -= 1
        self._close(client, session)

    def restore(self, client: int) -> None:
        """Begin the session of a client that a snapshot names."""
        self._session(client)

    def expire(self, client: int) -> Session:
        """End a session; returns what it held, which no longer counts."""
        session = self.by_client.pop(client, None) or Session()
        for slot in session.leases:
            del self.writers[slot]
        self.reserved -= len(session.reserved)
        return session

    def _session(self, client: int) -> Session:
        session = self.by_client.get(client)
        if session is None:
            session = self.by_client[client] = Session()
        return session

    def _close(self, client: int, session: Session) -> None:
        if not session.leases and not session.reserved:
            del self.by_client[client]
