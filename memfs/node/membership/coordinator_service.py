"""The embedded coordinator's service to the nodes that do not host it: one handler a request."""

from __future__ import annotations

from memfs import limits
from memfs.cluster.coordinator import Coordinator
from memfs.protocol import messages as m
from memfs.transport.handlers import Handlers
from memfs.transport.server import IncomingCall


def add_coordinator_handlers(handlers: Handlers, coordinator: Coordinator) -> None:
    """Have the requests to the coordinator answered by this one."""

    async def current() -> m.CoordinatorViewReply:
        return m.CoordinatorViewReply(*await coordinator.read_view())

    async def read_view(call: IncomingCall[m.CoordinatorReadView]) -> m.CoordinatorViewReply:
        return await current()

    async def swap_view(call: IncomingCall[m.CoordinatorSwapView]) -> m.CoordinatorSwapReply:
        stored = await coordinator.swap_view(call.request.expected, call.request.view)
        if stored is None:
            return m.CoordinatorSwapReply(False, *await coordinator.read_view())
        return m.CoordinatorSwapReply(True, *stored)

    async def register(call: IncomingCall[m.CoordinatorRegister]) -> m.RegisterReply:
        return m.RegisterReply(call.request.ttl_ms)

    async def wait_for_change(
        call: IncomingCall[m.CoordinatorWaitForChange],
    ) -> m.CoordinatorViewReply:
        seconds = min(call.request.timeout_ms / 1000, limits.COORDINATOR_WAIT_SECONDS)
        await coordinator.wait_for_change(call.request.revision, seconds)
        return await current()

    handlers.add(m.CoordinatorReadView, read_view)
    handlers.add(m.CoordinatorSwapView, swap_view)
    handlers.add(m.CoordinatorRegister, register)
    handlers.add(m.CoordinatorWaitForChange, wait_for_change)
