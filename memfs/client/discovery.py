"""Finding the cluster's view: ask one node after another until one knows enough.

Owns what is tried, in which order, and what is said when nobody answers. Must not know sessions
or files; keeps no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memfs.errors import MemfsError, RetryableError
from memfs.paths import Endpoint
from memfs.protocol.messages import Hello
from memfs.transport.dial import dial
from memfs.transport.environment import Environment
from memfs.types import View

DIAL_SECONDS = 5.0
NODES_ASKED = 8
"""At most this many nodes are asked in one search: the view travels fast, a big cluster is big."""


class Found(NamedTuple):
    """Outcome of a search."""

    view: View | None
    """The newest view met."""
    tried: tuple[str, ...]
    """``address: why not`` of each node that did not help."""
    starting: bool
    """A node answered that has not joined a cluster yet: asking again later makes sense."""


async def find_view(
    environment: Environment,
    endpoints: Iterable[Endpoint],
    hello: Hello,
    newer_than: int,
    deadline: float,
) -> Found:
    """Ask ``endpoints`` in order until one has a view of an epoch above ``newer_than``.

    When none has, the newest view met is returned. Raises what is no matter of reachability
    (ProtocolError, AccessDeniedError).
    """
    best: View | None = None
    tried: list[str] = []
    starting = False
    for endpoint in list(dict.fromkeys(endpoints))[:NODES_ASKED]:
        left = deadline - environment.clock.monotonic()
        try:
            view = await _ask(environment, endpoint, hello, min(DIAL_SECONDS, left))
        except RetryableError as error:
            tried.append(_failure(endpoint, error))
            continue
        if view is None:
            tried.append(f"{endpoint}: it has not joined a cluster yet")
            starting = True
            continue
        if best is None or view.epoch > best.epoch:
            best = view
        if best.epoch > newer_than:
            break
    return Found(best, tuple(tried), starting)


async def _ask(
    environment: Environment, endpoint: Endpoint, hello: Hello, timeout: float
) -> View | None:
    connection = await dial(environment, endpoint, hello, timeout=max(0.0, timeout))
    try:
        assert connection.welcome is not None, "a dialled connection was welcomed"
        view: View | None = connection.welcome.view
        return view
    finally:
        connection.close("view learnt")


def _failure(endpoint: Endpoint, error: MemfsError) -> str:
    text = error.message
    return text if str(endpoint) in text else f"{endpoint}: {text}"


def nobody(tried: Sequence[str]) -> str:
    """The message when no node answered."""
    return "no memfs node answers: " + "; ".join(tried) + " (is it running? see MEMFS_URL)"
