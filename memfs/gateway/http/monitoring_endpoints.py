"""``/metrics``, ``/healthz`` and ``/readyz`` of a gateway, on the port that it serves.

Of several workers each shows the metrics of all together. ``/healthz`` says that the process turns
its loop, ``/readyz`` that it can reach the cluster's primary (503 and the reason otherwise).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from memfs.errors import MemfsError, UnavailableError
from memfs.gateway.http.connection import HttpServer
from memfs.gateway.http.gateway_peers import ADVERTISE_HEADER, CLUSTER_HEADER
from memfs.gateway.http.replies import HttpReply
from memfs.gateway.shared import Shared
from memfs.gateway.workers import WorkerLink
from memfs.monitoring.metrics import CONTENT_TYPE, Metrics, OperationMetrics, expose
from memfs.types import Identity

READY_SECONDS = 2.0
_FRESH_SECONDS = 0.5
METRICS = "/metrics"
PROBES = frozenset({"/healthz", "/readyz"})
Reader = Callable[[], float]
_PLAIN = "text/plain; charset=utf-8"


class GatewayMonitoring:
    """The monitoring endpoints of one gateway."""

    def __init__(
        self,
        shared: Shared,
        server: Callable[[], HttpServer | None],
        workers: WorkerLink | None = None,
    ) -> None:
        """``server``: the listening HTTP server, if there is one; ``workers``: the other worker
        processes."""
        self._shared = shared
        self._workers = workers
        self._metrics = Metrics()
        self._asked = -1e9
        self._reason = ""
        self._asking = asyncio.Lock()
        self._metrics.bind(
            gateway_connections=_of(server, lambda listening: listening.open),
            gateway_connections_limit=_of(server, lambda listening: listening.most),
            gateway_refused_connections=_of(server, lambda listening: listening.refused),
            gateway_sessions=lambda: len(shared.sessions),
            gateway_streams=lambda: shared.streams,
            gateway_hidden_names_total=lambda: shared.hidden_names,
            gateway_uploads=lambda: shared.uploads,
            gateway_buffer_bytes=lambda: shared.buffers.lent,
        )

    async def start(self) -> None:
        """Report this worker's counts to the others on request."""
        if self._workers is not None:
            await self._workers.start(self._metrics.snapshot)

    async def close(self) -> None:
        """Stop that."""
        if self._workers is not None:
            await self._workers.close()

    def operation(self, name: str) -> OperationMetrics:
        """The counts of one operation."""
        return self._metrics.operation(name)

    async def answer(self, request: web.BaseRequest, target: str) -> web.StreamResponse | None:
        """The reply, None when ``target`` is no monitoring path."""
        if target == METRICS:
            return await self._exposed()
        if target == "/healthz":
            return HttpReply(b"ok\n", 200, _PLAIN)
        if target == "/readyz":
            reason = await self._not_ready()
            reply = HttpReply((reason or "ready").encode() + b"\n", 503 if reason else 200, _PLAIN)
            reply.headers[CLUSTER_HEADER] = self._shared.sessions.cluster
            if advertised := self._shared.addresses.advertised:
                reply.headers[ADVERTISE_HEADER] = advertised[0]
            return reply
        return None

    async def _exposed(self) -> web.StreamResponse:
        if self._workers is None:
            return HttpReply(self._metrics.expose(), 200, CONTENT_TYPE)
        try:
            return HttpReply(expose(await self._workers.total()), 200, CONTENT_TYPE)
        except UnavailableError as error:  # a part would be taken for the whole
            return HttpReply(error.message.encode() + b"\n", 503, _PLAIN)

    async def _not_ready(self) -> str:
        """Why the cluster cannot be served; asked at most twice a second."""
        async with self._asking:
            if time.monotonic() - self._asked > _FRESH_SECONDS:
                self._reason = await self._ask()
                self._asked = time.monotonic()
        return self._reason

    async def _ask(self) -> str:
        shared = self._shared
        identity = Identity(shared.config.default_user)
        try:
            async with asyncio.timeout(READY_SECONDS):
                async with shared.sessions.user_session(identity) as user_session:
                    await user_session.fs.statvfs()
        except MemfsError as error:
            return error.message
        except TimeoutError:
            return "the cluster does not answer"
        return ""


def _of(server: Callable[[], HttpServer | None], read: Callable[[HttpServer], float]) -> Reader:
    def number() -> float:
        listening = server()
        return 0 if listening is None else read(listening)

    return number
