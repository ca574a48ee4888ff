"""Capabilities that the primary adds to its replies, for the blocks that they name.

Owns which replies have one, and for what. The namespace has decided before whether the caller may
have the file; a capability proves that decision to all nodes. It is added as the reply leaves, so
that neither the log nor recorded results contain it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

from memfs import limits
from memfs.errors import InvalidArgumentError, LeaseLostError, MemfsError, UploadLostError
from memfs.node.membership.capability_keys import CapabilityKeys
from memfs.node.membership.members import Membership
from memfs.node.namespace import Namespace
from memfs.node.namespace.tables.inodes import FILE
from memfs.node.replication.primary import Finish
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.protocol.messages.registry import Request
from memfs.security import capabilities
from memfs.security.capabilities import ANY_GENERATION, READ, WRITE
from memfs.transport.connection import Peer
from memfs.transport.server import IncomingCall
from memfs.types import Attributes, BlockRef

R = TypeVar("R")

_GIVING = frozenset(
    {m.GetBlocks, m.Create, m.CreateUnnamed, m.AcquireLease, m.CreateDraft, m.ReserveInodes}
)
"""Requests whose replies have a capability added by :meth:`Granting.finish`."""
RESERVED_GENERATION = 1
"""The generation under which blocks of a reserved inode are stored."""


class Granting:
    """Makes capabilities on the primary, and answers requests for keys and for new capabilities."""

    def __init__(self, membership: Membership, role: NamespaceRole, keys: CapabilityKeys) -> None:
        self._membership = membership
        self._role = role
        self._keys = keys

    # --- requests ---------------------------------------------------------------------------

    def tell_keys(self, call: IncomingCall[m.GetCapabilityKeys]) -> m.CapabilityKeysReply:
        """A member asks the primary for keys. Raises NotPrimaryError."""
        assert self._role.primary, "raises where there is none"
        return self._keys.told()

    async def authorize(self, call: IncomingCall[m.Authorize]) -> m.AuthorizeReply:
        """A writer's capability has expired, or is lost. Raises LeaseLostError, UploadLostError."""
        primary, peer = self._role.primary, call.connection.peer
        inodes = call.request.inodes[: limits.FILES_PER_BATCH]
        if not inodes:
            raise InvalidArgumentError("no inode is named")
        await primary.confirm()
        found = [(each, _generation(primary.namespace, peer.client, each)) for each in inodes]
        return m.AuthorizeReply(self._make(peer, WRITE, found) if self._keys.seconds else b"")

    # --- replies ----------------------------------------------------------------------------

    def finish(self, call: IncomingCall[Request[R]]) -> Finish[R] | None:
        """What turns the namespace's record into the reply; None: the record is the reply."""
        if type(call.request) not in _GIVING or not self._keys.seconds:
            return None
        peer = call.connection.peer
        return lambda record: cast(R, self._finished(peer, record))

    def _finished(self, peer: Peer, record: object) -> object:
        if isinstance(record, m.BlocksReply):
            found = _readable(record.attributes, record.blocks)
            return record._replace(capability=self._make(peer, READ, found.items()))
        if isinstance(record, m.LeaseReply):
            leased = record.attributes
            if not self._holds(peer, leased):
                return record  # a repeated answer: the lease is over
            rights = WRITE | READ if self._may_read(peer, leased) else WRITE
            granted = [(leased.inode, leased.generation)]
            return record._replace(capability=self._make(peer, rights, granted))
        if isinstance(record, m.ReserveReply):
            reserved = [(inode, RESERVED_GENERATION) for inode in record.inodes]
            return record._replace(capability=self._make(peer, WRITE, reserved))
        return record  # an error

    def opened(self, call: IncomingCall[object], reply: m.FileReply) -> m.FileReply:
        """A file that was opened, with a capability unless its bytes come along."""
        if not self._keys.seconds or reply.length >= 0 or reply.attributes is None:
            return reply
        found = _readable(reply.attributes, reply.blocks)
        return reply._replace(capability=self._make(call.connection.peer, READ, found.items()))

    def read(self, call: IncomingCall[object], files: Sequence[m.FileReply]) -> bytes:
        """A capability for those of many files whose bytes do not come along; empty: for none."""
        if not self._keys.seconds:
            return b""
        found: dict[int, int] = {}
        for file in files:
            if file.length < 0 and file.blocks:
                found |= _readable(file.attributes, file.blocks)
        return self._make(call.connection.peer, READ, found.items()) if found else b""

    # --- within ------------------------------------------------------------------------------

    def _holds(self, peer: Peer, attributes: Attributes) -> bool:
        """Has the client the lease that the reply tells of?"""
        volume = self._role.primary.namespace.volume
        slot = volume.tree.inodes.slot_of(attributes.inode)
        return (
            volume.sessions.writers.get(slot) == peer.client
            and volume.tree.inodes.generation[slot] == attributes.generation
        )

    def _may_read(self, peer: Peer, attributes: Attributes) -> bool:
        """May the holder of a file's lease read it, too?"""
        user, owner_may = peer.identity.user, attributes.mode & 0o400
        if attributes.owner == user and owner_may:
            return True
        question = m.Access(b"", 4, attributes.inode)
        try:
            self._role.primary.namespace.query(peer.identity, question, peer.client)
        except MemfsError:
            return False
        return True

    def _make(self, peer: Peer, rights: int, inodes: Iterable[tuple[int, int]]) -> bytes:
        key, expires = self._keys.for_proofs()
        whose = capabilities.holder(self._membership.view.cluster, peer.identity.user, peer.client)
        return capabilities.make(key, whose, rights, expires, inodes)


def _readable(attributes: Attributes | None, blocks: Sequence[BlockRef]) -> dict[int, int]:
    """Inodes, and generations up to which their blocks may be read by who may read the file.

    Blocks that came by concat bear the inode of the file that they were written to, which is gone.
    """
    found = dict.fromkeys({ref.inode for ref in blocks}, ANY_GENERATION)
    if attributes is not None:
        found[attributes.inode] = attributes.generation
    return found


def _generation(namespace: Namespace, client: int, inode: int) -> int:
    """Generation under which a client may store blocks. Raises LeaseLostError, UploadLostError."""
    volume = namespace.volume
    slot = volume.tree.inodes.slot_of(inode)
    if slot and volume.sessions.writers.get(slot) == client:
        return volume.tree.inodes.generation[slot]
    if slot and volume.sessions.has_reserved(client, slot):
        return RESERVED_GENERATION
    if slot and volume.tree.inodes.kind[slot] == FILE:
        raise LeaseLostError("the lease is over: open the file again")
    raise UploadLostError("the inode is not reserved for this client (any more)")
