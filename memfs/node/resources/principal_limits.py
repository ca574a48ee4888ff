"""The limits that the superuser has set, as one node enforces them.

Owns where they are known from: the namespace, where this node holds it; else what the primary said
a few seconds ago. The things they bound are counted elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from memfs import errors
from memfs.node.membership.members import Membership
from memfs.node.namespace.tables.principal_limits import PrincipalLimits
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.transport.bounds.ledgers import Ledger, UserAtAddress
from memfs.transport.bounds.load import ServerLoad
from memfs.transport.bounds.rates import UNLIMITED

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Between two looks at whether rates are limited."""
ASK_LOOKS: Final = 5
"""A node without the namespace asks with every so many."""


class NodeLimits:
    """What one user may have on this node."""

    def __init__(self, role: NamespaceRole, membership: Membership, superuser: str) -> None:
        self._role = role
        self._membership = membership
        self._superuser = superuser
        self._told = PrincipalLimits(superuser)
        """What the primary said."""

    @property
    def _table(self) -> PrincipalLimits:
        namespace = self._role.namespace
        return self._told if namespace is None else namespace.volume.limits

    def of(self, name: str, user: str, usual: int) -> int:
        """The limit of a user; ``usual``: where none is set."""
        return self._table.of(name, user, usual)

    def shuts_out(self, user: str) -> bool:
        """May a user have no connection at all? The superuser must be able to take that back."""
        return user != self._superuser and not self.of("connections", user, 1)

    def bind(
        self, load: ServerLoad, ahead: Ledger[UserAtAddress], unknown: Ledger[UserAtAddress]
    ) -> None:
        """Apply these limits to what is counted elsewhere."""
        load.admission.users.follow(lambda user, usual: self.of("connections", user, usual))
        load.requests_held.follow(lambda user, usual: self.of("requests", user, usual))
        for name, ledger in (
            ("unread_bytes", load.unread.ledger),
            ("ahead_bytes", ahead),
            ("unknown_bytes", unknown),
        ):
            self._bind(name, ledger)
        load.rates.limit_of = lambda user: self.of("requests_per_second", user, UNLIMITED)

    def _bind(self, name: str, ledger: Ledger[UserAtAddress]) -> None:
        ledger.follow(lambda who, usual: self.of(name, who.user, usual))

    async def run(self, load: ServerLoad) -> None:
        """Keep up with what is set, forever."""
        looks = 0
        while True:
            if self._role.namespace is None and looks % ASK_LOOKS == 0:
                await self._ask()
            load.rates.on = self._table.has("requests_per_second")
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def _ask(self) -> None:
        told, last = PrincipalLimits(self._superuser), m.SetLimit("", "", None)
        try:
            while True:
                request = m.ListLimits(last.name, last.user)
                reply = await self._membership.ask_primary(request)
                for last in reply.limits:
                    told.set(*last)
                if not reply.more or not reply.limits:
                    break
        except errors.MemfsError as error:
            log.debug("the primary does not tell the limits: %s", error)
        else:
            self._told = told
