"""Resident bytes for each byte stored, under churn: small values whose sizes change.

All contenders hold the same keys and values and see the same phases: fill, remove three quarters at
random, fill again with other sizes. A server's figure is what the kernel says of its process (of a
node with its memfds), less what it took empty, by the bytes of the values that it holds then.
Redis is Debian's, whose jemalloc cannot defragment (CONFIG SET activedefrag is refused), and, last,
one with Redis's own, which does. memcached has a limit that it does not reach, so that it evicts
nothing.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol

import memfs
from benchmarks import peers
from benchmarks.harness import Row, Scale
from benchmarks.node_memory import taken
from benchmarks.redis_peer import redis_client
from memfs.client.blocking.filesystem import FileSystem
from memfs.limits import FILES_PER_BATCH, KIB, MIB
from memfs.testing.ports import free_port
from memfs.testing.processes import Processes

PHASES = ((KIB, 4 * KIB), (60 * KIB, 140 * KIB), (8 * KIB, 24 * KIB), (150 * KIB, 500 * KIB))
"""Least and most bytes of a value of each phase."""
KEPT = 4
"""One value in so many stays when the next phase begins."""
SETTLE_SECONDS = 30.0
"""Cleaner, defragmentation and allocators have so long to give back, the same for all."""
TARGET = 1.15
"""A tenth, and what the process takes beside it."""
_BATCH_BYTES = 2 * MIB


class Peer(Protocol):
    """A server that holds values."""

    pid: int

    def put(self, values: dict[str, bytes]) -> None: ...

    def remove(self, keys: list[str]) -> None: ...


def run(scale: Scale) -> Iterator[Row]:
    """One server after the other."""
    settle = SETTLE_SECONDS if not scale.smoke else 0.0
    size = scale.pick(512, 4) * MIB

    def measured(server: Callable[[], AbstractContextManager[Peer]]) -> tuple[float, float]:
        with server() as peer:
            return _churned(peer, size, settle)

    held, empty = measured(_node)
    title = "resident bytes a byte of small values whose sizes changed"
    yield Row(title, "B/B", held, "the values alone", 1.0, TARGET, lower_is_better=True)
    servers: dict[str, Callable[[], AbstractContextManager[Peer]]] = {
        "Redis": _redis,
        "memcached": _memcached,
        "Redis, activedefrag": partial(_redis, defragments=True),
    }
    for name, server in servers.items():
        theirs, theirs_empty = measured(server)
        yield Row(title, "B/B", held, name, theirs, 1.0, lower_is_better=True)
        deleted = "resident after all of them were deleted"
        yield Row(deleted, "MiB", empty, name, theirs_empty, 1.0, lower_is_better=True)


def _churned(peer: Peer, size: int, settle: float) -> tuple[float, float]:
    """Resident bytes a byte after the last phase, and MiB after everything was removed."""
    dice, data = random.Random(11), random.Random(12).randbytes(PHASES[-1][1])
    before, held = taken(peer.pid), dict[str, int]()
    for number, (least, most) in enumerate(PHASES):
        goes = [key for key in held if dice.randrange(KEPT)]
        _each_batch(goes, peer.remove)
        for key in goes:
            del held[key]
        total, puts = sum(held.values()), 0
        while total < size:
            puts += 1
            length = dice.randint(least, most)
            count = min(FILES_PER_BATCH, max(1, _BATCH_BYTES // length))
            values = {f"/{number}-{puts}-{each}": data[:length] for each in range(count)}
            peer.put(values)
            held |= dict.fromkeys(values, length)
            total += count * length
    time.sleep(settle)
    resident = (taken(peer.pid) - before) / sum(held.values())
    _each_batch(list(held), peer.remove)
    time.sleep(settle)
    return resident, max(0.1, (taken(peer.pid) - before) / MIB)


def _each_batch(keys: list[str], act: Callable[[list[str]], None]) -> None:
    for start in range(0, len(keys), FILES_PER_BATCH):
        act(keys[start : start + FILES_PER_BATCH])


# --- the servers -----------------------------------------------------------------------------


class _Node:
    def __init__(self, pid: int, fs: FileSystem) -> None:
        self.pid = pid
        self._fs = fs

    def put(self, values: dict[str, bytes]) -> None:
        self._fs.write_many(values)

    def remove(self, keys: list[str]) -> None:
        self._fs.remove_many(keys)


@contextmanager
def _node() -> Iterator[Peer]:
    with (
        Processes(1, replication=1, memory="2GiB") as cluster,
        memfs.connect(cluster.url) as fs,
    ):
        yield _Node(cluster.nodes[0].pid, fs)


class _Redis:
    def __init__(self, client: Any) -> None:
        self._client = client
        self.pid = int(client.info("server")["process_id"])

    def put(self, values: dict[str, bytes]) -> None:
        self._client.mset(values)

    def remove(self, keys: list[str]) -> None:
        self._client.delete(*keys)


@contextmanager
def _redis(*, defragments: bool = False) -> Iterator[Peer]:
    with redis_client(defragments=defragments) as client:
        yield _Redis(client)


class _Memcached:
    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._answers = connection.makefile("rb")

    def put(self, values: dict[str, bytes]) -> None:
        lines = [b"set %s 0 0 %d\r\n%s\r\n" % (k.encode(), len(v), v) for k, v in values.items()]
        self._ask(lines, b"STORED\r\n")

    def remove(self, keys: list[str]) -> None:
        self._ask([b"delete %s\r\n" % key.encode() for key in keys], b"DELETED\r\n")

    def _ask(self, lines: list[bytes], expected: bytes) -> None:
        for line in lines:
            self._connection.sendall(line)
        for _ in lines:
            answer = self._answers.readline()
            if answer != expected:
                raise peers.PeerDiedError(f"memcached answered {answer!r}")


@contextmanager
def _memcached() -> Iterator[Peer]:
    port = free_port()
    command = [peers.install("memcached", "memcached"), "-p", str(port), "-l", "127.0.0.1"]
    with peers.process([*command, "-m", "4096", "-I", "2m", "-u", "nobody"]) as child:
        peers.wait_until(lambda: peers.listening(port), child)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            yield _Memcached(child.pid, connection)
