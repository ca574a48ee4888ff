"""The table of handlers: what answers a class of request.

Owns the pairing: a handler takes calls of its request's class and answers with the reply that the
request declares, or it does not pass the type checker.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from memfs.transport.service import IncomingCall, Served

Q_co = TypeVar("Q_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
Q = TypeVar("Q")
R = TypeVar("R")

Handler: TypeAlias = Callable[[IncomingCall[object]], object]
"""Of the request that it stands for in the table; answers with a :data:`Served`."""


class RequestClass(Protocol[Q_co, R_co]):
    """The class of a request, which makes requests and names the class of their reply."""

    def __call__(self, *fields: Any, **named: Any) -> Q_co:
        """A request."""

    def reply(self) -> type[R_co]:
        """See :class:`~memfs.protocol.messages.registry.Request`."""


class Handlers:
    """Handlers by class of request."""

    def __init__(self) -> None:
        self.by_request: dict[type, Handler] = {}

    def add(
        self, request: RequestClass[Q, R], handler: Callable[[IncomingCall[Q]], Served[R]]
    ) -> None:
        """Have ``handler`` answer ``request``; a coroutine function runs as a task."""
        self.by_request[cast(type, request)] = _started(cast(Handler, handler))


def _started(handler: Handler) -> Handler:
    # every answer that waits is a future then, which can be observed
    if not inspect.iscoroutinefunction(handler):
        return handler
    return lambda call: asyncio.ensure_future(handler(call))
