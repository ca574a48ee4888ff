"""Users' keys, groups and limits, as the cluster keeps them, and proofs that are checked.

Questions are of the range of namespace reads (64-127), commands of that of commands (128-191).
"""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, message


class UserKeys(NamedTuple):
    """A user, and the public keys (Ed25519, 32 bytes each) that prove them."""

    user: str
    keys: tuple[bytes, ...]


class UsersReply(NamedTuple):
    """A page of users in the order of their names."""

    users: tuple[UserKeys, ...]
    more: bool
    """There are others behind the last."""


@message(112)
class ListUsers(NamedTuple):
    """Ask which keys prove whom; superuser."""

    after: str = ""
    """The last user of the page before."""

    @staticmethod
    def reply() -> type[UsersReply]:
        return UsersReply


class UserGroups(NamedTuple):
    """A user of the table of groups."""

    user: str
    groups: tuple[str, ...]
    """The first one is the group of what they create."""


class GroupsReply(NamedTuple):
    """A page of the table of groups, in the order of users' names."""

    users: tuple[UserGroups, ...]
    more: bool
    """There are others behind the last."""


@message(113)
class ListGroups(NamedTuple):
    """Ask for the table of groups; superuser."""

    after: str = ""
    """The last user of the page before."""

    @staticmethod
    def reply() -> type[GroupsReply]:
        return GroupsReply


class GroupsOfReply(NamedTuple):
    """What the table of groups says of a user."""

    listed: bool
    """False: nothing, and the hosts of the nodes decide."""
    groups: tuple[str, ...] = ()


@message(114, peer=True)
class GetGroupsOf(NamedTuple):
    """A node without the namespace asks for the groups of a user."""

    user: str

    @staticmethod
    def reply() -> type[GroupsOfReply]:
        return GroupsOfReply


class CheckProofReply(NamedTuple):
    """Whom a proof proves."""

    user: str
    real_user: str = ""
    """Who asked for the token on their behalf."""
    expires_ms: int = 0
    """When the token ends, milliseconds since the epoch; 0: it is a key, which does not."""


@message(115, peer=True)
class CheckProof(NamedTuple):
    """A node asks whom ``Hello.authentication`` proves."""

    authentication: bytes
    challenge: bytes
    """What had to be signed, as the node knows it (``memfs.security.proofs.challenge``)."""

    def __repr__(self) -> str:
        return "CheckProof()"

    @staticmethod
    def reply() -> type[CheckProofReply]:
        return CheckProofReply


class ShownProof(NamedTuple):
    """What a connection that stands was proved by: a key, or a token."""

    user: str
    key: bytes = b""
    """The public key; empty: it was a token."""
    token: bytes = b""
    """The token's identifier."""


class StandingReply(NamedTuple):
    """For each proof, in the order of the question, until when it is good."""

    until_ms: tuple[int, ...]
    """Milliseconds since the epoch; 0: it is good no more. Keys do not end by themselves."""


@message(117, peer=True)
class CheckStanding(NamedTuple):
    """A node asks whether what proved its clients is still good."""

    proofs: tuple[ShownProof, ...]

    @staticmethod
    def reply() -> type[StandingReply]:
        return StandingReply


@message(184, command=True)
class AddUserKey(NamedTuple):
    """Believe whoever has the private half of a key to be ``user``; superuser."""

    user: str
    key: bytes

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(185, command=True)
class RemoveUserKey(NamedTuple):
    """Believe a key no more; superuser."""

    user: str
    key: bytes = b""
    """Empty: all of them."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(186, command=True)
class ChangeGroups(NamedTuple):
    """Put users into a group, or take them out; superuser.

    Whoever is in any group of the table is in these only, whatever the nodes' hosts say.
    """

    group: str
    users: tuple[str, ...]
    remove: bool = False

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(187, command=True)
class SetLimit(NamedTuple):
    """Set what one user may have of something; superuser."""

    name: str
    """As ``memfs cluster limits`` shows them."""
    user: str
    """Empty: everybody who has no limit of their own, but the superuser."""
    value: int | None
    """None: as it was before any was set."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class LimitsReply(NamedTuple):
    """A page of the limits that are set, in the order of names and users."""

    limits: tuple[SetLimit, ...]
    more: bool
    """There are others behind the last."""


@message(116)
class ListLimits(NamedTuple):
    """Ask which limits are set; superuser and nodes."""

    name: str = ""
    user: str = ""
    """With ``name``, the last one of the page before."""

    @staticmethod
    def reply() -> type[LimitsReply]:
        return LimitsReply
