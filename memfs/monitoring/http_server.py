"""HTTP for machines that watch a process: ``/metrics``, ``/healthz``, ``/readyz``.

``/healthz`` says that the process turns its loop; ``/readyz`` that it serves, as far as it knows
(503 and the reason otherwise).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

from aiohttp import web

from memfs.errors import ConfigError
from memfs.logs import fields
from memfs.monitoring.metrics import CONTENT_TYPE, Metrics
from memfs.paths import Endpoint

log = logging.getLogger(__name__)


class Monitoring:
    """A small HTTP server beside what is watched."""

    def __init__(
        self,
        endpoint: Endpoint,
        metrics: Metrics,
        not_ready: Callable[[], str],
        tls: tuple[Endpoint, ssl.SSLContext] | None = None,
    ) -> None:
        """``not_ready`` returns why it is not ready, or an empty string.

        ``tls``: where ``/metrics`` is served as well, to whoever shows a certificate that the
        context believes.
        """
        self._tls = tls
        self._endpoint = endpoint
        self._metrics = metrics
        self._not_ready = not_ready
        self._runners: list[web.AppRunner] = []

    async def start(self) -> int:
        """Listen; returns the port. Raises ConfigError when it is taken."""
        application = web.Application()
        application.router.add_get("/metrics", self._expose)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._ready)
        port = await self._serve(application, self._endpoint)
        if self._tls is not None:
            proved = web.Application()
            proved.router.add_get("/metrics", self._expose_to_proved)
            await self._serve(proved, *self._tls)
        return port

    async def _serve(
        self, application: web.Application, endpoint: Endpoint, tls: ssl.SSLContext | None = None
    ) -> int:
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, endpoint.host, endpoint.port, ssl_context=tls).start()
        except OSError as error:
            text = f"cannot serve metrics on {endpoint}: {error.strerror}; choose another port"
            raise ConfigError(text) from error
        port: int = runner.addresses[0][1]
        scheme = "http" if tls is None else "https"
        url = f"{scheme}://{endpoint._replace(port=port)}/metrics"
        log.info("monitoring", extra=fields(url=url))
        return port

    async def stop(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()

    async def _expose_to_proved(self, request: web.Request) -> web.Response:
        if not request.get_extra_info("peercert"):  # a context for clients by key takes them, too
            return web.Response(text="metrics want a certificate\n", status=403)
        return await self._expose(request)

    async def _expose(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.expose(), headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, request: web.Request) -> web.Response:
        reason = self._not_ready()
        return web.Response(text=(reason or "ready") + "\n", status=503 if reason else 200)
