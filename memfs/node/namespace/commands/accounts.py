"""Keys and groups of users: the superuser changes them, nodes check proofs against them."""

from __future__ import annotations

import bisect
import hmac
from collections.abc import Iterable
from typing import Final, TypeVar

from memfs import limits
from memfs.errors import AccessDeniedError, InvalidArgumentError, InvalidTokenError
from memfs.node.namespace.rules.permissions import Caller
from memfs.node.namespace.rules.refusals import not_superuser
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol import messages as m
from memfs.security.keys import KEY_BYTES
from memfs.security.principals import user_flaw
from memfs.security.proofs import KeyProof, check_signature, proof_in, token_mac

PAGE_USERS: Final = 64
"""With keys: 50 KiB at most."""
PAGE_GROUPS: Final = 512
"""Memberships in a page, unless names are long."""
PAGE_BYTES: Final = 48 * limits.KIB
NEVER_MS: Final = 1 << 62
"""When keys end by themselves."""

T = TypeVar("T")


def add_user_key(volume: Volume, command: Command, request: m.AddUserKey) -> m.Empty:
    """Let a key prove a user."""
    _check_superuser(command.caller)
    _check_name(request.user)
    if len(request.key) != KEY_BYTES:
        raise InvalidArgumentError(f"a public key has {KEY_BYTES} bytes, this {len(request.key)}")
    volume.accounts.add_key(request.user, request.key)
    return m.Empty()


def remove_user_key(volume: Volume, command: Command, request: m.RemoveUserKey) -> m.Empty:
    """Let a key, or all of a user's, prove nobody."""
    _check_superuser(command.caller)
    volume.accounts.remove_key(request.user, request.key)
    return m.Empty()


def change_groups(volume: Volume, command: Command, request: m.ChangeGroups) -> m.Empty:
    """Put users into a group, or take them out: all or none."""
    _check_superuser(command.caller)
    accounts, users = volume.accounts, tuple(dict.fromkeys(request.users))
    if not users:
        raise InvalidArgumentError("name the users")
    for name in (request.group, *users):
        _check_name(name)
    before = {user: accounts.groups.get(user, ()) for user in users}
    try:
        for user in users:
            if request.remove:
                accounts.leave(user, request.group)
            else:
                accounts.enter(user, request.group)
    except InvalidArgumentError:
        for user, groups in before.items():
            accounts.restore_groups(user, groups)
        raise
    return m.Empty()


def list_users(volume: Volume, caller: Caller, request: m.ListUsers) -> m.UsersReply:
    """A page of users with keys."""
    _check_superuser(caller)
    names, found = _behind(volume.accounts.keys, request.after), list[m.UserKeys]()
    for name in names[:PAGE_USERS]:
        found.append(m.UserKeys(name, volume.accounts.keys[name]))
    return m.UsersReply(tuple(found), len(found) < len(names))


def list_groups(volume: Volume, caller: Caller, request: m.ListGroups) -> m.GroupsReply:
    """A page of the table of groups."""
    _check_superuser(caller)
    names, found, size = _behind(volume.accounts.groups, request.after), list[m.UserGroups](), 0
    for name in names[:PAGE_GROUPS]:
        groups = volume.accounts.groups[name]
        size += 8 + sum(3 + len(each.encode()) for each in (name, *groups))
        if found and size > PAGE_BYTES:
            break
        found.append(m.UserGroups(name, groups))
    return m.GroupsReply(tuple(found), len(found) < len(names))


def get_groups_of(volume: Volume, caller: Caller, request: m.GetGroupsOf) -> m.GroupsOfReply:
    """What the table says of one user."""
    groups = volume.accounts.groups_of(request.user)
    return m.GroupsOfReply(groups is not None, groups or ())


def check_proof(volume: Volume, caller: Caller, request: m.CheckProof) -> m.CheckProofReply:
    """Whom a proof proves. The service checks the expiry of a token against the clock.

    Raises AccessDeniedError, InvalidTokenError.
    """
    proof = proof_in(request.authentication)
    if isinstance(proof, KeyProof):
        check_signature(proof, request.challenge)
        user = volume.accounts.owners.get(proof.key)
        if user is None:
            raise AccessDeniedError(
                f"the key {proof.key.hex()[:16]}... is nobody's here: the superuser adds it with "
                "memfs user add NAME --key FILE"
            )
        return m.CheckProofReply(user)
    identifier, held, password = volume.tokens.known(proof.identifier)
    if not hmac.compare_digest(token_mac(password, request.challenge), proof.mac):
        raise AccessDeniedError(
            "the token's proof is not for this connection: it is forged, or was made for another "
            "connection, node or cluster"
        )
    return m.CheckProofReply(identifier.owner, identifier.real_user, held.expires_ms)


def check_standing(volume: Volume, caller: Caller, request: m.CheckStanding) -> m.StandingReply:
    """Until when proofs are good that were shown before; the service looks at the clock."""
    return m.StandingReply(tuple([_until(volume, proof) for proof in request.proofs]))


def _until(volume: Volume, proof: m.ShownProof) -> int:
    if proof.key:
        return NEVER_MS if volume.accounts.owners.get(proof.key) == proof.user else 0
    try:
        identifier, held, _ = volume.tokens.known(proof.token)
    except InvalidTokenError:
        return 0
    return held.expires_ms if identifier.owner == proof.user else 0


def _behind(table: Iterable[str], after: str) -> list[str]:
    names = sorted(table)
    return names[bisect.bisect_right(names, after) if after else 0 :]


def _check_superuser(caller: Caller) -> None:
    if not caller.superuser:
        raise not_superuser(caller)


def _check_name(name: str) -> None:
    if flaw := user_flaw(name, limits.OWNER_BYTES):
        raise InvalidArgumentError(flaw)
