"""Asking every known node what it knows: for when no primary can be asked.

Owns finding the nodes (those of the URL, then the members of any view met) and the one request to
each. A node that does not answer is part of the result, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from memfs import errors
from memfs.config import ClientConfig
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.types import Identity, View

ASK_SECONDS = 2.0
ROUNDS = 3
"""Each round asks the members that the one before named."""


class Seen(NamedTuple):
    """One node as it answered."""

    endpoint: Endpoint
    state: m.NodeStateReply | None
    reason: str = ""
    """Why there is no answer."""


class ClusterSurvey(NamedTuple):
    """What all known nodes said at about the same time."""

    nodes: tuple[Seen, ...]

    @property
    def states(self) -> list[m.NodeStateReply]:
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
        return Seen(endpoint, await ask_node(environment, config, endpoint, m.GetNodeState()))
    except errors.MemfsError as error:
        return Seen(endpoint, None, error.message)


async def ask_node(
    environment: Environment,
    config: ClientConfig,
    endpoint: Endpoint,
    request: m.Request[m.R],
    seconds: float = ASK_SECONDS,
) -> m.R:
    """One request to one node over a connection of its own. Raises what it answers."""
    hello = m.Hello(
        frames.VERSION_MIN,
        frames.VERSION_MAX,
        "",
        m.Role.CLIENT,
        environment.random.getrandbits(63),
        Identity(config.user, config.groups),
    )
    connection = await dial(environment, endpoint, hello, timeout=seconds)
    try:
        answer = await connection.call(request, request_id=1, timeout=seconds, epoch=0)
        return answer.record
    finally:
        connection.close("asked")
