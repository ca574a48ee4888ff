"""The primary's housekeeping of the namespace: free deleted trees, end dead sessions.

Owns when these things are tried; what is safe is decided by the namespace (NoTimeSafety): an
expired session is a command like any other. What becomes of blocks is ``memfs.node.healing``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.membership.members import Membership
from memfs.node.replication.primary import Primary
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.protocol.messages.registry import Request
from memfs.transport.server import IncomingCall

log = logging.getLogger(__name__)

RECLAIM_PAUSE_SECONDS = 0.002
RECLAIMED_AT_ONCE = limits.INODES_PER_RECLAIM // 4
"""Inodes between two turns of the event loop, a millisecond: 40,000 a second are freed at most."""
IDLE_SECONDS = 0.25
GONE_SECONDS = limits.KEEPALIVE_SECONDS
"""A client all of whose connections broke is given this long to come back: three of its pings."""


class Housekeeping:
    """Background loops of the primary; idle on other nodes."""

    def __init__(
        self,
        role: NamespaceRole,
        membership: Membership,
        *,
        session_timeout_seconds: float,
    ) -> None:
        """A client that is silent for ``session_timeout_seconds`` loses its session, one whose
        connections are gone, since its process is, does so sooner."""
        self._role = role
        self._membership = membership
        self._session_timeout = session_timeout_seconds
        self._last_heartbeat: dict[int, float] = {}
        self._connections: Counter[int] = Counter()
        """Open ones to this node, by client."""
        self._gone: dict[int, float] = {}
        """When the last one of a client broke."""

    # --- sessions ----------------------------------------------------------------------------

    def note_heartbeat(self, client: int) -> None:
        """A client showed life."""
        self._last_heartbeat[client] = self._membership.environment.clock.monotonic()

    def connected(self, client: int) -> None:
        """A client has one connection more."""
        self._connections[client] += 1
        self._gone.pop(client, None)

    def disconnected(self, client: int) -> None:
        """A client has one connection less; it may be the end of its process."""
        self._connections[client] -= 1
        if self._connections[client] <= 0:
            del self._connections[client]
            if self._role.leads and client in self._role.primary.namespace.sessions:
                self._gone[client] = self._membership.environment.clock.monotonic()

    async def goodbye(self, call: IncomingCall[m.Goodbye]) -> m.Empty:
        """A client ends its session by itself."""
        client = call.connection.peer.client
        self._last_heartbeat.pop(client, None)
        primary = self._role.primary
        primary.opens.forget(client)
        if client in primary.namespace.sessions:
            await self._role.primary.run_own(m.ExpireSession(client))
        return m.Empty()

    async def run_sessions(self) -> None:
        """End the sessions of clients that were silent for too long, forever."""
        while True:
            await asyncio.sleep(min(1.0, self._session_timeout / 4))
            if not self._role.leads:
                self._last_heartbeat.clear()  # whoever leads next counts silence from then on
                self._gone.clear()
                continue
            now = self._membership.environment.clock.monotonic()
            primary = self._role.primary
            sessions, opens = primary.namespace.sessions, primary.opens
            for client in {**dict.fromkeys(sessions), **dict.fromkeys(opens.clients)}:
                if self._is_over(client, now):
                    log.info("session expired", extra=fields(client=client))
                    opens.forget(client)
                    if client in sessions and not await self._tried(m.ExpireSession(client)):
                        break
            for known in (self._last_heartbeat, self._gone):
                for client in [each for each in known if each not in sessions]:
                    if not opens.has_any(client):
                        del known[client]

    def _is_over(self, client: int, now: float) -> bool:
        """Was a client silent, or without a connection, for too long?"""
        if now - self._last_heartbeat.setdefault(client, now) > self._session_timeout:
            return True
        return now - self._gone.get(client, now) > min(GONE_SECONDS, self._session_timeout)

    # --- deleted trees -----------------------------------------------------------------------

    async def run_reclaim(self) -> None:
        """Free deleted inodes in small steps, forever."""
        while True:
            busy = False
            if self._role.leads:
                busy = await self._free_unlinked(self._role.primary)
            if self._role.leads and self._role.primary.namespace.reclaiming:
                busy |= await self._tried(m.Reclaim(RECLAIMED_AT_ONCE))
            await asyncio.sleep(RECLAIM_PAUSE_SECONDS if busy else IDLE_SECONDS)

    async def _free_unlinked(self, primary: Primary) -> bool:
        """Free files without a name that nobody has open any more; whether there were some."""
        inodes = primary.opens.take_due()
        if not inodes:
            return False
        freed = await self._tried(m.FreeUnlinked(inodes))
        if not freed:
            primary.opens.put_back(inodes)
        return freed

    async def _tried(self, command: Request[object]) -> bool:
        """Submit; False when the cluster cannot take it now: there is always a next time."""
        try:
            await self._role.primary.run_own(command)
        except errors.ClusterError as error:
            log.debug("housekeeping waits: %s", error)
            return False
        return True
