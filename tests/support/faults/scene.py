"""What injectors see of a run, and the promise that they respect.

Owns the count of strikes, who suffers from what, and the judgement of what may be lost: memfs
promises to survive R-1 losses at a time, so a crash that would take the last copy of anything, or
the last member that knows all acknowledged commands, is not allowed (:meth:`Scene.may_lose`).
Seen from outside of all nodes: the promise is judged by what is there, not by what they believe.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence

from memfs.client.session.session import Session
from memfs.cluster import view as rules
from memfs.node.namespace import Namespace
from memfs.node.replication.open_files import GRACE_SECONDS
from memfs.node.server import Node
from memfs.protocol import messages as m
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.types import BlockRef, View
from tests.support.faults.plan import Plan


class Scene:
    """One run, as its injectors see it."""

    def __init__(self, cluster: SimulatedCluster, plan: Plan) -> None:
        self.cluster = cluster
        self.plan = plan
        self.random = random.Random(f"faults {plan.seed}")
        self.struck: Counter[str] = Counter()
        """Strikes by kind."""
        self.begun: Counter[str] = Counter()
        """Faults by the names of their injectors..."""
        self.lasting: Counter[str] = Counter()
        """... and those that have not ended yet."""
        self.afflicted: Counter[str] = Counter()
        """Nodes that are paused or cut off now: they count as no holder of anything."""
        self.rotten: set[tuple[int, m.BlockVersion]] = set()
        """Copies in which a bit was flipped: their members drop them to make them anew."""
        self.operator = cluster.client(timeout_seconds=5.0)

    # --- what injectors do -------------------------------------------------------------------

    def strike(self, kind: str, *details: object) -> None:
        """Count a fault and put it into the trace."""
        self.struck[kind] += 1
        self.cluster.fabric.record(f"FAULT {kind}", *map(str, details))

    @contextlib.contextmanager
    def under_way(self, kind: str) -> Iterator[None]:
        """A fault of this kind lasts meanwhile."""
        self.begun[kind] += 1
        self.lasting[kind] += 1
        try:
            yield
        finally:
            self.lasting[kind] -= 1

    @contextlib.contextmanager
    def suffering(self, *names: str) -> Iterator[None]:
        """These nodes are out of reach meanwhile."""
        self.afflicted.update(names)
        try:
            yield
        finally:
            self.afflicted.subtract(names)

    @property
    def has_spare_members(self) -> bool:
        """Whether one may go slowly: what is written meanwhile goes to R members all the same."""
        members = self.view.members if self.view is not None else ()
        copies: int = self.plan.settings["replication"]
        return len(members) > copies > 1

    def seconds(self, low: float = 0.05, high: float = 3.0) -> float:
        """A length between ``low`` and ``high`` lease times, short ones as likely as long ones."""
        span = self.random.uniform(0, 1)
        return float(low * (high / low) ** span) * self.plan.lease_seconds

    def node(self) -> str:
        """A running node; often the primary, since most happens there. Empty: none runs."""
        names = self.running
        primary = self.primary_name()
        if primary in names and self.random.random() < 0.35:
            return primary
        return self.random.choice(names) if names else ""

    def sessions(self) -> list[Session]:
        """Those of the clients that live."""
        found = [client.session for client in self.cluster.clients]
        return [session for session in found if session is not None]

    @property
    def patience(self) -> float:
        """Seconds of silence after which nothing is promised to a client; clocks may be slow."""
        timeout: float = self.plan.settings["session_timeout_seconds"]
        return 0.5 * min(GRACE_SECONDS, timeout)

    def client(self) -> str:
        """The host of some client."""
        return self.random.choice(self.cluster.clients).name

    @property
    def running(self) -> list[str]:
        """Nodes that have started."""
        cluster = self.cluster
        return [name for name in cluster.nodes if not cluster.is_starting(name)]

    # --- the truth ---------------------------------------------------------------------------

    @property
    def view(self) -> View | None:
        """The view as the coordinator has it."""
        return self.cluster.coordinator.stored.view

    def primary_name(self) -> str:
        """The host of the true primary, if it lives."""
        view = self.view
        found = self.member(view.primary) if view else None
        return found.config.name if found else ""

    def member(self, number: int) -> Node | None:
        """The living node that is this member."""
        record = rules.member(self.view, number) if self.view else None
        node = self.cluster.nodes.get(record.name) if record else None
        same = node is not None and record is not None and incarnation(node) == record.incarnation
        return node if same else None

    def keeper(self, number: int) -> Node | None:
        """The living node whose copies count as that member's: it, or one that comes back as it.

        A node that was taken for dead keeps what it holds and joins anew under its former number.
        Not so one that is being stopped or was decommissioned, a new process, or one that meets
        nobody again whom it knew: those give up what they had.
        """
        view = self.view
        if view is None or rules.member(view, number) is not None:
            return self.member(number)
        for name, node in self.cluster.nodes.items():
            left = node.membership.latest if node.member.number else node.membership.taken_out
            if left is None or name in self.cluster.stopping or node.healing.retirement.is_over():
                continue
            former = rules.named(left, name)
            if former is not None and former.number == number and rules.has_met(view, left):
                return node
        return None

    def namespace(self) -> Namespace | None:
        """The state of the true primary, if it lives."""
        node = self.member(self.view.primary) if self.view else None
        return node.role.namespace if node else None

    def _states(self) -> Sequence[Namespace | None]:
        """What the living members in sync hold: one of it will count. None: there are none."""
        assert self.view is not None
        nodes = [self.member(number) for number in self.view.in_sync]
        return [node.role.namespace for node in nodes if node and node.role.namespace] or [None]

    def may_bring_back(self, number: int) -> bool:
        """Whether a member that does not have something now may still have it on its disk."""
        if self.view is None or not self.view.journaled:
            return False
        node = self.member(number)
        return node is None or node.journal is None or node.journal.loading

    # --- the promise -------------------------------------------------------------------------

    def may_lose(self, name: str) -> bool:
        """Whether everything acknowledged survives the loss of a node's memory now."""
        node = self.cluster.nodes.get(name)
        if node is None or self.view is None or node.membership.latest is None:
            return False
        number = node.membership.number
        others = [n for n in self._reachable() if n is not node]
        return self._log_survives(number) and self._blocks_survive(node, others)

    def _reachable(self) -> list[Node]:
        assert self.view is not None
        nodes = [self.member(member.number) for member in self.view.members]
        return [n for n in nodes if n is not None and not self.afflicted[n.config.name]]

    def _log_survives(self, number: int) -> bool:
        assert self.view is not None
        if number not in self.view.in_sync:
            return True
        others = [self.member(n) for n in self.view.in_sync if n != number]
        return any(
            other is not None
            and other.role.namespace is not None
            and not self.afflicted[other.config.name]
            for other in others
        )

    def has_other_copy(self, ref: BlockRef, node: Node) -> bool:
        """Whether a good copy of a file's block is within reach elsewhere than on ``node``."""
        return any(holder is not node for holder in self._holders(ref))

    def _holders(self, ref: BlockRef) -> list[Node]:
        """Nodes within reach that have a good copy of a file's block."""
        version = ref.version
        return [
            node
            for node in self._reachable()
            if node.membership.number in ref.replicas and node.store.verify(version) == 0
        ]

    def _blocks_survive(self, node: Node, others: list[Node]) -> bool:
        """No block loses more than R-1 of the copies that the cluster believes to have.

        Whichever of its members in sync is believed: the primary may be the first to know of copies
        that were just made, and be lost with that.
        """
        return all(self._survive_in(state, node, others) for state in self._states())

    def _survive_in(self, state: Namespace | None, node: Node, others: list[Node]) -> bool:
        for block in node.store.list(None, node.store.count):
            version = block.version
            placed = state.placed_block(version) if state else None
            if placed is not None:
                ref = placed.ref
                left = [holder for holder in self._holders(ref) if holder is not node]
                if not left or len(ref.replicas) - len(left) >= placed.replication:
                    return False
            elif (state is None or state.is_live(version)) and not any(
                other.store.verify(version) == 0 for other in others
            ):
                return False
        return True


def incarnation(node: Node) -> int:
    """Which start of a process a node is."""
    return node.member.incarnation
