"""GETCONTENTSUMMARY, GETQUOTAUSAGE, SETQUOTA: totals of a tree, and their limits."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from memfs.errors import NotDirectoryError
from memfs.gateway import shapes
from memfs.gateway.call import Call
from memfs.gateway.exceptions import NOT_DIRECTORY, Refusal
from memfs.gateway.parameters import illegal
from memfs.gateway.replies import Reply, json_reply
from memfs.gateway.status import look_up
from memfs.protocol import messages as m
from memfs.types import FileKind

_LEAVE: Final = (1 << 63) - 1
"""Hadoop's way to leave a quota as it is."""
_CLEAR: Final = -1


async def get_content_summary(call: Call) -> web.StreamResponse:
    """GETCONTENTSUMMARY."""
    reply: m.SummaryReply = await call.ask(m.Summarise(call.raw))
    content = shapes.content_summary(reply.summary, reply.names_quota, reply.space_quota)
    return json_reply(call.request, content)


async def get_quota_usage(call: Call) -> web.StreamResponse:
    """GETQUOTAUSAGE."""
    reply: m.SummaryReply = await call.ask(m.Summarise(call.raw))
    content = shapes.quota_usage(reply.summary, reply.names_quota, reply.space_quota)
    return json_reply(call.request, content)


async def set_quota(call: Call) -> web.StreamResponse:
    """SETQUOTA: of names, of space, or both."""
    names = _quota(call, "namespacequota")
    space = _quota(call, "storagespacequota")
    if names is None and space is None:
        raise illegal("Illegal value for nsQuota or dsQuota: nothing is to be set")
    if (await look_up(call)).kind != FileKind.DIRECTORY:
        raise Refusal(NOT_DIRECTORY, f"`{call.path}': Is not a directory")
    try:
        await call.ask(m.SetQuota(call.raw, names, space))
    except NotDirectoryError:
        raise Refusal(NOT_DIRECTORY, f"`{call.path}': Is not a directory") from None
    return Reply()


def _quota(call: Call, name: str) -> int | None:
    value = call.parameters.whole(name, _LEAVE, _CLEAR)
    if value == 0:
        raise illegal(f"Illegal value for {name}: 0")
    return None if value == _LEAVE else value


GET = {"GETCONTENTSUMMARY": get_content_summary, "GETQUOTAUSAGE": get_quota_usage}
PUT = {"SETQUOTA": set_quota}
