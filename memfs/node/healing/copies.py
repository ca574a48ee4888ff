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
from collections.abc import Callable, Sequence

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.healing.bandwidth import Bandwidth
from memfs.node.healing.peers import Peers
from memfs.node.healing.placement_check import PlacementCheck
from memfs.node.healing.repair_queue import (
    BALANCING,
    MOVES,
    CopyBatch,
    Findings,
    Queue,
    RepairQueue,
    Way,
)
from memfs.node.namespace.state import PlacedBlock
from memfs.node.replication.role import NamespaceRole
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

LOOKED_AT_ONCE = 128
"""Blocks looked at between two turns of the event loop: about a millisecond."""
WINDOW = 4_096
"""Blocks looked at to fill batches..."""
FRUITLESS = 512
"""... unless so many, looked at one after the other, turn out to belong to nodes that are busy."""
BATCH_BYTES = 64 * limits.MIB
BATCH_BLOCKS = 512
COPIES_PER_NODE = 2
"""Batches in flight that a node sends or receives: one is read while another is checked."""
NAMED_AT_ONCE = 128
"""Copies named by their files in one command, and between two turns of the event loop."""
assert NAMED_AT_ONCE <= limits.REPLICAS_PER_COMMAND
POLL_SECONDS = 0.1
AVOID_SECONDS = 2.0
"""A pair of nodes is not used for this long after a copy between them failed."""
SLOWEST_BYTES_PER_SECOND = limits.MIB
SLOWEST_BLOCKS_PER_SECOND = 100


class _Batches:
    """Batches that are being filled from one queue, several at a time."""

    def __init__(
        self, in_flight: dict[m.BlockVersion, CopyBatch], busy: Counter[int], moving: bool
    ) -> None:
        """``in_flight`` gets each version as it is added; ``busy``: batches of each node so far."""
        self.filled: list[CopyBatch] = []
        self._in_flight = in_flight
        self._busy = busy.copy()
        self._moving = moving
        self._open: dict[Way, CopyBatch] = {}
        self._room: dict[Way, int] = {}
        """Bytes that still go into the open batch of a pair."""

    def refuse(self, ways: Sequence[Way]) -> bool:
        """Would :meth:`add` refuse any block that can go these ways only? False: perhaps not."""
        for way in ways:
            batch = self._open.get(way)
            if batch is not None and len(batch.blocks) < BATCH_BLOCKS and self._room[way] > 0:
                return False
            if self._busy[way[0]] < COPIES_PER_NODE and self._busy[way[1]] < COPIES_PER_NODE:
                return False
        return bool(ways)

    def add(self, block: PlacedBlock, way: Way) -> bool:
        """Put a block into a batch of a pair; False: one of the nodes is busy."""
        batch, length = self._open.get(way), block.ref.length
        if batch is not None and (length > self._room[way] or len(batch.blocks) >= BATCH_BLOCKS):
            batch = None
        if batch is None:
            if any(self._busy[number] >= COPIES_PER_NODE for number in way):
                return False
            self._busy.update(way)
            batch = self._open[way] = CopyBatch(*way, [], self._moving)
            self._room[way] = BATCH_BYTES
            self.filled.append(batch)
        batch.blocks.append(block)
        self._room[way] -= length
        self._in_flight[block.ref.version] = batch
        return True

    def release(self) -> None:
        """Nothing of it will be copied."""
        for batch in self.filled:
            for version in batch.versions:
                self._in_flight.pop(version, None)


