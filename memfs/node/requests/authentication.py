"""Who is at the other end of a connection, once the node is told to want proof.

Owns the rules: under TLS a certificate, a key or a token says who it is, on a unix socket the
kernel does; groups come from the cluster's table or from this host, never from the client;
superusers and those named as proxies may speak for others. Knows no files and no sockets.
Invariant: nothing that Hello claims is believed unless it agrees with the proof.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from memfs import machine
from memfs.cluster import view as rules
from memfs.errors import AccessDeniedError, BusyError
from memfs.node.namespace import Namespace, Settings
from memfs.node.namespace.rules.permissions import caller_of
from memfs.protocol import messages as m
from memfs.security.principals import CERTIFICATE, KEY, SOCKET, TOKEN, Principal, principal_of
from memfs.transport.connection import Peer
from memfs.types import Identity, View

GROUPS_SECONDS: Final = 60.0
"""How long the groups of a user are remembered: a change counts for connections after that."""
GROUPS_USERS: Final = 4096
"""Users whose groups are remembered, 300 bytes each."""


class Proven(Protocol):
    """What a connection says about its peer's identity."""

    @property
    def certificate(self) -> Mapping[str, object] | None: ...

    @property
    def local_user(self) -> int | None: ...

    peer: Peer


class HostGroups:
    """The groups of users as this host has them, remembered for a minute."""

    def __init__(
        self,
        now: Callable[[], float],
        look_up: Callable[[str], tuple[str, ...]] = machine.account_groups,
    ) -> None:
        """``now``: monotonic seconds."""
        self._now = now
        self._look_up = look_up
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    def of(self, user: str) -> tuple[str, ...]:
        """The groups of a user, () of a stranger to this host."""
        found = self._known.get(user)
        if found is None or found[0] <= self._now():
            if len(self._known) >= GROUPS_USERS:
                self._known.clear()
            found = self._known[user] = (self._now() + GROUPS_SECONDS, self._look_up(user))
        return found[1]


class KnownGroups:
    """The groups of users: of the cluster's table, else of this host."""

    def __init__(self, host: HostGroups, namespace: Callable[[], Namespace | None]) -> None:
        """``namespace``: what this node holds of it."""
        self._host = host
        self._namespace = namespace

    def of(self, user: str) -> tuple[str, ...]:
        """The groups of a user, as far as this node knows them."""
        namespace = self._namespace()
        listed = namespace.volume.accounts.groups_of(user) if namespace is not None else None
        return self._host.of(user) if listed is None else listed


