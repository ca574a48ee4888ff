"""What a node shows to machines that watch, and where each figure is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from memfs import limits
from memfs.monitoring.metrics import Metrics
from memfs.node.block_service.guard import Guard
from memfs.node.blocks import BlockStore
from memfs.node.healing.service import Healing
from memfs.node.journal.journal import Journal
from memfs.node.namespace import Namespace
from memfs.node.namespace.tables.unsaved import Unsaved
from memfs.node.replication.role import NamespaceRole
from memfs.node.resources.footprint import FootprintWatch
from memfs.node.resources.shares import Shares
from memfs.node.resources.space import SpaceWatch
from memfs.node.stores.cached_blocks import ObjectBlocks
from memfs.node.stores.mount_service import MountService
from memfs.node.stores.opened import OpenStores
from memfs.node.stores.traffic import Traffic
from memfs.protocol.messages import BoundStatus, MountRecord
from memfs.transport.environment import Tls
from memfs.transport.server import Server
from memfs.types import View


def bind_journal(metrics: Metrics, journal: Journal) -> None:
    """Show a journal's gauges, counters and histograms; its parts may be replaced meanwhile."""
    log, blocks = journal.log, journal.blocks
    assert log is not None, "a journal without an owner"
    metrics.bind(
        journal_bytes=lambda: sum(each.size for each in journal.parts()),
        journal_written_bytes=lambda: sum(each.written for each in journal.parts()),
        journal_lag_bytes=lambda: journal.lag_bytes,
        journal_complete=lambda: log.complete,
        journal_full=lambda: journal.directory.full or journal.failing,
        journal_failures=lambda: sum(each.commits.failures for each in journal.parts()),
        journal_unusable_blocks=lambda: journal.unusable_blocks,
    )
    metrics.bind_histogram("journal_namespace_seconds", log.commits.seconds)
    if blocks is not None:
        metrics.bind_histogram("journal_blocks_seconds", blocks.commits.seconds)


def bind_shares(metrics: Metrics, bounds: Callable[[], Iterable[BoundStatus]]) -> None:
    """Show what clients have of what each gets a share of, and the bounds."""

    def read(of: Callable[[BoundStatus], float]) -> Callable[[], dict[str, float]]:
        return lambda: {each.name: of(each) for each in bounds()}

    metrics.bind_labelled(
        client_share_used=read(lambda each: each.used),
        client_share_largest=read(lambda each: each.largest),
        client_share_limit=read(lambda each: each.limit),
        client_share_total_limit=read(lambda each: each.total_limit),
    )


def bind_stores(
    metrics: Metrics,
    stores: OpenStores,
    objects: ObjectBlocks,
    mounts: MountService,
    wall_ns: Callable[[], int],
) -> None:
    """Show what is counted of each mounted store; a mount is named by its path."""

    def read(of: Callable[[MountRecord, Traffic], float]) -> Callable[[], dict[str, float]]:
        return lambda: {
            record.path.decode(errors="replace"): of(record, traffic)
            for record, traffic in stores.open_mounts()
        }

    def lacking(of: Callable[[Unsaved], float]) -> Callable[[], dict[str, float]]:
        return lambda: {path: of(unsaved) for path, unsaved in mounts.unsaved().items()}

    metrics.bind_labelled(
        store_hits=read(lambda _, traffic: traffic.hits),
        store_misses=read(lambda _, traffic: traffic.misses),
        store_fetched_bytes=read(lambda _, traffic: traffic.fetched_bytes),
        store_evicted_blocks=read(lambda _, traffic: traffic.evicted_blocks),
        store_cached_bytes=read(lambda record, _: objects.cached_bytes(record.number)),
        store_quota_bytes=read(lambda record, _: objects.quota(record) or 0),
        store_requests=read(lambda _, traffic: traffic.requests),
        store_errors=read(lambda _, traffic: traffic.errors),
        store_in_trouble=read(lambda record, _: record.number in stores.trouble),
        store_persisted_bytes=read(lambda _, traffic: traffic.persisted_bytes),
        store_conflicts=read(lambda _, traffic: traffic.conflicts),
        store_unsaved_changes=lacking(lambda unsaved: unsaved.changes),
        store_unsaved_bytes=lacking(lambda unsaved: unsaved.size),
        store_unsaved_seconds=lacking(
            lambda unsaved: max(0, wall_ns() - unsaved.since_ns) / 1e9 if unsaved.changes else 0
        ),
    )


