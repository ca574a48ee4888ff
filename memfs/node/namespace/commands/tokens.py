"""Getting, renewing, cancelling and verifying delegation tokens.

As HDFS: everybody gets tokens that speak for themselves, the superuser (a gateway) for others; only
the renewer named prolongs one; owner and renewer end it. Every request shows the whole token, so
that knowing its number is worth nothing.
"""

from __future__ import annotations

from memfs import limits
from memfs.errors import InvalidArgumentError, InvalidTokenError, NotPermittedError
from memfs.node.namespace.rules.permissions import Caller
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import (
    AddTokenKey,
    CancelToken,
    Empty,
    IssueToken,
    RenewToken,
    RenewTokenReply,
    TokenReply,
    VerifyToken,
    VerifyTokenReply,
)

_NS_PER_MS = 1_000_000
_KEY_BYTES = range(16, 65)


def add_token_key(volume: Volume, command: Command, request: AddTokenKey) -> Empty:
    """Roll the master key; the primary's business."""
    if len(request.material) not in _KEY_BYTES or not 0 < request.renew_ms <= request.lifetime_ms:
        raise InvalidArgumentError("a key has 16 to 64 bytes, and terms above 0")
    volume.tokens.add_key(
        request.material, request.renew_ms, request.lifetime_ms, command.now // _NS_PER_MS
    )
    return Empty()


def issue_token(volume: Volume, command: Command, request: IssueToken) -> TokenReply:
    """A token for the caller; the superuser may name another owner, and who asked for them."""
    caller = command.caller
    owner = request.owner or caller.user
    if not caller.superuser and (owner != caller.user or request.real_user):
        raise NotPermittedError("only the superuser gets tokens for others")
    for name in (owner, request.renewer, request.real_user):
        if len(name.encode()) > limits.OWNER_BYTES:
            raise InvalidArgumentError(f"a user has {limits.OWNER_BYTES} bytes at most")
    now_ms = command.now // _NS_PER_MS
    most = volume.limits.of("tokens", owner, limits.TOKENS_PER_OWNER)
    return TokenReply(*volume.tokens.issue(owner, request.renewer, request.real_user, now_ms, most))


def renew_token(volume: Volume, command: Command, request: RenewToken) -> RenewTokenReply:
    """Prolong a token: for its renewer."""
    tokens, now_ms = volume.tokens, command.now // _NS_PER_MS
    identifier, held = tokens.verify(request.identifier, request.password)
    if not identifier.renewer or identifier.renewer != command.caller.user:
        raise NotPermittedError("only the token's renewer renews it")
    if held.expires_ms <= now_ms:
        raise InvalidTokenError("the token is expired")
    return RenewTokenReply(tokens.renew(identifier, now_ms))


def cancel_token(volume: Volume, command: Command, request: CancelToken) -> Empty:
    """End a token: for its owner, its renewer and the superuser."""
    identifier, _ = volume.tokens.verify(request.identifier, request.password)
    caller = command.caller
    if not caller.superuser and caller.user not in (identifier.owner, identifier.renewer):
        raise NotPermittedError("only the token's owner and renewer cancel it")
    volume.tokens.cancel(identifier)
    volume.tokens.prune(command.now // _NS_PER_MS)
    return Empty()


def verify_token(volume: Volume, caller: Caller, request: VerifyToken) -> VerifyTokenReply:
    """The owner of a valid token. The service checks its expiry against the clock."""
    identifier, held = volume.tokens.verify(request.identifier, request.password)
    owner, renewer, real_user = identifier[:3]
    return VerifyTokenReply(owner, renewer, real_user, held.expires_ms)
