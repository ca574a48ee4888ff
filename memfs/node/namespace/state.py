"""The namespace as one deterministic state machine: commands in, replies and discards out.

Owns the steps of applying a command: deduplication, time, dispatch, recording, digest. It must not
know the clock, randomness, the network or asyncio.

Invariants (DeterministicApply, ExactlyOnce): two machines that apply the same entries have the same
digest and give the same replies, whatever the process; a repeated (client, request id) gets the
recorded result and changes nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar, cast

from memfs import limits
from memfs.errors import (
    InvalidArgumentError,
    MemfsError,
    OutcomeUnknownError,
    RetryableError,
    UnsupportedError,
)
from memfs.node.log.entries import Entry
from memfs.node.namespace import mount_queries, runs, snapshot, whole_files
from memfs.node.namespace import queries as reads
from memfs.node.namespace.commands import (
    accounts,
    acls,
    attributes,
    concat,
    directories,
    drafts,
    file_removal,
    files,
    links,
    locks,
    mounts,
    nodes,
    persisting,
    primary_commands,
    principal_limits,
    put,
    rename,
    sessions,
    xattrs,
)
from memfs.node.namespace.commands import tokens as token_commands
from memfs.node.namespace.invariants import check_volume
from memfs.node.namespace.rules import growth, quotas
from memfs.node.namespace.rules.permissions import Caller, caller_of
from memfs.node.namespace.runs import PlacedBlock, Run
from memfs.node.namespace.snapshot_loading import Loading
from memfs.node.namespace.tables.inodes import ROOT
from memfs.node.namespace.tables.results import FORGOTTEN, MARK_BYTES, NO_MARK, Results, mark_of
from memfs.node.namespace.tables.sessions import ClientSession
from memfs.node.namespace.tables.tree import reported
from memfs.node.namespace.tables.volume import Command, Opens, Settings, Volume
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.protocol.messages.registry import RequestClass
from memfs.types import ROOT_INODE, BlockRef, Identity

Q = TypeVar("Q")
R = TypeVar("R")


def _command(
    request: RequestClass[Q, R], carry_out: Callable[[Volume, Command, Q], R]
) -> tuple[type, Callable[[Volume, Command, Any], Any]]:
    """A row of the table; mypy checks that the function fits the request and its reply."""
    return cast(type, request), carry_out


def _query(
    request: RequestClass[Q, object], answer: Callable[[Volume, Caller, Q], object]
) -> tuple[type, Callable[[Volume, Caller, Any], Any]]:
    """As :func:`_command`; some answers are turned into the reply by the service."""
    return cast(type, request), answer


_COMMANDS: Final[dict[type, Callable[[Volume, Command, object], object]]] = dict(
    [
        _command(m.Create, files.create),
        _command(m.AcquireLease, files.acquire_lease),
        _command(m.CreateDraft, drafts.create_draft),
        _command(m.CreateUnnamed, files.create_unnamed),
        _command(m.PublishDraft, drafts.publish_draft),
        _command(m.AdoptDraft, drafts.adopt_draft),
        _command(m.ReleaseLease, files.release_lease),
        _command(m.Commit, files.commit),
        _command(m.PutFiles, put.put_files),
        _command(m.ReserveInodes, put.reserve_inodes),
        _command(m.ReleaseInodes, put.release_inodes),
        _command(m.MakeDirectory, directories.make_directory),
        _command(m.RemoveDirectory, directories.remove_directory),
        _command(m.Rename, rename.rename),
        _command(m.Unlink, links.unlink),
        _command(m.UnlinkMany, file_removal.unlink_many),
        _command(m.MakeSymlink, links.make_symlink),
        _command(m.MakeLink, links.make_link),
        _command(m.MakeNode, nodes.make_node),
        _command(m.SetAttributes, attributes.set_attributes),
        _command(m.ChangeAcl, acls.change_acl),
        _command(m.SetQuota, quotas.set_quota),
        _command(m.IssueToken, token_commands.issue_token),
        _command(m.RenewToken, token_commands.renew_token),
        _command(m.CancelToken, token_commands.cancel_token),
        _command(m.AddTokenKey, token_commands.add_token_key),
        _command(m.AddUserKey, accounts.add_user_key),
        _command(m.RemoveUserKey, accounts.remove_user_key),
        _command(m.ChangeGroups, accounts.change_groups),
        _command(m.SetLimit, principal_limits.set_limit),
        _command(m.SetXattr, xattrs.set_xattr),
        _command(m.RemoveXattr, xattrs.remove_xattr),
        _command(m.Concat, concat.concat),
        _command(m.SetLock, locks.set_lock),
        _command(m.CancelLock, locks.cancel_lock),
        _command(m.Mount, mounts.mount),
        _command(m.Unmount, mounts.unmount),
        _command(m.Pin, mounts.pin),
        _command(m.LearnObjects, mounts.learn_objects),
        _command(m.ForgetObjects, mounts.forget_objects),
        _command(m.BeginPersist, persisting.begin_persist),
        _command(m.EndPersist, persisting.end_persist),
        _command(m.SetAside, persisting.set_aside),
        _command(m.BuryObject, persisting.bury_object),
        _command(m.EvictFiles, persisting.evict_files),
        _command(m.ExpireSession, sessions.expire_session),
        _command(m.TakeOver, sessions.take_over),
        _command(m.ExpectOpens, primary_commands.expect_opens),
        _command(m.FreeUnlinked, primary_commands.free_unlinked),
        _command(m.Reclaim, primary_commands.reclaim),
        _command(m.SetReplicas, primary_commands.set_replicas),
        _command(m.SetManyReplicas, primary_commands.set_many_replicas),
    ]
)

_QUERIES: Final[dict[type, Callable[[Volume, Caller, object], object]]] = dict(
    [
        _query(m.Lookup, reads.lookup),
        _query(m.LookupMany, reads.lookup_many),
        _query(m.GetBlocks, reads.get_blocks),
        _query(m.ReadFiles, reads.read_files),
        _query(m.ReadMany, whole_files.read_many),
        _query(m.OpenFile, reads.open_file),
        _query(m.List, reads.list_directory),
        _query(m.ReadLink, reads.read_link),
        _query(m.GetXattrs, xattrs.get_xattrs),
        _query(m.GetAcl, acls.get_acl),
        _query(m.GetQuota, quotas.get_quota),
        _query(m.VerifyToken, token_commands.verify_token),
        _query(m.ListUsers, accounts.list_users),
        _query(m.ListGroups, accounts.list_groups),
        _query(m.GetGroupsOf, accounts.get_groups_of),
        _query(m.CheckProof, accounts.check_proof),
        _query(m.CheckStanding, accounts.check_standing),
        _query(m.ListLimits, principal_limits.list_limits),
        _query(m.GetLock, locks.get_lock),
        _query(m.AwaitLock, locks.await_lock),
        _query(m.Summarise, reads.summarise),
        _query(m.SummarisePage, reads.summarise_page),
        _query(m.CheckRemoval, reads.check_removal),
        _query(m.Access, reads.access),
        _query(m.CheckGrowth, growth.check_size),
        _query(m.StatFileSystem, reads.stat_file_system),
        _query(m.CheckVersions, reads.check_versions),
        _query(m.ListMounts, mount_queries.list_mounts),
        _query(m.DescribeObjects, mount_queries.describe_objects),
    ]
)

_DIGESTED: Final = struct.Struct("<QQQQQH")  # the numbers of an entry
_MESSAGE_CHARACTERS: Final = 1000  # what a request says may be quoted, and be long
_REPLY: Final = b"\0"
_ERROR: Final = b"\1"


class CommandResult(NamedTuple):
    """What a command led to."""

    record: Any
    """The reply, or an ``ErrorReply``."""
    discards: tuple[BlockRef, ...]
    """Block versions without a file, and the nodes that hold them. Empty for a repeated command."""
    ended: tuple[int, ...] = ()
    """Inodes whose writer may have left versions on nodes that no command has named."""
    woken: tuple[int, ...] = ()
    """Tickets of requests for locks that wait no more."""
    held: tuple[int, ...] = ()
    """What is logged with the entry: see ``Entry.held``."""
    touched: tuple[int, ...] = ()
    """Inodes whose attributes, entries or content are not what they were."""
    named: tuple[bytes, ...] = ()
    """Names that came, went or mean something else: their directories are among ``touched``."""


class NamespaceStatistics(NamedTuple):
    """Counts for status and metrics."""

    files: int
    directories: int
    bytes: int
    """Of the files, hard links counted once."""
    sessions: int
    leases: int
    reserved: int
    """Inodes promised to sessions and not used yet."""
    inodes: int
    """In use, those of deleted trees included."""
    reclaiming: int
    results: int
    """Bytes of recorded results."""
    locks: int
    """Held by clients on files."""
    unlinked: int
    """Files without a name that somebody has open still."""


class Namespace:
    """All of the namespace, and how it changes."""

    def __init__(self, settings: Settings, now_ns: int) -> None:
        """A new file system: a root of mode 0o755 that belongs to the superuser."""
        volume = Volume(settings)
        volume.make_root(now_ns)
        self._begin(snapshot.Image(volume, Results(), 0, 0, now_ns))

    def _begin(self, image: snapshot.Image) -> None:
        self.volume = image.volume
        self.results = image.results
        self.applied = image.applied
        """Index of the last entry."""
        self.digest = image.digest
        """Rolling CRC over entries and outcomes."""
        self.now_ns = image.now_ns
        """Time of the last entry. The next one's may be earlier: order is the log's index."""
        self.settings = image.volume.settings

    # --- commands and reads ------------------------------------------------------------------

    def apply(
        self, entry: Entry, request: object = None, opens: Opens | None = None
    ) -> CommandResult:
        """Carry out one entry. ``request`` spares decoding ``entry.record``.

        ``opens``: the primary's knowledge of open files; backups get what matters of it with the
        entry (``CommandResult.held``). A refused or malformed command is an outcome like any other:
        nothing is raised.
        """
        outcome, result = self._run_once(entry, request, opens)
        self.applied = entry.index
        numbers = _DIGESTED.pack(*entry[:5], entry.opcode)
        digest = zlib.crc32(numbers + entry.record + result, self.digest)
        if outcome.held:
            digest = zlib.crc32(struct.pack(f"<{len(outcome.held)}Q", *outcome.held), digest)
        self.digest = digest
        return outcome

    def _run_once(
        self, entry: Entry, request: object, opens: Opens | None
    ) -> tuple[CommandResult, bytes]:
        """The outcome of the entry, or the recorded one of an earlier attempt; and its encoding."""
        found, mark = None, b""
        counted = entry.client and entry.request_id
        if counted:
            mark = mark_of(entry.opcode, entry.record, entry.identity)
            found = self.results.get(entry.client, entry.request_id)
        self.results.advance(max(0, entry.now_ns - self.now_ns))
        self.now_ns = entry.now_ns
        if found is None:
            outcome, result, final = self._run(entry, request, opens)
            if counted and final:
                self.results.record(entry.client, entry.request_id, mark + result)
            return outcome, result
        if found and found[:MARK_BYTES] not in (mark, NO_MARK):
            reason = f"request id {entry.request_id} was another request's: use each id once"
            return _refused(InvalidArgumentError(reason))
        return _repeat(entry.opcode, found[MARK_BYTES:])

    def has_answered(self, client: int, request_id: int) -> bool:
        """Whether a command is a retry, which gets the recorded result."""
        return bool(request_id) and self.results.get(client, request_id) is not None

    def query(
        self, identity: Identity, request: object, client: int = 0, opens: Opens | None = None
    ) -> Any:
        """Answer a read of ``client``, who may have files open. Raises the query's error."""
        answer = _QUERIES.get(type(request))
        if answer is None:
            raise UnsupportedError(f"{type(request).__name__} is no question to the namespace")
        caller = self.caller(identity)
        if client and _names_inode(request):
            caller = caller.with_open_files(
                lambda inode: (
                    self._writes(client, inode)
                    or (opens is not None and opens.has_open(client, inode))
                )
            )
        return answer(self.volume, caller, request)

    def caller(self, identity: Identity) -> Caller:
        """Who asks, with the groups of the cluster's table if it has any of them.

        Raises InvalidArgumentError for overlong names.
        """
        groups = self.volume.accounts.groups_of(identity.user)
        if groups is not None:
            identity = identity._replace(groups=groups)
        return caller_of(identity, self.settings.superuser, self.settings.supergroup)

    def _writes(self, client: int, inode: int) -> bool:
        slot = self.volume.tree.inodes.slot_of(inode)
        return self.volume.sessions.writers.get(slot) == client

    def _run(
        self, entry: Entry, request: object, opens: Opens | None
    ) -> tuple[CommandResult, bytes, bool]:
        """The outcome, its encoded form, and whether a retry must get the same."""
        try:
            caller = self.caller(entry.identity)
        except MemfsError as error:
            return *_refused(error), True
        client = entry.client
        command = Command(
            caller,
            client,
            self.now_ns,
            entry.index,
            opens,
            entry.held,
            entry.request_id,
            results=self.results,
        )
        self.volume.tree.touched.clear()
        self.volume.tree.named.clear()
        self.volume.mounts.recent.clear()
        try:
            if request is None:
                request = _decode(entry)
            handler = _COMMANDS.get(type(request))
            if handler is None:
                raise UnsupportedError(f"opcode {entry.opcode} is no command of the namespace")
            if client and _names_inode(request):
                command.caller = caller.with_open_files(
                    lambda inode: self._writes(client, inode) or command.has_open(inode)
                )
            reply = handler(self.volume, command, request)
        except MemfsError as error:
            outcome, recorded = _refused(error)
            outcome = outcome._replace(
                discards=tuple(command.discards),
                woken=tuple(command.woken),
                held=tuple(command.held),
            )
            return outcome, recorded, not isinstance(error, RetryableError)
        outcome = CommandResult(
            reply,
            tuple(command.discards),
            tuple(command.ended),
            tuple(command.woken),
            tuple(command.held),
            tuple(dict.fromkeys(self.volume.tree.touched)),
            tuple(self.volume.tree.named),
        )
        return outcome, _REPLY + records.encode(_recorded(reply)), True

    # --- snapshots ---------------------------------------------------------------------------

    def snapshot(self) -> Iterator[bytes]:
        """Pieces of some 256 KiB that hold the state as it is now, even if it changes later.

        What grows with the files is copied piece by piece, or before it changes; the pieces may be
        taken in another thread.
        """
        return snapshot.pieces(
            snapshot.Image(self.volume, self.results, self.applied, self.digest, self.now_ns)
        )

    @classmethod
    def restore(cls, pieces: Iterable[bytes]) -> Namespace:
        """The namespace of a snapshot. Raises ProtocolError when it is damaged or cut short."""
        loading = Loading()
        for piece in pieces:
            loading.add(piece)
        return cls.loaded(loading)

    @classmethod
    def loaded(cls, loading: Loading) -> Namespace:
        """As :meth:`restore`, of a snapshot whose pieces were taken one by one."""
        namespace = cls.__new__(cls)
        namespace._begin(loading.finish())
        return namespace

    # --- memory ------------------------------------------------------------------------------

    def give_back(self) -> Iterator[None]:
        """Give memory that tables have no use for back to the system, in steps of 0.1 ms or so;
        commands may be applied between them. What the state is does not change by it."""
        return self.volume.tree.inodes.give_back()

    def check_invariants(self) -> None:
        """Assert everything that must hold between commands. Walks the whole state: for tests."""
        check_volume(self.volume)

    # --- what the node asks ------------------------------------------------------------------

    @property
    def sessions(self) -> Mapping[int, ClientSession]:
        """Clients that hold leases or reserved inodes; see :meth:`leases`."""
        return self.volume.sessions.by_client

    def leases(self, client: int) -> tuple[int, ...]:
        """Inodes that a client has open for writing."""
        session = self.volume.sessions.by_client.get(client)
        return tuple(map(self.volume.tree.inodes.id_of, session.leases)) if session else ()

    def token_key_is_due(self, now_ns: int, roll_ms: int, renew_ms: int, lifetime_ms: int) -> bool:
        """Should the primary add a master key before the next delegation token is issued?"""
        tokens = self.volume.tokens
        return tokens.key_is_due(now_ns // 1_000_000, roll_ms, renew_ms, lifetime_ms)

    @property
    def reclaiming(self) -> int:
        """Inodes of deleted trees still to be freed; 0 exactly when Reclaim would do nothing."""
        return self.volume.reclaiming

    def unlinked(self) -> list[int]:
        """Inodes of files without a name that were open when they lost it."""
        return list(map(self.volume.tree.inodes.id_of, self.volume.tree.unlinked))

    def is_unlinked(self, inode: int) -> bool:
        """Is the inode a file without a name that was open when it lost it?"""
        tree = self.volume.tree
        return bool(tree.unlinked) and tree.inodes.slot_of(inode) in tree.unlinked

    def expects_opens(self, client: int) -> bool:
        """Does the log say that a client has files open?"""
        session = self.volume.sessions.by_client.get(client)
        return session is not None and session.opens

    def is_live(self, version: m.BlockVersion) -> bool:
        """Does a file refer to this block version, or can it still come to (NoEarlyGC)?"""
        return self.volume.is_live(version)

    def block(self, version: m.BlockVersion) -> BlockRef | None:
        """The reference to a version that a file has, else None."""
        return self.volume.blocks.current(version)

    def placed_block(self, version: m.BlockVersion) -> PlacedBlock | None:
        """As :meth:`block`, with what is needed to re-replicate it."""
        slot, ref = self.volume.blocks.find(version)
        if ref is None:
            return None
        layouts = self.volume.tree.layouts.values
        block_size, group_blocks, replication = layouts[self.volume.tree.inodes.layout[slot]]
        return PlacedBlock(ref, replication, block_size, group_blocks)

    def runs(
        self, after: tuple[int, int] = (0, 0), limit: int = 1000
    ) -> tuple[list[Run], tuple[int, int] | None]:
        """A page of all blocks of all files, and where the next page begins (None: the end).

        ``after`` is opaque: (0, 0) or what the last page returned. Costs about a microsecond per
        block; what changes meanwhile is seen or not. A page may be empty where many inodes in a row
        have no blocks.
        """
        return runs.page(self.volume, after, limit)

    def runs_of(self, versions: Iterable[m.BlockVersion]) -> list[Run]:
        """Those of the versions that files have."""
        return runs.of_versions(self.volume, versions)

    def statistics(self) -> NamespaceStatistics:
        """Counts, in constant time."""
        totals = self.volume.tree.directories.items[self.volume.tree.inodes.extra[ROOT]]
        sessions = self.volume.sessions
        return NamespaceStatistics(
            totals.files,
            totals.directories,
            reported(totals.length),
            len(sessions.by_client),
            len(sessions.writers),
            sessions.reserved,
            len(self.volume.tree.inodes),
            self.volume.reclaiming,
            self.results.bytes,
            self.volume.locks.count,
            len(self.volume.tree.unlinked),
        )


def _names_inode(request: object) -> bool:
    """Does a request begin at a handle, and not at the root?"""
    named = getattr(request, "base", ROOT_INODE) != ROOT_INODE
    return named or getattr(request, "source_base", ROOT_INODE) != ROOT_INODE


def _decode(entry: Entry) -> object:
    spec = m.BY_OPCODE.get(entry.opcode)
    if spec is None or not spec.command:
        raise UnsupportedError(f"opcode {entry.opcode} is no command of the namespace")
    return records.decode(spec.request, entry.record, limits.LOGGED_BYTES)


_RECORDED: Final[dict[type, int]] = {
    m.LeaseReply: m.LeaseReply._fields.index("capability"),
    m.ReserveReply: m.ReserveReply._fields.index("capability"),
    m.MadeReply: m.MadeReply._fields.index("also_changed"),
    m.NamesReply: m.NamesReply._fields.index("also_changed"),
}
"""Fields of a reply that are recorded, where not all are."""


def _recorded(reply: object) -> object:
    """The part of a reply that is recorded and digested. A capability is added later, by the node
    that answers, and what else a command changed is sent once, since it may be outdated when the
    command is repeated.

    Members of an older release know no such fields, and have the same digest.
    """
    fields = _RECORDED.get(type(reply))
    return reply[:fields] if isinstance(reply, tuple) else reply


def _refused(error: MemfsError) -> tuple[CommandResult, bytes]:
    """The outcome of a refusal, and its encoded form."""
    refusal = m.ErrorReply(error.code, error.message[:_MESSAGE_CHARACTERS], error.filename or "")
    return CommandResult(refusal, ()), _ERROR + records.encode(refusal)


def _repeat(opcode: int, recorded: bytes) -> tuple[CommandResult, bytes]:
    """The outcome of a command that was applied before."""
    if recorded == FORGOTTEN:
        error = OutcomeUnknownError("the result of this request is no longer known: look")
        reply = m.ErrorReply(error.code, error.message)
        return CommandResult(reply, ()), _ERROR + records.encode(reply)
    kind = m.ErrorReply if recorded[:1] == _ERROR else m.BY_OPCODE[opcode].reply
    return CommandResult(records.decode(kind, memoryview(recorded)[1:]), ()), recorded
