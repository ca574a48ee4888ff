"""What is in memory of the files below mounts, gathered from all nodes when somebody asks.

The primary's, for its clients: the namespace knows how a file stands to its store, the nodes know
what they have cached. A node that cannot be reached serves nothing, so what it has does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Final

from memfs import errors, limits
from memfs.concurrency import outcomes
from memfs.node.namespace.rules.mounted import IN_MEMORY, STATE, told
from memfs.node.namespace.tables.inodes import FILE
from memfs.node.replication.role import NamespaceRole
from memfs.node.stores.metadata import resolved
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall
from memfs.types import FileKind, ObjectState, Residence

NODE_SECONDS: Final = 1.0
"""For a node's answer: one that is slower is taken to have nothing."""


class ResidenceService:
    """Answers :class:`~memfs.protocol.messages.GetResidence`, and completes extended attributes."""

    def __init__(self, role: NamespaceRole) -> None:
        """``role``: the node's, which may be another than the primary's."""
        self._role = role

    async def get(self, call: IncomingCall[m.GetResidence]) -> m.ResidenceReply:
        """Of the files asked about that the caller can reach; the others' state is 0."""
        inodes = call.request.inodes
        if len(inodes) > limits.OBJECTS_PER_QUESTION:
            raise errors.InvalidArgumentError(
                f"{limits.OBJECTS_PER_QUESTION} files can be asked about at once"
            )
        primary = self._role.primary
        await primary.confirm()  # nothing is told that may not stay
        namespace = primary.namespace
        tree = namespace.volume.tree
        caller = namespace.caller(call.connection.peer.identity)
        slots = [tree.inodes.slot_of(inode) for inode in inodes]
        slots = [slot if slot and tree.is_reachable(caller, slot) else 0 for slot in slots]
        return m.ResidenceReply(tuple(await self._of(slots)))

    async def complete(
        self, call: IncomingCall[m.GetXattrs], answer: m.XattrsReply | Awaitable[m.XattrsReply]
    ) -> m.XattrsReply:
        """Extended attributes that were asked for by name, with what only the nodes know."""
        reply: m.XattrsReply = await resolved(answer)
        request = call.request
        question = m.Lookup(request.path, follow=request.follow, base=request.base)
        identity = call.connection.peer.identity
        found = await resolved(self._role.primary.query(identity, question))
        slot = self._role.primary.namespace.volume.tree.inodes.slot_of(found.attributes.inode)
        (residence,) = await self._of([slot])
        values = told(residence, found.attributes.kind == FileKind.FILE)
        return reply._replace(
            xattrs=tuple(
                [each._replace(value=values.get(each.name, each.value)) for each in reply.xattrs]
            )
        )

    async def _of(self, slots: Sequence[int]) -> list[Residence]:
        volume = self._role.primary.namespace.volume
        table, mounts = volume.tree.inodes, volume.mounts
        found: list[Residence] = []
        shared: dict[int, tuple[m.ObjectVersion, int]] = {}
        """What is to be asked of the nodes, by place in ``found``, and how many may have each."""
        members = len(self._role.membership.view.members)
        for slot in slots:
            mount = mounts.mount_of(volume.tree, slot)
            state = int(mounts.state(slot) or 0) if mount is not None else 0
            size = table.size[slot] if state and table.kind[slot] == FILE else 0
            if mount is not None and size and state == ObjectState.CLEAN:
                version = m.ObjectVersion(table.id_of(slot), table.generation[slot])
                shared[len(found)] = version, max(1, min(mount.copies, members))
            found.append(Residence(state, size, size))
        if shared:
            sums = await self._cached(tuple([version for version, _ in shared.values()]))
            for place, (version, copies) in shared.items():
                size = min(found[place].size, sums[version] // copies)
                found[place] = found[place]._replace(in_memory=size)
        return found

    async def _cached(self, versions: tuple[m.ObjectVersion, ...]) -> Counter[m.ObjectVersion]:
        """Bytes of each, over all nodes that answer."""
        membership, request = self._role.membership, m.CountCached(versions)
        members = membership.view.members
        replies = await outcomes(
            [membership.ask(each, request, NODE_SECONDS) for each in members],
            len(members),
            errors.MemfsError,
        )
        sums: Counter[m.ObjectVersion] = Counter()
        for reply in replies:
            if isinstance(reply, errors.MemfsError):
                continue
            sums.update(dict(zip(versions, reply.sizes, strict=False)))
        return sums


def asks_for_memory(request: m.GetXattrs) -> bool:
    """Does an answer need what the nodes know?"""
    return request.values and not {STATE, IN_MEMORY}.isdisjoint(request.names)
