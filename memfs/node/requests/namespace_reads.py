"""Questions to the namespace, and what their replies need beyond it: bytes, memory, the time.

Owns the order of things: the namespace answers first, then this node adds what it knows. An answer
that has to wait is a future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar, cast

from memfs import limits
from memfs.node.block_service.service import BlockService
from memfs.node.membership.members import Membership
from memfs.node.namespace.commands.xattrs import parted
from memfs.node.namespace.whole_files import WholeFiles
from memfs.node.replication.role import NamespaceRole
from memfs.node.requests.delegation import Delegation
from memfs.node.requests.granting import Granting
from memfs.node.stores.residence import ResidenceService, asks_for_memory
from memfs.protocol import messages as m
from memfs.protocol.messages.registry import Request
from memfs.transport.server import IncomingCall, Reply, Served

R = TypeVar("R")
V = TypeVar("V", m.VerifyTokenReply, m.CheckProofReply)


class NamespaceReads:
    """Answers the questions of clients on the primary."""

    def __init__(
        self,
        membership: Membership,
        role: NamespaceRole,
        blocks: BlockService,
        granting: Granting,
        residence: ResidenceService,
        delegation: Delegation,
    ) -> None:
        """``blocks`` has the bytes of small files, ``granting`` adds capabilities for others."""
        self._membership = membership
        self._role = role
        self._blocks = blocks
        self._granting = granting
        self._residence = residence
        self._delegation = delegation

    def query(self, call: IncomingCall[Request[R]]) -> R | asyncio.Future[R]:
        """What the namespace answers to any question."""
        peer, finish = call.connection.peer, self._granting.finish(call)
        return self._role.primary.query(peer.identity, call.request, peer.client, finish)

    def read_files(self, call: IncomingCall[m.ReadFiles]) -> Served[m.ReadFilesReply]:
        """Attributes and block maps of many files; the bytes of small ones that are here."""
        found = self.query(call)
        if isinstance(found, asyncio.Future):
            return asyncio.ensure_future(self._read_files_later(call, found))
        return self._with_data(call, found)

    async def _read_files_later(
        self, call: IncomingCall[m.ReadFiles], pending: Awaitable[m.ReadFilesReply]
    ) -> Reply[m.ReadFilesReply]:
        return self._with_data(call, await pending)

    def _with_data(
        self, call: IncomingCall[m.ReadFiles], reply: m.ReadFilesReply
    ) -> Reply[m.ReadFilesReply]:
        files: list[m.FileReply] = []
        payload: list[memoryview] = []
        room = limits.BATCH_PAYLOAD_BYTES
        for file in reply.files:
            answer, data = self._blocks.inline(file, min(room, call.request.inline))
            files.append(answer)
            if data is not None:
                payload.append(data)
                room -= len(data)
        capability = self._granting.read(call, files)
        return Reply(m.ReadFilesReply(tuple(files), capability), payload)

    def read_many(self, call: IncomingCall[m.ReadMany]) -> Served[m.ReadManyReply]:
        """The bytes of many small files."""
        # the namespace answers with what it has, of which the reply is made here
        found = cast("WholeFiles | asyncio.Future[WholeFiles]", self.query(call))
        if isinstance(found, asyncio.Future):
            return asyncio.ensure_future(self._read_many_later(call, found))
        return self._whole_files(call, found)

    async def _read_many_later(
        self, call: IncomingCall[m.ReadMany], pending: Awaitable[WholeFiles]
    ) -> Reply[m.ReadManyReply]:
        return self._whole_files(call, await pending)

    def _whole_files(
        self, call: IncomingCall[m.ReadMany], found: WholeFiles
    ) -> Reply[m.ReadManyReply]:
        reply = self._blocks.whole_files.reply(found, call.request.lend)
        others = reply.record.others
        if not others or not (capability := self._granting.read(call, others)):
            return reply
        return reply._replace(record=reply.record._replace(capability=capability))

    def get_xattrs(self, call: IncomingCall[m.GetXattrs]) -> Served[m.XattrsReply]:
        """Extended attributes, long values as payload."""
        found = self.query(call)
        if asks_for_memory(call.request):
            found = asyncio.ensure_future(self._residence.complete(call, found))
        if isinstance(found, asyncio.Future):
            return asyncio.ensure_future(_parted_later(found))
        return Reply(*parted(found))

    async def verify_token(self, call: IncomingCall[Request[V]]) -> V:
        """Whom a token or a proof proves. Raises InvalidTokenError for an expired one."""
        found = self.query(call)
        reply = await found if isinstance(found, asyncio.Future) else found
        return self._delegation.check(reply)

    async def check_standing(self, call: IncomingCall[m.CheckStanding]) -> m.StandingReply:
        """Whether what proved clients of another node is still good."""
        found = self.query(call)
        reply = await found if isinstance(found, asyncio.Future) else found
        return self._delegation.standing(reply)

    def stat_file_system(self, call: IncomingCall[m.StatFileSystem]) -> Served[m.FileSystemReply]:
        """statfs: counts of the namespace, and bytes of the nodes that live."""
        found = self.query(call)
        if isinstance(found, asyncio.Future):
            return asyncio.ensure_future(self._stat_file_system_later(found))
        return self._with_capacity(found)

    async def _stat_file_system_later(
        self, pending: Awaitable[m.FileSystemReply]
    ) -> m.FileSystemReply:
        return self._with_capacity(await pending)

    def _with_capacity(self, counts: m.FileSystemReply) -> m.FileSystemReply:
        capacity = used = 0
        for member in self._live_members():
            usage = self._membership.life(member).usage
            capacity, used = capacity + usage.limit, used + usage.used
        return counts._replace(capacity=capacity, used=used)

    def _live_members(self) -> list[int]:
        numbers = [member.number for member in self._membership.view.members]
        return [number for number in numbers if self._membership.is_alive(number)]


async def _parted_later(pending: Awaitable[m.XattrsReply]) -> Reply[m.XattrsReply]:
    return Reply(*parted(await pending))
