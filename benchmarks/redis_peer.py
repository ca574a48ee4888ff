"""Redis, the peer for whole values and small requests: one server, redis-py with hiredis.

The server is Debian's, on a free port of its own, with nothing written to disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.utils import HIREDIS_AVAILABLE

from benchmarks import peers
from memfs.testing.ports import free_port


@contextmanager
def redis_client() -> Iterator[Any]:
    """Start a server and yield a ``redis.Redis`` with one connection to it."""
    assert HIREDIS_AVAILABLE, "the comparison is with redis-py and hiredis"
    port = free_port()
    command = [peers.install("redis-server", "redis-server"), "--port", str(port)]
    command += ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]
    with peers.process(command) as child:
        peers.wait_until(lambda: peers.listening(port), child)
        client = redis.Redis("127.0.0.1", port, single_connection_client=True)
        try:
            yield client
        finally:
            client.close()
