"""A node's audit log: requests and handshakes of clients, as decisions.

Owns which requests are logged, how many lines each takes (a batch: one per file), and what a line
says. Block requests are not logged: the primary decides who may read or write a file. Neither are
requests that were not decided, because the node is busy or not the primary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from memfs.audit import Audit, Decision, verdict
from memfs.errors import BY_CODE, PathNotFoundError, RetryableError
from memfs.node.namespace.rules.named import named_paths
from memfs.node.namespace.rules.refusals import BY_INODE
from memfs.protocol import messages as m
from memfs.transport.connection import Peer
from memfs.transport.service import IncomingCall, Reply
from memfs.types import ROOT_INODE

_POLLS: Final = frozenset(
    {
        m.Authorize,
        m.AwaitLock,
        m.CheckGrowth,
        m.ReleaseInodes,
        m.ReportOpens,
        m.ReserveInodes,
        m.StatFileSystem,
        m.TakeOver,
        m.Watch,
    }
)
"""Requests of clients that are not logged: they concern no file, or follow one that was logged."""
_NAMESPACE: Final = range(64, 192)
_PAIRS: Final = (m.Rename, m.MakeLink)
_AUDITED: Final = frozenset(
    kind
    for kind, spec in m.BY_REQUEST.items()
    if spec.peer or spec.privileged or (spec.opcode in _NAMESPACE and kind not in _POLLS)
)


class RequestAudit:
    """Tells an :class:`~memfs.audit.Audit` what became of the requests of clients."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    @property
    def on(self) -> bool:
        """Is anything written at all?"""
        return self._audit.denied

    def answered(self, call: IncomingCall[object], result: object) -> None:
        """A request was carried out; ``result``: its reply."""
        if not self._concerns(call):
            return
        record = result.record if type(result) is Reply else result
        codes = _codes(record)
        if codes is None:
            if self._audit.allowed:
                self._write(call, *verdict(None), _paths(call.request))
            return
        for (base, path), code in zip(named_paths(call.request), codes, strict=False):
            self._write(call, *_verdict_of(code), [_shown(base, path)])

    def failed(self, call: IncomingCall[object], error: BaseException) -> None:
        """A request was refused, or could not be carried out."""
        if self._concerns(call) and not isinstance(error, RetryableError):
            self._write(call, *verdict(error), _paths(call.request))

    def greeted(self, peer: Peer, claimed: str, error: BaseException | None = None) -> None:
        """Somebody, by their word ``claimed``, was admitted or turned away."""
        if not self.on or isinstance(error, RetryableError):
            return
        if error is None and peer.role == m.Role.NODE:
            return
        user = peer.identity.user if error is None else claimed
        account = peer.account
        self._audit.write(
            Decision(user, account.address, "Hello", *verdict(error), real_user=_real(peer))
        )

    def _concerns(self, call: IncomingCall[object]) -> bool:
        return (
            self.on and type(call.request) in _AUDITED and call.connection.peer.role != m.Role.NODE
        )

    def _write(
        self, call: IncomingCall[object], allowed: bool, result: str, paths: list[str]
    ) -> None:
        peer = call.connection.peer
        self._audit.write(
            Decision(
                peer.identity.user,
                peer.account.address,
                type(call.request).__name__,
                allowed,
                result,
                paths[0] if paths else "",
                _target(call.request, paths),
                _real(peer),
            )
        )


def _real(peer: Peer) -> str:
    """The user who proved their identity and speaks for another one; empty: they speak for
    themselves."""
    proven = peer.principal
    if proven is None:
        return ""
    return proven.name if proven.name != peer.identity.user else proven.real_user


def _codes(record: object) -> Iterator[int] | None:
    """The error code of each file of a batch, 0: none. None: it is no batch."""
    if type(record) is m.ReadFilesReply:
        return (file.code for file in record.files)
    if type(record) is m.ReadManyReply:
        others = iter(record.others)
        return (next(others).code if length < 0 else 0 for length in record.lengths)
    if isinstance(record, m.PutFilesReply | m.UnlinkManyReply):
        return (each.code for each in record.results)
    if type(record) is m.LookupManyReply:
        return (0 if each is not None else _ABSENT for each in record.attributes)
    return None


_ABSENT: Final = PathNotFoundError.code
"""PathNotFoundError: what may not be seen is answered so in a batch."""


def _verdict_of(code: int) -> tuple[bool, str]:
    kind = BY_CODE.get(code)
    return verdict(kind("") if kind is not None else None)


def _paths(request: object) -> list[str]:
    """What a request names, as paths; a file that is named by its number is shown so."""
    named = [_shown(base, path) for base, path in named_paths(request)]
    inode = getattr(request, "inode", 0)
    return named or ([f"{BY_INODE}{inode}"] if inode else [])


def _target(request: object, paths: list[str]) -> str:
    """The second path of what has two; whom a command about users concerns."""
    if isinstance(request, _PAIRS):
        return paths[1]
    if isinstance(request, m.ChangeGroups):
        return f"{request.group}: {', '.join(request.users)}"
    if isinstance(request, m.SetLimit):
        return f"{request.name} of {request.user or 'everybody'}: {request.value}"
    if isinstance(request, m.AddUserKey | m.RemoveUserKey):
        return request.user
    if isinstance(request, m.IssueToken):
        return request.owner
    return ""


def _shown(base: int, path: bytes) -> str:
    text = path.decode("utf-8", "backslashreplace")
    if base == ROOT_INODE:
        return f"/{text.lstrip('/')}"
    return f"{BY_INODE}{base}/{text}" if text else f"{BY_INODE}{base}"
