"""If-Match and If-None-Match (RFC 9110, 13.1): what a client has seen must still be there.

A representation is what is at a path; its tag changes whenever the inode does. Checked before the
operation; CREATE checks again in the command that commits and APPEND under its lease: no update is
lost between.
"""

from __future__ import annotations

from aiohttp import hdrs

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

    If-None-Match of a reading operation is its own business: it answers 304.
    """
    headers = call.request.headers
    excluding = headers.get(hdrs.IF_NONE_MATCH) if call.request.method not in _READING else None
    if hdrs.IF_MATCH not in headers and not excluding:
        return
    found = await _current(call)
    check_match(call, found)
    if excluding and found is not None and matches(excluding, etag(found)):
        raise failed(call, "what If-None-Match names already exists", EXISTS)


def check_match(call: WebCall, found: Attributes | None) -> None:
    """The same for If-Match alone, of what was found."""
    wanted = call.request.headers.get(hdrs.IF_MATCH)
    if wanted is None:
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
