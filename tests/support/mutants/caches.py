"""Guards of what clients believe: word of changes, the wait for it, and the end of trust."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memfs import limits
from memfs.client.session.watch import CacheWatch
from memfs.fuse.files.open_inode import OpenInode
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
    "a change is acknowledged before those who watch have forgotten what it changed",
    shown_by="WatchingMounts deaf_client",
)
def acks_before_word() -> Iterator[None]:
    change = CacheLeases.change

    def at_once(self: Any, client: int, inodes: Any) -> None:
        change(self, client, inodes)

    with replaced(CacheLeases, "change", at_once):
        yield


@mutant(
    "NoStaleCache",
    "word of a change is not sent, and counts as heard",
    shown_by="WatchingMounts deaf_client",
)
def word_is_not_given() -> Iterator[None]:
    reply = CacheLeases._reply

    def silent(self: Any, watcher: Any) -> Any:
        return reply(self, watcher)._replace(changed=())

    with replaced(CacheLeases, "_reply", silent):
        yield


without(
    "NoStaleCache",
    "word of a change whose answer was lost is not given again",
    "word-is-given-once",
    "memfs.node.replication.cache_leases.CacheLeases._tell_again",
    shown_by="WatchingMounts deaf_client lost_replies resets",
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

    def endless(self: Any, now_ns: Any, *_arguments: Any) -> None:
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

without(
    "NoStaleCache",
    "a directory that others have changed is told of while names in it are still believed",
    "names-are-not-withdrawn",
    "memfs.fuse.believed_names.BelievedNames.withdraw",
    shown_by="WatchingMounts",
)


@mutant(
    "NoStaleCache",
    "a mount answers close before others see what was written",
    shown_by="WatchingMounts",
)
def closes_unpublished() -> Iterator[None]:
    async def at_once(self: Any) -> None:
        pass

    with replaced(OpenInode, "release_at_last", at_once):
        yield
