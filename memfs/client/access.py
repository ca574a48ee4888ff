"""The asynchronous file system's operations on who may do what, and how much of it.

Owns the calls on access control lists, quotas and delegation tokens. What they mean, and who may
make them, is the namespace's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from memfs.client.calls.arguments import text
from memfs.client.calls.wire import PathLike, WirePath, check_cluster, wire
from memfs.client.session.session import Session
from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.security.acls import minimal, parse_entries
from memfs.security.delegation_tokens import KIND, Token
from memfs.types import AclEntry

AclEntries: TypeAlias = str | Iterable[AclEntry | str]
"""``"user:ann:rw-,group::r--"``, or such entries one by one."""

NO_QUOTA = -1


class Acl(NamedTuple):
    """Result of ``get_acl``."""

    owner: str
    group: str
    mode: int
    """As of ``stat``: when the list is extended, its group bits are the mask."""
    entries: tuple[AclEntry, ...]
    """In order, those that the mode bits stand for included; default ones last."""

    @property
    def extended(self) -> bool:
        """Does the access list say more than mode bits could?"""
        return not minimal(entry for entry in self.entries if not entry.default)


class Quota(NamedTuple):
    """Result of ``get_quota``; -1: no quota."""

    names_quota: int
    space_quota: int
    """Bytes, replicas counted."""
    names: int
    """Files, directories and links below, the directory itself included."""
    space: int
    """Bytes of the files below times their wanted replicas."""


class AccessOperations:
    """Access control lists, quotas and tokens."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _wire(self, path: PathLike) -> WirePath:
        """A path of this cluster. Raises as ``wire``, InvalidArgumentError for another cluster."""
        where = wire(path)
        if where.nodes:
            self._check_cluster(where.given, where.nodes)
        return where

    def _check_cluster(self, given: str, named: tuple[Endpoint, ...]) -> None:
        check_cluster(given, named, self._session.config, self._session.known.view)

    async def _ask(self, request: m.Request[m.R], path: str | None, timeout: float | None) -> m.R:
        deadline = None if timeout is None else self._session.deadline(timeout)
        return await self._session.ask(request, path, deadline)

    # --- access control lists ---------------------------------------------------------------

    async def get_acl(self, path: PathLike, *, timeout: float | None = None) -> Acl:
        """The access control list of a file or directory, symlinks followed."""
        where = self._wire(path)
        reply = await self._ask(m.GetAcl(where.raw), where.given, timeout)
        found = reply.attributes
        return Acl(found.owner, found.group, found.mode, reply.entries)

    async def _change_acl(
        self, path: PathLike, change: m.AclChange, entries: AclEntries, timeout: float | None
    ) -> None:
        where = self._wire(path)
        parsed = _parse(entries, permissions=change != m.AclChange.REMOVE)
        await self._ask(m.ChangeAcl(where.raw, change, parsed), where.given, timeout)

    async def set_acl(
        self, path: PathLike, entries: AclEntries, *, timeout: float | None = None
    ) -> None:
        """Replace the access list, the default list, or both: those of which entries are given.

        Without any entry the whole list is removed.
        """
        await self._change_acl(path, m.AclChange.SET, entries, timeout)

    async def modify_acl(
        self, path: PathLike, entries: AclEntries, *, timeout: float | None = None
    ) -> None:
        """Add entries, or replace those about the same; the mask follows unless it is given."""
        await self._change_acl(path, m.AclChange.MODIFY, entries, timeout)

    async def remove_acl_entries(
        self, path: PathLike, entries: AclEntries, *, timeout: float | None = None
    ) -> None:
        """Remove entries, written without permissions: ``"user:ann,default:group:dev"``."""
        await self._change_acl(path, m.AclChange.REMOVE, entries, timeout)

    async def remove_default_acl(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove what is inherited by new files."""
        await self._change_acl(path, m.AclChange.REMOVE_DEFAULT, (), timeout)

    async def remove_acl(self, path: PathLike, *, timeout: float | None = None) -> None:
        """Remove everything but what the mode bits say."""
        await self._change_acl(path, m.AclChange.REMOVE_ALL, (), timeout)

    # --- quotas -----------------------------------------------------------------------------

    async def get_quota(self, path: PathLike = "/", *, timeout: float | None = None) -> Quota:
        """Quotas of a directory and what counts against them; one request, whatever its size."""
        where = self._wire(path)
        return Quota(*await self._ask(m.GetQuota(where.raw), where.given, timeout))

    async def set_quota(
        self,
        path: PathLike,
        *,
        names: int | None = None,
        space: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Limit what may lie below a directory: names, and bytes times replicas (superuser).

        None leaves a quota as it is, -1 clears it. What is there already stays.
        """
        where = self._wire(path)
        await self._ask(m.SetQuota(where.raw, names, space), where.given, timeout)

    # --- delegation tokens ------------------------------------------------------------------

    async def get_delegation_token(
        self,
        renewer: str = "",
        *,
        owner: str = "",
        real_user: str = "",
        kind: str = KIND,
        service: str = "",
        timeout: float | None = None,
    ) -> Token:
        """A token that speaks for this client's user; ``renewer`` may prolong it.

        The superuser may get one for another ``owner``, on behalf of whom ``real_user`` asked.
        """
        kind, service = text("kind", kind), text("service", service)
        request = m.IssueToken(renewer, owner, real_user)
        reply = await issue_token(self._session, request, self._session.deadline(timeout))
        return Token(reply.identifier, reply.password, kind, service)

    async def renew_delegation_token(
        self, token: Token | str, *, timeout: float | None = None
    ) -> int:
        """Prolong a token as its renewer; its new end in milliseconds since the epoch."""
        found = _token(token)
        request = m.RenewToken(found.identifier, found.password)
        reply = await self._ask(request, "", timeout)
        return reply.expires_ms

    async def cancel_delegation_token(
        self, token: Token | str, *, timeout: float | None = None
    ) -> None:
        """End a token: its owner, its renewer, the superuser."""
        found = _token(token)
        await self._ask(m.CancelToken(found.identifier, found.password), "", timeout)

    async def verify_delegation_token(
        self, token: Token | str, *, timeout: float | None = None
    ) -> m.VerifyTokenReply:
        """For whom a token speaks. Raises InvalidTokenError when it is not good (any more)."""
        found = _token(token)
        request = m.VerifyToken(found.identifier, found.password)
        reply = await self._ask(request, "", timeout)
        return reply


async def issue_token(session: Session, request: m.IssueToken, deadline: float) -> m.TokenReply:
    """A delegation token; it is cancelled when whoever asked does not get it."""

    async def undo(reply: m.TokenReply) -> None:
        await session.ask(m.CancelToken(reply.identifier, reply.password))

    reply = await session.primary.ask_or_undo(request, None, deadline, undo)
    return reply


def _parse(entries: AclEntries, *, permissions: bool) -> tuple[AclEntry, ...]:
    """Entries of text or records. Raises InvalidArgumentError."""
    if isinstance(entries, str):
        return parse_entries(entries, permissions=permissions)
    found: list[AclEntry] = []
    for entry in entries:
        if isinstance(entry, str):
            found += parse_entries(entry, permissions=permissions)
        else:
            found.append(AclEntry(*entry))
    return tuple(found)


def _token(token: Token | str) -> Token:
    """A token, also as text. Raises TypeError, InvalidTokenError."""
    return token if isinstance(token, Token) else Token.from_url(text("token", token))
