"""Commands on delegation tokens."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, message


class TokenReply(NamedTuple):
    """A new delegation token, in Hadoop's encoding (``memfs.security.delegation_tokens``)."""

    identifier: bytes
    password: bytes
    expires_ms: int
    """Milliseconds since the epoch, unless it is renewed."""

    def __repr__(self) -> str:
        return f"TokenReply({self.identifier!r}, expires_ms={self.expires_ms})"


@message(154, command=True)
class IssueToken(NamedTuple):
    """Get a delegation token that speaks for the caller; the superuser may get one for others."""

    renewer: str
    """Who may prolong it; empty: nobody."""
    owner: str = ""
    """Empty: the caller."""
    real_user: str = ""
    """Who asked for it on the owner's behalf, as far as the superuser knows."""

    @staticmethod
    def reply() -> type[TokenReply]:
        return TokenReply


class RenewTokenReply(NamedTuple):
    """The token's new end."""

    expires_ms: int


@message(155, command=True)
class RenewToken(NamedTuple):
    """Prolong a delegation token: its renewer."""

    identifier: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"RenewToken({self.identifier!r})"

    @staticmethod
    def reply() -> type[RenewTokenReply]:
        return RenewTokenReply


@message(156, command=True)
class CancelToken(NamedTuple):
    """End a delegation token: its owner, its renewer or the superuser."""

    identifier: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"CancelToken({self.identifier!r})"

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(157, command=True, peer=True)
class AddTokenKey(NamedTuple):
    """Make delegation tokens with a new master key from now on, under these terms."""

    material: bytes
    """Random bytes of the primary."""
    renew_ms: int
    lifetime_ms: int

    def __repr__(self) -> str:
        return f"AddTokenKey(renew_ms={self.renew_ms}, lifetime_ms={self.lifetime_ms})"

    @staticmethod
    def reply() -> type[Empty]:
        return Empty
