"""One node of the cluster: starts and stops its parts in order.

The parts are made by :func:`memfs.node.assembly.build_node`. The order of starting: listen (so that
the address is known), find or form the cluster, serve. The order of stopping is the reverse; a
member says that it leaves.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memfs.cluster.coordinator import Coordinator
from memfs.cluster.embedded import EmbeddedCoordinator
from memfs.config import NodeConfig
from memfs.logs import fields
from memfs.machine import raise_descriptor_limit
from memfs.monitoring.metrics import Metrics
from memfs.node.blocks import BlockStore
from memfs.node.healing.discards import Discards
from memfs.node.healing.service import Healing
from memfs.node.housekeeping import Housekeeping
from memfs.node.journal.journal import Journal
from memfs.node.leaving import Leaving
from memfs.node.listeners import Listeners
from memfs.node.membership.bootstrap import Bootstrap
from memfs.node.membership.capability_keys import CapabilityKeys
from memfs.node.membership.members import Membership
from memfs.node.metric_bindings import bind_journal
from memfs.node.replication.role import NamespaceRole
from memfs.node.requests.control import Control
from memfs.node.requests.standing import Standing
from memfs.node.resources.footprint import FootprintWatch
from memfs.node.resources.principal_limits import NodeLimits
from memfs.node.resources.shares import Shares, Shortages, say_what_does_not_fit
from memfs.node.resources.space import SpaceWatch, clean_segments, give_back_spare_memory
from memfs.node.self_report import SelfReport
from memfs.node.stores.cached_blocks import ObjectBlocks
from memfs.node.stores.mount_service import MountService
from memfs.node.stores.opened import OpenStores
from memfs.node.stores.sweeping import Sweeper
from memfs.node.tasks import Tasks
from memfs.paths import Endpoint
from memfs.transport.environment import Environment, Tls
from memfs.transport.pool import Pool
from memfs.transport.server import Server
from memfs.types import Member

if TYPE_CHECKING:
    from memfs.monitoring.http_server import Monitoring

log = logging.getLogger(__name__)

LAG_INTERVAL_SECONDS = 0.25
CERTIFICATES_SECONDS = 5.0
"""Between two looks at the files of certificates."""
EXPIRY_WARNING_SECONDS = 30 * 86_400.0
EXPIRY_REMINDER_SECONDS = 86_400.0
JOIN_SECONDS = 30.0
"""How long a node that starts waits for a word from the coordinator."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a node consists of."""

    store: BlockStore
    metrics: Metrics
    tasks: Tasks
    shares: Shares
    space: SpaceWatch
    footprint: FootprintWatch
    shortages: Shortages
    journal: Journal | None
    """None on a node that keeps none."""
    pool: Pool
    coordinator: Coordinator
    membership: Membership
    keys: CapabilityKeys
    limits: NodeLimits
    standing: Standing
    bootstrap: Bootstrap
    leaving: Leaving
    role: NamespaceRole
    discards: Discards
    housekeeping: Housekeeping
    healing: Healing
    mounts: MountService
    sweeper: Sweeper
    objects: ObjectBlocks
    stores: OpenStores
    server: Server
    listeners: Listeners
    control: Control
    report: SelfReport
    monitoring: Monitoring | None
    """None where it is switched off."""


