"""Copying: batches of blocks from several sources to several targets, the most urgent first.

Owns what is under way. The target pulls (CopyBlocks); what arrived is named by the file in a
command computed from the reference as it is then (NoResurrection): a version that is no longer
current is left alone, and its copy is swept. A move first adds a copy; the old one is trimmed later
(RingChangeNoHole).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.healing.bandwidth import Bandwidth, cost
from memfs.node.healing.peers import Peers
from memfs.node.healing.placement_check import Situation
from memfs.node.healing.repair_queue import (
    BALANCING,
    MOVES,
    CopyBatch,
    Findings,
    RepairQueue,
    length_of,
    versions_of,
)
from memfs.node.healing.waiting import WaitingBlocks, Way
from memfs.node.namespace.runs import Row
from memfs.node.replication.role import NamespaceRole
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m
from memfs.types import BlockVersion

log = logging.getLogger(__name__)

LOOKED_AT_ONCE = 256
"""Blocks looked at between two turns of the event loop: about a millisecond."""
SITUATIONS_AT_ONCE = 32
"""Situations looked at between two turns of the event loop, when none of their blocks is taken."""
FRUITLESS = 512
"""So many of them, one after the other, turn out to belong to nodes that are busy: batches go as
they are."""
BATCH_BYTES = 64 * limits.MIB
BATCH_BLOCKS = 512
COPIES_PER_NODE = 2
"""Batches in flight that a node sends or receives: one is read while another is checked."""
NAMED_AT_ONCE = 256
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

    def refuse(self, ways: Sequence[Way]) -> bool:
        """Would :meth:`add` refuse any block that can go these ways only? False: perhaps not."""
        return bool(ways) and not any(self._has_room(way) or self._is_free(way) for way in ways)

    def add(self, situation: Situation, rows: list[Row], way: Way) -> list[m.BlockVersion]:
        """Put blocks into a batch of a pair, in order; those that it takes: none if a node is
        busy."""
        batch = self._open.get(way)
        count = _fitting(batch, rows) if batch is not None else 0
        if not count and rows and self._is_free(way):
            batch = self._begin(way)
            count = max(1, _fitting(batch, rows))
        if batch is None or not count:
            return []
        versions = batch.add(situation, rows[:count])
        self._in_flight.update(dict.fromkeys(versions, batch))
        return versions

    def release(self) -> None:
        """Nothing of it will be copied."""
        for batch in self.filled:
            for version in batch.versions:
                self._in_flight.pop(version, None)

    def _has_room(self, way: Way) -> bool:
        batch = self._open.get(way)
        return batch is not None and len(batch.blocks) < BATCH_BLOCKS and batch.bytes < BATCH_BYTES

    def _is_free(self, way: Way) -> bool:
        return self._busy[way[0]] < COPIES_PER_NODE and self._busy[way[1]] < COPIES_PER_NODE

    def _begin(self, way: Way) -> CopyBatch:
        self._busy.update(way)
        batch = self._open[way] = CopyBatch(*way, self._moving)
        self.filled.append(batch)
        return batch


def _fitting(batch: CopyBatch, rows: list[Row]) -> int:
    """How many of the blocks a batch has room for."""
    count = min(len(rows), BATCH_BLOCKS - len(batch.blocks))
    room = BATCH_BYTES - batch.bytes
    if length_of(rows[:count]) <= room:
        return count
    together = itertools.accumulate([row[4] for row in rows[:count]])
    return sum(1 for length in together if length <= room)


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
        client_turns: Callable[[], int],
    ) -> None:
        """``order`` numbers decisions; ``client_turns``: see :func:`bandwidth.cost`."""
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
        self._client_turns = client_turns
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
        """Log what begins and what is done; scan again for what the full queues could not take, to
        count what was copied while the last scan counted, and for the moves that it left out."""
        state, repairs = self.state, self._repairs
        if state == "idle" and repairs.overflowed:
            repairs.overflowed = False
            repairs.look_again()
        if state == self._reported:
            return
        findings = repairs.findings
        if state == "idle" and (findings.blocks or findings.moves_left_out) and not repairs.stuck:
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

    async def _fill(self, queue: WaitingBlocks, moving: bool) -> list[CopyBatch]:
        """Batches of the first blocks of a queue; those of busy pairs stay there."""
        batches = _Batches(self._repairs.in_flight, self._busy, moving)
        fruitless = 0
        try:
            for looked, situation in enumerate(queue.situations, start=1):
                if fruitless >= FRUITLESS:
                    break
                took = False
                # A move is looked at anew: its target may be full, and who leaves waits for it.
                while moving or not batches.refuse(queue.ways.get(situation, ())):
                    progress = self._take(queue, situation, batches, moving)
                    if progress is None:
                        break
                    took = took or progress
                    await asyncio.sleep(0)
                fruitless = 0 if took else fruitless + 1
                if looked % SITUATIONS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except BaseException:
            batches.release()
            raise
        return batches.filled

    def _take(
        self, queue: WaitingBlocks, situation: Situation, batches: _Batches, moving: bool
    ) -> bool | None:
        """Put the first blocks of a situation into a batch; whether any. None: the pairs that could
        copy them are busy, or there is none."""
        versions = queue.first(situation, LOOKED_AT_ONCE)
        if not versions:
            return None
        rows, full = self._equally_full(self._still_so(queue, situation, versions))
        if not rows:
            return False
        ways = self._ways(situation, rows, full, moving)
        if not ways:
            given_up = versions_of(rows)
            queue.remove(situation, given_up)
            self._repairs.give_up(given_up)
            return False
        for way in sorted(ways, key=lambda pair: self._busy[pair[0]]):
            if taken := batches.add(situation, rows, way):
                self._room[way[1]] -= length_of(rows[: len(taken)])
                queue.remove(situation, taken)
                return True
        queue.ways[situation] = ways
        return None

    def _still_so(
        self, queue: WaitingBlocks, situation: Situation, versions: list[m.BlockVersion]
    ) -> list[Row]:
        """Blocks that are in the situation in which they were queued; the others leave this place
        of the queue."""
        repairs, placement = self._repairs, self._repairs.placement()
        waiting = [version for version in versions if version not in repairs.in_flight]
        rows: list[Row] = []
        over = dict.fromkeys(waiting)
        for run in repairs.namespace.runs_of(waiting):
            for found, alike in placement.alike_since(situation, run).items():
                if found == situation:
                    rows = alike
                    if len(rows) == len(versions):
                        return rows  # nearly always
                elif placement.missing(found) or placement.moves(found):
                    repairs.examine(run._replace(rows=alike), placement, True, Findings())
                else:
                    continue
                for row in alike:
                    del over[BlockVersion(*row[:4])]
        if len(rows) < len(versions):
            still = frozenset(versions_of(rows))
            queue.remove(situation, [each for each in versions if each not in still])
            repairs.give_up(over)
        return rows

    def _equally_full(self, rows: list[Row]) -> tuple[list[Row], frozenset[int]]:
        """The first blocks for which the same members are full, and these."""
        if not rows:
            return rows, frozenset()
        full = self._full(min([row[4] for row in rows]))
        if full == self._full(length_of(rows)):
            return rows, full
        return rows[:1], self._full(rows[0][4])

    def _full(self, length: int) -> frozenset[int]:
        """Members without room for so many bytes, or out of reach."""
        takers = self._repairs.placement().ring.takers
        return frozenset([n for n in takers if self._room.get(n, -1) < length])

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

    def _ways(
        self, situation: Situation, rows: list[Row], full: frozenset[int], moving: bool
    ) -> tuple[Way, ...]:
        """Sources with the target of the next copy of blocks; none: they need no copy, or no node
        can make one."""
        placement, row = self._repairs.placement(), rows[0]
        if placement.missing(situation):
            targets = placement.targets(situation, row, full)
        elif moving and (wanted := placement.moves(situation)):
            targets = tuple([number for number in wanted if number not in full])
        else:
            return ()
        pairs = self._pairs(situation, targets)
        if not pairs and moving:
            refuges = placement.refuges(situation, row, full.union(targets))
            pairs = self._pairs(situation, refuges)
        if not pairs:
            self._repairs.stuck += len(rows)
            if not targets and not moving:
                self._repairs.no_room.met(len(rows))
        return pairs

    def _pairs(self, situation: Situation, targets: tuple[int, ...]) -> tuple[Way, ...]:
        """Sources, with the first of the targets to which any of them can copy now."""
        now, alive = self._now(), self._membership.is_alive
        sources = [number for number in situation.live if alive(number)]
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
                stop = min(start + NAMED_AT_ONCE, len(versions))
                left += self._conclude(batch, codes, start, stop)
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
        blocks = tuple(batch.blocks)
        await bandwidth.acquire(cost(batch.bytes, len(blocks), self._client_turns()))
        seconds = AVOID_SECONDS + batch.bytes / SLOWEST_BYTES_PER_SECOND
        reply = await self._peers.ask(
            batch.target,
            m.CopyBlocks(batch.source, blocks, self._order()),
            seconds + len(blocks) / SLOWEST_BLOCKS_PER_SECOND,
        )
        return reply.codes

    def _conclude(
        self, batch: CopyBatch, codes: Sequence[int], start: int, stop: int
    ) -> list[m.BlockVersion]:
        """The copies from number ``start`` to before ``stop`` were made, or were not; one command
        names those that were.

        Returns the versions that may still need something."""
        left: list[m.BlockVersion] = []
        for version, code in zip(batch.versions[start:stop], codes[start:stop], strict=True):
            if code:
                left.append(version)
                if code in (errors.BlockNotFoundError.code, errors.CorruptBlockError.code):
                    self._repairs.corrupt.suspect(version, batch.source)
                else:
                    self._avoid(batch)
        made = [
            (before, [batch.versions[at] for at in numbers if not codes[at]])
            for before, numbers in batch.alike(start, stop)
        ]
        if batch.target not in self._repairs.placement().members:
            return [*left, *itertools.chain.from_iterable(some for _, some in made)]
        named: list[m.BlockVersion] = []
        holders: list[tuple[int, ...]] = []
        for before, versions in made:
            if self._repairs.corrupt.copies:
                for version in versions:
                    self._repairs.corrupt.replaced(version, batch.target)
            for situation, rows in self._alike_now(before, versions):
                after = self._name(batch, situation, rows)
                alike = versions_of(rows)
                named += alike
                holders += [after.replicas] * len(alike)
                if self._needs_more(after):
                    left += alike
        if named:
            command = m.SetManyReplicas(tuple(named), tuple(holders))
            set_aside(self._role.primary.submit_own(command))
        return left

    def _alike_now(
        self, before: Situation, versions: Sequence[m.BlockVersion]
    ) -> Iterator[tuple[Situation, list[Row]]]:
        """Those blocks of one situation that are current still, by their present ones."""
        placement = self._repairs.placement()
        for run in self._repairs.namespace.runs_of(versions):
            yield from placement.alike_since(before, run).items()

    def _needs_more(self, situation: Situation) -> bool:
        placement = self._repairs.placement()
        complete = placement.is_complete(situation.replicas, situation.replication)
        damaged = situation.live != situation.replicas
        return not complete or damaged or bool(placement.moves(situation))

    def _avoid(self, batch: CopyBatch) -> None:
        now = self._now()
        self._avoided = {pair: until for pair, until in self._avoided.items() if until > now}
        self._avoided[batch.source, batch.target] = now + AVOID_SECONDS
        self._repairs.stuck += 1

    def _name(self, batch: CopyBatch, before: Situation, rows: list[Row]) -> Situation:
        """What becomes of blocks that have been copied, once their file names the copies too."""
        placement = self._repairs.placement()
        others = tuple([number for number in before.live if number != batch.target])
        holders = (*others, batch.target)
        after = before._replace(replicas=holders, live=holders)
        if len(holders) > limits.REPLICAS_MAX:
            kept = placement.kept(after)
            after = after._replace(replicas=kept, live=kept)
        counted_in = self._repairs.counted_in(rows)
        self._count(batch, before, len(others), rows, counted_in)
        leaving = placement.leaving(before)
        if leaving and placement.moves(before) and not placement.moves(after):
            for found, counted in counted_in:
                found.moved(len(counted), length_of(counted), leaving)
        return after

    def _count(
        self,
        batch: CopyBatch,
        before: Situation,
        left: int,
        rows: list[Row],
        counted_in: list[tuple[Findings, list[Row]]],
    ) -> None:
        last = left + 1 >= self._repairs.placement().wanted(before.replication)
        length = length_of(rows)
        self.blocks += len(rows)
        self.bytes += length
        (self._rebalancing if batch.moving else self._healing).moved(length)
        for found, counted in counted_in:
            blocks, length = len(counted), length_of(counted)
            if found.queued and (batch.moving or last):
                found.queued.difference_update(versions_of(counted))
            if batch.moving:
                found.moves = max(0, found.moves - blocks)
                found.move_bytes = max(0, found.move_bytes - length)
                continue
            found.bytes = max(0, found.bytes - length)
            found.endangered[left] = max(0, found.endangered[left] - blocks)
            if last:
                found.blocks = max(0, found.blocks - blocks)
                if left + 1 < before.replication:
                    found.under_replicated += blocks
            else:
                found.endangered[left + 1] += blocks

    async def _look_after(self, versions: list[m.BlockVersion]) -> None:
        """Blocks that still lack copies are queued again; excess replicas are removed later."""
        try:
            for start in range(0, len(versions), NAMED_AT_ONCE):
                self._repairs.consider(versions[start : start + NAMED_AT_ONCE])
                await asyncio.sleep(0)
        except errors.MemfsError as error:
            log.info("nothing is copied now", extra=fields(reason=error))
