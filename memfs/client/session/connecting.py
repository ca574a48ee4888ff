"""The beginning of a session: a first view of the cluster, from any node that is configured."""

from __future__ import annotations

import asyncio

from memfs.client.session.attempts import BACKOFF_SECONDS_MAX, backoff
from memfs.client.session.discovery import find_view, nobody
from memfs.client.session.routing import introduce
from memfs.client.session.session import Session
from memfs.config import ClientConfig
from memfs.errors import UnavailableError
from memfs.protocol import messages as m
from memfs.transport.environment import Environment
from memfs.types import Identity, View


async def connect_session(
    config: ClientConfig,
    environment: Environment,
    machine: str = "",
    *,
    holder: str = "",
    process: int = 0,
    client: int | None = None,
) -> Session:
    """A session that knows the cluster; the arguments are :class:`Session`'s. ``client``: None
    makes a new one.

    Raises UnavailableError naming what was tried.
    """
    if client is None:
        client = environment.random.getrandbits(63)
    view = await _first_view(config, environment, client)
    return Session(
        config, environment, view, client, machine=machine, holder=holder, process=process
    )


async def _first_view(config: ClientConfig, environment: Environment, client: int) -> View:
    """The view, from any endpoint.

    An address that refuses is not tried again; a node that answers and has not joined its cluster
    yet is, until the budget of a call is over.
    """
    now = environment.clock.monotonic
    deadline = now() + config.timeout_seconds
    identity = Identity(config.user, config.groups, config.group_rule == "parent")
    hello = introduce(client, identity, m.Lane.CONTROL.value, None)
    attempt = 0
    while True:
        found = await find_view(environment, config.endpoints, hello, None, deadline)
        if found.view is not None:
            return found.view
        attempt += 1
        pause = backoff(environment.random, attempt, BACKOFF_SECONDS_MAX)
        if not found.starting or deadline - now() <= pause:
            raise UnavailableError(nobody(found.tried))
        await asyncio.sleep(pause)