class Copies:
    """Carries out what the repair queue wants copied while this node is the primary."""

    def __init__(
        self,
        repairs: RepairQueue,
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
        self._repairs = repairs
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
        self._avoided: dict[Way, float] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._reported = "idle"

    def is_copying(self, version: m.BlockVersion, number: int) -> bool:
        """Is a copy on its way to a member, to be named by the file afterwards?"""
        batch = self._repairs.in_flight.get(version)
        return batch is not None and batch.target == number

    @property
    def state(self) -> str:
        """What goes on: ``healing``, ``rebalancing`` or ``idle``."""
        queues, batches = self._repairs.queues, self._repairs.in_flight.values()
        if any(queues[:MOVES]) or not all(batch.moving for batch in batches):
            return "healing"
        return "rebalancing" if any(queues[MOVES:]) or batches else "idle"

    async def run(self) -> None:
        """Copy what is queued, forever."""
        wake = self._repairs.wake
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
            while batches := await self._next_batches():
                for batch in batches:
                    task = asyncio.create_task(self._carry_out(batch))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                await asyncio.sleep(0)  # now they are busy
        except errors.MemfsError as error:
            log.info("nothing is copied now", extra=fields(reason=error))

    def _report(self) -> None:
        """Log what begins and what is done; scan again for what the full queues could not take, and
        to count what was copied while the last scan counted."""
        state, repairs = self.state, self._repairs
        if state == "idle" and repairs.overflowed:
            repairs.overflowed = False
            repairs.look_again()
        if state == self._reported:
            return
        if state == "idle" and repairs.findings.blocks and not repairs.stuck:
            repairs.look_again()
        totals = fields(blocks=self.blocks, bytes=self.bytes)
        if self._reported != "idle":
            log.info(f"{self._reported} done", extra=totals)
        if state != "idle":
            log.info(f"{state} begun", extra=totals)
        self._reported = state

    # --- choosing ---------------------------------------------------------------------------

    async def _next_batches(self) -> list[CopyBatch]:
        """Take from the queues, the most urgent first, what free pairs of nodes can copy.

        Free room is kept for blocks of departing members: balancing waits for them.
        """
        queues, departures = self._repairs.queues, self._repairs.placement().departures
        if not self._has_free_pair():
            return []
        self._room = self._rooms()
        for urgency, queue in enumerate(queues):
            moving = urgency >= MOVES
            if moving and any(queues[:MOVES]):
                return []
            if urgency == BALANCING and departures:
                return []
            if queue and (batches := await self._fill(queue, moving)):
                return batches
        return []

    async def _fill(self, queue: Queue, moving: bool) -> list[CopyBatch]:
        """Batches of the first blocks of a queue; those of busy pairs go back to its front."""
        batches = _Batches(self._repairs.in_flight, self._busy, moving)
        kept: list[tuple[m.BlockVersion, tuple[Way, ...]]] = []
        fruitless = 0
        try:
            for looked in range(1, WINDOW + 1):
                if not queue or fruitless >= FRUITLESS:
                    break
                version, ways = queue.popitem(last=False)
                if looked % LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
                # A move is looked at anew: its target may be full, and who leaves waits for it.
                if not moving and batches.refuse(ways):
                    kept.append((version, ways))
                    continue
                block = self._repairs.namespace.placed_block(version)
                ways = self._ways(block, moving) if block is not None else ()
                if version in self._repairs.in_flight:
                    continue
                if block is None or not ways:
                    self._repairs.give_up(version)
                    continue
                way = min(ways, key=lambda pair: self._busy[pair[0]])
                if batches.add(block, way):
                    self._room[way[1]] -= block.ref.length
                    fruitless = 0
                else:
                    kept.append((version, ways))
                    fruitless += 1
        except BaseException:
            batches.release()
            raise
        finally:
            for version, ways in reversed(kept):
                queue[version] = ways
                queue.move_to_end(version, last=False)
        return batches.filled

    def _has_free_pair(self) -> bool:
        """Can two live nodes take on another batch?"""
        alive, busy = self._membership.is_alive, self._busy
        members = self._repairs.placement().members
        return sum(busy[n] < COPIES_PER_NODE and alive(n) for n in members) > 1

    def _rooms(self) -> dict[int, int]:
        """Free bytes of the live members that accept copies."""
        rooms = {}
        for number in self._repairs.placement().ring.takers:
            if self._membership.is_alive(number):
                usage = self._membership.life(number).usage
                rooms[number] = usage.limit - usage.used - self._promised[number]
        return rooms

    def _ways(self, block: PlacedBlock, moving: bool) -> tuple[Way, ...]:
        """Sources with the target of the next copy of a block; none: it needs no copy, or no node
        can make one."""
        placement, room, length = self._repairs.placement(), self._room, block.ref.length
        full = frozenset([n for n in placement.ring.takers if room.get(n, -1) < length])
        if placement.missing(block):
            targets = placement.targets(block, full)
        elif moving and (wanted := placement.moves(block)):
            targets = tuple([number for number in wanted if number not in full])
        else:
            return ()
        pairs = self._pairs(block, targets, placement)
        if not pairs and moving:
            pairs = self._pairs(block, placement.refuges(block, full.union(targets)), placement)
        if not pairs:
            self._repairs.stuck += 1
            if not targets and not moving:
                self._repairs.no_room.met()
        return pairs

    def _pairs(
        self, block: PlacedBlock, targets: tuple[int, ...], placement: PlacementCheck
    ) -> tuple[Way, ...]:
        """Sources, with the first of the targets to which any of them can copy now."""
        now, alive = self._now(), self._membership.is_alive
        sources = [number for number in placement.live(block.ref) if alive(number)]
        for target in targets:
            ways = [(source, target) for source in sources]
            if free := [way for way in ways if now >= self._avoided.get(way, 0.0)]:
                return tuple(free)
        return ()

    # --- carrying out -----------------------------------------------------------------------

    async def _carry_out(self, batch: CopyBatch) -> None:
        versions, size, in_flight = batch.versions, batch.bytes, self._repairs.in_flight
        left = versions
        self._busy.update((batch.source, batch.target))
        self._promised[batch.target] += size
        try:
            codes, left = await self._copy(batch), []
            for start in range(0, len(versions), NAMED_AT_ONCE):
                stop = start + NAMED_AT_ONCE
                left += self._conclude(batch, versions[start:stop], codes[start:stop])
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
            self._repairs.wake.set()
        await self._look_after(left)

    async def _copy(self, batch: CopyBatch) -> tuple[int, ...]:
        bandwidth = self._rebalancing if batch.moving else self._healing
        await bandwidth.acquire(batch.bytes)
        blocks = tuple(
            m.CopyBlock(*block.ref[:6], block.block_size, block.group_blocks)
            for block in batch.blocks
        )
        seconds = AVOID_SECONDS + batch.bytes / SLOWEST_BYTES_PER_SECOND
        reply = await self._peers.ask(
            batch.target,
            m.CopyBlocks(batch.source, blocks, self._order()),
            seconds + len(blocks) / SLOWEST_BLOCKS_PER_SECOND,
        )
        return reply.codes

    def _conclude(
        self, batch: CopyBatch, versions: Sequence[m.BlockVersion], codes: Sequence[int]
    ) -> list[m.BlockVersion]:
        """Copies were made, or were not; one command names those that were.

        Returns the versions that may still need something."""
        placement = self._repairs.placement()
        named: dict[m.BlockVersion, tuple[int, ...]] = {}
        left: list[m.BlockVersion] = []
        for version, code in zip(versions, codes, strict=True):
            block = self._name_copy(batch, version, placement) if code == 0 else None
            if block is not None:
                named[version] = block.ref.replicas
            elif code in (errors.BlockNotFoundError.code, errors.CorruptBlockError.code):
                self._repairs.corrupt.suspect(version, batch.source)
            elif code:
                self._avoid(batch)
            if block is None or not placement.is_complete(block) or placement.moves(block):
                left.append(version)
        if named:
            command = m.SetManyReplicas(tuple(named), tuple(named.values()))
            set_aside(self._role.primary.submit_own(command))
        return left

    def _avoid(self, batch: CopyBatch) -> None:
        now = self._now()
        self._avoided = {pair: until for pair, until in self._avoided.items() if until > now}
        self._avoided[batch.source, batch.target] = now + AVOID_SECONDS
        self._repairs.stuck += 1

    def _name_copy(
        self, batch: CopyBatch, version: m.BlockVersion, placement: PlacementCheck
    ) -> PlacedBlock | None:
        """The block with the members that the file is to name, if it still refers to the
        version."""
        block = self._repairs.namespace.placed_block(version)
        if block is None or batch.target not in placement.members:
            return None
        self._repairs.corrupt.replaced(version, batch.target)
        live = tuple([n for n in placement.live(block.ref) if n != batch.target])
        named = block._replace(ref=block.ref._replace(replicas=(*live, batch.target)))
        if len(named.ref.replicas) > limits.REPLICAS_MAX:
            named = named._replace(ref=named.ref._replace(replicas=placement.kept(named)))
        counted_in = self._repairs.counted_in(version)
        self._count(batch, block, len(live), placement, counted_in)
        leaving = placement.leaving(block.ref)
        if leaving and placement.moves(block) and not placement.moves(named):
            for found in counted_in:
                found.moved(block, leaving)
        return named

    def _count(
        self,
        batch: CopyBatch,
        block: PlacedBlock,
        left: int,
        placement: PlacementCheck,
        counted_in: Sequence[Findings],
    ) -> None:
        length, last = block.ref.length, left + 1 >= placement.wanted(block.replication)
        self.blocks += 1
        self.bytes += length
        (self._rebalancing if batch.moving else self._healing).moved(length)
        for found in counted_in:
            if batch.moving or last:
                found.queued.discard(block.ref.version)
            if batch.moving:
                found.moves = max(0, found.moves - 1)
                found.move_bytes = max(0, found.move_bytes - length)
                continue
            found.bytes = max(0, found.bytes - length)
            found.endangered[left] = max(0, found.endangered[left] - 1)
            if last:
                found.blocks = max(0, found.blocks - 1)
                found.under_replicated += left + 1 < block.replication
            else:
                found.endangered[left + 1] += 1

    async def _look_after(self, versions: list[m.BlockVersion]) -> None:
        """Blocks that still lack copies are queued again; excess replicas are removed later."""
        try:
            for number, version in enumerate(versions, start=1):
                self._repairs.consider(version)
                if number % NAMED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except errors.MemfsError as error:
            log.info("nothing is copied now", extra=fields(reason=error))
