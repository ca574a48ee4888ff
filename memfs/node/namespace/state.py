"""The namespace as one deterministic state machine: commands in, replies and discards out.

Owns the order of things around a command: deduplication, time, dispatch, recording, digest.
It must not know the clock, randomness, the network or asyncio.

Invariants (DeterministicApply, ExactlyOnce): two machines that apply the same entries have the same
digest and give the same replies, whatever the process; a repeated (client, request id) gets the
recorded result and changes nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from memfs.errors import (
    MemfsError,
    OutcomeUnknownError,
    RetryableError,
    UnsupportedError,
)
from memfs.node.log import Entry
from memfs.node.namespace import (
    acls,
    attributes,
    background,
    concat,
    directories,
    files,
    links,
    put,
    quotas,
    reads,
    rename,
    snapshot,
    token_commands,
    xattrs,
)
from memfs.node.namespace.inodes import ABSORBED, FILE, RESERVED, ROOT
from memfs.node.namespace.invariants import check_volume
from memfs.node.namespace.permissions import Caller, caller_of
from memfs.node.namespace.results import FORGOTTEN, Results
from memfs.node.namespace.snapshot import Loading
from memfs.node.namespace.tree import reported
from memfs.node.namespace.volume import Command, Settings, Volume
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.types import BlockRef, Identity

_COMMANDS: Final[dict[type, Callable[[Volume, Command, Any], Any]]] = {
    m.Create: files.create,
    m.AcquireLease: files.acquire_lease,
    m.ReleaseLease: files.release_lease,
    m.Commit: files.commit,
    m.PutFiles: put.put_files,
    m.ReserveInodes: put.reserve_inodes,
    m.ReleaseInodes: put.release_inodes,
    m.MakeDirectory: directories.make_directory,
    m.RemoveDirectory: directories.remove_directory,
    m.Rename: rename.rename,
    m.Unlink: links.unlink,
    m.MakeSymlink: links.make_symlink,
    m.MakeLink: links.make_link,
    m.SetAttributes: attributes.set_attributes,
    m.ChangeAcl: acls.change_acl,
    m.SetQuota: quotas.set_quota,
    m.IssueToken: token_commands.issue_token,
    m.RenewToken: token_commands.renew_token,
    m.CancelToken: token_commands.cancel_token,
    m.AddTokenKey: token_commands.add_token_key,
    m.SetXattr: xattrs.set_xattr,
    m.RemoveXattr: xattrs.remove_xattr,
    m.Concat: concat.concat,
    m.ExpireSession: background.expire_session,
    m.Reclaim: background.reclaim,
    m.SetReplicas: background.set_replicas,
}

_QUERIES: Final[dict[type, Callable[[Volume, Caller, Any], Any]]] = {
    m.Lookup: reads.lookup,
    m.LookupMany: reads.lookup_many,
    m.GetBlocks: reads.get_blocks,
    m.ReadFiles: reads.read_files,
    m.List: reads.list_directory,
    m.ReadLink: reads.read_link,
    m.GetXattrs: xattrs.get_xattrs,
    m.GetAcl: acls.get_acl,
    m.GetQuota: quotas.get_quota,
    m.VerifyToken: token_commands.verify_token,
    m.Summarise: reads.summarise,
    m.Access: reads.access,
    m.StatFileSystem: reads.stat_file_system,
}

_DIGESTED: Final = struct.Struct("<QQQQQH")  # the numbers of an entry
_MESSAGE_CHARACTERS: Final = 1000  # what a request says may be quoted, and be long
_REPLY: Final = b"\0"
_ERROR: Final = b"\1"


class Outcome(NamedTuple):
    """What a command led to."""

    record: Any
    """The reply, or an ``ErrorReply``."""
    discards: tuple[BlockRef, ...]
    """Block versions without a file, and the nodes that hold them. Empty for a repeated command."""


class Statistics(NamedTuple):
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


class PlacedBlock(NamedTuple):
    """A block with what re-replicating it takes."""

    ref: BlockRef
    replication: int
    block_size: int
    group_blocks: int


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
        """Largest time met so far: what commands take for now never goes back."""
        self.settings = image.volume.settings

    # --- commands and reads ------------------------------------------------------------------

    def apply(self, entry: Entry, request: Any = None) -> Outcome:
        """Carry out one entry. ``request`` spares decoding ``entry.record``.

        A refused or malformed command is an outcome like any other: nothing is raised.
        """
        recorded = None
        counted = entry.client and entry.request_id
        if counted:
            recorded = self.results.get(entry.client, entry.request_id)
        self.now_ns = max(self.now_ns, entry.now_ns)
        if recorded is None:
            outcome, result, final = self._run(entry, request)
            if counted and final:
                self.results.record(entry.client, entry.request_id, result)
        else:
            outcome, result = _repeat(entry.opcode, recorded)
        self.applied = entry.index
        numbers = _DIGESTED.pack(*entry[:5], entry.opcode)
        self.digest = zlib.crc32(numbers + entry.record + result, self.digest)
        return outcome

    def has_answered(self, client: int, request_id: int) -> bool:
        """Whether a command is a repeated one, which gets the result that is recorded."""
        return bool(request_id) and self.results.get(client, request_id) is not None

    def query(self, identity: Identity, request: Any) -> Any:
        """Answer a read. Raises the error of it."""
        answer = _QUERIES.get(type(request))
        if answer is None:
            raise UnsupportedError(f"{type(request).__name__} is no question to the namespace")
        caller = caller_of(identity, self.settings.superuser, self.settings.supergroup)
        return answer(self.volume, caller, request)

    def _run(self, entry: Entry, request: Any) -> tuple[Outcome, bytes, bool]:
        """The outcome, its encoded form, and whether a retry must get the same."""
        try:
            if request is None:
                request = _decode(entry)
            handler = _COMMANDS.get(type(request))
            if handler is None:
                raise UnsupportedError(f"opcode {entry.opcode} is no command of the namespace")
            caller = caller_of(entry.identity, self.settings.superuser, self.settings.supergroup)
            command = Command(caller, entry.client, self.now_ns, entry.index)
            reply = handler(self.volume, command, request)
        except MemfsError as error:
            refusal = m.ErrorReply(
                error.code, error.message[:_MESSAGE_CHARACTERS], error.filename or ""
            )
            final = not isinstance(error, RetryableError)
            return Outcome(refusal, ()), _ERROR + records.encode(refusal), final
        return Outcome(reply, tuple(command.discards)), _REPLY + records.encode(reply), True

    # --- snapshots ---------------------------------------------------------------------------

    def snapshot(self) -> Iterator[bytes]:
        """Pieces of at most 1 MiB that hold the state as it is now, even if it changes later.

        Copying the state is immediate and takes memory once more until the pieces are drained.
        """
        return snapshot.pieces(
            snapshot.Image(self.volume, self.results, self.applied, self.digest, self.now_ns)
        )

    @classmethod
    def restore(cls, pieces: Iterable[bytes]) -> Namespace:
        """The namespace of a snapshot. Raises ProtocolError when it is damaged or cut short."""
        loading = Loading()
        for piece in pieces:
            loading.take(piece)
        return cls.loaded(loading)

    @classmethod
    def loaded(cls, loading: Loading) -> Namespace:
        """As :meth:`restore`, of a snapshot whose pieces were taken one by one."""
        namespace = cls.__new__(cls)
        namespace._begin(loading.finish())
        return namespace

    def check_invariants(self) -> None:
        """Assert everything that must hold between commands. Walks the whole state: for tests."""
        check_volume(self.volume)

    # --- what the node asks ------------------------------------------------------------------

    @property
    def sessions(self) -> Mapping[int, Any]:
        """Clients that hold leases or reserved inodes; see :meth:`leases`."""
        return self.volume.sessions.by_client

    def leases(self, client: int) -> tuple[int, ...]:
        """Inodes that a client has open for writing."""
        session = self.volume.sessions.by_client.get(client)
        return tuple(map(self.volume.tree.inodes.id_of, session.leases)) if session else ()

    def token_key_is_due(self, now_ns: int, roll_ms: int, renew_ms: int, lifetime_ms: int) -> bool:
        """Should the primary add a master key before the next delegation token is issued?"""
        now_ms = max(now_ns, self.now_ns) // 1_000_000
        return self.volume.tokens.key_is_due(now_ms, roll_ms, renew_ms, lifetime_ms)

    @property
    def reclaiming(self) -> int:
        """Inodes of deleted trees still to be freed; 0 exactly when Reclaim would do nothing."""
        return self.volume.reclaiming

    def is_live(self, version: m.BlockVersion) -> bool:
        """Does a file refer to this block version, or can it still come to (NoEarlyGC)?

        It can while its inode is reserved, or leased under the generation it names.
        """
        inodes = self.volume.tree.inodes
        slot = inodes.slot_of(version.inode)
        if not slot:
            return False
        kind = inodes.kind[slot]
        if kind == RESERVED:
            return True
        if (
            kind == FILE
            and slot in self.volume.sessions.writers
            and inodes.generation[slot] == version.generation
        ):
            return True
        return kind in (FILE, ABSORBED) and self.block(version) is not None

    def block(self, version: m.BlockVersion) -> BlockRef | None:
        """The reference to a version that a file has, else None."""
        return self.volume.blocks.current(version)

    def placed_block(self, version: m.BlockVersion) -> PlacedBlock | None:
        """As :meth:`block`, with what re-replicating it takes."""
        slot, ref = self.volume.blocks.find(version)
        if ref is None:
            return None
        layouts = self.volume.tree.layouts.values
        block_size, group_blocks, replication = layouts[self.volume.tree.inodes.layout[slot]]
        return PlacedBlock(ref, replication, block_size, group_blocks)

    def blocks(
        self, after: tuple[int, int] = (0, 0), limit: int = 1000
    ) -> tuple[list[PlacedBlock], tuple[int, int] | None]:
        """A page of all blocks of all files, and where the next page begins (None: the end).

        For fsck and healing. ``after`` is opaque: (0, 0) or what the last page returned. Costs
        about a microsecond per block; what changes meanwhile is seen or not. A page may be empty
        where many inodes in a row have no blocks.
        """
        tree, maps = self.volume.tree, self.volume.blocks
        found: list[PlacedBlock] = []
        first, position = after
        end = max(first, ROOT) + 16 * limit
        for slot in range(max(first, ROOT), min(end, tree.inodes.used)):
            if tree.inodes.kind[slot] == FILE and tree.is_attached(slot):
                layout = tree.layouts.values[tree.inodes.layout[slot]]
                for at in maps.positions(slot, position):
                    if len(found) >= limit:
                        return found, (slot, at)
                    block_size, group_blocks, replication = layout
                    found.append(
                        PlacedBlock(maps.get(slot, at), replication, block_size, group_blocks)
                    )
            position = 0
        return found, None if end >= tree.inodes.used else (end, 0)

    def statistics(self) -> Statistics:
        """Counts, in constant time."""
        totals = self.volume.tree.directories.items[self.volume.tree.inodes.extra[ROOT]]
        sessions = self.volume.sessions
        return Statistics(
            totals.files,
            totals.directories,
            reported(totals.length),
            len(sessions.by_client),
            len(sessions.writers),
            sessions.reserved,
            len(self.volume.tree.inodes),
            self.volume.reclaiming,
            self.results.bytes,
        )


def _decode(entry: Entry) -> Any:
    spec = m.BY_OPCODE.get(entry.opcode)
    if spec is None or not spec.command:
        raise UnsupportedError(f"opcode {entry.opcode} is no command of the namespace")
    return records.decode(spec.request, entry.record)


def _repeat(opcode: int, recorded: bytes) -> tuple[Outcome, bytes]:
    """The outcome of a command that was applied before."""
    if recorded == FORGOTTEN:
        error = OutcomeUnknownError("the result of this request is no longer known: look")
        reply = m.ErrorReply(error.code, error.message)
        return Outcome(reply, ()), _ERROR + records.encode(reply)
    kind = m.ErrorReply if recorded[:1] == _ERROR else m.BY_OPCODE[opcode].reply
    return Outcome(records.decode(kind, memoryview(recorded)[1:]), ()), recorded
