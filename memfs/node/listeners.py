"""Where a node listens: its port, and the sockets for clients of its own host.

Owns the order of opening and what is said when an address is not available.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from memfs import errors
from memfs.config import NodeConfig
from memfs.logs import fields
from memfs.machine import machine_id
from memfs.node.block_service.guard import Guard
from memfs.node.blocks import BlockStore
from memfs.node.resources.shares import Shares
from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.transport.descriptors import DescriptorServer, remove_stale_sockets
from memfs.transport.local_sockets import ACCESS, prepare_directory
from memfs.transport.server import Server
from memfs.types import Member

log = logging.getLogger(__name__)


class Listeners:
    """The port and the sockets of one node."""

    def __init__(
        self,
        config: NodeConfig,
        server: Server,
        store: BlockStore,
        shares: Shares,
        guard: Guard,
    ) -> None:
        """``server`` answers at all of them; clients of this host get descriptors of ``store`` as
        far as ``guard`` permits."""
        self._guard = guard
        self._config = config
        self._server = server
        self._store = store
        self._shares = shares
        self._descriptors: DescriptorServer | None = None

    async def open(self, incarnation: int) -> Member:
        """Listen; the node's record for the view, without a number.

        Raises ConfigError when the address cannot be bound.
        """
        config = self._config
        where = Endpoint(config.host, config.bulk_port)
        try:
            if config.bulk == "authenticated":
                port = await self._server.listen_for_blocks(where)
                log.warning("blocks go in clear, once who asks is proved", extra=fields(port=port))
            where = Endpoint(config.host, config.port)
            listener = await self._server.listen(where)
        except OSError as error:
            raise errors.ConfigError(f"cannot listen on {where}: {error.strerror}") from error
        address = config.advertised(listener.endpoint.port)
        return Member(
            0,
            config.name,
            incarnation,
            address.host,
            address.port,
            await self._open_socket(incarnation),
            machine_id(),
            config.weight,
            config.domain or address.host,
            0,
        )

    async def _open_socket(self, incarnation: int) -> str:
        """Listen for this host's clients; the socket's path, empty when there is none.

        Beside the socket of the protocol lies ``PATH.fd``, which passes descriptors of blocks.
        """
        if not self._config.socket_directory:
            return ""
        path = Path(self._config.socket_directory) / f"{incarnation:016x}"
        try:
            access = ACCESS[self._config.socket_access]
            prepare_directory(path.parent, access)
            remove_stale_sockets(path.parent)
            await self._server.listen_unix(str(path))
            path.chmod(access.sockets)
            private = self._config.socket_access == "user"
            self._descriptors = DescriptorServer(
                f"{path}.fd",
                self._descriptors_of,
                access.sockets,
                self._shares.descriptor_clients,
                frozenset({0, os.geteuid()}) if private else None,
            )
        except OSError as error:
            log.warning("no unix socket", extra=fields(path=path, reason=error))
            return ""
        return str(path)

    def _descriptors_of(self, request: m.GetDescriptors) -> tuple[m.DescriptorsReply, list[int]]:
        lendable = self._guard.lendable(request)
        may = [True] * len(request.versions) if lendable is None else lendable
        wanted = [each for each, lent in zip(request.versions, may, strict=True) if lent]
        segments, descriptors = self._store.descriptors(wanted)
        found = iter(segments)
        every = tuple([next(found) if lent else m.Segment(-1, 0, 0) for lent in may])
        small = request.small if self._guard.lends_segments else ()
        indexes, further = self._store.lend_segments(small)
        first = len(descriptors)
        lent_ones = tuple([index if index < 0 else first + index for index in indexes])
        return m.DescriptorsReply(every, lent_ones), descriptors + further

    def close_descriptors(self) -> None:
        """Pass no more descriptors."""
        if self._descriptors is not None:
            self._descriptors.close()

    async def close(self) -> None:
        """Close the port, the sockets and all connections."""
        await self._server.close()
