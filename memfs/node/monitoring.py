"""HTTP for machines that watch: ``/metrics``, ``/healthz``, ``/readyz``.

``/healthz`` says that the process turns its loop; ``/readyz`` that the node is a member and can
reach a primary (503 and the reason otherwise).
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from memfs.metrics import CONTENT_TYPE, Metrics
from memfs.node.blocks import BlockStore
from memfs.node.healing.service import Healing
from memfs.node.journal.journal import Journal
from memfs.node.namespace import Namespace
from memfs.node.namespace_role import NamespaceRole
from memfs.node.space import SpaceWatch
from memfs.paths import Endpoint
from memfs.transport.server import Server
from memfs.types import View


class Monitoring:
    """A small HTTP server beside the node."""

    def __init__(self, metrics: Metrics, not_ready: Callable[[], str]) -> None:
        """``not_ready`` returns why the node is not ready, or an empty string."""
        self._metrics = metrics
        self._not_ready = not_ready
        self._runner: web.AppRunner | None = None

    async def start(self, endpoint: Endpoint) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        application = web.Application()
        application.router.add_get("/metrics", self._expose)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._ready)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, endpoint.host, endpoint.port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _expose(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.expose(), headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, request: web.Request) -> web.Response:
        reason = self._not_ready()
        return web.Response(text=(reason or "ready") + "\n", status=503 if reason else 200)


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


def bind_metrics(
    metrics: Metrics,
    *,
    store: BlockStore,
    server: Server,
    role: NamespaceRole,
    healing: Healing,
    space: SpaceWatch,
) -> None:
    """Say where each gauge and counter of ``docs/metrics.md`` is read at scrape time."""
    membership = role.membership

    def namespace(read: Callable[[Namespace], float]) -> Callable[[], float]:
        return lambda: read(role.namespace) if role.namespace is not None else 0

    def view(read: Callable[[View], float]) -> Callable[[], float]:
        return lambda: read(membership.view) if membership.view is not None else 0

    metrics.bind(
        received_bytes=lambda: server.statistics().received,
        sent_bytes=lambda: server.statistics().sent,
        connections=lambda: server.statistics().connections,
        blocks=lambda: store.count,
        memory_used_bytes=lambda: store.used,
        memory_limit_bytes=lambda: store.limit,
        memory_spare_bytes=lambda: store.spare,
        corrupt_blocks=lambda: healing.corrupt.confirmed,
        orphan_blocks=lambda: healing.sweep.swept,
        scrubbed_blocks=lambda: healing.scrubber.scrubbed,
        copied_blocks=lambda: healing.copies.blocks,
        copied_bytes=lambda: healing.copies.bytes,
        endangered_blocks=lambda: healing.agenda.findings.blocks,
        lost_blocks=lambda: healing.agenda.findings.endangered[0],
        misplaced_blocks=lambda: healing.agenda.findings.moves,
        bad_copies=lambda: healing.corrupt.count,
        removed_members=lambda: healing.removal.removed,
        epoch=lambda: membership.epoch,
        members=view(lambda view: len(view.members)),
        in_sync=view(lambda view: membership.number in view.in_sync),
        in_sync_members=view(lambda view: len(view.in_sync)),
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
        files=namespace(lambda state: state.statistics().files),
        directories=namespace(lambda state: state.statistics().directories),
        sessions=namespace(lambda state: len(state.sessions)),
    )
