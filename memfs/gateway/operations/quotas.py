"""GETCONTENTSUMMARY, GETQUOTAUSAGE, SETQUOTA: totals of a tree, and their limits."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from memfs.errors import NotDirectoryError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop import shapes
from memfs.gateway.hadoop.exceptions import NOT_DIRECTORY, RemoteException
from memfs.gateway.hadoop.parameters import illegal
from memfs.gateway.http.replies import HttpReply, json_reply
from memfs.gateway.operations.file_status import look_up
from memfs.types import FileKind

_LEAVE: Final = (1 << 63) - 1
"""Hadoop's way to leave a quota as it is."""
_CLEAR: Final = -1


async def get_content_summary(call: WebCall) -> web.StreamResponse:
    """GETCONTENTSUMMARY."""
    return json_reply(
        call.request,
        shapes.content_summary(*await call.fs.summarise(call.path, timeout=call.deadline)),
    )


async def get_quota_usage(call: WebCall) -> web.StreamResponse:
    """GETQUOTAUSAGE."""
    return json_reply(
        call.request, shapes.quota_usage(*await call.fs.summarise(call.path, timeout=call.deadline))
    )


async def set_quota(call: WebCall) -> web.StreamResponse:
    """SETQUOTA: of names, of space, or both."""
    names = _quota(call, "namespacequota")
    space = _quota(call, "storagespacequota")
    if names is None and space is None:
        raise illegal("Illegal value for nsQuota or dsQuota: nothing is to be set")
    if (await look_up(call)).kind != FileKind.DIRECTORY:
        raise RemoteException(NOT_DIRECTORY, f"`{call.path}': Is not a directory")
    try:
        await call.fs.set_quota(call.path, names=names, space=space, timeout=call.deadline)
    except NotDirectoryError:
        raise RemoteException(NOT_DIRECTORY, f"`{call.path}': Is not a directory") from None
    return HttpReply()


def _quota(call: WebCall, name: str) -> int | None:
    value = call.parameters.whole(name, _LEAVE, _CLEAR)
    if value == 0:
        raise illegal(f"Illegal value for {name}: 0")
    return None if value == _LEAVE else value


GET = {"GETCONTENTSUMMARY": get_content_summary, "GETQUOTAUSAGE": get_quota_usage}
PUT = {"SETQUOTA": set_quota}
