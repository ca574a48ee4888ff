"""Other gateways, and which of them runs on a host with a file's data.

Gateways need no registration: they are looked for on the hosts of the nodes, at this one's port,
and where the settings say. Owns what was found: a gateway counts while it answers as one of this
cluster, under the address that it advertises. Must not know operations. Invariant: nobody is sent
to an address that no gateway named as its own, or to one that does not answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Container, Iterable

import aiohttp

from memfs.paths import Endpoint
from memfs.types import Member

log = logging.getLogger(__name__)

PROBE_SECONDS = 2.0
PROBE_TIMEOUT_SECONDS = 1.0
CLUSTER_HEADER = "X-Memfs-Cluster"
"""In answers to probes: the id of the cluster that the gateway serves."""
ADVERTISE_HEADER = "X-Memfs-Advertise"
"""In answers to probes: the base URL that it advertises, if it does."""
_HOSTS_MAX = 1024


class GatewayPeers:
    """Gateways by the node on whose host they run."""

    def __init__(self, configured: tuple[str, ...], scheme: str, *, find: bool) -> None:
        """``configured``: ``NODE=HOST:PORT``, node by name or address; ``find``: look further."""
        self._configured = dict(each.split("=", 1) for each in configured)
        self._scheme = scheme
        self._find = find
        self._port = 0
        self._cluster: Callable[[], str] = str
        self._wanted = set(self._configured.values())
        self._answering: dict[str, str] = {}
        """Addresses that are asked, to the base URLs that are advertised."""
        self._probing: asyncio.Task[None] | None = None

    def start(self, cluster: Callable[[], str], port: int) -> None:
        """Begin to probe them. ``cluster`` returns the cluster's id; this gateway listens at
        ``port``."""
        self._cluster = cluster
        self._port = port
        self._probing = asyncio.create_task(self._probe(), name="gateway peers")

    async def close(self) -> None:
        """Stop probing."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    def at_one_of(self, holders: Iterable[Member], excluded: Container[str]) -> str:
        """The base URL of the first gateway on a host of these nodes, "" when there is none.
        ``excluded``: addresses that the client does not want to be redirected to.
        """
        for holder in holders:
            base = self.of(holder)
            if base and base.partition("://")[2] not in excluded:
                return base
        return ""

    def of(self, member: Member) -> str:
        """The advertised base URL of the gateway on a node's host, "" when none answers."""
        asked = self._configured.get(member.name) or self._configured.get(member.host)
        if asked is None and self._find and not _is_loopback(member.host):
            asked = str(Endpoint(member.host, self._port))
        if asked is None:
            return ""
        if asked not in self._wanted and len(self._wanted) < _HOSTS_MAX:
            self._wanted.add(asked)  # asked from now on
        return self._answering.get(asked, "")

    async def _probe(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(ssl=False)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as client:
            while True:
                wanted = list(self._wanted)
                answers = await asyncio.gather(*(self._ask(client, each) for each in wanted))
                found = zip(wanted, answers, strict=True)
                self._answering = {asked: address for asked, address in found if address}
                await asyncio.sleep(PROBE_SECONDS)

    async def _ask(self, client: aiohttp.ClientSession, address: str) -> str:
        """The base URL that the gateway at ``address`` advertises, "" when there is none of this
        cluster."""
        try:
            async with client.get(f"{self._scheme}://{address}/readyz") as response:
                headers = response.headers
                well = response.status == 200 and headers.get(CLUSTER_HEADER) == self._cluster()
                named = headers.get(ADVERTISE_HEADER) or f"{self._scheme}://{address}"
                return named if well else ""
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
