"""Who may have one more connection: members first, and no client all of what is for clients.

Pure. One connection in ``limits.MEMBERS_SHARE`` is kept for other nodes, so that clients cannot
come between them; of the others one user, or one address, gets ``limits.PRINCIPAL_SHARE`` at
most (``limits.PRINCIPAL_CONNECTIONS`` in any case). Counted is who has shaken hands: who has not
is gone soon.
"""

from __future__ import annotations

from memfs import limits
from memfs.transport.bounds.ledgers import Ledger, UserAtAddress


class ConnectionAdmission:
    """The connections of one server."""

    def __init__(self, connections: int, spare: int) -> None:
        """``connections`` in all, and so many ``spare`` ones, half of which members may take."""
        self.spare = spare
        self.connections = connections
        self.clients = max(1, connections - -(-connections // limits.MEMBERS_SHARE))
        """Of clients at most."""
        part, whole = limits.PRINCIPAL_SHARE
        share = max(limits.PRINCIPAL_CONNECTIONS, self.clients * part // whole)
        each = min(self.clients, share)
        self.users = Ledger[str]("connections", each, self.clients)
        self.addresses = Ledger[str]("connections", each, self.clients)
        self.members = 0

    def refusal(self, member: bool, account: UserAtAddress) -> str:
        """Why a connection is not taken; empty: it is.

        Who may have none at all need not wait for one: the service says so, for good.
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
        """A connection was taken."""
        self._count(member, account, 1)

    def leave(self, member: bool, account: UserAtAddress) -> None:
        """It is gone."""
        self._count(member, account, -1)

    def _count(self, member: bool, account: UserAtAddress, count: int) -> None:
        if member:
            self.members += count
        else:
            self.users.add(account.user or "a client without a user", count)
            self.addresses.add(account.address, count)
