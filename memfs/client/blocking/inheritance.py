"""What a forked child does with the connections it inherits.

A child must not use them (the parent does), must not shut them down, and must not keep them open,
or the node would not notice when the parent is gone. So their descriptors are pointed at
``/dev/null``: the sockets are released, the numbers stay taken, and the objects that hold them
are left alone.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from dataclasses import replace

from memfs.client.blocking import bridge
from memfs.client.session import direct
from memfs.transport.connection import Connection
from memfs.transport.environment import Environment, SocketNetwork

_descriptors: weakref.WeakKeyDictionary[Connection, int] = weakref.WeakKeyDictionary()


class TrackedNetwork(SocketNetwork):
    """Sockets of the running loop, remembered for the case of a fork."""

    def connected(self, transport: asyncio.BaseTransport, protocol: object) -> None:
        """Remember the descriptor."""
        if isinstance(protocol, Connection):
            _descriptors[protocol] = transport.get_extra_info("socket").fileno()


def tracked(environment: Environment) -> Environment:
    """The same, with sockets that a child of this process lets go of."""
    tls = environment.tls
    blocks = TrackedNetwork(tls, released=True) if environment.blocks is not None else None
    return replace(environment, network=TrackedNetwork(tls), blocks=blocks)


def _release_inherited() -> None:
    """In the child: let go of the parent's sockets."""
    inherited = [number for connection, number in _descriptors.items() if not connection.closed]
    _descriptors.clear()
    if inherited:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in inherited:
            os.dup2(nowhere, number, inheritable=False)
        os.close(nowhere)
    direct.release_inherited()


bridge.in_child(_release_inherited)
