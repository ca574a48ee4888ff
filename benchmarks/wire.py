"""The wire: how fast two plain processes move bytes over a loopback TCP socket.

The limit for bulk data. A child process sits at the other end of one connection; ``recv_into`` and
``sendmsg`` move blocks between buffers that both sides allocated and touched beforehand, so that
neither page faults nor Python objects are part of it. The side that stores keeps one distinct
buffer per block of ``SPAN`` bytes, as a node does: what it sends does not come from the cache.
"""

from __future__ import annotations

import itertools
import mmap
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks import harness, peers
from memfs.testing.ports import free_port

BLOCK = 4 * 1024 * 1024
_ORDER = struct.Struct("!cQ")
_SEND, _RECEIVE = b"S", b"R"
_DONE = b"."


class Wire:
    """This process's end of the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def read(self, total: int, destination: memoryview) -> float:
        """Let the other side send ``total`` bytes into ``destination``, cyclically; return B/s."""
        with harness.Stopwatch() as watch:
            self._connection.sendall(_ORDER.pack(_SEND, total))
            receive(self._connection, blocks(destination, total))
        return total / watch.seconds

    def write(self, pieces: Sequence[bytes]) -> float:
        """Send the pieces until they are confirmed to have arrived; return B/s."""
        total = sum(map(len, pieces))
        with harness.Stopwatch() as watch:
            self._connection.sendall(_ORDER.pack(_RECEIVE, total))
            send(self._connection, map(memoryview, pieces))
            self._connection.recv(1)
        return total / watch.seconds


@contextmanager
def wire(span: int) -> Iterator[Wire]:
    """Start the other process with ``span`` bytes of blocks and connect to it."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.wire", str(port), str(span)]
    with peers.process(command) as child:
        peers.wait_until(lambda: peers.listening(port), child)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Wire(connection)


def touched(size: int) -> memoryview:
    """Return ``size`` writable bytes whose pages are all present."""
    memory = mmap.mmap(-1, size)
    memory[::4096] = b"\1" * len(range(0, size, 4096))
    return memoryview(memory)


def blocks(buffer: memoryview, total: int) -> Iterator[memoryview]:
    """Cut ``total`` bytes into blocks taken from ``buffer``, from its start again at its end."""
    offsets = itertools.cycle(range(0, len(buffer), BLOCK))
    while total > 0:
        offset = next(offsets)
        length = min(BLOCK, total, len(buffer) - offset)
        yield buffer[offset : offset + length]
        total -= length


def receive(connection: socket.socket, into: Iterable[memoryview]) -> None:
    """Fill buffers from the socket."""
    for block in into:
        filled = 0
        while filled < len(block):
            count = connection.recv_into(block[filled:])
            if not count:
                raise ConnectionError("the other end of the wire is gone")
            filled += count


def send(connection: socket.socket, out: Iterable[memoryview]) -> None:
    """Send buffers to the socket."""
    for block in out:
        sent = 0
        while sent < len(block):
            sent += connection.sendmsg([block[sent:]])


def serve(port: int, span: int) -> None:
    """Be the other process: obey orders until the connection ends."""
    stored = touched(span)
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                _obey(connection, stored)


def _obey(connection: socket.socket, stored: memoryview) -> None:
    while len(order := connection.recv(_ORDER.size, socket.MSG_WAITALL)) == _ORDER.size:
        kind, total = _ORDER.unpack(order)
        if kind == _SEND:
            send(connection, blocks(stored, total))
        else:
            receive(connection, blocks(stored, total))
            connection.sendall(_DONE)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
