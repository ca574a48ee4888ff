"""A simulated network: hosts, links and byte streams under virtual time, from one seed.

Owns how bytes travel: delay, bandwidth, cutting into arbitrary pieces, a window with
backpressure, partitions (held back, one-way too), resets, crashes. It implements the same
``Network`` that the real code gets in production and knows nothing of what the bytes mean.
Invariant: a stream delivers each byte once and in order, or is lost; everything it decides comes
from its seeded generator, and goes into the trace.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from memfs.paths import Endpoint
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.network_stream import SimulatedTransport, StreamPipe
from memfs.testing.simulation.trace import Trace
from memfs.testing.simulation.virtual import Process

P = TypeVar("P", bound=asyncio.BufferedProtocol)
_FIRST_PORT = 20_000


class Fabric:
    """All hosts and the links between them."""

    def __init__(self, seed: int, conditions: Conditions | None = None) -> None:
        """Args: ``seed`` of every decision; ``conditions`` of every link."""
        self.random = random.Random(f"network {seed}")
        self.conditions = conditions or Conditions()
        self.trace = Trace()
        self.context = copy_context()
        """Belongs to no process, so no process's death stops it."""
        self._hosts: dict[str, HostNetwork] = {}
        self._blocked: set[tuple[str, str]] = set()
        self._opened = asyncio.Event()
        self._links: dict[StreamPipe, None] = {}
        self._holding: dict[StreamPipe, None] = {}
        self._slow: dict[str, float] = {}

    def host(self, name: str) -> HostNetwork:
        """The network as seen from host ``name``, which is also its address."""
        if name not in self._hosts:
            self._hosts[name] = HostNetwork(self, name)
        return self._hosts[name]

    # --- faults ------------------------------------------------------------------------------

    def block(self, source: str, target: str) -> None:
        """Delay everything from ``source`` to ``target`` until it is opened; the other way still
        works."""
        self._blocked.add((source, target))
        self.note("block", source, target)

    def isolate(self, name: str, others: list[str] | None = None) -> None:
        """Cut ``name`` off from ``others`` (all hosts by default), both ways."""
        for other in others if others is not None else sorted(self._hosts):
            if other != name:
                self.block(name, other)
                self.block(other, name)

    def unblock(self, source: str, target: str) -> None:
        """Open one direction again: what was held back arrives now."""
        self._blocked.discard((source, target))
        self.note("unblock", source, target)
        self._reopen(source, target)

    def heal(self) -> None:
        """Open all links and make every host fast: what was held back arrives now."""
        self._blocked.clear()
        self._slow.clear()
        self.note("heal", "", "")
        self._reopen()

    def slow(self, name: str, seconds: float) -> None:
        """Let each piece to or from a host take up to ``seconds`` more; 0: as before."""
        self._slow.pop(name, None)
        if seconds:
            self._slow[name] = seconds
        self.note("slow", name, "", round(seconds * 1000))

    def cut(self, first: str, second: str) -> None:
        """Break every connection between two hosts; bytes on their way are lost."""
        for link in list(self._links):
            if {link.source.host.name, link.target.host.name} == {first, second}:
                link.source.break_off()

    def is_blocked(self, source: str, target: str) -> bool:
        """Whether bytes from ``source`` do not reach ``target``."""
        return (source, target) in self._blocked

    @property
    def names(self) -> list[str]:
        """All hosts, in the order of their making."""
        return list(self._hosts)

    def _reopen(self, source: str = "", target: str = "") -> None:
        self._opened.set()
        self._opened = asyncio.Event()
        for link in list(self._holding):
            if not source or link.names == (source, target):
                del self._holding[link]
                link.release()

    # --- used by hosts and streams -----------------------------------------------------------

    def note(self, kind: str, source: str, target: str, size: int = 0, crc: int = 0) -> None:
        """Put one event into the trace."""
        self.trace.add(asyncio.get_running_loop().time(), kind, source, target, size, crc)

    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return asyncio.get_running_loop().time()

    def record(self, kind: str, *details: object) -> None:
        """Put an event that concerns no stream into the trace."""
        self.trace.add(self.now(), kind, *details)

    def delay(self, source: str, target: str) -> float:
        """Seconds that the next piece travels between two hosts."""
        chooser, conditions = self.random, self.conditions
        seconds = chooser.uniform(conditions.delay_min, conditions.delay_max)
        if self._slow:
            for name in (source, target):
                if name in self._slow:
                    seconds += chooser.uniform(0, self._slow[name])
        if conditions.loss_chance:
            resend = conditions.resend_seconds
            while chooser.random() < conditions.loss_chance:
                seconds += resend
                resend *= 2
        return seconds

    def find(self, name: str) -> HostNetwork | None:
        """The host of an address."""
        return self._hosts.get(name)

    async def cross(self, source: str, target: str) -> None:
        """Travel from one host to another; waits while the way is blocked."""
        await asyncio.sleep(self.delay(source, target))
        while self.is_blocked(source, target):
            await self._opened.wait()

    def attach(self, *links: StreamPipe) -> None:
        """Keep the two directions of a new connection."""
        self._links |= dict.fromkeys(links)

    def hold(self, link: StreamPipe) -> None:
        """Remember that something waits for this way to open."""
        self._holding[link] = None

    def detach(self, link: StreamPipe) -> None:
        """Forget a direction that is over."""
        self._links.pop(link, None)


