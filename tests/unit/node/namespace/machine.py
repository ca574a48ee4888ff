"""A namespace with the little that tests need around it: an index, a clock, users, shorthands.

Every command is followed by ``check_invariants``.
"""

from __future__ import annotations

import itertools
from typing import Any

from memfs import limits
from memfs.errors import from_wire
from memfs.node.log.entries import Entry
from memfs.node.namespace import CommandResult, Namespace, Settings
from memfs.node.namespace.tables.volume import Opens
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.types import Attributes, BlockRef, Identity

BLOCK = 4096
SETTINGS = Settings("root", "wheel", 2, BLOCK, 4)
USERS = {
    "root": Identity("root", ("root",)),
    "admin": Identity("admin", ("people", "wheel")),
    "alice": Identity("alice", ("people", "artists")),
    "bob": Identity("bob", ("people",)),
    "carol": Identity("carol", ("others",)),
    "hermit": Identity("hermit"),
    "hadoop": Identity("hadoop", ("others",), True),
}


class Machine:
    """Feeds requests to a namespace as log entries."""

    def __init__(self, namespace: Namespace | None = None, *, open_to_all: bool = True) -> None:
        self.namespace = namespace or Namespace(SETTINGS, 1_000)
        self.discards: list[BlockRef] = []
        """Of all commands so far."""
        self.opens: Opens | None = None
        """What the primary knows of open files."""
        self.log: list[Entry] = []
        """Entries as they would be shipped."""
        self._request_ids = itertools.count(1)
        if open_to_all and namespace is None:
            self.run(m.SetAttributes(b"/", mode=0o777))

    def entry(
        self, request: Any, user: str = "root", client: int = 1, request_id: int | None = None
    ) -> Entry:
        """The next log entry, a second after the last."""
        index = self.namespace.applied + 1
        if request_id is None:
            request_id = next(self._request_ids)
        opcode = m.BY_REQUEST[type(request)].opcode
        raw = records.encode(request, limits.LOGGED_BYTES)
        return Entry(index, 1, index * 1_000_000_000, client, request_id, USERS[user], opcode, raw)

    def apply(self, entry: Entry, request: Any = None) -> CommandResult:
        """Apply and check."""
        outcome = self.namespace.apply(entry, request, self.opens)
        self.log.append(entry._replace(held=outcome.held))
        self.namespace.check_invariants()
        self.discards += outcome.discards
        return outcome

    def run(self, request: Any, user: str = "root", client: int = 1) -> Any:
        """Apply a command; its reply, or its error raised."""
        record = self.apply(self.entry(request, user, client), request).record
        if isinstance(record, m.ErrorReply):
            raise from_wire(record.code, record.message, record.path or None)
        assert isinstance(record, m.BY_REQUEST[type(request)].reply)
        return record

    def query(self, request: Any, user: str = "root", client: int = 1) -> Any:
        """Answer a read; what of its reply the node sends apart is still in it."""
        return self.namespace.query(USERS[user], request, client, self.opens)

    def ask(self, request: Any, user: str = "root", client: int = 1) -> Any:
        """Answer a read; its reply must fit a record."""
        reply = self.query(request, user, client)
        records.encode(reply)
        return reply

    # --- shorthands ----------------------------------------------------------------------------

    def stat(self, path: str, user: str = "root", follow: bool = True) -> Attributes:
        attributes = self.ask(m.Lookup(path.encode(), follow), user).attributes
        assert isinstance(attributes, Attributes)
        return attributes

    def mkdir(self, path: str, mode: int = 0o755, user: str = "root") -> Attributes:
        request = m.MakeDirectory(path.encode(), mode, parents=True)
        return self.run(request, user).attributes  # type: ignore[no-any-return]

    def file(
        self, path: str, size: int = 0, user: str = "root", mode: int = 0o644, **options: Any
    ) -> Attributes:
        """Create, fill with full blocks (the last one as long as it takes), close."""
        lease = self.run(m.Create(path.encode(), mode, **options), user).attributes
        return self.write(lease, size, user)

    def write(
        self, lease: Attributes, size: int, user: str = "root", client: int = 1
    ) -> Attributes:
        """Commit new versions of all blocks and release."""
        refs = blocks_of(lease.inode, lease.generation, size, lease.block_size)
        request = m.Commit(lease.inode, lease.generation, size, refs, release=True)
        return self.run(request, user, client).attributes  # type: ignore[no-any-return]

    def names(self, path: str, user: str = "root") -> list[str]:
        entries = self.ask(m.List(path.encode()), user).entries
        return [entry.name.decode() for entry in entries]

    def blocks(self, path: str, user: str = "root") -> tuple[BlockRef, ...]:
        blocks = self.ask(m.GetBlocks(path.encode()), user).blocks
        return blocks  # type: ignore[no-any-return]

    def du(self, path: str) -> tuple[int, int, int, int]:
        """length, files, directories, space."""
        return tuple(self.ask(m.Summarise(path.encode())).summary)  # type: ignore[return-value]

    def reclaim(self) -> None:
        """Free everything that was deleted."""
        while self.namespace.reclaiming:
            self.run(m.Reclaim(64))

    def copy(self) -> Machine:
        """A machine that was restored from this one's snapshot."""
        copied = Machine(Namespace.restore(self.namespace.snapshot()))
        copied._request_ids = itertools.count(next(self._request_ids))  # each is used once
        return copied


def blocks_of(
    inode: int, generation: int, size: int, block_size: int = BLOCK, sequence: int = 0
) -> tuple[BlockRef, ...]:
    """References to versions of all blocks of a file of ``size`` bytes."""
    return tuple(
        block(inode, index, generation, sequence, min(block_size, size - index * block_size))
        for index in range(-(-size // block_size))
    )


def block(
    inode: int,
    index: int = 0,
    generation: int = 1,
    sequence: int = 0,
    length: int = BLOCK,
    replicas: tuple[int, ...] = (1, 2),
) -> BlockRef:
    """One reference; its CRC follows from the rest."""
    return BlockRef(inode, index, generation, sequence, length, (index * 31 + 7), replicas)
