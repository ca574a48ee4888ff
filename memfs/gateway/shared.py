"""What the requests of one gateway share: clients, memory, other gateways, and what is counted.

Must not know requests or operations.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Final

from memfs.client.calls.deadline import Deadline
from memfs.client.reading.buffers import BufferPool
from memfs.config import ClientConfig, GatewayConfig
from memfs.gateway.auth.user_sessions import IDLE_SESSIONS, Open, UserSessions
from memfs.gateway.http.addresses import Addresses
from memfs.gateway.http.budget import Slots, StreamBuffers, Wreckage
from memfs.gateway.http.gateway_peers import GatewayPeers
from memfs.gateway.operations.checksum_cache import ChecksumCache
from memfs.machine import descriptors_allowed
from memfs.paths import Endpoint

DESCRIPTORS_PER_SESSION: Final = 8
"""Descriptors of a session: connections to a few nodes, and their sockets on this host."""


class Shared:
    """Lives as long as its gateway, which closes it."""

    def __init__(self, config: GatewayConfig, client: ClientConfig, opener: Open) -> None:
        """``client``: the cluster, and how to read and write it; ``opener``: of sessions."""
        self.config = config
        self._request_seconds = client.timeout_seconds
        client = dataclasses.replace(client, group_rule=config.group_rule)
        self.sessions = UserSessions(client, limit=_idle_sessions(), opener=opener)
        self.buffers = StreamBuffers(config.stream_memory)
        self.slots = Slots(config.uploads)
        self.blocks = BufferPool()
        self.wreckage = Wreckage()
        self.checksums = ChecksumCache()
        self.addresses = Addresses(config)
        scheme = "https" if config.tls_certificate else "http"
        self.peers = GatewayPeers(config.peers, scheme, find=config.find_peers)
        self.endpoint = Endpoint(config.host, config.port)
        """The port at which the gateway listens, once it does."""
        self.streams = 0
        """Files being sent."""
        self.uploads = 0
        """Files being received."""
        self.hidden_names = 0
        """Names left out of listings, counted each time."""

    def deadline(self) -> Deadline:
        """The deadline of what a request asks of the cluster from now on."""
        now = asyncio.get_running_loop().time()
        return Deadline(now + self._request_seconds)

    async def close(self) -> None:
        """Close the sessions and stop probing other gateways."""
        await self.peers.close()
        await self.sessions.close()


def _idle_sessions() -> int:
    """Idle sessions, limited by an eighth of the open files: each has connections of its own."""
    return max(1, min(IDLE_SESSIONS, descriptors_allowed() // (8 * DESCRIPTORS_PER_SESSION)))
