"""Time, randomness, network and disk as one injected object.

Owns the interfaces and their production implementations (the disk's are in
``memfs.transport.disk``). Nothing above this module may read a clock, draw a random number, open a
socket or touch a file of its own: a simulation passes another environment and derives all of it
from one seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from memfs import limits
from memfs.paths import Endpoint
from memfs.security.proofs import Prover
from memfs.transport import local_sockets
from memfs.transport.disk import Disk as Disk
from memfs.transport.disk import FileDisk as FileDisk
from memfs.transport.tls_handshake import TlsHandshake

P = TypeVar("P", bound=asyncio.BufferedProtocol)
_Factory = Callable[[], asyncio.BufferedProtocol]

LISTEN_BACKLOG = 1024
"""Connections that wait for accept; a burst of clients after a restart fits."""


class Clock(Protocol):
    """Three clocks with three purposes."""

    def monotonic(self) -> float:
        """Seconds of the event loop's time: deadlines and timers."""

    def boottime_ns(self) -> int:
        """Nanoseconds since boot, suspended time included: leases."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch: what people see as file times."""


class Listener(Protocol):
    """A socket that accepts connections."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, with the actual port; a unix socket's path and port 0."""

    def close(self) -> None:
        """Stop accepting; what was accepted stays."""


class Network(Protocol):
    """Streams of bytes between protocols; ``factory`` makes the protocol of a connection."""

    async def connect(self, factory: Callable[[], P], endpoint: Endpoint) -> P:
        """Connect by TCP. Raises OSError."""

    async def connect_unix(self, factory: Callable[[], P], path: str) -> P:
        """Connect to a unix socket. Raises OSError."""

    async def listen(self, factory: Callable[[], P], endpoint: Endpoint) -> Listener:
        """Accept TCP connections; port 0 picks a free one. Raises OSError."""

    async def listen_unix(self, factory: Callable[[], P], path: str) -> Listener:
        """Accept connections of a unix socket, replacing a stale one. Raises OSError."""


class Tls(Protocol):
    """TLS settings of TCP connections, see :mod:`memfs.security.tls`."""

    @property
    def client(self) -> ssl.SSLContext:
        """For connections that are opened."""

    @property
    def server(self) -> ssl.SSLContext:
        """For connections that are accepted."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of this process's certificate, as DER; empty: it has none."""

    @property
    def expires(self) -> float:
        """When this process's certificate ends, seconds since the epoch."""

    def refresh(self) -> None:
        """Reload renewed certificates."""

    def doubt(self, now: float) -> str:
        """What may be wrong with this process's certificate, where it was not accepted.

        ``now``: seconds since the epoch.
        """


@dataclass(frozen=True)
class Environment:
    """Everything that is not a pure function."""

    clock: Clock
    random: random.Random
    network: Network
    disk: Disk
    tls: Tls | None = None
    """TLS of ``network``; None: it is in clear."""
    prover: Prover | None = None
    """Proves the identity of a client without a certificate."""
    blocks: Network | None = None
    """The network of connections for blocks, under TLS until they are greeted; None: there are
    none."""


def production_environment(tls: Tls | None = None, prover: Prover | None = None) -> Environment:
    """The real clocks, the kernel's randomness, sockets of the running loop, and files.

    ``tls`` secures every connection by TCP; without, they are in clear. ``prover`` proves a client
    under it.
    """
    return Environment(
        SystemClock(),
        random.SystemRandom(),
        SocketNetwork(tls),
        FileDisk(),
        tls,
        prover,
        SocketNetwork(tls, released=True) if tls is not None else None,
    )


class SystemClock:
    """The kernel's clocks. Asked several times for every request: C functions without a frame."""

    monotonic = staticmethod(time.monotonic)
    boottime_ns = staticmethod(partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME))
    wall_ns = staticmethod(time.time_ns)


class SocketListener:
    """An asyncio server, with the address it got."""

    def __init__(self, server: asyncio.AbstractServer, endpoint: Endpoint, path: str = "") -> None:
        self.endpoint = endpoint
        self._server = server
        self._path = path

    def close(self) -> None:
        self._server.close()
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                Path(self._path).unlink()


class SocketNetwork:
    """Sockets of the running event loop.

    TCP_NODELAY is set by asyncio and uvloop themselves. The buffers are left to the kernel's
    autotuning: a fixed SO_RCVBUF would be capped at net.core.rmem_max, far below what it reaches.
    Unix sockets are never encrypted: the kernel says who is at the other end.
    """

    def __init__(self, tls: Tls | None = None, *, released: bool = False) -> None:
        """``tls`` secures what goes by TCP: ``released``, until the protocol wants no more."""
        self._tls = tls
        self._released = released

    async def connect(self, factory: Callable[[], P], endpoint: Endpoint) -> P:
        loop, options = asyncio.get_running_loop(), dict[str, Any]()
        if self._tls is not None:
            self._tls.refresh()
            if self._released:
                return await self._connect_released(factory, endpoint, self._tls.client)
            options = {"server_hostname": endpoint.host, **_secured(self._tls.client)}
        transport, protocol = await loop.create_connection(
            factory, endpoint.host, endpoint.port, **options
        )
        self.connected(transport, protocol)
        return protocol

    async def _connect_released(
        self, factory: Callable[[], P], endpoint: Endpoint, context: ssl.SSLContext
    ) -> P:
        protocol = factory()
        transport, handshake = await asyncio.get_running_loop().create_connection(
            lambda: TlsHandshake(protocol, context, host=endpoint.host),
            endpoint.host,
            endpoint.port,
        )
        try:
            await handshake.verified
        except BaseException:
            transport.abort()
            raise
        self.connected(transport, protocol)
        return protocol

    async def connect_unix(self, factory: Callable[[], P], path: str) -> P:
        loop, connected = asyncio.get_running_loop(), await local_sockets.connect(path)
        transport, protocol = await loop.create_unix_connection(factory, sock=connected)
        self.connected(transport, protocol)
        return protocol

    def connected(self, transport: asyncio.BaseTransport, protocol: object) -> None:
        """Called with each connection that was opened; for subclasses."""

    async def listen(self, factory: _Factory, endpoint: Endpoint) -> Listener:
        options, accept = dict[str, Any](), factory
        if self._tls is not None and self._released:
            accept = _released(factory, self._tls.server)
        elif self._tls is not None:
            options = _secured(self._tls.server)
        server = await asyncio.get_running_loop().create_server(
            accept, endpoint.host, endpoint.port, backlog=LISTEN_BACKLOG, **options
        )
        port: int = server.sockets[0].getsockname()[1]
        return SocketListener(server, Endpoint(endpoint.host, port))

    async def listen_unix(self, factory: Callable[[], P], path: str) -> Listener:
        server = await asyncio.get_running_loop().create_unix_server(
            factory, path, backlog=LISTEN_BACKLOG
        )
        return SocketListener(server, Endpoint(path, 0), path)


def _secured(context: ssl.SSLContext) -> dict[str, object]:
    """The loop's arguments for a connection under TLS."""
    return {
        "ssl": context,
        "ssl_handshake_timeout": limits.HANDSHAKE_SECONDS,
        "ssl_shutdown_timeout": limits.CLOSE_SECONDS,
    }


def _released(factory: _Factory, context: ssl.SSLContext) -> _Factory:
    """Of connections that are accepted under TLS, until they are greeted."""
    return lambda: TlsHandshake(factory(), context, accepts=True)
