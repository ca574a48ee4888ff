"""GETFILESTATUS and its kin: the attributes of one path."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from memfs.gateway.call import WebCall
from memfs.gateway.hadoop import shapes
from memfs.gateway.http.replies import HttpReply, json_reply
from memfs.types import Attributes, FileKind

_ACTION = re.compile("[r-][w-][x-]")


def etag(attributes: Attributes) -> str:
    """Changes whenever the inode does."""
    return f'"{attributes.inode:x}-{attributes.change:x}"'


def matches(header: str | None, tag: str, *, strong: bool = False) -> bool:
    """Does a header of tags name ``tag``? ``strong``, as for If-Match: weak ones do not count."""
    if not header:
        return False
    if header.strip() == "*":
        return True
    named = (each.strip() for each in header.split(","))
    return tag in (each if strong else each.removeprefix("W/") for each in named)


def not_modified(tag: str) -> HttpReply:
    """304."""
    reply = HttpReply(b"", 304)
    reply.headers[hdrs.ETAG] = tag
    return reply


async def look_up(call: WebCall, path: str = "", *, follow: bool = True) -> Attributes:
    """Attributes of a path. Raises PathNotFoundError."""
    return (
        await call.fs.stat(path or call.path, follow_symlinks=follow, timeout=call.deadline)
    ).attributes


async def get_file_status(call: WebCall) -> web.StreamResponse:
    """GETFILESTATUS."""
    return _status_reply(call, await look_up(call), "")


async def get_file_link_status(call: WebCall) -> web.StreamResponse:
    """GETFILELINKSTATUS: of a symlink itself."""
    attributes = await look_up(call, follow=False)
    target = ""
    if attributes.kind == FileKind.SYMLINK:
        target = await call.fs.readlink(call.path, timeout=call.deadline)
    return _status_reply(call, attributes, target)


def _status_reply(call: WebCall, attributes: Attributes, target: str) -> web.StreamResponse:
    tag = etag(attributes)
    if matches(call.request.headers.get(hdrs.IF_NONE_MATCH), tag):
        return not_modified(tag)
    reply = json_reply(call.request, shapes.file_status(attributes, target))
    reply.headers[hdrs.ETAG] = tag
    return reply


async def get_link_target(call: WebCall) -> web.StreamResponse:
    """GETLINKTARGET."""
    return json_reply(
        call.request, {"Path": await call.fs.readlink(call.path, timeout=call.deadline)}
    )


async def check_access(call: WebCall) -> web.StreamResponse:
    """CHECKACCESS."""
    call.parameters.required("fsaction", call.operation)
    action = call.parameters.matching("fsaction", _ACTION)
    mask = sum(bit for letter, bit in zip(action, (4, 2, 1), strict=True) if letter != "-")
    await call.fs.check_access(call.path, mask, timeout=call.deadline)
    return HttpReply()


GET = {
    "GETFILESTATUS": get_file_status,
    "GETFILELINKSTATUS": get_file_link_status,
    "GETLINKTARGET": get_link_target,
    "CHECKACCESS": check_access,
}
