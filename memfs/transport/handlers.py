"""The table of handlers: what answers a class of request.

Owns the pairing: a handler takes calls of its request's class and answers with the reply that the
request declares, or it does not pass the type checker.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TypeAlias, TypeVar, cast

from memfs.protocol.messages.registry import RequestClass
from memfs.transport.service import IncomingCall, Served

Q = TypeVar("Q")
R = TypeVar("R")

Handler: TypeAlias = Callable[[IncomingCall[object]], object]
"""Of the request that it stands for in the table; answers with a :data:`Served`."""


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
