"""Guards of what clients believe: word of changes, the wait for it, and the end of trust."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memfs import limits
from memfs.client.session.watch import CacheWatch
from memfs.node.replication.cache_leases import CacheLeases
from memfs.testing.patches import replaced
from tests.support.mutants.registry import mutant, without

without(
    "NoStaleCache",
    "who has read what a command changes is not told of it",
    "forgets-who-watches",
    "memfs.node.replication.cache_leases.CacheLeases.change",
    shown_by="WatchingMounts",
)


@mutant(
    "NoStaleCache",
    "a client believes what it has read for as long as it likes",
    shown_by="WatchingMounts client_pause one_way isolate partition",
)
def trust_without_end() -> Iterator[None]:
    trusted = CacheWatch.trusted

    def always(self: Any) -> float:
        return max(trusted(self), limits.WATCH_WAIT_MS / 1000 if self._sequence else 0.0)

    with replaced(CacheWatch, "trusted", always):
        yield


@mutant(
    "NoStaleCache",
    "cache leases outlive the primary's own lease",
    shown_by="WatchingMounts lonely_primary isolate one_way",
)
def leases_beyond_the_term() -> Iterator[None]:
    begin = CacheLeases.__init__

    def endless(self: Any, now_ns: Any, _lease_until: Any) -> None:
        begin(self, now_ns, lambda: None)

    with replaced(CacheLeases, "__init__", endless):
        yield


without(
    "NoStaleCache",
    "what was forgotten while a look was on its way is learnt from it",
    "learns-what-was-forgotten",
    "memfs.fuse.known.PendingRead.holds",
    lambda self, inode: True,
    shown_by="WatchingMounts slow_host",
)
