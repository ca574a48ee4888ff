"""``/metrics``, ``/healthz`` and ``/readyz`` of a gateway, on the port that it serves.

``/healthz`` says that the process turns its loop, ``/readyz`` that it can reach the cluster's
primary (503 and the reason otherwise).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from memfs.errors import MemfsError
from memfs.gateway.peers import ADVERTISE_HEADER, CLUSTER_HEADER
from memfs.gateway.replies import Reply
from memfs.gateway.shared import Shared
from memfs.metrics import CONTENT_TYPE, Metrics, Operation
from memfs.protocol import messages as m
from memfs.types import Identity

READY_SECONDS = 2.0
_FRESH_SECONDS = 0.5
_PLAIN = "text/plain; charset=utf-8"


class Monitoring:
    """What machines that watch may ask."""

    def __init__(self, shared: Shared, connections: Callable[[], float]) -> None:
        """``connections``: how many are open now."""
        self._shared = shared
        self._metrics = Metrics()
        self._asked = -1e9
        self._reason = ""
        self._asking = asyncio.Lock()
        self._metrics.bind(
            gateway_connections=connections,
            gateway_sessions=lambda: len(shared.sessions),
            gateway_streams=lambda: shared.streams,
            gateway_uploads=lambda: shared.uploads,
            gateway_buffer_bytes=lambda: shared.buffers.lent,
        )

    def operation(self, name: str) -> Operation:
        """The counts of one operation."""
        return self._metrics.operation(name)

    async def answer(self, request: web.BaseRequest, target: str) -> web.StreamResponse | None:
        """The reply, None when ``target`` is none of these."""
        if target == "/metrics":
            return Reply(self._metrics.expose(), 200, CONTENT_TYPE)
        if target == "/healthz":
            return Reply(b"ok\n", 200, _PLAIN)
        if target == "/readyz":
            reason = await self._not_ready()
            reply = Reply((reason or "ready").encode() + b"\n", 503 if reason else 200, _PLAIN)
            reply.headers[CLUSTER_HEADER] = self._shared.sessions.cluster
            if self._shared.config.advertise:
                reply.headers[ADVERTISE_HEADER] = self._shared.config.advertise
            return reply
        return None

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
                async with shared.sessions.seat(identity) as seat:
                    await seat.session.ask(m.StatFileSystem())
        except MemfsError as error:
            return error.message
        except TimeoutError:
            return "the cluster does not answer"
        return ""
