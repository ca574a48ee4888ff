"""The primary's housekeeping of the namespace: free deleted trees, end dead sessions.

Owns when these things are tried; what is safe is decided by the namespace (NoTimeSafety): an
expired session is a command like any other. What becomes of blocks is ``memfs.node.healing``'s.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.membership import Membership
from memfs.node.namespace_role import NamespaceRole
from memfs.protocol import messages as m
from memfs.transport.server import Call

log = logging.getLogger(__name__)

RECLAIM_PAUSE_SECONDS = 0.002
IDLE_SECONDS = 0.25


class Upkeep:
    """Background loops of the primary; idle on other nodes."""

    def __init__(
        self,
        role: NamespaceRole,
        membership: Membership,
        *,
        session_timeout_seconds: float,
    ) -> None:
        """A client that is silent for ``session_timeout_seconds`` loses its session."""
        self._role = role
        self._membership = membership
        self._session_timeout = session_timeout_seconds
        self._last_heard: dict[int, float] = {}

    # --- sessions ----------------------------------------------------------------------------

    def heard(self, client: int) -> None:
        """A client showed life."""
        self._last_heard[client] = self._membership.environment.clock.monotonic()

    async def goodbye(self, call: Call) -> m.Empty:
        """A client ends its session by itself."""
        client = call.connection.peer.client
        self._last_heard.pop(client, None)
        if client in self._role.primary.namespace.sessions:
            await self._submit(m.ExpireSession(client))
        return m.Empty()

    async def run_sessions(self) -> None:
        """End the sessions of clients that were silent for too long, forever."""
        while True:
            await asyncio.sleep(min(1.0, self._session_timeout / 4))
            if not self._role.leads:
                self._last_heard.clear()  # whoever leads next counts silence from then on
                continue
            now = self._membership.environment.clock.monotonic()
            sessions = self._role.primary.namespace.sessions
            for client in list(sessions):
                if now - self._last_heard.setdefault(client, now) > self._session_timeout:
                    log.info("session expired", extra=fields(client=client))
                    if not await self._tried(m.ExpireSession(client)):
                        break
            for client in [c for c in self._last_heard if c not in sessions]:
                del self._last_heard[client]

    # --- deleted trees -----------------------------------------------------------------------

    async def run_reclaim(self) -> None:
        """Free deleted inodes in small steps, forever."""
        while True:
            busy = False
            if self._role.leads and self._role.primary.namespace.reclaiming:
                busy = await self._tried(m.Reclaim(limits.INODES_PER_RECLAIM))
            await asyncio.sleep(RECLAIM_PAUSE_SECONDS if busy else IDLE_SECONDS)

    async def _tried(self, command: Any) -> bool:
        """Submit; False when the cluster cannot take it now: there is always a next time."""
        try:
            await self._submit(command)
        except errors.ClusterError as error:
            log.debug("upkeep waits: %s", error)
            return False
        return True

    async def _submit(self, command: Any) -> Any:
        answer = self._role.primary.submit_own(command)
        return await answer if inspect.isawaitable(answer) else answer
