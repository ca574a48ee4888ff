"""Guards of the replicated log: acknowledgement, reads, deduplication, catching up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from memfs.client.session.primary_requests import COMMANDS
from memfs.node.namespace import Namespace, snapshot
from memfs.node.namespace.tables.results import Results
from memfs.node.replication import role as namespace_role
from memfs.node.replication.backup_link import BackupLink
from memfs.node.replication.in_sync import InSyncSet
from memfs.node.replication.primary import Primary, _answer
from memfs.testing.patches import replaced
from memfs.transport.connection import Connection
from tests.support.mutants.registry import mutant, nothing, without


@mutant("InSyncMeansAll", "a command is acknowledged before the backups have it")
def ack_before_backups() -> Iterator[None]:
    advance = Primary._advance

    def at_once(self: Any) -> None:
        required = {link: link.required for link in self.links.values()}
        least, self.min_in_sync = self.min_in_sync, 1
        for link in required:
            link.required = False
        advance(self)
        for link, value in required.items():
            link.required = value
        self.min_in_sync = least

    with replaced(Primary, "_advance", at_once):
        yield


@mutant(
    "ShrinkBeforeAck",
    "a failed backup is waited for no longer before the view says so",
    shown_by="isolate pause one_way partition crash power_cut",
)
def ack_before_shrink() -> Iterator[None]:
    drop = InSyncSet._drop

    async def early(self: Any, number: int, *rest: Any) -> None:
        self._primary.remove_backup(number)
        await drop(self, number, *rest)

    with replaced(InSyncSet, "_drop", early):
        yield


@mutant(
    "MinInSync",
    "a command is acknowledged with fewer copies than required",
    shown_by="isolate pause one_way partition crash power_cut",
)
def too_few_copies() -> Iterator[None]:
    advance = Primary._advance

    def lone(self: Any) -> None:
        least, self.min_in_sync = self.min_in_sync, 1
        advance(self)
        self.min_in_sync = least

    with replaced(Primary, "_advance", lone), replaced(Primary, "_check_enough", nothing):
        yield


@mutant(
    "JoinAfterCatchUp",
    "a backup is published as in sync without a snapshot",
    shown_by="crash quick_restarts join pause",
)
def joins_without_snapshot() -> Iterator[None]:
    async def install(self: Any, pieces: Any, index: int, epoch: int) -> None:
        await self.resume(index, (), epoch)

    with replaced(BackupLink, "install", install):
        yield


@mutant(
    "ReconcileBeforeServe",
    "a new primary serves before the others have its log",
    shown_by="crash power_cut isolate lonely_primary one_way",
)
def serves_unreconciled() -> Iterator[None]:
    async def at_once(*_arguments: Any) -> None:
        return

    with replaced(namespace_role, "reconcile", at_once):
        yield


@mutant("NoDirtyRead", "a read shows what the backups do not have yet")
def dirty_reads() -> Iterator[None]:
    def query(self: Any, identity: Any, request: Any, client: int = 0, finish: Any = None) -> Any:
        self._check_open()
        if not self.has_lease():
            return self._query_later(identity, request, client, finish)
        found = self._look(identity, request, client)
        return _answer(found if finish is None else finish(found))

    with replaced(Primary, "query", query):
        yield


without(
    "NoDirtyRead",
    "a stat does not look whether a command that is not committed touched its path",
    "looks-at-what-is-pending",
    "memfs.node.replication.uncommitted.Pending.concern",
    lambda self, namespace, request, committed: False,
)

without(
    "NoStaleRead",
    "a primary answers reads without a lease",
    "reads-without-lease",
    "memfs.node.replication.primary.Primary.has_lease",
    lambda self: True,
    shown_by="lonely_primary one_way isolate",
)

without(
    "AckedOnDisk",
    "under ack = journal a command is acknowledged before it is on the primary's disk",
    "acks-before-the-disk",
    "memfs.node.journal.namespace_journal.NamespaceJournal.durable",
    lambda self, namespace: namespace.applied,
    shown_by="journal",
)

without(
    "ExactlyOnce",
    "a repeated command is applied again",
    "no-deduplication",
    "memfs.node.namespace.tables.results.Results.get",
    shown_by="lost_replies resets",
)


@mutant(
    "ExactlyOnce",
    "a backup that joins by snapshot knows no results of earlier commands",
    shown_by="crash quick_restarts lost_replies resets",
)
def snapshots_without_results() -> Iterator[None]:
    pieces = snapshot.pieces
    with replaced(snapshot, "pieces", lambda image: pieces(image._replace(results=Results()))):
        yield


@mutant(
    "UnknownIsNotFailure",
    "a command whose answer was lost is sent again under a new id",
    shown_by="lost_replies resets one_way",
)
def retries_under_new_ids() -> Iterator[None]:
    call, numbers = Connection.call, itertools.count(1)

    def renumbered(self: Any, request: Any, *rest: Any, request_id: int, **options: Any) -> Any:
        number = next(numbers) if type(request) in COMMANDS else request_id
        return call(self, request, *rest, request_id=number, **options)

    with replaced(Connection, "call", renumbered):
        yield


@mutant("DeterministicApply", "applying a command reads something that differs between nodes")
def local_state_in_apply() -> Iterator[None]:
    apply = Namespace.apply

    def own(self: Any, entry: Any, request: Any = None, opens: Any = None) -> Any:
        changed = entry._replace(now_ns=entry.now_ns + (request is None))
        return apply(self, changed, request, opens)

    with replaced(Namespace, "apply", own):
        yield


@mutant(
    "FileTimes",
    "what commands take for now never goes back",
    shown_by="wall_clock",
)
def frozen_times() -> Iterator[None]:
    apply = Namespace.apply

    def monotone(self: Any, entry: Any, request: Any = None, opens: Any = None) -> Any:
        latest = max(entry.now_ns, self.now_ns)
        return apply(self, entry._replace(now_ns=latest), request, opens)

    with replaced(Namespace, "apply", monotone):
        yield
