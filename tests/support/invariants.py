"""The omniscient side: invariants of a simulated cluster, checked by somebody who sees every node.

Owns the tree of all namespace states that any node ever had: a state is (log index, rolling
digest), its parent the state before the last entry. "A has everything that B has" then means
that B's state is an ancestor of A's. Checks that cost nothing run at every commit, answered read
and change of the view; the others when :meth:`Observer.inspect` is called. Must not change, or
wait for, anything. A violation is kept, not raised: the code under test would catch it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from memfs import errors
from memfs.client.session.held.grants import Lease
from memfs.cluster import view as rules
from memfs.cluster.coordinator import StoredView
from memfs.node.healing.copier import Copier
from memfs.node.log.entries import Entry
from memfs.node.membership.members import Membership
from memfs.node.namespace import Namespace
from memfs.node.namespace.state import CommandResult
from memfs.node.namespace.tables.inodes import FILE, Inodes
from memfs.node.namespace.tables.volume import Opens
from memfs.node.replication.primary import Primary
from memfs.node.server import Node
from memfs.protocol import messages as m
from memfs.testing.patches import followed
from memfs.testing.simulation.coordinator import FakeCoordinator
from memfs.testing.simulation.virtual import current_process
from memfs.types import BlockRef, View
from tests.support.beliefs import Beliefs
from tests.support.faults.scene import Scene
from tests.support.hoarding import Hoarding
from tests.support.placed import placed_blocks
from tests.support.reads import OF_THE_CLUSTER, Read, around_query

VIOLATIONS_KEPT = 5
MISSING = errors.BlockNotFoundError.code
WEIGH_SECONDS = 0.1
"""What all nodes hold is not listed more often: see :meth:`Observer.weigh`."""

State = tuple[int, int]
"""Log index and rolling digest."""


class Breach(NamedTuple):
    """A broken invariant."""

    invariant: str
    text: str
    time: float

    def __str__(self) -> str:
        return f"{self.invariant} at {self.time:.6f}: {self.text}"


class Observer:
    """Watches one run; use :meth:`watching` around it."""

    def __init__(self, scene: Scene) -> None:
        self.breaches: list[Breach] = []
        self.checks: Counter[str] = Counter()
        """How often each invariant was looked at."""
        self.acknowledged: State = (0, 0)
        """The newest state of which a client may have been told."""
        self.telling = False
        """Every applied entry goes into the story."""
        self._scene = scene
        self._cluster = scene.cluster
        self._hoarding = Hoarding(scene)
        self._weighed = -WEIGH_SECONDS
        self.beliefs = Beliefs(
            lambda: self.checks.update(("NoStaleCache",)),
            lambda text: self.breach("NoStaleCache", text),
        )
        self._parents: dict[State, State] = {}
        self._children: dict[tuple[State, Entry], State] = {}
        self._reigns: dict[int, tuple[int, int]] = {}
        self._views: dict[int, View] = {}
        self.enough: View | None = None
        """The last view that counted as many members in sync as acknowledgements need."""
        self._freed: set[tuple[int, int, int]] = set()
        """Files that went, with the state in which they did."""
        self._given: dict[int, tuple[Inodes, set[tuple[int, int]]]] = {}
        """Slots and incarnations that each table of inodes ever gave."""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at every entry, commit, read and view meanwhile."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(_around_advance(self))
            stack.enter_context(around_query(self.answered))
            stack.enter_context(followed(FakeCoordinator, "swap", self._swapped))
            stack.enter_context(followed(Inodes, "allocate", self._allocated))
            stack.enter_context(_around_free(self))
            stack.enter_context(followed(Copier, "forget", self._forgot))
            stack.enter_context(_around_apply(self))
            stack.enter_context(self._hoarding.watching())
            stack.enter_context(self.beliefs.watching())
            stack.enter_context(_around_adopt(self))
            yield

    def breach(self, invariant: str, text: str) -> None:
        """Note that something is wrong; the first ones explain it best."""
        if len(self.breaches) < VIOLATIONS_KEPT:
            now = self._cluster.fabric.now()
            self.breaches.append(Breach(invariant, text, now))
            self._cluster.fabric.record("BREACH", invariant, text)

    # --- the tree of states ------------------------------------------------------------------

    def applied(self, before: State, after: State, entry: Entry) -> None:
        """A namespace applied an entry (DeterministicApply)."""
        self.checks["DeterministicApply"] += 1
        if self.telling:
            self._tell(entry)
        known = self._children.setdefault((before, entry), after)
        if known != after:
            self.breach("DeterministicApply", f"entry {entry.index} gave {known} and {after}")
        self._parents[after] = before

    def _tell(self, entry: Entry) -> None:
        process, fabric = current_process(), self._cluster.fabric
        name = m.BY_OPCODE[entry.opcode].request.__name__
        words = f"log {entry.index}: {name} of {entry.client:x}#{entry.request_id} {entry.record!r}"
        fabric.trace.tell(fabric.now(), process.name if process else "-", words[:300])

    def knows(self, namespace: Namespace, state: State) -> bool:
        """Whether everything up to ``state`` is part of what ``namespace`` holds."""
        return self._ancestor((namespace.applied, namespace.digest), state[0]) == state

    def _ancestor(self, state: State, index: int) -> State:
        """What ``state`` was at log index ``index``; as far back as is known."""
        while state[0] > index and state in self._parents:
            state = self._parents[state]
        return state

    def _allocated(self, slot: int, inodes: Inodes) -> None:
        """A namespace gave an id (IdNoReuse)."""
        self.checks["IdNoReuse"] += 1
        given = self._given.setdefault(id(inodes), (inodes, set()))[1]
        inode = slot, inodes.incarnation[slot]
        if inode in given:
            self.breach("IdNoReuse", f"slot {slot} is incarnation {inode[1]} once more")
        given.add(inode)

    # --- at every commit, read and view ------------------------------------------------------

    def advanced(self, primary: Primary) -> None:
        """The primary may now tell clients of more (InSyncMeansAll, OnePrimaryPerEpoch)."""
        node, index = self._node_of(primary), primary.committed
        if node is not None and not node.role.leads:
            return  # it has yet to reconcile, and serves nobody
        at = self._ancestor((primary.namespace.applied, primary.namespace.digest), index)
        if at[0] != index:
            return  # before anything that was watched
        self.checks["AckedDurable"] += 1
        older, newer = sorted((at, self.acknowledged))
        if self._ancestor(newer, older[0]) != older:
            self.breach("AckedDurable", f"{self.acknowledged} and {at} were both acknowledged")
        self.acknowledged = newer
        self._check_one_primary(primary)
        self._check_leases(primary)
        self._check_in_sync("a commit")
        self._check_enough(primary, at)
        self._check_on_disk(at)
        self.weigh()

    def answered(self, read: Read) -> None:
        """A read was answered or refused, or will be (NoStaleRead, NoDirtyRead)."""
        if isinstance(read.result, asyncio.Future):
            self._answered_later(read)
            return
        self.checks["NoStaleRead"] += 1
        primary, name = read.primary, type(read.request).__name__
        if not self.knows(primary.namespace, self.acknowledged):
            self.breach(
                "NoStaleRead",
                f"{self._name(primary)} answered {name} from state "
                f"{primary.namespace.applied}, {self.acknowledged[0]} was acknowledged",
            )
        state = primary.namespace.applied, primary.namespace.digest
        if state != self.acknowledged:
            self._check_clean(read, state)

    def _answered_later(self, read: Read) -> None:
        """A read that may have seen what was not acknowledged is answered once it is."""
        state = read.primary.namespace.applied, read.primary.namespace.digest

        def answered(answer: asyncio.Future[Any]) -> None:
            if answer.cancelled():
                return
            error = answer.exception()
            if error is None or not isinstance(error, OF_THE_CLUSTER):
                self._check_clean(read._replace(result=error or answer.result()), state)

        read.result.add_done_callback(answered)

    def _check_clean(self, read: Read, state: State) -> None:
        """Every living member of the true in-sync set knows what the answer was made of, or would
        give the same one (NoDirtyRead)."""
        self.checks["NoDirtyRead"] += 1
        for node, namespace in self._in_sync():
            if namespace is not None and (self.knows(namespace, state) or read.agrees(namespace)):
                continue
            held = (namespace.applied, namespace.digest) if namespace else "nothing"
            name = type(read.request).__name__
            self.breach(
                "NoDirtyRead", f"{name}: {node.config.name} holds {held}, not all of {state}"
            )

    def _swapped(
        self, stored: StoredView | None, _coordinator: Any, _expected: int, view: View
    ) -> None:
        if stored is not None:
            self._check_shrunk(self._last_view, view)
            self._views[view.epoch] = view
            if len(view.in_sync) >= view.min_in_sync:
                self.enough = view
            with contextlib.suppress(AssertionError):
                rules.check(view)
                self._check_in_sync(f"view {view.epoch}")
                return
            self.breach("View", f"{view} breaks the rules of views")

    @property
    def _last_view(self) -> View | None:
        return self._views[max(self._views)] if self._views else None

    def _check_shrunk(self, before: View | None, view: View) -> None:
        """Fewer are in sync than acknowledgements need only for a reason (MinInSync): a process
        that ended was replaced by a new one of its name."""
        if before is None or len(view.in_sync) >= view.min_in_sync:
            return
        self.checks["MinInSync"] += 1
        names = {member.name for member in view.members}
        for number in set(before.in_sync).difference(view.in_sync):
            record = rules.member(before, number)
            replaced = record and record.name in names and rules.member(view, number) is None
            if not replaced:
                text = f"member {number} was left out of {before.in_sync}, {view.in_sync} are left"
                self.breach("MinInSync", f"{text}, {view.min_in_sync} are required")

    def _check_in_sync(self, occasion: str) -> None:
        self._check_all_have(self.acknowledged, "InSyncMeansAll", occasion)

    def _check_all_have(self, state: State, invariant: str, occasion: str) -> None:
        """Every living member of the true in-sync set knows everything up to ``state``."""
        if state == (0, 0):
            return  # nothing yet: even the node that forms the cluster may hold nothing
        self.checks[invariant] += 1
        for node, namespace in self._in_sync():
            if namespace is None or not self.knows(namespace, state):
                held = (namespace.applied, namespace.digest) if namespace else "nothing"
                self.breach(
                    invariant, f"{occasion}: {node.config.name} holds {held}, not all of {state}"
                )

    def _in_sync(self) -> Iterator[tuple[Node, Namespace | None]]:
        """Living members of the true in-sync set, and what each holds."""
        view = self._scene.view
        for number in view.in_sync if view else ():
            node = self._scene.member(number)
            if node is not None:
                yield node, node.role.namespace or node.role.recovered

    def _check_enough(self, primary: Primary, state: State) -> None:
        """As many members as are required have it (MinInSync); the dead ones cannot be asked, nor
        those that were replaced, as long as the primary counts what they had."""
        view = self._scene.view
        if view is None:
            return
        counted = {*view.in_sync, *primary.required()}
        if any(self._scene.member(number) is None for number in counted):
            return
        self.checks["MinInSync"] += 1
        nodes = list(self._cluster.nodes.values())
        namespaces = [node.role.namespace for node in nodes]
        holders = sum(ns is not None and self.knows(ns, state) for ns in namespaces)
        if holders < view.min_in_sync:
            acked = {number: link.acked for number, link in primary.links.items() if link.required}
            text = f"{holders} of {view.min_in_sync} members hold {state}, acked by {acked}"
            self.breach("MinInSync", text)

    def _check_leases(self, primary: Primary) -> None:
        """Nobody who lacks what is acknowledged now could answer a read (NoStaleRead)."""
        for name, node in self._cluster.nodes.items():
            if not node.role.leads:
                continue
            other = node.role.primary
            if other is primary or not other.has_lease():
                continue
            self.checks["NoStaleRead"] += 1
            if not self.knows(other.namespace, self.acknowledged):
                text = f"{name} has a lease and lacks {self.acknowledged}, which is acknowledged"
                self.breach("NoStaleRead", text)

    def _check_on_disk(self, state: State) -> None:
        """Under ``ack = journal`` every living in-sync member has it on its disk (AckedOnDisk)."""
        view = self._scene.view
        if view is None or not view.journaled:
            return
        self.checks["AckedOnDisk"] += 1
        for number in view.in_sync:
            node = self._scene.member(number)
            journal = node.journal if node is not None else None
            if journal is not None and journal.durable < state[0]:
                text = f"{journal.durable} is on the disk of member {number}, not {state[0]}"
                self.breach("AckedOnDisk", text)

    def _check_one_primary(self, primary: Primary) -> None:
        node = self._node_of(primary)
        view = node.membership.latest if node else None
        if node is None or view is None:
            return
        self.checks["OnePrimaryPerEpoch"] += 1
        me = node.membership.number, node.member.incarnation
        holder = self._reigns.setdefault(view.primary_since, me)
        if holder != me:
            self.breach("OnePrimaryPerEpoch", f"{me} and {holder} in {view.primary_since}")

    def adopted(self, membership: Membership, before: int) -> None:
        """A node took over a view (EpochMonotone, and that it was published)."""
        self.checks["EpochMonotone"] += 1
        view = membership.latest
        if membership.epoch < before:
            self.breach("EpochMonotone", f"from {before} to {membership.epoch}")
        if view is not None and self._views and self._views.get(view.epoch, view) != view:
            self.breach("EpochMonotone", f"{view} was never published")

    # --- leases ------------------------------------------------------------------------------

    def stolen(self, namespace: Namespace, reply: m.LeaseReply, writers: dict[int, int]) -> None:
        """A lease was ended by somebody else, who may be the first to need it (NoLostLease)."""
        inode, generation = reply.attributes.inode, reply.attributes.generation
        client = writers.get(namespace.volume.tree.inodes.slot_of(inode))
        if namespace is self._scene.namespace() and client is not None:
            self.check_lease(client, Lease(inode, generation - 1))

    def check_lease(self, client: int, lease: Lease) -> None:
        """A client's caller has the lease, or it is on its way to or from one (NoLostLease)."""
        self.checks["NoLostLease"] += 1
        for session in self._scene.sessions():
            if session.client == client and session.grants.is_lost(lease):
                text = f"client {client:x} has {lease}, and none of its callers does"
                self.breach("NoLostLease", text)

    def freed(self, inodes: Inodes, slot: int) -> None:
        """A file of the true primary is about to go: no client that is heard has it open.

        Whoever takes over may carry out once more what the primary before has: that was judged by
        who was heard then.
        """
        namespace = self._scene.namespace()
        if namespace is None or namespace.volume.tree.inodes is not inodes:
            return
        if inodes.kind[slot] != FILE:
            return
        inode, patience = inodes.id_of(slot), self._scene.patience
        freed = inode, namespace.applied, namespace.digest
        if freed in self._freed:
            return
        self._freed.add(freed)
        self.checks["OpenFilesStay"] += 1
        for session in self._scene.sessions():
            heard = session.keepalive.silence() < patience and namespace.expects_opens(
                session.client
            )
            if heard and session.opens.has(inode):
                text = f"inode {inode:x} is freed, client {session.client:x} has it open"
                self.breach("OpenFilesStay", text)

    def check_locks(self, namespace: Namespace) -> None:
        """What a living client holds, one of its callers has (NoLostLock)."""
        sessions = {session.client: session for session in self._scene.sessions()}
        inodes = namespace.volume.tree.inodes
        for (slot, kind), locks in namespace.volume.locks.held.items():
            for lock in locks:
                self.checks["NoLostLock"] += 1
                session = sessions.get(lock.client)
                if session and session.locks.is_leaked(inodes.id_of(slot), lock.owner, kind):
                    text = f"client {lock.client:x} holds {lock}, and none of its callers does"
                    self.breach("NoLostLock", text)

    # --- blocks ------------------------------------------------------------------------------

    def published(self, namespace: Namespace, refs: tuple[BlockRef, ...]) -> None:
        """The true primary's files came to refer to these blocks (AckedR)."""
        if namespace is not self._scene.namespace():
            return
        for ref in refs:
            current = namespace.block(ref.version)
            if current is not None and ref.length:
                self.checks["AckedR"] += 1
                self._check_copies(current)

    def _check_copies(self, ref: BlockRef) -> None:
        version, primary = ref.version, self._cluster.nodes[self._scene.primary_name()]
        view = primary.membership.view
        if not any(rules.member(view, number) for number in ref.replicas):
            self.breach("NoPartialVisible", f"no member was to hold {ref} when it was published")
        for number in ref.replicas:
            node = self._scene.member(number)
            if node is None or self._scene.may_bring_back(number):
                continue
            replaced = (number, version) in self._scene.rotten
            if node.store.verify(version) == MISSING and not replaced:
                self.breach("AckedR", f"{node.config.name} has no copy of {ref}")

    def _forgot(
        self, _none: None, copier: Copier, versions: Iterable[m.BlockVersion], *_order: int
    ) -> None:
        """A node forgot copies on the primary's word: files name them no more (NoResurrection)."""
        namespace, number = self._scene.namespace(), copier._membership.number
        for version in versions:
            ref = namespace.block(version) if namespace is not None else None
            self.checks["NoResurrection"] += 1
            if ref is not None and number in ref.replicas and copier._store.verify(version):
                self.breach("NoResurrection", f"member {number} forgot its copy of {ref}")

    # --- now and then ------------------------------------------------------------------------

    def inspect(self) -> None:
        """The expensive ones: memory, tree invariants, a copy of every block."""
        self._check_in_sync("looking")
        for name, node in list(self._cluster.nodes.items()):
            self.checks["MemoryBound"] += 1
            if node.store.used > node.store.limit:
                self.breach("MemoryBound", f"{name} uses {node.store.used}")
        namespace = self._scene.namespace()
        if namespace is not None:
            self.checks["TreeAcyclic"] += 1
            try:
                namespace.check_invariants()
            except AssertionError as error:
                self.breach("TreeAcyclic", f"of the namespace: {error}")
            self.check_visible(namespace)

    def weigh(self) -> None:
        """What no file holds, in bytes (NoHoarding): to be looked at all the time.

        Commits of one moment are looked at together: to list what all nodes hold is the dearest of
        all checks, and a copy may be one too many for seconds.
        """
        now = self._cluster.fabric.now()
        if now - self._weighed < WEIGH_SECONDS:
            return
        self._weighed = now
        found = self._hoarding.look()
        if found is not None:
            self.checks["NoHoarding"] += 1 + self._hoarding.stored
            self._hoarding.stored = 0
        if found:
            self.breach("NoHoarding", found)

    def check_visible(self, namespace: Namespace) -> None:
        """A living member, or who comes back as one, has a good copy of each block of every file
        (NoPartialVisible)."""
        for placed in all_blocks(namespace):
            if any(map(self._scene.may_bring_back, placed.replicas)):
                continue
            self.checks["NoPartialVisible"] += 1
            holders = [self._scene.keeper(number) for number in placed.replicas]
            if not any(node is not None and _holds(node, placed) == 0 for node in holders):
                self.breach("NoPartialVisible", f"no good copy of {placed}")

    def _node_of(self, primary: Primary) -> Node | None:
        for node in self._cluster.nodes.values():
            if node.role.namespace is primary.namespace:
                return node
        return None

    def _name(self, primary: Primary) -> str:
        node = self._node_of(primary)
        return node.config.name if node else "a former primary"


