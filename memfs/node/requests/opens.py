"""Opening and closing files for reading: the primary's answers to clients.

Owns nothing: who has what open is :mod:`memfs.node.replication.open_files`'s, what that means for
deleted files the namespace's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from memfs import limits
from memfs.errors import MemfsError
from memfs.node.block_service.service import BlockService
from memfs.node.housekeeping import Housekeeping
from memfs.node.replication.primary import Primary
from memfs.node.replication.role import NamespaceRole
from memfs.node.requests.granting import Granting
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m
from memfs.transport.connection import Peer
from memfs.transport.server import IncomingCall, Reply, Served

log = logging.getLogger(__name__)


class OpensService:
    """Handlers of OpenFile and ReportOpens."""

    def __init__(
        self,
        role: NamespaceRole,
        housekeeping: Housekeeping,
        blocks: BlockService,
        granting: Granting,
    ) -> None:
        """``blocks`` has the content of small files; ``granting`` lets others be read."""
        self._role = role
        self._housekeeping = housekeeping
        self._blocks = blocks
        self._granting = granting

    def open(self, call: IncomingCall[m.OpenFile]) -> Served[m.FileReply]:
        """A file's content; the file stays for this client until it reports the close."""
        peer, primary = call.connection.peer, self._role.primary
        self._housekeeping.note_heartbeat(peer.client)
        if call.request.number:
            self._expect(primary, peer)
        found = primary.query(peer.identity, call.request, peer.client)
        if isinstance(found, asyncio.Future):
            return asyncio.ensure_future(self._later(call, found))
        return self._with_data(call, found)

    async def _later(
        self, call: IncomingCall[m.OpenFile], pending: Awaitable[m.FileReply]
    ) -> Reply[m.FileReply]:
        return self._with_data(call, await pending)

    def _with_data(self, call: IncomingCall[m.OpenFile], reply: m.FileReply) -> Reply[m.FileReply]:
        room = min(limits.BATCH_PAYLOAD_BYTES, call.request.inline)
        answer, data = self._blocks.inline(reply, room)
        return Reply(self._granting.opened(call, answer), [] if data is None else [data])

    def report(self, call: IncomingCall[m.ReportOpens]) -> m.ReportOpensReply:
        """What a client has closed, or has open."""
        peer, primary = call.connection.peer, self._role.primary
        self._housekeeping.note_heartbeat(peer.client)
        if call.request.opened:
            self._expect(primary, peer)
        return m.ReportOpensReply(primary.opens.report(peer.client, call.request))

    def _expect(self, primary: Primary, peer: Peer) -> None:
        """Let the log say that this client has files open, for the next primary."""
        if primary.namespace.expects_opens(peer.client):
            return
        try:
            set_aside(primary.submit_own(m.ExpectOpens(peer.client, peer.identity.user)))
        except MemfsError as error:  # nothing can be commanded now: again with its next word
            log.debug("not put on record that client %d has files open: %s", peer.client, error)
