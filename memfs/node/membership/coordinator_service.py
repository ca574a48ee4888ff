"""The embedded coordinator's service to the nodes that do not host it: one handler a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from memfs import limits
from memfs.cluster.coordinator import Coordinator
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall

Handler = Callable[[IncomingCall], Awaitable[object]]


def coordinator_handlers(coordinator: Coordinator) -> dict[type, Handler]:
    """Handlers by class of request."""

    async def read_view(call: IncomingCall) -> m.CoordinatorViewReply:
        return m.CoordinatorViewReply(*await coordinator.read_view())

    async def swap_view(call: IncomingCall) -> m.CoordinatorSwapReply:
        stored = await coordinator.swap_view(call.request.expected, call.request.view)
        if stored is None:
            return m.CoordinatorSwapReply(False, *await coordinator.read_view())
        return m.CoordinatorSwapReply(True, *stored)

    async def register(call: IncomingCall) -> m.RegisterReply:
        return m.RegisterReply(call.request.ttl_ms)

    async def wait_for_change(call: IncomingCall) -> m.CoordinatorViewReply:
        seconds = min(call.request.timeout_ms / 1000, limits.COORDINATOR_WAIT_SECONDS)
        await coordinator.wait_for_change(call.request.revision, seconds)
        return await read_view(call)

    return {
        m.CoordinatorReadView: read_view,
        m.CoordinatorSwapView: swap_view,
        m.CoordinatorRegister: register,
        m.CoordinatorWaitForChange: wait_for_change,
    }
