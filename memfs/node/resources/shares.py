"""What a node does with its file descriptors and mappings: how many for blocks, how many for peers;
and what its clients may use of a server, by its memory.

Owns the shares and the judgement that something runs short. A group of blocks in memory takes a
descriptor and a mapping, a connection takes a descriptor; without shares the blocks would take
all, and nobody could connect any more. What blocks do not get they do without: they lie on the heap
then, where clients of the same host cannot map them.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from memfs import limits
from memfs.errors import ConfigError
from memfs.logs import fields
from memfs.node.blocks import BlockStore
from memfs.quantities import show_size
from memfs.transport.bounds.load import ServerLimits
from memfs.transport.server import Server

log = logging.getLogger(__name__)

LEAST: Final = 64
"""Descriptors without which a node does not start: its own, and 32 connections."""
OWN: Final = 32
"""Of the process itself: standard streams, event loop, listeners, journal, the coordinator."""
OWN_MOST: Final = 1024
"""... and connections to the other members, of which a large cluster has hundreds."""
SOCKETS_LEAST: Final = 32
CONNECTIONS_LEAST: Final = 512
"""However little memory there is: they take 5 MiB."""
DESCRIPTOR_CLIENTS: Final = 1024
SOCKETS_MOST: Final = 2 * limits.CONNECTIONS_PER_NODE + DESCRIPTOR_CLIENTS
FEW_CONNECTIONS: Final = 1000
"""Fewer are logged at the start."""
CALM_SECONDS: Final = 60.0
"""Without a refusal: there is enough again."""
ADVICE: Final = "raise LimitNOFILE (systemd) or ulimit -n"
MAPPINGS_ADVICE: Final = "raise the sysctl vm.max_map_count"
MEMORY_ADVICE: Final = "raise memory, or let programs keep one connection each"
FEWER: Final = "let programs keep one connection each"
POLL_SECONDS: Final = 1.0


class Shares(NamedTuple):
    """Who gets how many."""

    limit: int
    """Descriptors that the process may have."""
    memfds: int
    """Groups of blocks in memory that can be mapped; each takes one or two descriptors."""
    mapped: bool
    """Mappings are scarcer than descriptors: they bound ``memfds``."""
    connections: int
    """Of clients and nodes."""
    turned_away: int
    """Further ones, which are accepted to be told that they are too many."""
    descriptor_clients: int
    """Processes of this host that ask for descriptors."""
    by_memory: bool = False
    """Memory is scarcer than descriptors: it bounds ``connections``."""

    @property
    def advice(self) -> str:
        """What to do when memfds run out."""
        return MAPPINGS_ADVICE if self.mapped else ADVICE


def share_out(descriptors: int, mappings: int, per_memfd: int, memory: int = sys.maxsize) -> Shares:
    """The shares of a process that may have so many descriptors and mappings, and ``memory``.

    A quarter goes to sockets, at least 32 and at most what a node takes anyway. Of the mappings a
    quarter is left to the heap. Raises ConfigError when even the least is not there.
    """
    if descriptors < LEAST:
        text = f"{descriptors} open files are allowed, a node needs {LEAST} and more for blocks"
        raise ConfigError(f"{text}: {ADVICE}")
    own = min(OWN + descriptors // 16, OWN_MOST)
    sockets = max(SOCKETS_LEAST, min((descriptors - own) // 4, SOCKETS_MOST))
    clients = min(sockets // 8, DESCRIPTOR_CLIENTS)
    by_memory = max(CONNECTIONS_LEAST, memory // limits.MEMORY_PER_CONNECTION)
    by_descriptors = min(sockets // 2, limits.CONNECTIONS_PER_NODE)
    connections = min(by_descriptors, by_memory)
    memfds = max(0, descriptors - own - sockets) // per_memfd
    by_mappings = mappings * 3 // 4
    return Shares(
        descriptors,
        min(memfds, by_mappings),
        by_mappings < memfds,
        connections,
        min(sockets - connections - clients, connections),
        clients,
        by_memory < by_descriptors,
    )


def server_limits(shares: Shares, memory: int) -> ServerLimits:
    """What clients may use of a node with so much memory: what is not blocks' counts too."""
    arriving = max(limits.ARRIVING_BYTES_LEAST, memory // limits.ARRIVING_SHARE)
    arriving = min(arriving, limits.ARRIVING_BYTES)
    unread = max(2 * limits.WRITE_HIGH_WATER, memory // limits.UNREAD_SHARE)
    unread = min(unread, limits.UNREAD_BYTES_PER_NODE)
    return ServerLimits(
        connections=shares.connections,
        turned_away=shares.turned_away,
        arriving=arriving,
        arriving_per_principal=arriving // 2,
        unread=unread,
        unread_per_principal=min(limits.UNREAD_BYTES_PER_PRINCIPAL, unread // 2),
    )


def say_what_does_not_fit(shares: Shares, memory: int, group_bytes: int) -> None:
    """Log at the start when not even full groups could fill the memory, or connections are few."""
    mappable = shares.memfds * group_bytes
    if mappable < memory:
        log.warning(
            "few descriptors or mappings for the memory",
            extra=fields(
                memory=show_size(memory),
                mappable=show_size(mappable),
                open_files=shares.limit,
                groups=shares.memfds,
                advice=shares.advice,
            ),
        )
    if shares.connections < FEW_CONNECTIONS and not shares.by_memory:
        log.warning(
            "few descriptors for connections",
            extra=fields(most=shares.connections, open_files=shares.limit, advice=ADVICE),
        )


class Shortage:
    """Notices that something is refused, and that it has not been for a while."""

    def __init__(self, trouble: str, advice: str, refused: Callable[[], int]) -> None:
        """``trouble``: what is short, in words; ``refused``: how often so far."""
        self.now = False
        self.trouble = trouble
        self._advice = advice
        self._refused = refused
        self._seen = 0
        self._last = 0.0

    def look(self, now: float) -> None:
        """Compare with the last look; ``now`` in seconds."""
        refused = self._refused()
        about = fields(reason=self.trouble, refused=refused, advice=self._advice)
        if refused > self._seen:
            if not self.now:
                log.warning("shortage", extra=about)
            self.now, self._last = True, now
        elif self.now and now - self._last >= CALM_SECONDS:
            self.now = False
            log.info("shortage over", extra=about)
        self._seen = refused


class Shortages:
    """What a node can run short of beside memory."""

    def __init__(self, shares: Shares, store: BlockStore, server: Server) -> None:
        """``store`` and ``server`` count what they refuse."""
        files = f"its limit of {shares.limit} open files"
        scarce = f"its limit of {shares.memfds} mappings of blocks" if shares.mapped else files
        crowd = f"it has all {shares.connections} connections that it takes, further ones are"
        advice = FEWER
        if shares.connections < limits.CONNECTIONS_PER_NODE:
            scarcest, advice = (
                ("its memory", MEMORY_ADVICE) if shares.by_memory else (files, ADVICE)
            )
            crowd = f"{scarcest} allows {shares.connections} connections, further ones are"
        self._all = (
            Shortage(
                f"{scarce} leaves none for further blocks: clients of its host cannot map them",
                shares.advice,
                lambda: store.statistics().unmappable,
            ),
            Shortage(
                f"{crowd} refused",
                advice,
                lambda: server.load.turned_away,
            ),
        )

    @property
    def troubles(self) -> list[str]:
        """In words, what is short now."""
        return [each.trouble for each in self._all if each.now]

    async def run(self, clock: Callable[[], float]) -> None:
        """Look, forever."""
        while True:
            for each in self._all:
                each.look(clock())
            await asyncio.sleep(POLL_SECONDS)