class VirtualListener:
    """A listening port of a simulated host."""

    def __init__(
        self, host: HostNetwork, factory: Callable[[], asyncio.BufferedProtocol], endpoint: Endpoint
    ) -> None:
        """Made by :meth:`HostNetwork.listen`."""
        self.endpoint = endpoint
        self.factory = factory
        self._host = host

    def close(self) -> None:
        """Refuse connections from now on; standing ones live on."""
        self._host.listeners.pop(self.endpoint.port, None)


class HostNetwork:
    """The network of one host, and its switch for crashes and pauses."""

    def __init__(self, fabric: Fabric, name: str) -> None:
        """Made by :meth:`Fabric.host`."""
        self.fabric = fabric
        self.name = name
        self.process = Process(name)
        self.silent = False
        """Neither answers nor refuses: the power is off."""
        self.listeners: dict[int, VirtualListener] = {}
        self.streams: dict[SimulatedTransport, None] = {}
        self._next_port = _FIRST_PORT
        self._former: list[Process] = []  # what is left of them stays until the run is over

    # --- the Network interface ---------------------------------------------------------------

    async def connect(self, factory: Callable[[], P], endpoint: Endpoint) -> P:
        """Open a stream. Raises ConnectionRefusedError."""
        await self.fabric.cross(self.name, endpoint.host)
        target = self.fabric.find(endpoint.host)
        if target is None or target.silent:
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody resolves that future")
        listener = target.listeners.get(endpoint.port)
        if listener is None:
            await self.fabric.cross(endpoint.host, self.name)
            raise ConnectionRefusedError(f"nobody listens at {endpoint}")
        near, far = self._join(target, endpoint.port)
        far.start(listener.factory)
        try:
            await self.fabric.cross(endpoint.host, self.name)
        except asyncio.CancelledError:  # the kernel resets what its process has let go
            near.die(silent=False)
            raise
        protocol = factory()
        near.open(protocol)
        return protocol

    async def connect_unix(self, factory: Callable[[], P], path: str) -> P:
        """Refused: there are no local sockets between simulated hosts."""
        raise ConnectionRefusedError(f"no unix socket {path} in a simulated network")

    async def listen(
        self, factory: Callable[[], asyncio.BufferedProtocol], endpoint: Endpoint
    ) -> VirtualListener:
        """Accept connections at a port of this host, 0: any free one. Raises OSError."""
        port = endpoint.port or self._new_port()
        if port in self.listeners:
            raise OSError(f"{self.name}:{port} is in use")
        self.listeners[port] = VirtualListener(self, factory, Endpoint(self.name, port))
        return self.listeners[port]

    async def listen_unix(
        self, factory: Callable[[], asyncio.BufferedProtocol], path: str
    ) -> VirtualListener:
        """Accepts the request and is never called."""
        return VirtualListener(self, factory, Endpoint(path, 0))

    # --- faults ------------------------------------------------------------------------------

    def crash(self, *, silent: bool = False) -> None:
        """Kill the process; its peers see resets, or nothing at all when ``silent``."""
        self.fabric.note("crash", self.name, "silent" if silent else "")
        self.process.kill()
        self.silent = silent
        self.listeners.clear()
        for stream in list(self.streams):
            stream.die(silent=silent)

    def restart(self) -> None:
        """A new process on the same host, where none runs: :attr:`process` is a fresh one."""
        assert not self.process.alive, f"two processes on {self.name}"
        self.fabric.note("restart", self.name, "")
        self.silent = False
        self._former.append(self.process)
        self.process = Process(self.name)

    # --- internals ---------------------------------------------------------------------------

    def _new_port(self) -> int:
        self._next_port += 1
        return self._next_port

    def _join(
        self, target: HostNetwork, port: int
    ) -> tuple[SimulatedTransport, SimulatedTransport]:
        near = SimulatedTransport(
            self, Endpoint(self.name, self._new_port()), Endpoint(target.name, port)
        )
        far = SimulatedTransport(target, near.remote, near.local)
        near.outgoing, far.outgoing = (
            StreamPipe(self.fabric, near, far),
            StreamPipe(self.fabric, far, near),
        )
        self.fabric.attach(near.outgoing, far.outgoing)
        self.fabric.note("connect", self.name, target.name, port)
        return near, far
