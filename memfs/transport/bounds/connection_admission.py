"""Whether a connection is admitted: members have priority, and no client may use up the share of
all clients.

Pure. One connection in ``limits.MEMBERS_SHARE`` is kept for other nodes, so that clients cannot
lock them out; of the others one user, or one address, gets ``limits.PRINCIPAL_SHARE`` at most
(``limits.PRINCIPAL_CONNECTIONS`` in any case). Connections count after their handshake; those
without one are closed soon.
"""

from __future__ import annotations

from memfs import limits
from memfs.transport.bounds.ledgers import Ledger, UserAtAddress


class ConnectionAdmission:
    """The connections of one server."""

    def __init__(self, connections: int, spare: int) -> None:
        """``connections`` in all, and ``spare`` further ones, half of which members may use."""
        self.spare = spare
        self.connections = connections
        self.clients = max(1, connections - -(-connections // limits.MEMBERS_SHARE))
        """Most connections of clients."""
        part, whole = limits.PRINCIPAL_SHARE
        share = max(limits.PRINCIPAL_CONNECTIONS, self.clients * part // whole)
        each = min(self.clients, share)
        self.users = Ledger[str]("connections", each, self.clients)
        self.addresses = Ledger[str]("connections", each, self.clients)
        self.members = 0

    def refusal(self, member: bool, account: UserAtAddress) -> str:
        """Why a connection is refused; empty: it is admitted. A user whose bound is zero is not
        refused here: the service refuses them for good.
        """
        kept = self.connections - self.clients
        if member:
            most = max(kept, self.connections - self.users.total) + self.spare // 2
            if self.members < most:
                return ""
            return f"the node has {self.members} connections of nodes, as many as it takes"
        if self.users.total >= self.clients:
            return f"the node has {self.clients} connections of clients, {kept} are for nodes only"
        name = account.user or "a client without a user"
        user = self.users.refusal(name) if self.users.bound(name) else ""
        return user or self.addresses.refusal(account.address)

    def enter(self, member: bool, account: UserAtAddress) -> None:
        """A connection was admitted."""
        self._count(member, account, 1)

    def leave(self, member: bool, account: UserAtAddress) -> None:
        """A connection was closed."""
        self._count(member, account, -1)

    def _count(self, member: bool, account: UserAtAddress, count: int) -> None:
        if member:
            self.members += count
        else:
            self.users.add(account.user or "a client without a user", count)
            self.addresses.add(account.address, count)
