"""One simulated connection: two pipes, and at each end a transport as asyncio defines it.

Owns the order, the cutting and the window of a byte stream; where it goes and how well the way
works is the fabric's (``memfs.testing.simulation.network``). Invariant: each byte arrives once and
in order, or the connection is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from random import Random
from typing import Protocol

from memfs.checksum import crc32c
from memfs.paths import Endpoint
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import Process
from memfs.types import Buffer

SEGMENT_BYTES = 1460
"""What a packet of Ethernet carries for TCP over IPv4."""


class StreamNetwork(Protocol):
    """The network, as its links see it."""

    random: Random
    conditions: Conditions
    context: Context

    def delay(self, source: str, target: str) -> float:
        """Seconds that a piece travels."""

    def hold(self, link: StreamPipe) -> None:
        """A link waits until the way is open again."""

    def detach(self, link: StreamPipe) -> None:
        """A link carries nothing any more."""

    def is_blocked(self, source: str, target: str) -> bool:
        """Does nothing get through now?"""

    def note(self, kind: str, source: str, target: str, size: int = 0, crc: int = 0) -> None:
        """Put an event into the trace."""


class StreamHost(Protocol):
    """A machine, as the ends of its connections see it."""

    @property
    def fabric(self) -> StreamNetwork: ...

    name: str
    process: Process
    streams: dict[SimulatedTransport, None]
    silent: bool


class StreamPipe:
    """One direction of a connection: bytes on their way, in order."""

    def __init__(
        self, fabric: StreamNetwork, source: SimulatedTransport, target: SimulatedTransport
    ) -> None:
        """From ``source`` to ``target``."""
        self.source = source
        self.target = target
        self._fabric = fabric
        self._arrival = 0.0
        self._held: list[bytes | Exception | None] = []

    def send(self, data: bytes | None) -> None:
        """Let bytes leave, cut into pieces; None is the end of the stream."""
        loop = asyncio.get_running_loop()
        pieces: list[bytes | None] = [None] if data is None else [*self._cut(data)]
        for piece in pieces:
            travel = len(piece or b"") / self._fabric.conditions.bytes_per_second
            earliest = loop.time() + self._fabric.delay(*self.names)
            self._arrival = max(self._arrival, earliest) + travel
            loop.call_at(self._arrival, self._arrive, piece, context=self.target.arrival_context)

    def reset(self, error: Exception) -> None:
        """Let a reset follow: it overtakes nothing that is held back, and no partition."""
        delay = self._fabric.delay(*self.names)
        loop = asyncio.get_running_loop()
        loop.call_later(delay, self._arrive_reset, error, context=self.target.arrival_context)

    @property
    def names(self) -> tuple[str, str]:
        """The hosts at its ends."""
        return self.source.host.name, self.target.host.name

    def release(self) -> None:
        """Deliver what a blocked link held back, before anything that arrives later."""
        asyncio.get_running_loop().call_soon(self._drain, context=self.target.arrival_context)

    def _drain(self) -> None:
        held, self._held = self._held, []
        for piece in held:
            if isinstance(piece, Exception):
                self._arrive_reset(piece)
            else:
                self._arrive(piece)

    def _hold(self, piece: bytes | Exception | None) -> None:
        self._held.append(piece)
        self._fabric.hold(self)

    def _arrive_reset(self, error: Exception) -> None:
        if self._held or self._fabric.is_blocked(*self.names):
            self._hold(error)
        else:
            self.target.lose(error)

    def _cut(self, data: bytes) -> list[bytes]:
        """Usually one piece; else cut once near the front (inside a header) or anywhere."""
        chooser = self._fabric.random
        chance = self._fabric.conditions.split_chance
        cuts = {len(data)}
        while len(data) > 1 and len(cuts) < 6 and chooser.random() < chance:
            cuts.add(chooser.randint(1, min(len(data) - 1, chooser.choice((8, 64, len(data))))))
        ends = sorted(cuts)
        return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def _arrive(self, piece: bytes | None) -> None:
        names = self.names
        if self._held or self._fabric.is_blocked(*names):
            self._hold(piece)
        elif self._fabric.random.random() < self._fabric.conditions.reset_chance:
            self.source.break_off()
        else:
            size, crc = (len(piece), crc32c(piece)) if piece is not None else (0, 0)
            self._fabric.note("data" if piece is not None else "end", *names, size, crc)
            self.target.receive(piece)


class SimulatedTransport(asyncio.Transport):
    """One end of a connection, as asyncio shows it to a ``BufferedProtocol``.

    Written buffers are referenced, not copied, until they leave (as uvloop does): whoever changes
    one too early sends garbage here too.
    """

    outgoing: StreamPipe

    def __init__(self, host: StreamHost, local: Endpoint, remote: Endpoint) -> None:
        """Made by :meth:`HostNetwork.connect`."""
        super().__init__({"peername": tuple(remote), "sockname": tuple(local)})
        self.host = host
        self.context = host.process.context.copy()
        self._loop = asyncio.get_running_loop()
        self.local = local
        self.remote = remote
        self._protocol: asyncio.BufferedProtocol | None = None
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._flying_bytes = 0
        """Sent, and not known to have been taken by the receiver."""
        self._untold_bytes = 0
        """Received and taken, of which the sender was not told yet."""
        self._inbox: deque[bytes | None] = deque()
        self._pump_scheduled = False
        self._reading_paused = False
        self._writing_paused = False
        self._closing = False
        self._end_sent = False
        self._lost = False
        self._gone = False
        self._high, self._low = 64 * 1024, 16 * 1024
        host.streams[self] = None

    # --- life --------------------------------------------------------------------------------

    def start(self, factory: Callable[[], asyncio.BufferedProtocol]) -> None:
        """Accept: make the protocol as the listening process."""
        self.context.run(lambda: self.open(factory()))

    def open(self, protocol: asyncio.BufferedProtocol) -> None:
        """Give the stream its protocol, and that what has arrived meanwhile."""
        self._protocol = protocol
        protocol.connection_made(self)
        if self._lost:
            self._call_soon(protocol.connection_lost, ConnectionResetError("reset"))
        else:
            self._feed()

    def close(self) -> None:
        """Send what is waiting, then the end."""
        if not self._closing:
            self._closing = True
            self._inbox.clear()
            self._schedule_pump()

    def abort(self) -> None:
        """Drop everything; the peer sees a reset."""
        self._gone = True
        self.lose(None)
        self._reset_peer()

    def break_off(self) -> None:
        """The network breaks the connection: both ends see a reset, now."""
        self.host.fabric.note("reset", self.host.name, self.remote.host)
        self.lose(ConnectionResetError("connection reset"))
        self.outgoing.target.lose(ConnectionResetError("connection reset"))

    def die(self, *, silent: bool) -> None:
        """The process is gone: tell it nothing; tell the peer a reset unless ``silent``.

        Of a silent death the peer learns when it sends something to the restarted host.
        """
        self._lost = self._closing = self._gone = True
        self._forget()
        if not silent:
            self._reset_peer()

    @property
    def arrival_context(self) -> Context:
        """The context that receives what arrives: the process's, the kernel's once it is gone."""
        return self.host.fabric.context if self._gone else self.context

    def is_closing(self) -> bool:
        """Whether :meth:`close` was called or the connection is lost."""
        return self._closing

    def _reset_peer(self) -> None:
        self.outgoing.reset(ConnectionResetError("connection reset by peer"))

    def lose(self, error: Exception | None) -> None:
        """The connection is over: tell the protocol, once."""
        if not self._lost:
            self._lost = self._closing = True
            self._forget()
            if self._protocol is not None:
                self._call_soon(self._protocol.connection_lost, error)

    def _forget(self) -> None:
        self._waiting.clear()
        self._inbox.clear()
        self._waiting_bytes = 0
        self.host.fabric.detach(self.outgoing)
        self.host.streams.pop(self, None)

    def _call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon(callback, *arguments, context=self.context)

    # --- writing -----------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        """Queue bytes; they leave in a later turn of the loop."""
        self.writelines([data])

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Queue several buffers."""
        if self._closing:
            return
        for data in list_of_data:
            view = memoryview(data).cast("B")
            if view.nbytes:
                self._waiting.append(view)
                self._waiting_bytes += view.nbytes
        self._schedule_pump()
        self._check_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to call the protocol's pause_writing and resume_writing."""
        self._high = high if high is not None else 64 * 1024 if low is None else 4 * low
        self._low = low if low is not None else self._high // 4
        self._check_writing()

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left."""
        return self._waiting_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high)."""
        return self._low, self._high

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._call_soon(self._pump)

    def _pump(self) -> None:
        """Let leave what the window admits."""
        self._pump_scheduled = False
        if self._lost:
            return
        while self._waiting and self._flying_bytes < self.host.fabric.conditions.window_bytes:
            self._leave(self.host.fabric.conditions.window_bytes - self._flying_bytes)
        self._check_writing()
        if self._closing and not self._waiting and not self._end_sent:
            self._end_sent = True
            self.outgoing.send(None)
            self.lose(None)

    def _leave(self, room: int) -> None:
        """Send the first waiting buffers, at most ``room`` bytes, as one run."""
        parts: list[memoryview] = []
        while self._waiting and room:
            view = self._waiting.popleft()
            if view.nbytes > room:
                self._waiting.appendleft(view[room:])
                view = view[:room]
            parts.append(view)
            room -= view.nbytes
        run = b"".join(parts)
        self._waiting_bytes -= len(run)
        self._flying_bytes += len(run)
        self.outgoing.send(run)

    def consumed(self, size: int) -> None:
        """The receiver tells that it took bytes: the window opens."""
        self._flying_bytes -= size
        if self._waiting:
            self._schedule_pump()

    def _check_writing(self) -> None:
        if self._protocol is None or self._lost:
            return
        if not self._writing_paused and self._waiting_bytes > self._high:
            self._writing_paused = True
            self._protocol.pause_writing()
        elif self._writing_paused and self._waiting_bytes <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()

    # --- reading -----------------------------------------------------------------------------

    def receive(self, piece: bytes | None) -> None:
        """A piece arrived (None: the end)."""
        if self._gone and not self.host.silent:
            self._reset_peer()
        elif not self._closing:
            self._inbox.append(piece)
            self._feed()

    def is_reading(self) -> bool:
        """Whether the protocol gets data."""
        return not self._reading_paused and not self._closing

    def pause_reading(self) -> None:
        """Keep what arrives; the sender's window closes."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Deliver again."""
        if self._reading_paused:
            self._reading_paused = False
            self._call_soon(self._feed)

    def _feed(self) -> None:
        """Hand what arrived to the protocol, as much at a time as its buffer takes."""
        protocol = self._protocol
        while protocol is not None and self._inbox and self.is_reading():
            piece = self._inbox.popleft()
            if piece is None:
                if not protocol.eof_received():
                    self.close()
                return
            buffer = memoryview(protocol.get_buffer(len(piece)))
            size = min(len(buffer), len(piece))
            assert size > 0, "get_buffer returned an empty buffer"
            buffer[:size] = piece[:size]
            if size < len(piece):
                self._inbox.appendleft(piece[size:])
            self._take(size)
            protocol.buffer_updated(size)

    def _take(self, size: int) -> None:
        """Open the sender's window by a segment or half of it, not byte by byte.

        That is how a receiver avoids the silly window syndrome (RFC 1122, 4.2.3.3). Nobody waits
        for ever: when all that was sent is taken, at most so little of the window is closed.
        """
        self._untold_bytes += size
        half = -(-self.host.fabric.conditions.window_bytes // 2)
        if self._untold_bytes >= min(SEGMENT_BYTES, half):
            told, self._untold_bytes = self._untold_bytes, 0
            self.outgoing.target.consumed(told)
