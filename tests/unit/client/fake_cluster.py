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

from memfs import errors, limits
from memfs.checksum import crc32c
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.session.attempts import Attempts
from memfs.client.session.session import Session
from memfs.config import ClientConfig
from memfs.node.log.entries import Entry
from memfs.node.namespace import Namespace, Settings
from memfs.node.namespace.commands.xattrs import parted
from memfs.node.namespace.whole_files import WholeFiles
from memfs.node.replication.open_files import OpenFiles
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.transport.connection import Answer
from memfs.transport.environment import Environment, FileDisk, SocketNetwork
from memfs.types import BlockRef, Identity, Member, View

Version = tuple[int, int, int, int]
EMPTY = memoryview(b"")
BY_THEMSELVES = frozenset({"Ping", "ReportOpens"})
"""What sessions ask now and then, however long a test takes."""


class Clock:
    """Time as the event loop has it."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def boottime_ns(self) -> int:
        return int(self.monotonic() * 1e9)

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000


class Gate:
    """Holds requests back."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        """One is held back."""
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self.reached.set()
        await self.opened.wait()


class FakeCluster:
    """Members 1 to ``nodes``, the first one primary."""

    def __init__(self, nodes: int = 3, replication: int = 2, block_size: int = 4096) -> None:
        settings = Settings("root", "supergroup", replication, block_size, 4)
        self.namespace = Namespace(settings, 0)
        self.opens = OpenFiles(self.namespace, lambda: 0.0)
        self.opens.begin()
        self.blocks: dict[int, dict[Version, bytes]] = {n: {} for n in range(1, nodes + 1)}
        self.crcs: dict[Version, int] = {}
        self.ask_seconds = 0.0
        """How long requests to the primary are under way."""
        self.answer_seconds = 0.0
        """How long the primary's answers are under way."""
        self.late: dict[type, Gate] = {}
        """The primary's answers to requests of a class arrive once their gate is opened."""
        self.held: dict[type, Gate] = {}
        """... and requests of a class reach it then."""
        self.stale = False
        """Whether members keep what they are told to forget."""
        self.unanswered: set[type] = set()
        """Requests that the primary carries out without a word."""
        self.headless = False
        """Whether there is no primary."""
        self.down: set[int] = set()
        self.full: set[int] = set()
        self.slow: dict[int, float] = {}
        self.gate: Gate | None = None
        """What is asked of members now is answered once it is opened."""
        self.refuse: dict[type, errors.MemfsError] = {}
        """What members answer to requests of a class."""
        self.refuse_once: dict[type, list[errors.MemfsError]] = {}
        """What the primary answers instead of carrying a request of a class out, one at a time."""
        self.reluctant = 0.0
        """Seconds that a cancelled request takes to end."""
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
        chosen = {"user": "root", "groups": ("supergroup",)} | options
        return FakeSession(self, ClientConfig(**chosen))

    def connect(self, **options: Any) -> AsyncFileSystem:
        """A client."""
        return AsyncFileSystem(self.session(**options))

    # --- namespace --------------------------------------------------------------------------

    @property
    def asked_for(self) -> dict[str, int]:
        """What was asked because somebody called the client: sessions also ask by themselves."""
        return {name: count for name, count in self.asked.items() if name not in BY_THEMSELVES}

    def primary(
        self,
        client: int,
        number: int,
        identity: Identity,
        request: Any,
        sent: Sequence[Any] = (),
    ) -> Answer:
        """The primary's answer."""
        self.asked[type(request).__name__] += 1
        if self.headless:
            raise errors.UnavailableError("there is no primary")
        if refusals := self.refuse_once.get(type(request)):
            raise refusals.pop()
        if isinstance(request, m.ReportCorrupt):
            self.reports.append(request)
            return Answer(m.Empty(), EMPTY, self.view.epoch)
        if isinstance(request, (m.Ping, m.Goodbye)):
            return Answer(m.Empty(), EMPTY, self.view.epoch)
        if isinstance(request, m.ReportOpens):
            request = records.decode(m.ReportOpens, records.encode(request))
            reply = m.ReportOpensReply(self.opens.report(client, request))
            self.free_unlinked()
            return Answer(reply, EMPTY, self.view.epoch)
        if isinstance(request, m.StatFileSystem):
            settings = self.namespace.settings
            layout = (settings.replication, settings.block_size, settings.group_blocks)
            return Answer(m.FileSystemReply(1 << 30, 0, 1, 1, *layout), EMPTY, self.view.epoch)
        spec = m.BY_REQUEST[type(request)]
        request = records.decode(spec.request, records.encode(request))
        if sent:
            request = request._replace(value=b"".join(sent))
        if spec.command:
            record = self._apply(client, number, identity, request, spec)
        else:
            record = self.namespace.query(identity, request, client, self.opens)
        payload = EMPTY
        if isinstance(request, m.OpenFile):
            if request.number:
                self._expect_opens(client)
                self.opens.opened(client, record.attributes.inode, request.number)
            several, payload = self._inline(m.ReadFilesReply((record,)), request.inline)
            record = several.files[0]
        if isinstance(request, m.ReadFiles):
            record, payload = self._inline(record, request.inline)
        if isinstance(request, m.ReadMany):
            record, payload = self._whole_files(record)
        if isinstance(request, m.GetXattrs):
            record, values = parted(record)
            payload = memoryview(b"".join(values))
        return Answer(records.decode(spec.reply, records.encode(record)), payload, self.view.epoch)

    def _apply(
        self, client: int, number: int, identity: Identity, request: Any, spec: m.Spec
    ) -> Any:
        index = self.namespace.applied + 1
        raw = records.encode(request, limits.LOGGED_BYTES)
        entry = Entry(index, 1, index * 1000, client, number, identity, spec.opcode, raw)
        outcome = self.namespace.apply(entry, request, self.opens)
        for ref in () if self.stale else outcome.discards:
            for number in ref.replicas:
                self.blocks[number].pop(ref[:4], None)
        if isinstance(outcome.record, m.ErrorReply):
            reply = outcome.record
            raise errors.from_wire(reply.code, reply.message, reply.path or None)
        return outcome.record

    def _expect_opens(self, client: int) -> None:
        if not self.namespace.expects_opens(client):
            spec = m.BY_REQUEST[m.ExpectOpens]
            self._apply(0, 0, Identity("root"), m.ExpectOpens(client), spec)

    def free_unlinked(self) -> None:
        """What the primary does by and by: free deleted files that nobody has open any more."""
        inodes = self.opens.take_due()
        spec = m.BY_REQUEST[m.FreeUnlinked]
        self._apply(0, 0, Identity("root"), m.FreeUnlinked(inodes), spec)

    def expire(self, client: int) -> None:
        """The primary ends the session of a client that was silent for too long."""
        spec = m.BY_REQUEST[m.ExpireSession]
        self._apply(0, 0, Identity("root"), m.ExpireSession(client), spec)

    def make_tokens(self) -> None:
        """The primary gives itself a key for delegation tokens."""
        spec = m.BY_REQUEST[m.AddTokenKey]
        self._apply(0, 0, Identity("root"), m.AddTokenKey(bytes(32), 1 << 40, 1 << 40), spec)

    def new_primary(self) -> None:
        """Another term, which knows of no open file."""
        self.opens = OpenFiles(self.namespace, lambda: 0.0)
        self.opens.begin()

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

    def _whole_files(self, found: WholeFiles) -> tuple[m.ReadManyReply, memoryview]:
        lengths, crcs, payload = [], [], b""
        others: list[m.FileReply] = []
        said = iter(found.others)
        for inode, generation, sequence, length, crc, replicas in found.blocks:
            if length >= 0:
                data = self.blocks[1].get((inode, 0, generation, sequence)) if length else b""
                if data is not None:
                    lengths.append(length)
                    crcs.append(crc)
                    payload += data
                    continue
                ref = BlockRef(inode, 0, generation, sequence, length, crc, replicas)
                others.append(m.FileReply(0, "", None, blocks=(ref,)))
            else:
                others.append(next(said))
            lengths.append(-1)
            crcs.append(0)
        reply = m.ReadManyReply(tuple(lengths), tuple(crcs), tuple(others))
        return reply, memoryview(payload)

    # --- blocks -----------------------------------------------------------------------------

    def member(self, number: int, request: Any, payload: Sequence[Any], into: Any) -> Answer:
        """Member ``number``'s answer to a block request."""
        self.asked[type(request).__name__] += 1
        self._check_up(number)
        if type(request) in self.refuse:
            raise self.refuse[type(request)]
        if isinstance(request, m.WriteBlock):
            return Answer(self._write(request, b"".join(payload)), EMPTY, self.view.epoch)
        if isinstance(request, m.CopyRange):
            return Answer(self._copy(number, request), EMPTY, self.view.epoch)
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
            for sequence in request.forget:
                self.blocks[number].pop((*request[:3], sequence), None)
            content = self._content(number, request, payload)
            version = (request.inode, request.index, request.generation, request.sequence)
            assert version not in self.blocks[number], "versions are immutable"
            self.blocks[number][version] = content
            self.crcs[version] = crc32c(content)
        return m.WriteBlockReply(len(content), crc32c(content))

    def _copy(self, number: int, request: m.CopyRange) -> m.WriteBlockReply:
        source, counted = request.source, self.payload_bytes
        data = self._stored(number, source[:4])[source.offset :][: source.length]
        assert len(data) == source.length, "bytes that the source does not have"
        reply = self._write(request.target._replace(crc=crc32c(data)), data)
        self.payload_bytes = counted
        return reply

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
                stored = self._stored(number, wanted[:4])
                data = stored[wanted.offset :][: wanted.length]
            except errors.MemfsError as error:
                results.append(m.RangeResult(error.code, 0, 0))
                continue
            intact = crc32c(stored) == self.crcs[wanted[:4]]
            results.append(m.RangeResult(0, len(data), crc32c(data) ^ (not intact)))
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
        environment = Environment(Clock(), dice, SocketNetwork(), FileDisk())
        super().__init__(config, environment, cluster.view, dice.getrandbits(63))
        self.cluster = cluster
        self.views.refresh = self._refresh  # type: ignore[method-assign]
        self.primary._persist = self._persist  # type: ignore[method-assign,assignment]

    async def _persist(
        self,
        request: Any,
        number: int,
        deadline: float,
        into: Any = None,
        payload: Sequence[Any] = (),
    ) -> Answer:
        if seconds := self.cluster.ask_seconds:
            await asyncio.sleep(seconds)
        if gate := self.cluster.held.get(type(request)):
            await gate.passed()
        answer = self.cluster.primary(self.client, number, self.identity, request, payload)
        if isinstance(request, m.AwaitLock):
            answer = await self._park(request, answer)
        if gate := self.cluster.late.get(type(request)):
            await gate.passed()
        if type(request) in self.cluster.unanswered:
            raise errors.OutcomeUnknownError("no answer")
        if seconds := self.cluster.answer_seconds:
            left = self.remaining(deadline)
            await asyncio.sleep(min(seconds, left))
            if left < seconds and m.BY_REQUEST[type(request)].command:
                raise errors.OutcomeUnknownError("no answer in time")
            if left < seconds:
                raise errors.DeadlineError("no answer in time")
        return answer

    async def _park(self, request: m.AwaitLock, answer: Answer) -> Answer:
        """As a primary does with who waits for a lock."""
        until = asyncio.get_running_loop().time() + request.wait_ms / 1000
        while answer.record.state == m.LockState.WAITING:
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(0.001)
            answer = self.cluster.primary(self.client, 0, self.identity, request)
        return answer

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
        self.known.member(number)
        cluster.waiting += 1
        cluster.most_waiting = max(cluster.most_waiting, cluster.waiting)
        try:
            if cluster.gate is not None:
                await cluster.gate.passed()
            seconds, left = cluster.slow.get(number, 0), self.remaining(deadline)
            await asyncio.sleep(min(seconds, left))
            if left < seconds:
                raise errors.DeadlineError(f"member {number} did not answer in time")
            return cluster.member(number, request, payload, into)
        except asyncio.CancelledError:
            await asyncio.sleep(cluster.reluctant)
            raise
        finally:
            cluster.waiting -= 1

    async def _refresh(self, deadline: float) -> None:
        self.routing.adopt(self.cluster.view)

    def attempts(self, deadline: float) -> Attempts:
        refresh = self.views.try_refresh
        return Attempts(self.environment.random, self.silence, refresh, deadline, longest=0.001)
