"""Copying: batches of blocks from several sources to several targets, the most urgent first.

Owns what is under way. The target pulls (CopyBlocks); what arrived is named by the file in a
command computed from the reference as it is then (NoResurrection): a version that is no longer
current is left alone, and its copy is swept. A move first adds a copy; the old one is trimmed later
(RingChangeNoHole).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.healing.agenda import MOVES, Agenda, Batch, Queue
from memfs.node.healing.bandwidth import Bandwidth
from memfs.node.healing.judge import Judge
from memfs.node.healing.peers import Peers
from memfs.node.namespace.state import PlacedBlock
from memfs.node.namespace_role import NamespaceRole
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

WINDOW = 128
"""Blocks looked at to fill a batch: about a millisecond."""
BATCH_BYTES = 64 * limits.MIB
COPIES_PER_NODE = 2
"""Batches in flight that a node sends or receives: one is read while another is checked."""
NAMED_AT_ONCE = 32
"""Copies named by their files between two turns of the event loop."""
POLL_SECONDS = 0.1
AVOID_SECONDS = 2.0
"""A pair of nodes between which a copy failed is left alone for so long."""
SLOWEST_BYTES_PER_SECOND = limits.MIB
SLOWEST_BLOCKS_PER_SECOND = 100


class Copies:
    """Carries out what the agenda wants copied while this node is the primary."""

    def __init__(
        self,
        agenda: Agenda,
        role: NamespaceRole,
        peers: Peers,
        *,
        order: Callable[[], int],
        healing: Bandwidth,
        rebalancing: Bandwidth,
    ) -> None:
        """``order`` numbers decisions."""
        self.blocks = 0
        """Blocks copied so far."""
        self.bytes = 0
        self._agenda = agenda
        self._role = role
        self._membership = role.membership
        self._peers = peers
        self._order = order
        self._healing = healing
        self._rebalancing = rebalancing
        self._now = self._membership.environment.clock.monotonic
        self._busy: Counter[int] = Counter()
        self._promised: Counter[int] = Counter()
        self._room: dict[int, int] = {}
        self._avoided: dict[tuple[int, int], float] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._reported = "idle"

    def is_copying(self, version: m.BlockVersion, number: int) -> bool:
        """Is a copy on its way to a member, to be named by the file afterwards?"""
        batch = self._agenda.in_flight.get(version)
        return batch is not None and batch.target == number

    @property
    def state(self) -> str:
        """What goes on: ``healing``, ``rebalancing`` or ``idle``."""
        queues, batches = self._agenda.queues, self._agenda.in_flight.values()
        if any(queues[:MOVES]) or not all(batch.moving for batch in batches):
            return "healing"
        return "rebalancing" if queues[MOVES] or batches else "idle"

    async def run(self) -> None:
        """Copy what is queued, forever."""
        wake = self._agenda.wake
        try:
            while True:
                wake.clear()
                if self._role.leads:
                    await self._start_batches()
                    self._report()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await wake.wait()
        finally:
            for task in self._running:
                task.cancel()

    async def _start_batches(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                task = asyncio.create_task(self._carry_out(batch))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                await asyncio.sleep(0)
        except errors.MemfsError as error:
            log.info("nothing is copied now", extra=fields(reason=error))

    def _report(self) -> None:
        """Tell the log what begins and what is done; scan again for what found no room to wait."""
        state = self.state
        if state == "idle" and self._agenda.overflowed:
            self._agenda.overflowed = False
            self._agenda.look_again()
        if state == self._reported:
            return
        totals = fields(blocks=self.blocks, bytes=self.bytes)
        if self._reported != "idle":
            log.info(f"{self._reported} done", extra=totals)
        if state != "idle":
            log.info(f"{state} begun", extra=totals)
        self._reported = state

    # --- choosing ---------------------------------------------------------------------------

    def _next_batch(self) -> Batch | None:
        """Take from the queues, the most urgent first, what one free pair of nodes can do."""
        queues = self._agenda.queues
        self._room = self._rooms()
        for urgency, queue in enumerate(queues):
            moving = urgency == MOVES
            if moving and any(queues[:MOVES]):
                return None
            if queue and (batch := self._fill(queue, moving)) is not None:
                return batch
        return None

    def _fill(self, queue: Queue, moving: bool) -> Batch | None:
        """A batch from the first blocks of a queue; those of other pairs go back to its front."""
        batch: Batch | None = None
        kept: list[m.BlockVersion] = []
        room = BATCH_BYTES
        for _ in range(min(WINDOW, len(queue))):
            version, _none = queue.popitem(last=False)
            block = self._agenda.namespace.placed_block(version)
            way = self._way(block, moving) if block is not None else None
            if block is None or way is None or version in self._agenda.in_flight:
                continue
            if block.ref.length > room or any(self._busy[n] >= COPIES_PER_NODE for n in way):
                kept.append(version)
            elif batch is None:
                batch = Batch(*way, [block], moving)
                room -= block.ref.length
            elif (batch.source, batch.target) == way:
                batch.blocks.append(block)
                room -= block.ref.length
            else:
                kept.append(version)
        for version in reversed(kept):
            queue[version] = None
            queue.move_to_end(version, last=False)
        return batch

    def _rooms(self) -> dict[int, int]:
        """Free bytes of the members that live and take copies."""
        rooms = {}
        for number in self._agenda.judge().ring.takers:
            if self._membership.is_alive(number):
                usage = self._membership.life(number).usage
                rooms[number] = usage.limit - usage.used - self._promised[number]
        return rooms

    def _way(self, block: PlacedBlock, moving: bool) -> tuple[int, int] | None:
        """From whom to whom a block is copied next, None: it needs nothing, or nobody can."""
        judge, alive = self._agenda.judge(), self._membership.is_alive
        length, room = block.ref.length, self._room
        shunned = frozenset([n for n in judge.ring.takers if room.get(n, -1) < length])
        if judge.missing(block):
            targets = judge.targets(block, shunned)
        elif moving and (wanted := judge.moves(block)):
            targets = tuple([number for number in wanted if number not in shunned])
        else:
            return None
        now = self._now()
        pairs = [
            (source, target)
            for target in targets
            for source in judge.live(block.ref)
            if alive(source) and now >= self._avoided.get((source, target), 0.0)
        ]
        if not pairs:
            self._agenda.stuck += 1
            return None
        return min(pairs, key=lambda pair: (targets.index(pair[1]), self._busy[pair[0]]))

    # --- carrying out -----------------------------------------------------------------------

    async def _carry_out(self, batch: Batch) -> None:
        versions, size, in_flight = batch.versions, batch.bytes, self._agenda.in_flight
        self._busy.update((batch.source, batch.target))
        self._promised[batch.target] += size
        in_flight.update(dict.fromkeys(versions, batch))
        try:
            codes = await self._copy(batch)
            for number, (version, code) in enumerate(zip(versions, codes, strict=True), start=1):
                self._conclude(batch, version, code)
                if number % NAMED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except errors.MemfsError as error:
            self._avoid(batch)
            log.info(
                "blocks could not be copied",
                extra=fields(source=batch.source, target=batch.target, reason=error),
            )
        finally:
            self._busy.subtract((batch.source, batch.target))
            self._promised[batch.target] -= size
            for version in versions:
                in_flight.pop(version, None)
            self._agenda.wake.set()
        await self._look_after(versions)

    async def _copy(self, batch: Batch) -> tuple[int, ...]:
        bandwidth = self._rebalancing if batch.moving else self._healing
        await bandwidth.take(batch.bytes)
        blocks = tuple(
            m.CopyBlock(*block.ref[:6], block.block_size, block.group_blocks)
            for block in batch.blocks
        )
        seconds = AVOID_SECONDS + batch.bytes / SLOWEST_BYTES_PER_SECOND
        reply: m.CopyBlocksReply = await self._peers.ask(
            batch.target,
            m.CopyBlocks(batch.source, blocks, self._order()),
            seconds + len(blocks) / SLOWEST_BLOCKS_PER_SECOND,
        )
        return reply.codes

    def _conclude(self, batch: Batch, version: m.BlockVersion, code: int) -> None:
        """A copy was made, or was not."""
        if code == 0:
            self._name_copy(batch, version)
        elif code in (errors.BlockNotFoundError.code, errors.CorruptBlockError.code):
            self._agenda.corrupt.suspect(version, batch.source)
        else:
            self._avoid(batch)

    def _avoid(self, batch: Batch) -> None:
        now = self._now()
        self._avoided = {pair: until for pair, until in self._avoided.items() if until > now}
        self._avoided[batch.source, batch.target] = now + AVOID_SECONDS
        self._agenda.stuck += 1

    def _name_copy(self, batch: Batch, version: m.BlockVersion) -> None:
        """Let the file name the new copy, if it still refers to the version."""
        judge, block = self._agenda.judge(), self._agenda.namespace.placed_block(version)
        if block is None or batch.target not in judge.members:
            return
        self._agenda.corrupt.replaced(version, batch.target)
        live = tuple([n for n in judge.live(block.ref) if n != batch.target])
        named = block._replace(ref=block.ref._replace(replicas=(*live, batch.target)))
        if len(named.ref.replicas) > limits.REPLICAS_MAX:
            named = named._replace(ref=named.ref._replace(replicas=judge.kept(named)))
        set_aside(self._role.primary.submit_own(m.SetReplicas(*version, named.ref.replicas)))
        self._count(batch, block, len(live), judge)

    def _count(self, batch: Batch, block: PlacedBlock, left: int, judge: Judge) -> None:
        length, found = block.ref.length, self._agenda.findings
        self.blocks += 1
        self.bytes += length
        if batch.moving:
            self._rebalancing.moved(length)
            found.moves = max(0, found.moves - 1)
            found.move_bytes = max(0, found.move_bytes - length)
            return
        self._healing.moved(length)
        found.bytes = max(0, found.bytes - length)
        found.endangered[left] = max(0, found.endangered[left] - 1)
        if left + 1 < judge.wanted(block.replication):
            found.endangered[left + 1] += 1
        else:
            found.blocks = max(0, found.blocks - 1)

    async def _look_after(self, versions: list[m.BlockVersion]) -> None:
        """What still lacks something is queued again, what has too much is trimmed later."""
        try:
            for number, version in enumerate(versions, start=1):
                self._agenda.consider(version)
                if number % NAMED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except errors.MemfsError as error:
            log.info("nothing is copied now", extra=fields(reason=error))
