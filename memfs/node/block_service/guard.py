"""Whether a client may have the blocks that it asks for: it shows a capability of the primary's.

Owns what each connection has shown: a proof is computed once, then a capability is found by its
bytes. Members need none: they prove what they are when they connect. Invariant: a block request of
a client is served only when a capability covers its inode and generation, was made for that client
and has not expired; so no node stores under a generation that the namespace did not give out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from memfs.errors import CapabilityError
from memfs.node.membership.capability_keys import CapabilityKeys
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m
from memfs.security import capabilities
from memfs.security.capabilities import READ, WRITE, Capability
from memfs.transport.connection import Connection

SHOWN: Final = 256
"""Capabilities remembered of a connection; with most grants each 40 KiB, usually 1 KiB."""
GRANTS_SHOWN: Final = 4096
"""... and grants of them together."""


class _Shown(NamedTuple):
    """What a connection has shown."""

    holder: bytes
    capabilities: dict[bytes, Capability]
    grants: list[int]
    """One number: the grants of all of them."""


class Guard:
    """Checks block requests of clients."""

    def __init__(
        self, membership: Membership, keys: CapabilityKeys, *, private_socket: bool
    ) -> None:
        """``private_socket``: only the node's own user and root reach its unix sockets."""
        self.refused = 0
        """Requests turned away since the start."""
        self._membership = membership
        self._keys = keys
        self._private_socket = private_socket
        self._shown: dict[Connection, _Shown] = {}

    def check_write(
        self,
        connection: Connection,
        raws: Sequence[bytes],
        blocks: Iterable[m.WriteBlock | m.SmallBlock],
    ) -> None:
        """Refuse a write unless the capabilities cover all ``blocks``. Raises CapabilityError."""
        if self._is_exempt(connection):
            return
        held = self._held(connection, raws)
        for block in blocks:
            if not any(each.covers(block.inode, block.generation, WRITE) for each in held):
                raise self._refusal(block.inode, "writing")

    def check_read(
        self, connection: Connection, raw: bytes, block: m.ReadBlock | m.BlockRange
    ) -> None:
        """Refuse a read unless the capability covers it. Raises CapabilityError."""
        if self._is_exempt(connection):
            return
        for each in self._held(connection, (raw,)):
            if each.covers(block.inode, block.generation, READ):
                return
        raise self._refusal(block.inode, "reading")

    def readable(
        self, connection: Connection, raws: Sequence[bytes], blocks: Sequence[m.BlockRange]
    ) -> Sequence[m.BlockRange]:
        """The first of many ranges, up to one that may not be read.

        Raises CapabilityError when that is the first one.
        """
        if self._is_exempt(connection) or not blocks:
            return blocks
        held = self._held(connection, raws)
        for number, block in enumerate(blocks):
            if not any(each.covers(block.inode, block.generation, READ) for each in held):
                if not number:
                    raise self._refusal(block.inode, "reading")
                return blocks[:number]
        return blocks

    def lendable(self, request: m.GetDescriptors) -> list[bool] | None:
        """The versions whose descriptors may be lent to a client that shows these capabilities.

        The descriptor socket has no handshake: whoever holds a capability may use it. With
        certificates only the node's own user and root are served, as the kernel tells who they
        are, and both could read the node's memory anyway. None: all versions. Raises
        CapabilityError when there are none.
        """
        if not self._keys.wanted:
            return None
        whose = capabilities.holder(self._membership.view.cluster, request.user, request.client)
        held = [self._verified(raw, whose) for raw in request.capabilities]
        allowed = [
            any(each.covers(version.inode, version.generation, READ) for each in held)
            for version in request.versions
        ]
        if request.versions and not any(allowed):
            raise self._refusal(request.versions[0].inode, "reading")
        return allowed

    @property
    def lends_segments(self) -> bool:
        """Whether segments of small blocks may be lent over the descriptor socket.

        A segment holds blocks of many users, which no capability covers. Where capabilities are
        required, only the node's own user and root, who could read its memory anyway, may have
        segments.
        """
        return self._private_socket or not self._keys.wanted

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._shown.pop(connection, None)

    # --- within ------------------------------------------------------------------------------

    def _is_exempt(self, connection: Connection) -> bool:
        return connection.peer.role == m.Role.NODE or not self._keys.wanted

    def _held(self, connection: Connection, raws: Sequence[bytes]) -> list[Capability]:
        """The capabilities that came with a request. Raises CapabilityError for a bad one."""
        shown = self._shown.get(connection)
        if shown is None:
            peer = connection.peer
            whose = capabilities.holder(
                self._membership.view.cluster, peer.identity.user, peer.client
            )
            shown = self._shown[connection] = _Shown(whose, {}, [0])
        held = []
        for raw in raws:
            found = shown.capabilities.get(raw)
            if found is None:
                found = self._verified(raw, shown.holder)
                self._remember(shown, raw, found)
            elif self._is_over(found):
                self._drop(shown, raw)
                raise self._expired()
            held.append(found)
        return held

    def _verified(self, raw: bytes, whose: bytes) -> Capability:
        """Raises CapabilityError."""
        try:
            key = self._keys.find(capabilities.key_number(raw))
            if key is None:
                raise CapabilityError("the capability was made with a key that is not known here")
            found = capabilities.verify(key, whose, raw)
        except CapabilityError:
            self.refused += 1
            raise
        if self._is_over(found):
            raise self._expired()
        return found

    def _is_over(self, found: Capability) -> bool:
        return self._keys.age(found.key) > found.expires

    @staticmethod
    def _drop(shown: _Shown, raw: bytes) -> None:
        shown.grants[0] -= len(shown.capabilities.pop(raw).firsts)

    def _remember(self, shown: _Shown, raw: bytes, found: Capability) -> None:
        """Drop the oldest and the expired ones, if necessary, to make room for it."""
        while shown.capabilities:
            first = next(iter(shown.capabilities))
            if not self._is_over(shown.capabilities[first]):
                break
            self._drop(shown, first)
        shown.grants[0] += len(found.firsts)
        if len(shown.capabilities) >= SHOWN or shown.grants[0] > GRANTS_SHOWN:
            shown.capabilities.clear()
            shown.grants[0] = len(found.firsts)
        shown.capabilities[raw] = found

    def _expired(self) -> CapabilityError:
        self.refused += 1
        return CapabilityError("the capability has expired: ask the primary for another one")

    def _refusal(self, inode: int, what: str) -> CapabilityError:
        self.refused += 1
        return CapabilityError(f"no capability for {what} this block of inode {inode:#x}")
