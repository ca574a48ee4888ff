"""GETFILESTATUS and its kin: what is known of one path."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from memfs.errors import AccessDeniedError
from memfs.gateway import shapes
from memfs.gateway.call import Call
from memfs.gateway.exceptions import ACCESS_CONTROL, Refusal
from memfs.gateway.replies import Reply, json_reply
from memfs.protocol import messages as m
from memfs.types import Attributes, FileKind

_ACTION = re.compile("[r-][w-][x-]")


def etag(attributes: Attributes) -> str:
    """Changes whenever the inode does."""
    return f'"{attributes.inode:x}-{attributes.change:x}"'


def matches(header: str | None, tag: str) -> bool:
    """Does an If-None-Match or If-Match header name ``tag``?"""
    if not header:
        return False
    return header.strip() == "*" or tag in (
        each.strip().removeprefix("W/") for each in header.split(",")
    )


def not_modified(tag: str) -> Reply:
    """304."""
    reply = Reply(b"", 304)
    reply.headers[hdrs.ETAG] = tag
    return reply


async def look_up(call: Call, path: str = "", *, follow: bool = True) -> Attributes:
    """Attributes of a path. Raises PathNotFoundError."""
    raw = path.encode() if path else call.raw
    reply: m.LookupReply = await call.ask(m.Lookup(raw, follow), path)
    return reply.attributes


async def get_file_status(call: Call) -> web.StreamResponse:
    """GETFILESTATUS."""
    return _status_reply(call, await look_up(call), "")


async def get_file_link_status(call: Call) -> web.StreamResponse:
    """GETFILELINKSTATUS: of a symlink itself."""
    attributes = await look_up(call, follow=False)
    target = ""
    if attributes.kind == FileKind.SYMLINK:
        target = await call.fs.readlink(call.path)
    return _status_reply(call, attributes, target)


def _status_reply(call: Call, attributes: Attributes, target: str) -> web.StreamResponse:
    tag = etag(attributes)
    if matches(call.request.headers.get(hdrs.IF_NONE_MATCH), tag):
        return not_modified(tag)
    reply = json_reply(call.request, shapes.file_status(attributes, target))
    reply.headers[hdrs.ETAG] = tag
    return reply


async def get_link_target(call: Call) -> web.StreamResponse:
    """GETLINKTARGET."""
    return json_reply(call.request, {"Path": await call.fs.readlink(call.path)})


async def check_access(call: Call) -> web.StreamResponse:
    """CHECKACCESS."""
    call.parameters.required("fsaction", call.operation)
    action = call.parameters.matching("fsaction", _ACTION)
    mask = sum(bit for letter, bit in zip(action, (4, 2, 1), strict=True) if letter != "-")
    try:
        await call.ask(m.Access(call.raw, mask))
    except AccessDeniedError:
        text = f'Permission denied: user={call.principal.user}, access={action}, path="{call.path}"'
        raise Refusal(ACCESS_CONTROL, text) from None
    return Reply()


GET = {
    "GETFILESTATUS": get_file_status,
    "GETFILELINKSTATUS": get_file_link_status,
    "GETLINKTARGET": get_link_target,
    "CHECKACCESS": check_access,
}
