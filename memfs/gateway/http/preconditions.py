"""If-Match, If-None-Match, If-Unmodified-Since (RFC 9110, 13.1): the file is still as the client
saw it.

A representation is what is at a path; its tag changes whenever the inode does, its date is the
modification time. Checked before the operation; CREATE checks again in the command that commits
and APPEND under its lease: no update is lost between.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from memfs.errors import NotDirectoryError, PathNotFoundError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop.exceptions import EXISTS, IO, JavaException, RemoteException
from memfs.gateway.operations.file_status import etag, look_up, matches
from memfs.types import Attributes

_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_OF_THE_NAME = frozenset({"DELETE", "RENAME", "GETFILELINKSTATUS", "GETLINKTARGET"})
"""Operations on a symlink itself."""


async def check_conditions(call: WebCall) -> None:
    """Raises RemoteException (412) when the request is conditional and the condition does not hold.

    Reading operations handle If-None-Match themselves: they answer 304.
    """
    headers = call.request.headers
    excluding = headers.get(hdrs.IF_NONE_MATCH) if call.request.method not in _READING else None
    if not wants_unchanged(call.request) and not excluding:
        return
    found = await _current(call)
    check_match(call, found)
    if excluding and found is not None and matches(excluding, etag(found)):
        raise failed(call, "what If-None-Match names already exists", EXISTS)


def wants_unchanged(request: web.BaseRequest) -> bool:
    """Whether the request requires the state that the client knows. A malformed date is ignored."""
    return hdrs.IF_MATCH in request.headers or request.if_unmodified_since is not None


def check_match(call: WebCall, found: Attributes | None) -> None:
    """Check If-Match, else If-Unmodified-Since, against what was found."""
    wanted = call.request.headers.get(hdrs.IF_MATCH)
    if wanted is None:
        since = call.request.if_unmodified_since
        if (
            found is not None
            and since is not None
            and found.modified_ns // 10**9 > int(since.timestamp())
        ):
            raise failed(call, f"it was modified after {since:%Y-%m-%d %H:%M:%S} UTC")
        return
    if found is None or not matches(wanted, etag(found), strong=True):
        raise failed(call, "it is not what If-Match names (any more)")


def failed(call: WebCall, why: str, kind: JavaException = IO) -> RemoteException:
    """412."""
    return RemoteException(kind, f"Precondition failed for {call.path}: {why}", 412)


async def _current(call: WebCall) -> Attributes | None:
    try:
        return await look_up(call, follow=call.operation not in _OF_THE_NAME)
    except (PathNotFoundError, NotDirectoryError):
        return None