def bind_metrics(
    metrics: Metrics,
    *,
    store: BlockStore,
    server: Server,
    role: NamespaceRole,
    healing: Healing,
    space: SpaceWatch,
    shares: Shares,
    guard: Guard,
    footprint: FootprintWatch,
    tls: Tls | None,
    insecure: bool,
) -> None:
    """Say where each gauge and counter of ``docs/metrics.md`` is read at scrape time."""
    membership = role.membership

    def namespace(read: Callable[[Namespace], float]) -> Callable[[], float]:
        return lambda: read(role.namespace) if role.namespace is not None else 0

    def view(read: Callable[[View], float]) -> Callable[[], float]:
        return lambda: read(membership.latest) if membership.latest is not None else 0

    metrics.bind(
        received_bytes=lambda: server.statistics().received,
        sent_bytes=lambda: server.statistics().sent,
        connections=lambda: server.statistics().connections,
        connections_limit=lambda: shares.connections,
        refused_connections=lambda: server.load.turned_away,
        refused_capabilities=lambda: guard.refused,
        insecure=lambda: insecure,
        certificate_expires_seconds=lambda: tls.expires if tls is not None else 0,
        memfds=lambda: store.statistics().memfds,
        memfds_limit=lambda: shares.memfds,
        unmappable_blocks=lambda: store.statistics().unmappable,
        blocks=lambda: store.count,
        memory_used_bytes=lambda: store.used,
        memory_limit_bytes=lambda: store.limit,
        memory_spare_bytes=lambda: store.spare,
        memory_overhead_bytes=lambda: store.overhead,
        memory_dead_bytes=lambda: store.statistics().dead,
        memory_resident_bytes=lambda: footprint.resident,
        memory_container_bytes=lambda: footprint.last.container,
        memory_container_limit_bytes=lambda: footprint.last.container_limit,
        segments=lambda: store.statistics().segments,
        cleaned_bytes=lambda: store.cleaned,
        corrupt_blocks=lambda: healing.corrupt.confirmed,
        orphan_blocks=lambda: healing.sweep.swept,
        scrubbed_blocks=lambda: healing.scrubber.scrubbed,
        copied_blocks=lambda: healing.copies.blocks,
        copied_bytes=lambda: healing.copies.bytes,
        endangered_blocks=lambda: healing.repairs.findings.endangered_now,
        under_replicated_blocks=lambda: healing.repairs.findings.under_replicated,
        lost_blocks=lambda: healing.repairs.findings.endangered[0],
        misplaced_blocks=lambda: healing.repairs.findings.moves,
        bad_copies=lambda: healing.corrupt.count,
        removed_members=lambda: healing.removal.removed,
        epoch=lambda: membership.epoch,
        members=view(lambda view: len(view.members)),
        in_sync=view(lambda view: membership.number in view.in_sync),
        in_sync_members=view(lambda view: len(view.in_sync)),
        following_members=lambda: _following(role),
        required_members=view(lambda view: view.min_in_sync),
        in_sync_changes=lambda: membership.in_sync_changes,
        failovers=lambda: role.failovers,
        handovers=lambda: role.handovers,
        coordinator_reachable=lambda: membership.coordinator_reachable,
        read_lease=lambda: role.leads and role.primary.has_lease(),
        primary_silent_seconds=lambda: role.primary_silent_ms() / 1000,
        low_space=lambda: space.low,
        primary=lambda: membership.is_primary,
        log_applied_index=namespace(lambda state: state.applied),
        log_committed_index=lambda: role.committed,
        log_kept_entries=lambda: role.recent.entries,
        log_kept_bytes=lambda: role.recent.bytes,
        log_kept_entries_limit=lambda: limits.LOG_ENTRIES_KEPT,
        log_kept_bytes_limit=lambda: limits.LOG_BYTES_KEPT,
        files=namespace(lambda state: state.statistics().files),
        directories=namespace(lambda state: state.statistics().directories),
        sessions=namespace(lambda state: len(state.sessions)),
    )


def _following(role: NamespaceRole) -> int:
    """In-sync members that follow this primary; a silent one that cannot be spared does not."""
    return role.primary.in_sync - len(role.primary.absent) if role.leads else 0
