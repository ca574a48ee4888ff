"""The payload of a request on its way in.

Owns the step between the frames of a connection and the sink that the service names; the connection
decides what becomes of the request. Invariant: it is told exactly one of complete, refused and
lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memfs.transport.payload_memory import fresh_memory
from memfs.transport.service import IncomingCall
from memfs.transport.sink import Sink


class Receiver(Protocol):
    """The connection, which is told how a payload ended."""

    def payload_complete(self, call: IncomingCall[object]) -> None:
        """All of a request is there."""

    def payload_refused(self, call: IncomingCall[object], error: Exception) -> None:
        """A sink failed while its payload arrived."""

    def payload_lost(self, call: IncomingCall[object]) -> None:
        """The connection was lost while a payload arrived."""


class RequestPayload:
    """The payload of a request on its way into its sink, or into fresh memory."""

    __slots__ = ("_buffers", "_call", "_receiver")

    def __init__(self, receiver: Receiver, call: IncomingCall[object], sink: Sink | None) -> None:
        """Args: ``sink``, where the service wants it, if it does."""
        self._receiver = receiver
        self._call = call
        call.sink = sink
        length = call.header.payload_length
        if sink is None:
            call.payload = fresh_memory(length)
            self._buffers: Sequence[memoryview] = [call.payload]
        else:
            self._buffers = sink.buffers()
            assert sum(map(len, self._buffers)) == length, "a sink of another length"

    def buffers(self) -> Sequence[memoryview]:
        """See :class:`~memfs.transport.framing.Incoming`."""
        return self._buffers

    def received(self, total: int) -> None:
        """Tell the sink."""
        sink = self._call.sink
        if sink is not None and total:
            try:
                sink.received(total)
            except Exception as error:
                self._receiver.payload_refused(self._call, error)

    def complete(self) -> None:
        """See :class:`~memfs.transport.framing.Incoming`."""
        if not self._call.answered:
            self._receiver.payload_complete(self._call)

    def abort(self) -> None:
        """See :class:`~memfs.transport.framing.Incoming`."""
        self._receiver.payload_lost(self._call)
