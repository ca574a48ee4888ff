"""One node of the cluster: builds its parts, starts and stops them in order.

The order of starting: listen (so that the address is known), find or form the cluster, serve. The
order of stopping is the reverse; a member says that it leaves.
"""

from __future__ import annotations

import asyncio
import logging
import math
from pathlib import Path

from memfs import errors
from memfs.cluster.coordinator import Coordinator
from memfs.cluster.embedded import EmbeddedCoordinator
from memfs.cluster.etcd import open_etcd
from memfs.cluster.remote import RemoteCoordinator
from memfs.config import NodeConfig
from memfs.logs import fields
from memfs.machine import machine_id, raise_descriptor_limit
from memfs.metrics import Metrics
from memfs.node.admission import Admission
from memfs.node.backup_service import BackupService
from memfs.node.block_service import BlockService
from memfs.node.blocks import BlockStore
from memfs.node.control import Control
from memfs.node.delegation import Delegation
from memfs.node.discards import Discards
from memfs.node.drain import Drain
from memfs.node.entry import Entry
from memfs.node.healing.copier import Copier
from memfs.node.healing.service import Healing
from memfs.node.journal.journal import Journal
from memfs.node.membership import Membership
from memfs.node.monitoring import Monitoring, bind_journal, bind_metrics
from memfs.node.namespace import Settings
from memfs.node.namespace_role import NamespaceRole
from memfs.node.service import NodeService
from memfs.node.space import SpaceWatch, give_back_spare_memory
from memfs.node.tasks import Tasks
from memfs.node.upkeep import Upkeep
from memfs.paths import Endpoint, parse_url
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.transport.descriptors import DescriptorServer
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.transport.server import Server
from memfs.types import Identity, Member, NodeUsage

log = logging.getLogger(__name__)

LAG_INTERVAL_SECONDS = 0.25
JOIN_SECONDS = 30.0
"""How long a node that starts waits for a word from the coordinator."""
LEAVE_SECONDS = 10.0
"""How long a node that stops tries to pass on its role."""


