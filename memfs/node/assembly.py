"""How a node is put together: every part is made here, once, and is whole when it is made.

Owns the order in which the parts know each other. Nothing happens yet: :meth:`Node.start` listens
and joins. Two parts that need each other meet in this function only: the later one is named in a
closure that is called once the node runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from memfs.audit import Audit
from memfs.cluster.coordinator import Coordinator
from memfs.cluster.embedded import EmbeddedCoordinator
from memfs.cluster.remote import RemoteCoordinator
from memfs.config import NodeConfig, values
from memfs.machine import Footprint, descriptors_allowed, mapping_limit, trim_malloc
from memfs.monitoring.metrics import Metrics
from memfs.node.block_service.fences import Fences
from memfs.node.block_service.guard import Guard
from memfs.node.block_service.service import BlockService
from memfs.node.block_service.uploads import Uploads
from memfs.node.blocks import BlockStore
from memfs.node.blocks.memory import DESCRIPTORS_PER_MEMFD
from memfs.node.bounds import Bounds
from memfs.node.healing.copier import Copier
from memfs.node.healing.discards import Discards
from memfs.node.healing.service import Healing
from memfs.node.housekeeping import Housekeeping
from memfs.node.journal.journal import Journal
from memfs.node.leaving import Leaving
from memfs.node.listeners import Listeners
from memfs.node.membership.bootstrap import Bootstrap
from memfs.node.membership.capability_keys import CapabilityKeys
from memfs.node.membership.members import Membership
from memfs.node.metric_bindings import bind_metrics, bind_shares, bind_stores
from memfs.node.namespace import Settings
from memfs.node.replication.backup_service import BackupService
from memfs.node.replication.namespace_room import NamespaceRoom
from memfs.node.replication.role import NamespaceRole
from memfs.node.requests.admission import Admission
from memfs.node.requests.audited import RequestAudit
from memfs.node.requests.authentication import HostGroups, KnownGroups, PeerAuthentication
from memfs.node.requests.control import Control
from memfs.node.requests.delegation import Delegation
from memfs.node.requests.granting import Granting
from memfs.node.requests.proofs import Proofs
from memfs.node.requests.service import NodeService
from memfs.node.requests.standing import Standing
from memfs.node.resources.footprint import FootprintWatch
from memfs.node.resources.principal_limits import NodeLimits
from memfs.node.resources.shares import Shares, Shortages, server_limits, share_out
from memfs.node.resources.space import SpaceWatch
from memfs.node.self_report import SelfReport
from memfs.node.server import Node, Parts
from memfs.node.stores.cached_blocks import ObjectBlocks
from memfs.node.stores.mount_service import MountService
from memfs.node.stores.opened import OpenStore, OpenStores
from memfs.node.stores.residence import ResidenceService
from memfs.node.stores.sweeping import Sweeper
from memfs.node.tasks import Tasks
from memfs.paths import Endpoint, parse_url
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.security.principals import CERTIFICATE
from memfs.stores.opening import open_store
from memfs.transport.environment import Environment, production_environment
from memfs.transport.pool import Pool
from memfs.transport.server import Server
from memfs.types import Identity, Member


def build_node(
    config: NodeConfig,
    environment: Environment,
    coordinator: Coordinator | None = None,
    open_store: OpenStore = open_store,
    *,
    footprint: Callable[[], Footprint] = Footprint,
) -> Node:
    """A node that has yet to be started. ``coordinator``: instead of the configured one.

    ``open_store`` makes the external stores of mounts; ``footprint`` measures the process, if the
    node has it for itself.

    Raises ConfigError when the system allows too few open files, when a file of the coordinator's
    cannot be used; DataLossError when the embedded coordinator's is corrupt.
    """
    shares = _shares(config)
    store, metrics, tasks = BlockStore(config.memory, shares.memfds), Metrics(), Tasks()
    space = SpaceWatch(store)
    watch = FootprintWatch(store, footprint, lambda: _trim(role))
    journal = _journal(config, environment, store)

    def hello(lane: str) -> m.Hello:
        return _hello(config, membership, lane)

    pool = Pool(environment, hello)
    if coordinator is None:
        coordinator = _coordinator(config, environment, hello)
    membership = Membership(
        environment,
        coordinator,
        pool,
        tasks,
        Member(0, config.name, environment.random.getrandbits(63), "", 0),
        heartbeat_seconds=config.heartbeat_seconds,
        member_timeout_seconds=config.member_timeout_seconds,
        usage=lambda: report.usage(),
    )
    keys = CapabilityKeys(membership, tasks, environment.random, config.capability_seconds)
    guard = Guard(membership, keys, private_socket=config.socket_access == "user")
    fences = Fences(store, membership.ask_primary, tasks)
    uploads = Uploads(store, membership.ask_primary, tasks, environment.random, config.memory)
    stores = OpenStores(environment, membership, open_store)
    objects = ObjectBlocks(store, membership, stores, environment)
    blocks = BlockService(store, membership, pool, guard, fences, uploads, objects, journal)
    copier = Copier(store, membership, pool, blocks.until_durable)
    discards = Discards(copier, membership)
    role = NamespaceRole(
        membership,
        pool,
        tasks,
        settings=_settings(config),
        discard=discards.decide,
        lease_seconds=config.lease_seconds,
        min_in_sync=config.min_in_sync,
        journal=journal,
        homes=(config.superuser, *config.homes) if config.standard_directories else None,
        room=NamespaceRoom(store, lambda number: membership.life(number).usage),
    )
    bootstrap = Bootstrap(membership, store.clear, journal, journaled=config.ack == "journal")
    housekeeping = Housekeeping(
        role, membership, session_timeout_seconds=config.session_timeout_seconds
    )
    healing = Healing(
        config, store, role, discards, tasks, copier, lambda: server.load.turns.in_a_second()
    )
    mounts = MountService(role, stores)
    node_limits = NodeLimits(role, membership, config.superuser)
    authentication = _authentication(config, environment, shares.connections, role, node_limits)
    standing = Standing(membership, node_limits.shuts_out)
    control = Control(config.name, membership, role, bootstrap)
    service = NodeService(
        membership=membership,
        role=role,
        admission=Admission(membership, role),
        backup=BackupService(membership, role),
        blocks=blocks,
        housekeeping=housekeeping,
        control=control,
        copier=copier,
        healing=healing,
        delegation=Delegation(config, environment),
        granting=Granting(membership, role, keys),
        guard=guard,
        mounts=mounts,
        objects=objects,
        residence=ResidenceService(role),
        coordinator=coordinator if isinstance(coordinator, EmbeddedCoordinator) else None,
        authentication=authentication,
        proofs=Proofs(membership, authentication) if authentication is not None else None,
        standing=standing,
        audit=RequestAudit(Audit(config.audit, environment.clock.monotonic, config.audit_rate)),
        security=lambda: _security(config, environment),
        bounds=lambda: client_bounds,
        settings=_settings(config),
        metrics=metrics,
    )
    server = Server(environment, service, server_limits(shares, config.memory))
    server.load.arriving.room = lambda: store.limit - store.used
    shortages = Shortages(shares, store, server)
    report = SelfReport(store, membership, role, control, shortages, watch, journal, objects)
    bind_metrics(
        metrics,
        store=store,
        server=server,
        role=role,
        healing=healing,
        space=space,
        shares=shares,
        guard=guard,
        footprint=watch,
        tls=environment.tls,
        insecure=config.insecure and not values.is_loopback(config.host),
    )
    node_limits.bind(server.load, uploads.ahead, uploads.unknown)
    client_bounds = Bounds(server.load.ledgers() | uploads.ledgers(), role)
    bind_shares(metrics, client_bounds.all)
    bind_stores(metrics, stores, objects, mounts, environment.clock.wall_ns)
    endpoint = config.monitoring()
    monitoring = None
    if endpoint is not None:
        from memfs.monitoring.http_server import Monitoring  # aiohttp takes its time

        secured = config.metrics_tls_port and environment.tls
        tls = (Endpoint(config.host, config.metrics_tls_port), secured.server) if secured else None
        monitoring = Monitoring(endpoint, metrics, report.not_ready, tls)
    return Node(
        config,
        environment,
        Parts(
            store=store,
            metrics=metrics,
            tasks=tasks,
            shares=shares,
            space=space,
            footprint=watch,
            shortages=shortages,
            journal=journal,
            pool=pool,
            coordinator=coordinator,
            membership=membership,
            limits=node_limits,
            standing=standing,
            keys=keys,
            bootstrap=bootstrap,
            leaving=Leaving(
                membership,
                role,
                drain_seconds=config.drain_seconds if config.drain_blocks else 0.0,
                revives=lambda: journal is not None and membership.is_journaled,
                retired=healing.retirement.is_over,
            ),
            role=role,
            discards=discards,
            housekeeping=housekeeping,
            healing=healing,
            mounts=mounts,
            sweeper=Sweeper(role, stores),
            objects=objects,
            stores=stores,
            server=server,
            listeners=Listeners(config, server, store, shares, guard),
            control=control,
            report=report,
            monitoring=monitoring,
        ),
    )


def node_environment(config: NodeConfig) -> Environment:
    """The real world, secured by the certificates that ``config`` names. Raises ConfigError."""
    if not config.certificates:
        return production_environment()
    from memfs.security.tls import node_credentials

    strangers = config.authentication != (CERTIFICATE,)
    return production_environment(node_credentials(config.certificates, strangers=strangers))


def _shares(config: NodeConfig) -> Shares:
    return share_out(descriptors_allowed(), mapping_limit(), DESCRIPTORS_PER_MEMFD, config.memory)


def _trim(role: NamespaceRole) -> Iterator[None]:
    """Give memory that is free back to the system: tables first, then what malloc has of them."""
    if role.namespace is not None:
        yield from role.namespace.give_back()
    trim_malloc()


def _security(config: NodeConfig, environment: Environment) -> tuple[str, int, str]:
    """The security mode that the status shows, when the certificate ends, and how blocks go."""
    if environment.tls is not None:
        return "tls", int(environment.tls.expires), config.bulk
    return "loopback" if values.is_loopback(config.host) else "insecure", 0, ""


USERS_SHARE = 4
"""A user may have this part of all connections, unless ``connections_per_user`` says otherwise."""


def _authentication(
    config: NodeConfig,
    environment: Environment,
    connections: int,
    role: NamespaceRole,
    node_limits: NodeLimits,
) -> PeerAuthentication | None:
    """None on a trusted network, where everybody is believed. ``connections``: of everybody."""
    assert not config.certificates or environment.tls, "proof is wanted on a network in clear"
    if environment.tls is None:
        return None
    own = _settings(config)

    def settings() -> Settings:
        """The namespace's settings, fixed when the cluster was formed."""
        namespace = role.namespace
        return own if namespace is None else namespace.settings

    groups = KnownGroups(HostGroups(environment.clock.monotonic), lambda: role.namespace)
    most = config.connections_per_user or max(1, connections // USERS_SHARE)
    return PeerAuthentication(
        settings,
        config.proxy_users,
        groups,
        most,
        config.authentication,
        lambda user, usual: node_limits.of("connections", user, usual),
    )


def _hello(config: NodeConfig, membership: Membership, lane: str) -> m.Hello:
    """How this node introduces itself to others."""
    member, view = membership.member, membership.latest
    return m.Hello(
        frames.VERSION_MIN,
        frames.VERSION_MAX,
        view.cluster if view else "",
        m.Role.NODE,
        member.incarnation,
        Identity(config.superuser),
        lane,
        member.number,
        member.incarnation,
    )


def _coordinator(
    config: NodeConfig, environment: Environment, hello: Callable[[str], m.Hello]
) -> Coordinator:
    """The one that ``config`` names."""
    if config.coordinator == "embedded":
        return EmbeddedCoordinator(
            environment, str(Path(config.data_directory) / "coordinator.log")
        )
    if config.coordinator.startswith("etcd"):
        from memfs.cluster.etcd import open_etcd  # aiohttp takes its time

        return open_etcd(environment.clock, config)
    endpoint = parse_url(config.coordinator).endpoints[0]

    def introduce() -> m.Hello:
        """Introduce this node by its cluster only: whether it is still a member is what it asks."""
        return hello("control")._replace(member=0)

    return RemoteCoordinator(environment, endpoint, introduce, config.member_timeout_seconds)


def _journal(config: NodeConfig, environment: Environment, store: BlockStore) -> Journal | None:
    if not config.journal:
        return None
    return Journal(
        environment,
        config.journal,
        name=config.name,
        store=store,
        segment_bytes=config.journal_segment_size,
        ratio=config.journal_ratio,
        keep_blocks=config.journal_blocks,
    )


def _settings(config: NodeConfig) -> Settings:
    return Settings(
        config.superuser,
        config.supergroup,
        config.replication,
        config.block_size,
        config.group_blocks,
        config.group_rule == "parent",
    )
