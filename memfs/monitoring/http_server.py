"""HTTP for machines that watch a process: ``/metrics``, ``/healthz``, ``/readyz``.

``/healthz`` says that the process turns its loop; ``/readyz`` that it serves, as far as it knows
(503 and the reason otherwise).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import web

from memfs.errors import ConfigError
from memfs.logs import fields
from memfs.monitoring.metrics import CONTENT_TYPE, Metrics
from memfs.paths import Endpoint

log = logging.getLogger(__name__)


class Monitoring:
    """A small HTTP server beside what is watched."""

    def __init__(self, endpoint: Endpoint, metrics: Metrics, not_ready: Callable[[], str]) -> None:
        """``not_ready`` returns why it is not ready, or an empty string."""
        self._endpoint = endpoint
        self._metrics = metrics
        self._not_ready = not_ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises ConfigError when it is taken."""
        application = web.Application()
        application.router.add_get("/metrics", self._expose)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._ready)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        endpoint = self._endpoint
        try:
            await web.TCPSite(self._runner, endpoint.host, endpoint.port).start()
        except OSError as error:
            text = f"cannot serve metrics on {endpoint}: {error.strerror}; choose another port"
            raise ConfigError(text) from error
        port: int = self._runner.addresses[0][1]
        log.info("monitoring", extra=fields(url=f"http://{endpoint._replace(port=port)}/metrics"))
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
