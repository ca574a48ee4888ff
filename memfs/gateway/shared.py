"""What the requests of one gateway share: clients, memory, other gateways, and what is counted.

Must not know requests or operations.
"""

from __future__ import annotations

from memfs.client.buffers import BufferStock
from memfs.config import ClientConfig, GatewayConfig
from memfs.gateway.budget import Buffers, Slots
from memfs.gateway.checksum_cache import ChecksumCache
from memfs.gateway.peers import Peers
from memfs.gateway.sessions import Sessions
from memfs.paths import Endpoint


class Shared:
    """Lives as long as its gateway, which closes it."""

    def __init__(self, config: GatewayConfig, client: ClientConfig) -> None:
        """``client``: the cluster, and how to read and write it."""
        self.config = config
        self.sessions = Sessions(client)
        self.buffers = Buffers(config.stream_memory)
        self.slots = Slots(config.uploads)
        self.blocks = BufferStock()
        self.checksums = ChecksumCache()
        scheme = "https" if config.tls_certificate else "http"
        self.peers = Peers(config.peers, scheme, find=config.find_peers)
        self.endpoint = Endpoint(config.host, config.port)
        """Where the gateway listens: the port it was given, once it does."""
        self.streams = 0
        """Files being sent."""
        self.uploads = 0
        """Files being received."""

    async def close(self) -> None:
        """Leave the cluster and the other gateways."""
        await self.peers.close()
        await self.sessions.close()
