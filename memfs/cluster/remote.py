"""The embedded coordinator seen from the nodes that do not host it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memfs import errors, limits
from memfs.cluster.coordinator import StoredView
from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.transport.connection import Connection
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.types import View


class RemoteCoordinator:
    """A :class:`~memfs.cluster.coordinator.Coordinator` over one connection, redialled on loss."""

    def __init__(
        self,
        environment: Environment,
        endpoint: Endpoint,
        hello: Callable[[], m.Hello],
        timeout: float,
    ) -> None:
        """``hello`` introduces this node on each connection: a host of another cluster refuses
        what names this one. ``timeout`` seconds bound each call."""
        self._environment = environment
        self._endpoint = endpoint
        self._hello = hello
        self._timeout = timeout
        self._connection: Connection | None = None
        self._dialling = asyncio.Lock()
        self._requests = 0
        self._closed = False

    async def read_view(self) -> StoredView:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        reply = await self._call(m.CoordinatorReadView())
        return StoredView(reply.revision, reply.view)

    async def swap_view(self, expected: int, view: View) -> StoredView | None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        connection = await self._connected()
        try:
            reply = await self._send(connection, m.CoordinatorSwapView(expected, view))
        except errors.RetryableError as error:
            raise errors.OutcomeUnknownError(f"the coordinator did not answer: {error}") from error
        return StoredView(reply.revision, reply.view) if reply.swapped else None

    async def wait_for_change(self, revision: int, timeout_seconds: float) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        clock = self._environment.clock
        deadline = clock.monotonic() + timeout_seconds
        while (left := deadline - clock.monotonic()) > 0:
            seconds = min(left, limits.COORDINATOR_WAIT_SECONDS)
            request = m.CoordinatorWaitForChange(revision, int(seconds * 1000))
            try:
                reply = await self._call(request, seconds)
            except errors.MemfsError:
                await asyncio.sleep(min(left, self._timeout))
            else:
                if reply.revision != revision:
                    return

    async def close(self) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        self._closed = True
        if self._connection is not None:
            self._connection.close("the node stops")

    async def _call(self, request: m.Request[m.R], extra_seconds: float = 0.0) -> m.R:
        """Ask something that may be repeated: every failure is an UnavailableError."""
        try:
            return await self._send(await self._connected(), request, extra_seconds)
        except errors.ClusterError as error:
            raise errors.UnavailableError(f"no answer from the coordinator: {error}") from error

    async def _send(
        self, connection: Connection, request: m.Request[m.R], extra_seconds: float = 0.0
    ) -> m.R:
        self._requests += 1
        try:
            answer = await connection.call(
                request,
                request_id=self._requests,
                timeout=self._timeout + extra_seconds,
                epoch=0,
            )
        except errors.DeadlineError as error:  # a way that lost one answer may lose them all
            connection.close(error.message)
            raise
        return answer.record

    async def _connected(self) -> Connection:
        if self._closed:
            raise errors.UnavailableError("this node no longer uses its coordinator")
        async with self._dialling:
            if self._connection is None or self._connection.closed:
                try:
                    self._connection = await dial(
                        self._environment, self._endpoint, self._hello(), timeout=self._timeout
                    )
                except errors.OtherClusterError as error:
                    raise errors.UnavailableError(f"no coordinator: {error}") from error
            return self._connection
