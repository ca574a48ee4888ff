"""Asking every known node what it knows: for when no primary can be asked.

Owns finding the nodes (those of the URL, then the members of any view met) and the one request to
each. A node that does not answer is part of the result, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from memfs import errors
from memfs.client.admin import NodeClient, NodeStateReply
from memfs.config import ClientConfig
from memfs.paths import Endpoint
from memfs.transport.environment import Environment
from memfs.types import View

ROUNDS = 3
"""Each round asks the members that the one before named."""


class Seen(NamedTuple):
    """One node as it answered."""

    endpoint: Endpoint
    state: NodeStateReply | None
    reason: str = ""
    """Why there is no answer."""


class ClusterSurvey(NamedTuple):
    """What all known nodes said at about the same time."""

    nodes: tuple[Seen, ...]

    @property
    def states(self) -> list[NodeStateReply]:
        """Those of the nodes that answered."""
        return [seen.state for seen in self.nodes if seen.state is not None]

    @property
    def view(self) -> View | None:
        """The newest view that any of them knows."""
        views = [state.view for state in self.states if state.view is not None]
        return max(views, key=lambda view: view.epoch, default=None)


async def survey(environment: Environment, config: ClientConfig) -> ClusterSurvey:
    """Ask the nodes of ``config`` and all members they know of."""
    asked: dict[Endpoint, Seen] = {}
    due: Iterable[Endpoint] = config.endpoints
    for _ in range(ROUNDS):
        fresh = [endpoint for endpoint in dict.fromkeys(due) if endpoint not in asked]
        if not fresh:
            break
        answers = await asyncio.gather(*(_ask(environment, config, each) for each in fresh))
        asked.update(zip(fresh, answers, strict=True))
        view = ClusterSurvey(tuple(asked.values())).view
        due = [Endpoint(member.host, member.port) for member in view.members] if view else []
    return ClusterSurvey(_without_doubles(asked.values()))


def _without_doubles(nodes: Iterable[Seen]) -> tuple[Seen, ...]:
    """One entry per node, also when it was asked at two addresses."""
    kept: dict[object, Seen] = {}
    for seen in nodes:
        state = seen.state
        kept.setdefault((state.name, state.number) if state else seen.endpoint, seen)
    return tuple(kept.values())


async def _ask(environment: Environment, config: ClientConfig, endpoint: Endpoint) -> Seen:
    try:
        return Seen(endpoint, await NodeClient(environment, config, endpoint).state())
    except errors.MemfsError as error:
        return Seen(endpoint, None, error.message)
