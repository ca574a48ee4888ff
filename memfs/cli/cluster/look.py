"""Looking at a cluster, whole or not: the primary's status, else what the nodes say.

Owns the connection that several looks share, and how commands are made that work without a
primary.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator
from typing import NamedTuple

from memfs import errors
from memfs.cli.cluster.health import Problem, store_problems
from memfs.cli.cluster.survey import ClusterSurvey, survey
from memfs.cli.command import CommandContext, cluster_command
from memfs.client.admin import AdminClient, BoundStatus, NodeClient, StatusReply
from memfs.client.connect import client_environment, open_session
from memfs.client.credentials import as_proven
from memfs.client.session.session import Session
from memfs.config import ClientConfig
from memfs.paths import Endpoint

STATUS_SECONDS = 5.0
"""Time for the primary to answer: longer than a failover takes with the usual lease."""


class Picture(NamedTuple):
    """One look at the cluster; one of ``status`` and ``survey`` is set."""

    status: StatusReply | None
    survey: ClusterSurvey | None
    stores: tuple[Problem, ...] = ()
    """What is wrong with mounted stores."""
    bounds: tuple[BoundStatus, ...] = ()
    """What clients have of what the primary bounds for each of them."""


class Observer(CommandContext):
    """Looks at one cluster, again and again."""

    def __init__(self, config: ClientConfig) -> None:
        """Connects with the first look."""
        super().__init__()
        seconds = min(config.timeout_seconds, STATUS_SECONDS)
        self.config = dataclasses.replace(as_proven(config), timeout_seconds=seconds)
        self._environment = client_environment(config)
        self._session: Session | None = None

    async def look(self) -> Picture:
        """The cluster as it is now. Raises every error but those of an unreachable cluster."""
        try:
            if self._session is None:
                self._session = await open_session(self.config)
            admin = AdminClient(self._session)
            status = await admin.status()
            return Picture(status, None, await self._stores(admin), await self._bounds(admin))
        except (errors.RetryableError, errors.OutcomeUnknownError):
            return Picture(None, await self.survey())

    async def _stores(self, admin: AdminClient) -> tuple[Problem, ...]:
        """What is wrong with the stores of the first page of mounts."""
        try:
            mounts = await admin.mounts()
        except errors.RequestError:  # of a primary that knows none, or not for this user
            return ()
        return tuple(store_problems(mounts, self._environment.clock.wall_ns()))

    async def _bounds(self, admin: AdminClient) -> tuple[BoundStatus, ...]:
        try:
            return await admin.bounds()
        except errors.RequestError:  # of a primary that does not tell
            return ()

    async def survey(self) -> ClusterSurvey:
        """What every node says."""
        return await survey(self._environment, self.config)

    def node(self, endpoint: Endpoint) -> NodeClient:
        """One node, to be asked alone."""
        return NodeClient(self._environment, self.config, endpoint)

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()


@contextlib.asynccontextmanager
async def observing(config: ClientConfig) -> AsyncIterator[Observer]:
    """An observer, closed at the end."""
    observer = Observer(config)
    try:
        yield observer
    finally:
        await observer.close()


observer_command = functools.partial(cluster_command, observing)
"""Make a click command of ``async def body(observer, **parameters)``."""
