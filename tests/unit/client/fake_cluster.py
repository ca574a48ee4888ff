"""A cluster without transport: a real namespace, blocks in dictionaries, faults on demand.

``FakeSession`` answers what the client asks in the same event loop step, except where a test
makes a member slow. Everything below the session's interface is thereby out of the picture.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from memfs import errors
from memfs.checksum import crc32c
from memfs.client.filesystem import FileSystem
from memfs.client.session import Session
from memfs.config import ClientConfig
from memfs.node.log import Entry
from memfs.node.namespace import Namespace, Settings
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.transport.connection import Answer
from memfs.transport.environment import Environment, FileDisk, SocketNetwork
from memfs.types import Identity, Member, View

Version = tuple[int, int, int, int]
EMPTY = memoryview(b"")


class Clock:
    """Time as the event loop has it."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def boottime_ns(self) -> int:
        return int(self.monotonic() * 1e9)

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000


class FakeCluster:
    """Members 1 to ``nodes``, the first one primary."""

    def __init__(self, nodes: int = 3, replication: int = 2, block_size: int = 4096) -> None:
        settings = Settings("root", "supergroup", replication, block_size, 4)
        self.namespace = Namespace(settings, 0)
        self.blocks: dict[int, dict[Version, bytes]] = {n: {} for n in range(1, nodes + 1)}
        self.crcs: dict[Version, int] = {}
        self.headless = False
        """Whether there is no primary."""
        self.down: set[int] = set()
        self.full: set[int] = set()
        self.slow: dict[int, float] = {}
        self.waiting = 0
        self.most_waiting = 0
        """Requests to members under way at once."""
        self.clients = 0
        self.asked: Counter[str] = Counter()
        self.payload_bytes = 0
        self.read_bytes = 0
        self.largest_read = 0
        self.reports: list[m.ReportCorrupt] = []
        self.view = self._view(1)

    def _view(self, epoch: int) -> View:
        members = tuple(
            Member(n, f"node-{n}", 100 + n, f"host-{n}", 10500, domain=f"rack/{n}")
            for n in self.blocks
        )
        return View("test", epoch, 1, (1,), members, len(members) + 1)

    def session(self, **options: Any) -> FakeSession:
        """A client's session."""
        return FakeSession(self, ClientConfig(user="root", groups=("supergroup",), **options))

    def connect(self, **options: Any) -> FileSystem:
        """A client."""
        return FileSystem(self.session(**options))

    # --- namespace --------------------------------------------------------------------------

    def primary(self, client: int, number: int, identity: Identity, request: Any) -> Answer:
        """The primary's answer."""
        self.asked[type(request).__name__] += 1
        if self.headless:
            raise errors.UnavailableError("there is no primary")
        if isinstance(request, m.ReportCorrupt):
            self.reports.append(request)
            return Answer(m.Empty(), EMPTY, self.view.epoch)
        if isinstance(request, (m.Ping, m.Goodbye)):
            return Answer(m.Empty(), EMPTY, self.view.epoch)
        if isinstance(request, m.StatFileSystem):
            settings = self.namespace.settings
            layout = (settings.replication, settings.block_size, settings.group_blocks)
            return Answer(m.FileSystemReply(1 << 30, 0, 1, 1, *layout), EMPTY, self.view.epoch)
        spec = m.BY_REQUEST[type(request)]
        request = records.decode(spec.request, records.encode(request))
        if spec.command:
            record = self._apply(client, number, identity, request, spec)
        else:
            record = self.namespace.query(identity, request)
        payload = EMPTY
        if isinstance(request, m.ReadFiles):
            record, payload = self._inline(record, request.inline)
        return Answer(records.decode(spec.reply, records.encode(record)), payload, self.view.epoch)

    def _apply(
        self, client: int, number: int, identity: Identity, request: Any, spec: m.Spec
    ) -> Any:
        index = self.namespace.applied + 1
        raw = records.encode(request)
        entry = Entry(index, 1, index * 1000, client, number, identity, spec.opcode, raw)
        outcome = self.namespace.apply(entry, request)
        for ref in outcome.discards:
            for number in ref.replicas:
                self.blocks[number].pop(ref[:4], None)
        if isinstance(outcome.record, m.ErrorReply):
            reply = outcome.record
            raise errors.from_wire(reply.code, reply.message, reply.path or None)
        return outcome.record

    def _inline(self, reply: m.ReadFilesReply, limit: int) -> tuple[m.ReadFilesReply, memoryview]:
        files, payload = [], b""
        for file in reply.files:
            ref = file.blocks[0] if len(file.blocks) == 1 else None
            data = self.blocks[1].get(ref[:4]) if ref is not None else None
            if data is not None and file.attributes.size == len(data) <= limit:
                file = m.FileReply(0, "", file.attributes, len(data), ref.crc)
                payload += data
            files.append(file)
        return m.ReadFilesReply(tuple(files)), memoryview(payload)

    # --- blocks -----------------------------------------------------------------------------

    def member(self, number: int, request: Any, payload: Sequence[Any], into: Any) -> Answer:
        """Member ``number``'s answer to a block request."""
        self.asked[type(request).__name__] += 1
        self._check_up(number)
        if isinstance(request, m.WriteBlock):
            return Answer(self._write(request, b"".join(payload)), EMPTY, self.view.epoch)
        if isinstance(request, m.WriteBlocks):
            self._write_many(request, b"".join(payload))
            return Answer(m.Empty(), EMPTY, self.view.epoch)
        if isinstance(request, m.ReadBlocks):
            return self._read_many(number, request)
        assert isinstance(request, m.ReadBlock)
        data = self._stored(number, request[:4])[request.offset :][: request.length]
        self.read_bytes += len(data)
        self.largest_read = max(self.largest_read, len(data))
        into[: len(data)] = data
        return Answer(m.ReadBlockReply(crc32c(data)), into[: len(data)], self.view.epoch)

    def _check_up(self, number: int) -> None:
        if number in self.down:
            raise errors.UnavailableError(f"member {number} is down")
        if number in self.full:
            raise errors.NoSpaceError(f"member {number} is full")

    def _stored(self, number: int, version: Version) -> bytes:
        data = self.blocks[number].get(tuple(version))
        if data is None:
            raise errors.BlockNotFoundError(f"member {number} has no {version}")
        return data

    def _write(self, request: m.WriteBlock, payload: bytes) -> m.WriteBlockReply:
        self.payload_bytes += len(payload)
        assert crc32c(payload) == request.crc, "payload and CRC differ"
        for number in request.chain:
            self._check_up(number)
        content = b""
        for number in request.chain:
            content = self._content(number, request, payload)
            version = (request.inode, request.index, request.generation, request.sequence)
            assert version not in self.blocks[number], "versions are immutable"
            self.blocks[number][version] = content
            self.crcs[version] = crc32c(content)
        return m.WriteBlockReply(len(content), crc32c(content))

    def _content(self, number: int, request: m.WriteBlock, payload: bytes) -> bytes:
        if request.base_generation < 0:
            assert len(payload) == request.length
            return payload
        base = (request.inode, request.index, request.base_generation, request.base_sequence)
        content = bytearray(request.length)
        kept = self._stored(number, base)[: request.length]
        content[: len(kept)] = kept
        at = 0
        for extent in request.extents:
            content[extent.offset : extent.offset + extent.length] = payload[at:][: extent.length]
            at += extent.length
        assert at == len(payload)
        return bytes(content)

    def _write_many(self, request: m.WriteBlocks, payload: bytes) -> None:
        self.payload_bytes += len(payload)
        for number in request.chain:
            self._check_up(number)
        at = 0
        for block in request.blocks:
            data = payload[at : at + block.length]
            assert crc32c(data) == block.crc
            self.crcs[block[:4]] = block.crc
            for number in request.chain:
                self.blocks[number][block[:4]] = data
            at += block.length

    def _read_many(self, number: int, request: m.ReadBlocks) -> Answer:
        results, payload = [], b""
        for wanted in request.ranges:
            try:
                data = self._stored(number, wanted[:4])[wanted.offset :][: wanted.length]
            except errors.MemfsError as error:
                results.append(m.RangeResult(error.code, 0, 0))
                continue
            results.append(m.RangeResult(0, len(data), self.crcs[wanted[:4]]))
            payload += data
        return Answer(m.ReadBlocksReply(tuple(results)), memoryview(payload), self.view.epoch)

    # --- faults -----------------------------------------------------------------------------

    def corrupt(self, number: int) -> None:
        """Flip a bit in every block of a member."""
        for version, data in self.blocks[number].items():
            self.blocks[number][version] = bytes([data[0] ^ 1]) + data[1:]

    def lose(self, number: int) -> None:
        """A member forgets everything and leaves the view."""
        self.down.add(number)
        members = tuple(each for each in self.view.members if each.number != number)
        self.view = self.view._replace(epoch=self.view.epoch + 1, members=members)


class FakeSession(Session):
    """A session whose requests are answered by a :class:`FakeCluster`."""

    def __init__(self, cluster: FakeCluster, config: ClientConfig) -> None:
        cluster.clients += 1
        dice = random.Random(cluster.clients)
        super().__init__(config, Environment(Clock(), dice, SocketNetwork(), FileDisk()))
        self.cluster = cluster
        self._adopt(cluster.view)

    async def _persist(self, request: Any, number: int, deadline: float, into: Any) -> Answer:
        return self.cluster.primary(self.client, number, self.identity, request)

    async def ask_member(
        self,
        number: int,
        request: Any,
        payload: Sequence[Any] = (),
        *,
        deadline: float,
        into: Any = None,
    ) -> Answer:
        cluster = self.cluster
        self.member(number)
        cluster.waiting += 1
        cluster.most_waiting = max(cluster.most_waiting, cluster.waiting)
        try:
            await asyncio.sleep(cluster.slow.get(number, 0))
            return cluster.member(number, request, payload, into)
        finally:
            cluster.waiting -= 1

    async def refresh_view(self, deadline: float) -> None:
        if self.cluster.view.epoch > self.epoch:
            self._adopt(self.cluster.view)

    def backoff(self, attempt: int) -> float:
        return 0.001