class Node:
    """A node process's whole content, or one of several nodes in a test."""

    def __init__(
        self,
        config: NodeConfig,
        environment: Environment,
        coordinator: Coordinator | None = None,
    ) -> None:
        """Nothing happens before :meth:`start`. ``coordinator``: instead of the configured one."""
        self.config = config
        self.store = BlockStore(config.memory)
        self.metrics = Metrics()
        self._space = SpaceWatch(self.store)
        self.retired = asyncio.Event()
        """Set when this node has left the cluster for good: it should be stopped."""
        self._environment = environment
        self._given_coordinator = coordinator
        self._incarnation = environment.random.getrandbits(63)
        self._tasks = Tasks()
        self._identity = Identity(config.superuser)
        self._descriptors: DescriptorServer | None = None
        self._monitoring: Monitoring | None = None
        self.journal = self._make_journal()

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, join or form the cluster, serve.

        Raises UnavailableError when no cluster can be reached, ConfigError when an address cannot
        be bound.
        """
        config = self.config
        raise_descriptor_limit()  # each group in memory is one
        if self.journal is not None:
            await self.journal.open()
        self.pool = Pool(self._environment, self._hello)
        coordinator = self._coordinator()
        self.membership = Membership(
            self._environment,
            coordinator,
            self.pool,
            self._tasks,
            heartbeat_seconds=config.heartbeat_seconds,
            member_timeout_seconds=config.member_timeout_seconds,
            usage=self._usage,
        )
        self._assemble(coordinator)
        member = await self._listen()
        deadline = self._environment.clock.monotonic() + JOIN_SECONDS
        await self._entry.enter(member, deadline)
        await self._start_journal()
        await self._start_monitoring()
        self._start_loops()
        log.info(
            "serving",
            extra=fields(address=self.endpoint, member=self.member.number),
        )

    async def stop(self, *, leave: bool = True) -> None:
        """Close everything; before, unless ``leave`` is false (a crash), leave the cluster."""
        if leave:
            self._staying.cancel()
            await self._drain_blocks()
            self.healing.stop()
            await self._leave()
        if self._monitoring is not None:
            await self._monitoring.stop()
        if self._descriptors is not None:
            self._descriptors.close()
        self.role.close()
        await self._tasks.close()
        await self._server.close()
        await self._coordinator_used.close()
        await self.pool.close()
        if self.journal is not None:
            await self.journal.close()

    async def _drain_blocks(self) -> None:
        """Pass on the role, then all blocks, if that is configured."""
        if not self.config.drain_blocks:
            return
        try:
            if self.role.leads:
                await self.role.hand_over()
        except errors.MemfsError as error:
            log.info("the role stays here for now", extra=fields(reason=error))
        await Drain(self.membership, self.config.drain_seconds).run()

    async def _leave(self) -> None:
        """Pass on what this node is to the cluster, then leave it; best effort."""
        clock = self._environment.clock
        deadline = clock.monotonic() + LEAVE_SECONDS
        pause = longest = self.config.heartbeat_seconds / 4
        while self.membership.number and clock.monotonic() < deadline:
            try:
                if self.role.leads:
                    await self.role.hand_over()
                    pause = longest / 16  # the heir may stop too: be gone before it gives it back
                if self._revives:
                    return  # it comes back as what it is now
                await self.membership.ask(self.membership.primary(), m.Leave(self.member.number))
                return
            except errors.RetryableError as error:
                view = self.membership.view
                if view is not None and len(view.in_sync) == 1 and self.membership.is_primary:
                    return  # there is nobody to pass anything on to
                log.info("leaving", extra=fields(reason=error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            except errors.MemfsError as error:
                log.warning("left without a word from the primary", extra=fields(reason=error))
                return

    async def _stay_in(self) -> None:
        """Enter anew, with nothing, whenever this node was taken for dead; forever."""
        while True:
            await asyncio.sleep(self.config.heartbeat_seconds / 4)
            if self.healing.retirement.is_over():
                self._retire()
                return
            if self.membership.number or self.membership.view is None:
                continue
            log.error("this node was taken for dead: it drops what it holds and joins anew")
            if not self._revives:
                self.store.clear()
            self._incarnation = self._environment.random.getrandbits(63)
            member = self.member._replace(number=0, incarnation=self._incarnation)
            await self._entry.enter(member, math.inf)
            await self._belong()

    # --- the journal -------------------------------------------------------------------------

    def _make_journal(self) -> Journal | None:
        config = self.config
        if not config.journal:
            return None
        journal = Journal(
            self._environment,
            config.journal,
            name=config.name,
            store=self.store,
            segment_bytes=config.journal_segment_size,
            ratio=config.journal_ratio,
            keep_blocks=config.journal_blocks,
        )
        journal.namespace = lambda: self.role.namespace
        journal.awaited = lambda: self._revives
        return journal

    @property
    def _revives(self) -> bool:
        """Does a restart of this node take up its membership (``ack = journal``)?"""
        view = self.membership.view
        return self.journal is not None and view is not None and view.journaled

    async def _start_journal(self) -> None:
        if self.journal is None:
            return
        await self._belong()
        if self.config.ack == "journal" and not self._revives:
            log.warning("this cluster acknowledges what is in RAM (ack = ram): the setting is void")
        self.journal.start()
        bind_journal(self.metrics, self.journal)
        self._tasks.spawn(self.journal.load_blocks(), "load blocks")

    async def _belong(self) -> None:
        """Put on record whose journal it is; a number may be gone again before that is done."""
        number = self.member.number
        if self.journal is not None and self.membership.view is not None and number:
            await self.journal.belong(self.membership.view.cluster, number)

    def _retire(self) -> None:
        if isinstance(self._coordinator_used, EmbeddedCoordinator):
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

    # --- parts -------------------------------------------------------------------------------

    def _assemble(self, coordinator: Coordinator) -> None:
        config, call_seconds = self.config, self.config.member_timeout_seconds
        self._coordinator_used = coordinator
        blocks = BlockService(self.store, self.membership, self.pool, self.journal)
        copier = Copier(self.store, self.membership, self.pool, blocks.until_durable)
        discards = Discards(copier, self.membership, self.pool, call_seconds)
        self._discards = discards
        self.role = NamespaceRole(
            self.membership,
            self.pool,
            self._tasks,
            settings=self._settings(),
            discard=discards.decide,
            lease_seconds=config.lease_seconds,
            min_in_sync=config.min_in_sync,
            journal=self.journal,
        )
        self._entry = Entry(self.membership, self.journal, journaled=config.ack == "journal")
        self._upkeep = Upkeep(
            self.role,
            self.membership,
            session_timeout_seconds=config.session_timeout_seconds,
        )
        self.healing = Healing(
            config,
            self.store,
            self.role,
            discards,
            self.pool,
            self._tasks,
            copier,
        )
        service = NodeService(
            membership=self.membership,
            role=self.role,
            admission=Admission(self.membership, self.role),
            backup=BackupService(self.membership, self.role),
            blocks=blocks,
            upkeep=self._upkeep,
            control=Control(config.name, self.membership, self.role, self._entry),
            copier=copier,
            healing=self.healing,
            delegation=Delegation(config, self._environment),
            coordinator=coordinator if isinstance(coordinator, EmbeddedCoordinator) else None,
            superuser=config.superuser,
            metrics=self.metrics,
        )
        self._server = Server(self._environment, service)

        bind_metrics(
            self.metrics,
            store=self.store,
            server=self._server,
            role=self.role,
            healing=self.healing,
            space=self._space,
        )

    def _coordinator(self) -> Coordinator:
        config = self.config
        if self._given_coordinator is not None:
            return self._given_coordinator
        if config.coordinator == "embedded":
            return EmbeddedCoordinator(
                self._environment, str(Path(config.data_directory) / "coordinator.log")
            )
        if config.coordinator.startswith("etcd"):
            return open_etcd(self._environment.clock, config)
        endpoint = parse_url(config.coordinator).endpoints[0]
        return RemoteCoordinator(
            self._environment, endpoint, self._hello("control"), config.member_timeout_seconds
        )

    def _hello(self, lane: str) -> m.Hello:
        """How this node introduces itself to others."""
        member = self.membership.member if hasattr(self, "membership") else None
        view = self.membership.view if hasattr(self, "membership") else None
        return m.Hello(
            frames.VERSION_MIN,
            frames.VERSION_MAX,
            view.cluster if view else "",
            m.Role.NODE,
            self._incarnation,
            self._identity,
            lane,
            member.number if member else 0,
            self._incarnation,
        )

    def _settings(self) -> Settings:
        config = self.config
        return Settings(
            config.superuser,
            config.supergroup,
            config.replication,
            config.block_size,
            config.group_blocks,
        )

    async def _listen(self) -> Member:
        config = self.config
        try:
            listener = await self._server.listen(Endpoint(config.host, config.port))
        except OSError as error:
            raise errors.ConfigError(
                f"cannot listen on {config.host}:{config.port}: {error.strerror}"
            ) from error
        address = config.advertised(listener.endpoint.port)
        return Member(
            0,
            config.name,
            self._incarnation,
            address.host,
            address.port,
            await self._open_socket(),
            machine_id(),
            config.weight,
            config.domain or address.host,
            0,
        )

    async def _open_socket(self) -> str:
        """Listen for this host's clients; the socket's path, empty when there is none.

        Beside the socket of the protocol lies ``PATH.fd``, which passes descriptors of blocks.
        """
        if not self.config.socket_directory:
            return ""
        path = Path(self.config.socket_directory) / f"{self._incarnation:016x}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            await self._server.listen_unix(str(path))
            self._descriptors = DescriptorServer(f"{path}.fd", self._descriptors_of)
        except OSError as error:
            log.warning("no unix socket", extra=fields(path=path, reason=error))
            return ""
        return str(path)

    def _descriptors_of(self, request: m.GetDescriptors) -> tuple[m.DescriptorsReply, list[int]]:
        segments, descriptors = self.store.descriptors(request.versions)
        return m.DescriptorsReply(tuple(segments)), descriptors

    async def _start_monitoring(self) -> None:
        endpoint = self.config.monitoring()
        if endpoint is None:
            return
        self._monitoring = Monitoring(self.metrics, self._not_ready)
        try:
            port = await self._monitoring.start(endpoint)
        except OSError as error:
            raise errors.ConfigError(
                f"cannot serve metrics on {endpoint}: {error.strerror}; set monitoring_port"
            ) from error
        log.info("monitoring", extra=fields(url=f"http://{endpoint.host}:{port}/metrics"))

    def _start_loops(self) -> None:
        upkeep, tasks = self._upkeep, self._tasks
        tasks.spawn(self.role.run(), "leases")
        tasks.spawn(self.membership.run_registration(), "registration")
        tasks.spawn(self.membership.run_heartbeats(), "heartbeats")
        tasks.spawn(self.membership.run_watch(), "watch of the view")
        self._staying = tasks.spawn(self._stay_in(), "membership")
        tasks.spawn(self._discards.run(), "discards")
        tasks.spawn(upkeep.run_sessions(), "sessions")
        tasks.spawn(upkeep.run_reclaim(), "reclaim")
        self.healing.start()
        tasks.spawn(self._space.run(), "space")
        tasks.spawn(give_back_spare_memory(self.store), "spare memory")
        tasks.spawn(self._watch_loop(), "loop lag")

    # --- what it says of itself ---------------------------------------------------------------

    def _usage(self) -> NodeUsage:
        namespace = self.role.namespace
        return NodeUsage(
            self.member.number,
            self.store.used,
            self.store.limit,
            self.store.count,
            namespace.applied if namespace else 0,
            namespace.digest if namespace else 0,
        )

    def _not_ready(self) -> str:
        if not self.member.number:
            return "not a member of the cluster"
        if self.journal is not None and self.journal.loading:
            return "loading blocks from the journal"
        return ""

    async def _watch_loop(self) -> None:
        """Measure how late the event loop is: a blocked loop delays everybody."""
        clock = self._environment.clock
        while True:
            before = clock.monotonic()
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            late = clock.monotonic() - before - LAG_INTERVAL_SECONDS
            self.metrics.loop_lag.observe(max(0.0, late))