class Node:
    """A node process's whole content, or one of several nodes in a test."""

    def __init__(self, config: NodeConfig, environment: Environment, parts: Parts) -> None:
        """Nothing happens before :meth:`start`."""
        self.config = config
        self.parts = parts
        self.store = parts.store
        self.metrics = parts.metrics
        self.journal = parts.journal
        self.membership = parts.membership
        self.role = parts.role
        self.healing = parts.healing
        self.retired = asyncio.Event()
        """Set when this node has left the cluster for good: it should be stopped."""
        self._environment = environment
        self._tasks = parts.tasks
        self._staying: asyncio.Task[None] | None = None

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, join or form the cluster, serve.

        Raises UnavailableError when no cluster can be reached, ConfigError when an address cannot
        be bound.
        """
        config, parts = self.config, self.parts
        raise_descriptor_limit()
        say_what_does_not_fit(parts.shares, config.memory, config.block_size * config.group_blocks)
        if self.journal is not None:
            await self.journal.open()
        member = await parts.listeners.open(self.member.incarnation)
        deadline = self._environment.clock.monotonic() + JOIN_SECONDS
        await parts.bootstrap.join(member, deadline)
        await self._start_journal()
        if parts.monitoring is not None:
            await parts.monitoring.start()
        self._start_loops()
        log.info(
            "serving",
            extra=fields(address=self.endpoint, member=self.member.number),
        )

    async def stop(self, *, leave: bool = True) -> None:
        """Close everything; before, unless ``leave`` is false (a crash), leave the cluster."""
        parts = self.parts
        if leave:
            if self._staying is not None:
                self._staying.cancel()
            await parts.leaving.drain()
            self.healing.stop()
            await parts.leaving.leave()
        if parts.monitoring is not None:
            await parts.monitoring.stop()
        parts.listeners.close_descriptors()
        self.role.close()
        await self._tasks.close()
        await parts.listeners.close()
        await parts.stores.close()
        await parts.coordinator.close()
        await parts.pool.close()
        if self.journal is not None:
            await self.journal.close()

    async def _stay_in(self) -> None:
        """Join again, with the blocks that it holds, whenever this node was taken for dead."""
        while True:
            await asyncio.sleep(self.config.heartbeat_seconds / 4)
            if self.healing.retirement.is_over():
                self._retire()
                return
            if self.member.number:
                continue
            log.error("this node was taken for dead: it joins anew with the blocks that it holds")
            incarnation = self._environment.random.getrandbits(63)
            member = self.member._replace(number=0, incarnation=incarnation)
            await self.parts.bootstrap.join(member, math.inf)
            await self._belong()

    def _retire(self) -> None:
        if isinstance(self.parts.coordinator, EmbeddedCoordinator):
            log.warning("this node was decommissioned: it stays for the coordinator that it keeps")
            return
        log.info("this node was decommissioned: it stops")
        self.retired.set()

    @property
    def member(self) -> Member:
        """This node's record in the view; number 0 while it is no member."""
        return self.membership.member

    @property
    def endpoint(self) -> Endpoint:
        """Where it can be reached."""
        return Endpoint(self.member.host, self.member.port)

    # --- the journal -------------------------------------------------------------------------

    @property
    def _revives(self) -> bool:
        """Does a restart of this node take up its membership (``ack = journal``)?"""
        return self.journal is not None and self.membership.is_journaled

    async def _start_journal(self) -> None:
        if self.journal is None:
            return
        await self._belong()
        if self.config.ack == "journal" and not self._revives:
            log.warning("this cluster acknowledges what is in RAM (ack = ram): the setting is void")
        self.journal.start(self.role)
        bind_journal(self.metrics, self.journal)
        self._tasks.spawn(self.journal.load_blocks(), "load blocks")

    async def _belong(self) -> None:
        """Record whose journal it is; the member number may be outdated before that is done."""
        number = self.member.number
        if self.journal is not None and number:
            await self.journal.belong(self.membership.view.cluster, number)

    # --- loops -------------------------------------------------------------------------------

    def _start_loops(self) -> None:
        parts, tasks = self.parts, self._tasks
        tasks.spawn(self.role.run(), "leases")
        tasks.spawn(self.membership.run_coordinator_check(), "check of the coordinator")
        tasks.spawn(self.membership.run_heartbeats(), "heartbeats")
        tasks.spawn(self.membership.run_watch(), "watch of the view")
        tasks.spawn(parts.keys.run(), "capability keys")
        tasks.spawn(parts.limits.run(parts.server.load), "limits of users")
        tasks.spawn(parts.standing.run(), "standing connections")
        self._staying = tasks.spawn(self._stay_in(), "membership")
        tasks.spawn(parts.discards.run(), "discards")
        tasks.spawn(parts.housekeeping.run_sessions(), "sessions")
        tasks.spawn(parts.housekeeping.run_reclaim(), "reclaim")
        tasks.spawn(parts.mounts.run(), "mounts")
        tasks.spawn(parts.sweeper.run(), "unfinished uploads")
        tasks.spawn(parts.objects.run(), "cached blocks")
        self.healing.start()
        tasks.spawn(parts.space.run(), "space")
        tasks.spawn(parts.footprint.run(), "footprint")
        tasks.spawn(parts.shortages.run(self._environment.clock.monotonic), "shortages")
        tasks.spawn(give_back_spare_memory(self.store), "spare memory")
        tasks.spawn(clean_segments(self.store, self.healing.scrubber.check), "cleaner")
        tasks.spawn(self._watch_loop(), "loop lag")
        if self._environment.tls is not None:
            tasks.spawn(self._watch_certificates(self._environment.tls), "certificates")

    def renew_certificates(self) -> None:
        """Look now whether there are new ones; without being told, within seconds."""
        if self._environment.tls is not None:
            self._environment.tls.refresh()

    async def _watch_certificates(self, tls: Tls) -> None:
        """Take new ones, and say in time that they end."""
        clock, warned = self._environment.clock, -math.inf
        while True:
            tls.refresh()
            now = clock.monotonic()
            left = tls.expires - clock.wall_ns() / 1e9
            if left < EXPIRY_WARNING_SECONDS and now - warned >= EXPIRY_REMINDER_SECONDS:
                warned = now
                about = fields(days=round(left / 86_400, 1))
                log.warning("the certificate ends soon: renew it with memfs certs", extra=about)
            await asyncio.sleep(CERTIFICATES_SECONDS)

    async def _watch_loop(self) -> None:
        """Measure how late the event loop is: a blocked loop delays everybody."""
        clock = self._environment.clock
        while True:
            before = clock.monotonic()
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            late = clock.monotonic() - before - LAG_INTERVAL_SECONDS
            self.metrics.loop_lag.observe(max(0.0, late))
