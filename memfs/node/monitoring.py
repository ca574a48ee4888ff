"""HTTP for machines that watch: ``/metrics``, ``/healthz``, ``/readyz``.

``/healthz`` says that the process turns its loop; ``/readyz`` that the node is a member and can
reach a primary (503 and the reason otherwise).
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from memfs.paths import Endpoint


class Monitoring:
    """A small HTTP server beside the node."""

    def __init__(self, registry: CollectorRegistry, not_ready: Callable[[], str]) -> None:
        """``not_ready`` returns why the node is not ready, or an empty string."""
        self._registry = registry
        self._not_ready = not_ready
        self._runner: web.AppRunner | None = None

    async def start(self, endpoint: Endpoint) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
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

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, request: web.Request) -> web.Response:
        reason = self._not_ready()
        return web.Response(text=(reason or "ready") + "\n", status=503 if reason else 200)
