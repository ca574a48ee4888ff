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
from memfs.cli.cluster.survey import ClusterSurvey, ask_node, survey
from memfs.cli.command import CommandContext, cluster_command
from memfs.client.connect import client_environment, open_session
from memfs.client.session.session import Session
from memfs.config import ClientConfig
from memfs.paths import Endpoint
from memfs.protocol import messages as m

STATUS_SECONDS = 5.0
"""Time for the primary to answer: longer than a failover takes with the usual lease."""


class Picture(NamedTuple):
    """One look: one of the two is there."""

    status: m.StatusReply | None
    survey: ClusterSurvey | None
    stores: tuple[Problem, ...] = ()
    """What is wrong with mounted stores."""
    bounds: tuple[m.BoundStatus, ...] = ()
    """What clients have of what the primary bounds for each of them."""


class Observer(CommandContext):
    """Looks at one cluster, again and again."""

    def __init__(self, config: ClientConfig) -> None:
        """Connects with the first look."""
        super().__init__()
        seconds = min(config.timeout_seconds, STATUS_SECONDS)
        self.config = dataclasses.replace(config, timeout_seconds=seconds)
        self._environment = client_environment(config)
        self._session: Session | None = None

    async def look(self) -> Picture:
        """The cluster as it is now. Raises what is no matter of reachability."""
        try:
            if self._session is None:
                self._session = await open_session(self.config)
            status = await self._session.ask(m.GetStatus())
            stores, bounds = await self._stores(self._session), await self._bounds(self._session)
            return Picture(status, None, stores, bounds)
        except (errors.RetryableError, errors.OutcomeUnknownError):
            return Picture(None, await self.survey())

    async def _stores(self, session: Session) -> tuple[Problem, ...]:
        """What is wrong with the stores of the first page of mounts."""
        try:
            mounts = (await session.ask(m.ListMounts())).mounts
        except errors.RequestError:  # of a primary that knows none, or not for this user
            return ()
        return tuple(store_problems(mounts, self._environment.clock.wall_ns()))

    async def _bounds(self, session: Session) -> tuple[m.BoundStatus, ...]:
        try:
            return (await session.ask(m.GetBounds())).bounds
        except errors.RequestError:  # of a primary that does not tell
            return ()

    async def survey(self) -> ClusterSurvey:
        """What every node says."""
        return await survey(self._environment, self.config)

    async def ask(self, endpoint: Endpoint, request: m.Request[m.R], seconds: float) -> m.R:
        """One request to one node. Raises what it answers."""
        return await ask_node(self._environment, self.config, endpoint, request, seconds)

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