class PeerAuthentication:
    """Turns what a connection proves and claims into who it is; counts each user's connections.

    Invariant: a user has as many connections here as :meth:`opened` was told of and
    :meth:`closed` was not.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        proxies: Collection[str],
        groups: KnownGroups,
        connections: int,
        ways: Collection[str] = (CERTIFICATE,),
        limit: Callable[[str, int], int] = lambda user, usual: usual,
    ) -> None:
        """``settings`` name the superuser and the supergroup.

        ``proxies``: users who may speak for others, all but superusers. ``connections``: most of
        one user at a time. Nodes, proxies and the superuser have no such limit: they are few, and
        known. ``ways``: how users may prove who they are. ``limit`` says how many connections a
        user may have, given that usual number.
        """
        self._settings = settings
        self._proxies = frozenset(proxies)
        self._groups = groups
        self._most = connections
        self._ways = frozenset(ways)
        self._limit = limit
        self._open: dict[str, int] = {}

    def opened(self, peer: Peer) -> None:
        """Count a connection that is about to be admitted. Raises BusyError when it is too many."""
        name = self._counted(peer)
        if name is None:
            return
        count = self._open.get(name, 0)
        most = self._limit(name, self._most)
        if count >= most:
            raise BusyError(
                f"{name} has {count} connections to this node, as many as one user may "
                "(connections_per_user, limit connections): let programs share them"
            )
        self._open[name] = count + 1

    def closed(self, peer: Peer) -> None:
        """One that was counted is gone."""
        name = self._counted(peer)
        if name is not None:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    def _counted(self, peer: Peer) -> str | None:
        proven = peer.principal
        if (
            proven is None
            or proven.is_node
            or proven.name
            in (
                self._settings().superuser,
                *self._proxies,
            )
        ):
            return None
        return proven.name

    def check_way(self, way: str) -> None:
        """Refuse proofs that this node does not take. Raises AccessDeniedError."""
        if way not in self._ways:
            raise AccessDeniedError(
                f"this cluster takes no {way} as a proof of who you are (authentication of [node] "
                f"does not have it): bring a {' or a '.join(sorted(self._ways))}"
            )

    @property
    def challenges(self) -> bool:
        """Does it take what is proved by a challenge?"""
        return bool(self._ways & {KEY, TOKEN})

    def peer(
        self,
        hello: m.Hello,
        connection: Proven,
        view: View | None,
        proven: Principal | None = None,
        groups: tuple[str, ...] | None = None,
    ) -> Peer:
        """Who is at the other end. Raises AccessDeniedError: the connection says who was refused.

        ``proven``: by a challenge, None: the connection itself proves it. ``groups``: of the user,
        None: as this node knows them.
        """
        if proven is None:
            proven = self.proven(connection)
        connection.peer = connection.peer._replace(principal=proven)
        if hello.role == m.Role.NODE:
            _check_node(proven, hello, view)
            identity, proxied = Identity(self._settings().superuser), False
        else:
            identity, proxied = self._identity(proven, hello.identity, groups)
        return connection.peer._replace(identity=identity, principal=proven, proxied=proxied)

    def is_proxied(self, proven: Principal, claimed: str) -> bool:
        """Does somebody speak for another without being a superuser?"""
        return not proven.is_node and proven.name not in (claimed, self._settings().superuser)

    def _identity(
        self, proven: Principal, said: Identity, groups: tuple[str, ...] | None
    ) -> tuple[Identity, bool]:
        claimed = said.user
        if groups is None:
            groups = self._groups.of(claimed)
        identity = Identity(claimed, groups, said.parents_group)
        if not self.is_proxied(proven, claimed):
            return identity, False
        if self._is_superuser(Identity(proven.name, self._groups.of(proven.name))):
            return identity, False
        if proven.name not in self._proxies:
            raise AccessDeniedError(
                f"you are {proven.name}, as is proved, and cannot be {claimed}: connect as "
                f"{proven.name}"
            )
        if self._is_superuser(identity):
            text = f"{proven.name} may speak for others, but not for the superuser"
            raise AccessDeniedError(text)
        return identity, True

    def _is_superuser(self, identity: Identity) -> bool:
        settings = self._settings()
        return caller_of(identity, settings.superuser, settings.supergroup).superuser

    def proven(self, connection: Proven) -> Principal:
        """Whom the connection itself proves. Raises AccessDeniedError."""
        certificate = connection.certificate
        if certificate:
            found = principal_of(certificate)
            if not found.is_node:
                self.check_way(CERTIFICATE)
            return found
        number = connection.local_user
        if number is None:
            raise AccessDeniedError(
                "this cluster wants proof of who you are: set certificates to a directory made by "
                "memfs certs" + (", or bring a key or a token" if self.challenges else "")
            )
        try:
            return Principal(pwd.getpwuid(number).pw_name, proof=SOCKET)
        except KeyError:
            return Principal(str(number), proof=SOCKET)


def _check_node(proven: Principal, hello: m.Hello, view: View | None) -> None:
    if not proven.is_node:
        raise AccessDeniedError(
            f"{proven.name} is a user, not a node: a node needs node.crt of memfs certs create-node"
        )
    member = rules.member(view, hello.member) if view is not None else None
    if member is not None:
        check_host(proven, member.host)


def check_host(proven: Principal | None, host: str) -> None:
    """Refuse a node whose certificate is not for the address it goes by.

    Raises AccessDeniedError.
    """
    if proven is not None and not proven.speaks_for(host):
        raise AccessDeniedError(
            f"the certificate is for {', '.join(proven.hosts) or 'no host'}, not for {host}: make "
            f"one with memfs certs create-node {host}"
        )