def all_blocks(namespace: Namespace) -> Iterator[BlockRef]:
    """Every block that a file has, holes left out."""
    yield from (placed.ref for placed in placed_blocks(namespace) if placed.ref.length)


def _holds(node: Node, ref: BlockRef) -> int:
    """0 when a node has a good copy of just these bytes, else the code of what is wrong."""
    version = ref.version
    code = node.store.verify(version)
    if code == 0 and node.store.read(version, 0, ref.length)[1] != ref.crc:
        return errors.CorruptBlockError.code
    return code


@contextlib.contextmanager
def _around_apply(observer: Observer) -> Iterator[None]:
    apply = Namespace.apply

    def observed(
        self: Namespace, entry: Entry, request: Any = None, opens: Opens | None = None
    ) -> CommandResult:
        before = self.applied, self.digest
        stealing = (
            isinstance(request, m.AcquireLease)
            and request.steal
            and not self.has_answered(entry.client, entry.request_id)  # else it ends no lease now
        )
        writers = dict(self.volume.sessions.writers) if stealing else {}
        outcome = apply(self, entry, request, opens)
        observer.applied(before, (self.applied, self.digest), entry)
        if isinstance(request, m.Commit | m.PublishDraft) and not isinstance(
            outcome.record, m.ErrorReply
        ):
            observer.published(self, request.blocks)
        elif isinstance(request, m.PutFiles):
            for file in request.files:
                observer.published(self, file.blocks)
        elif stealing and isinstance(outcome.record, m.LeaseReply):
            observer.stolen(self, outcome.record, writers)
        return outcome

    Namespace.apply = observed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Namespace.apply = apply  # type: ignore[method-assign]


@contextlib.contextmanager
def _around_free(observer: Observer) -> Iterator[None]:
    free = Inodes.free

    def observed(self: Inodes, slot: int) -> None:
        observer.freed(self, slot)
        free(self, slot)

    Inodes.free = observed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Inodes.free = free  # type: ignore[method-assign]


@contextlib.contextmanager
def _around_advance(observer: Observer) -> Iterator[None]:
    advance = Primary._advance

    def observed(self: Primary) -> None:
        before = self.committed
        advance(self)
        if self.committed != before:
            observer.advanced(self)

    Primary._advance = observed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Primary._advance = advance  # type: ignore[method-assign]


@contextlib.contextmanager
def _around_adopt(observer: Observer) -> Iterator[None]:
    adopt = Membership.adopt

    def observed(self: Membership, view: View) -> bool:
        before = self.epoch
        newer = adopt(self, view)
        observer.adopted(self, before)
        return newer

    Membership.adopt = observed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Membership.adopt = adopt  # type: ignore[method-assign]
