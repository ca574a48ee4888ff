"""The primary's background work: free deleted trees, end dead sessions, sweep orphans.

Owns when these things are tried; what is safe is decided by the namespace (NoTimeSafety): an
expired session is a command like any other, an orphan is what the namespace says can never be
committed any more (NoEarlyGC).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.discards import Discards
from memfs.node.membership import Membership
from memfs.node.namespace_role import NamespaceRole
from memfs.protocol import messages as m
from memfs.transport.pool import Pool
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
        discards: Discards,
        pool: Pool,
        *,
        session_timeout_seconds: float,
        orphan_sweep_seconds: float,
        call_seconds: float,
    ) -> None:
        """``call_seconds`` bounds one request to another node."""
        self._role = role
        self._membership = membership
        self._discards = discards
        self._pool = pool
        self._session_timeout = session_timeout_seconds
        self._sweep_seconds = orphan_sweep_seconds
        self._call_seconds = call_seconds
        self._last_heard: dict[int, float] = {}
        self.orphans = 0
        """Orphans swept so far."""
        self.corrupt = 0
        """Corrupt copies confirmed so far."""

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
            if not self._membership.is_primary:
                continue
            now = self._membership.environment.clock.monotonic()
            sessions = self._role.primary.namespace.sessions
            for client in list(sessions):
                if now - self._last_heard.setdefault(client, now) > self._session_timeout:
                    log.info("session expired", extra=fields(client=client))
                    await self._submit(m.ExpireSession(client))
            for client in [c for c in self._last_heard if c not in sessions]:
                del self._last_heard[client]

    # --- deleted trees -----------------------------------------------------------------------

    async def run_reclaim(self) -> None:
        """Free deleted inodes in small steps, forever."""
        while True:
            busy = False
            if self._membership.is_primary and self._role.primary.namespace.reclaiming:
                await self._submit(m.Reclaim(limits.INODES_PER_RECLAIM))
                busy = True
            await asyncio.sleep(RECLAIM_PAUSE_SECONDS if busy else IDLE_SECONDS)

    # --- orphans -----------------------------------------------------------------------------

    async def run_sweep(self) -> None:
        """Look for blocks that can never belong to a file any more, forever."""
        while True:
            await asyncio.sleep(self._sweep_seconds)
            view = self._membership.view
            if not self._membership.is_primary or view is None:
                continue
            for member in view.members:
                try:
                    found = await self._sweep(member.number)
                except errors.MemfsError as error:
                    log.info("sweep", extra=fields(member=member.number, reason=error))
                    continue
                self.orphans += found
                if found:
                    log.info("orphans", extra=fields(member=member.number, blocks=found))

    async def _sweep(self, number: int) -> int:
        """Discard a member's orphans; returns how many."""
        after: m.BlockVersion | None = None
        found = 0
        while True:
            page = await self._call(number, m.ListBlocks(after))
            namespace = self._role.primary.namespace
            for block in page.blocks:
                version = m.BlockVersion(*block[:4])
                if not namespace.is_live(version):
                    self._discards.add_one(number, version)
                    found += 1
            if not page.more:
                return found
            after = m.BlockVersion(*page.blocks[-1][:4])

    # --- corrupt copies ----------------------------------------------------------------------

    async def report_corrupt(self, call: Call) -> m.Empty:
        """A reader met a bad copy: verify it, and if another copy exists drop this one."""
        primary = self._role.primary
        version, number = call.request.block, call.request.member
        reply = await self._call(number, m.VerifyBlocks((version,)))
        if reply.codes != (0,):
            self.corrupt += reply.codes == (errors.CorruptBlockError.code,)
            ref = primary.namespace.block(version)
            rest = tuple(n for n in ref.replicas if n != number) if ref else ()
            log.error("corrupt copy", extra=fields(member=number, block=version, others=len(rest)))
            if ref is not None and rest and number in ref.replicas:
                await self._submit(_only(version, rest))
                self._discards.add_one(number, version)
        return m.Empty()

    async def _submit(self, command: Any) -> Any:
        answer = self._role.primary.submit_own(command)
        return await answer if inspect.isawaitable(answer) else answer

    async def _call(self, number: int, request: Any) -> Any:
        # The node's own blocks are asked for in the same way: one path, and it may be elsewhere.
        connection = await self._pool.control(self._membership.find(number))
        answer = await connection.call(
            request,
            request_id=self._pool.next_request_id(),
            timeout=self._call_seconds,
            epoch=self._membership.epoch,
        )
        return answer.record


def _only(version: m.BlockVersion, replicas: tuple[int, ...]) -> m.SetReplicas:
    """The command that leaves a version only ``replicas``."""
    return m.SetReplicas(
        version.inode, version.index, version.generation, version.sequence, replicas
    )
