"""Healing as the node sees it: its parts put together, its loops, its status.

Owns nothing but the wiring; see the parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memfs import limits
from memfs.config import NodeConfig
from memfs.node.blocks import BlockStore
from memfs.node.healing.bandwidth import Bandwidth
from memfs.node.healing.commit_check import CommitCheck
from memfs.node.healing.copier import Copier
from memfs.node.healing.copies import Copies
from memfs.node.healing.corrupt import CorruptCopies
from memfs.node.healing.decommission import Decommissioning
from memfs.node.healing.discards import Discards
from memfs.node.healing.excess_replicas import ExcessReplicas
from memfs.node.healing.member_removal import Removal
from memfs.node.healing.peers import Peers
from memfs.node.healing.repair_queue import RepairQueue
from memfs.node.healing.retirement import Retirement
from memfs.node.healing.scan import Scan
from memfs.node.healing.scrubber import Scrubber
from memfs.node.healing.sweep import OrphanSweep
from memfs.node.replication.role import NamespaceRole
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall

GRACE_TIMEOUTS = 2
"""A moved copy stays at its old place for two member timeouts: readers look for the new one within
one."""


class Healing:
    """All that keeps blocks where they belong."""

    def __init__(
        self,
        config: NodeConfig,
        store: BlockStore,
        role: NamespaceRole,
        discards: Discards,
        tasks: Tasks,
        copier: Copier,
        client_turns: Callable[[], int],
    ) -> None:
        """``copier`` is this node's receiving end; ``client_turns``: in how many turns of a second
        this node served clients."""
        membership = role.membership
        now = membership.environment.clock.monotonic
        peers: Peers = membership
        self.corrupt = CorruptCopies(role, peers, tasks)
        self._healing = Bandwidth(config.healing_bandwidth, now)
        self._rebalancing = Bandwidth(config.rebalancing_bandwidth, now)
        grace = GRACE_TIMEOUTS * config.member_timeout_seconds
        self.repairs = RepairQueue(role, self.corrupt, grace)
        self.scan = Scan(self.repairs, now)
        self.copies = Copies(
            self.repairs,
            role,
            peers,
            order=discards.next_order,
            healing=self._healing,
            rebalancing=self._rebalancing,
            client_turns=client_turns,
        )
        self.excess_replicas = ExcessReplicas(self.repairs, role, peers)
        self.sweep = OrphanSweep(
            role,
            peers,
            discards,
            self.copies.is_copying,
            self.corrupt.suspect,
            config.orphan_sweep_seconds,
        )
        role.observers.on_ended(self.sweep.suspect)
        self.scrubber = Scrubber(store, membership, peers, config.scrub_seconds)
        self.removal = Removal(
            membership,
            peers,
            lambda number: role.in_sync.remove(number),
            config.removal_seconds,
            lambda: self.repairs.namespace.settings.replication,
        )
        self.decommission = Decommissioning(role, peers, self.repairs)
        self.retirement = Retirement(membership, copier)
        self.commits = CommitCheck(
            membership, self.decommission.departing, self.repairs.doubtful.append
        )
        self._role = role
        self._tasks = tasks
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the loops; the owner of the tasks ends them, unless :meth:`stop` did."""
        loops = {
            "block scan": self.scan.run(),
            "block copies": self.copies.run(),
            "block excess_replicas": self.excess_replicas.run(),
            "orphan sweep": self.sweep.run(),
            "what writers left": self.sweep.run_suspects(),
            "scrubber": self.scrubber.run(),
            "removal of silent members": self.removal.run(),
            "decommission": self.decommission.run(),
        }
        self._loops = [self._tasks.spawn(loop, name) for name, loop in loops.items()]

    def stop(self) -> None:
        """Stop the loops: a leaving node makes no decisions about the others."""
        for loop in self._loops:
            loop.cancel()

    def rebalance(self, call: IncomingCall[m.Rebalance]) -> m.Empty:
        """Look for misplaced blocks now (Rebalance)."""
        assert self._role.primary is not None
        self.repairs.look_for_moves()
        return m.Empty()

    @property
    def state(self) -> str:
        """``healing``, ``rebalancing``, ``scanning`` or ``idle``."""
        busy = self.copies.state
        if busy == "idle" and self.repairs.findings.moves_left_out:
            return "rebalancing"  # what has to be moved is not known yet
        return "scanning" if busy == "idle" and self.scan.running else busy

    @property
    def is_complete(self) -> bool:
        """Was every block looked at since the members last changed, and has enough copies now?"""
        done = self.scan.walked is not None and self.repairs.is_present(self.scan.walked)
        return done and not self.repairs.findings.blocks and self.copies.state != "healing"

    def status(self) -> m.HealingStatus:
        """What the primary does now."""
        found = self.repairs.shown
        healing, moving = self._healing.rate(), self._rebalancing.rate()
        left, rate = found.bytes, healing
        if not found.blocks:
            left, rate = found.move_bytes, moving
        return m.HealingStatus(
            self.state,
            tuple([found.endangered[copies] for copies in range(limits.REPLICAS_MAX)]),
            found.blocks,
            found.bytes,
            healing + moving,
            round(left / rate) if rate else -1 if left else 0,
            found.moves,
            found.move_bytes,
            self.corrupt.count,
            self.decommission.progress(),
            self.is_complete,
            found.under_replicated,
            tuple([found.exposed[copies] for copies in range(limits.REPLICAS_MAX)]),
            self.repairs.no_room.blocks if found.blocks else 0,
        )
