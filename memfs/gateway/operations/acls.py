"""GETACLSTATUS, SETACL and the others: access control lists, which the namespace enforces.

Hadoop leaves out what the mode bits say: the owner, others, and the mask, which is what the group
bits are where there is a list. The group's own entry is told only there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from memfs.errors import InvalidArgumentError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop.exceptions import ACL, RemoteException
from memfs.gateway.http.replies import HttpReply, json_reply
from memfs.security.acls import format_entry, minimal
from memfs.types import AclEntry, AclKind

_ENTRY: Final = r"(default:)?(user|group|mask|other):[^:,]*:([rwx-]{3})?"
_SPEC: Final = re.compile(f"{_ENTRY}(,{_ENTRY})*,?")


def told(entries: tuple[AclEntry, ...]) -> list[str]:
    """The entries that Hadoop wants to see."""
    access = [entry for entry in entries if not entry.default]
    shown = [] if minimal(access) else [entry for entry in access if _is_told(entry)]
    shown += [entry for entry in entries if entry.default]
    return [format_entry(entry) for entry in shown]


def _is_told(entry: AclEntry) -> bool:
    return bool(entry.name) or entry.kind == AclKind.GROUP


async def get_acl_status(call: WebCall) -> web.StreamResponse:
    """GETACLSTATUS."""
    found = await call.fs.get_acl(call.path, timeout=call.deadline)
    content: dict[str, object] = {
        "entries": told(found.entries),
        "group": found.group,
        "owner": found.owner,
        "permission": f"{found.mode & 0o1777:o}",
        "stickyBit": bool(found.mode & 0o1000),
    }
    return json_reply(call.request, {"AclStatus": content})


async def set_acl(call: WebCall) -> web.StreamResponse:
    """SETACL: these entries instead of those of their scope."""
    return await _change(call, call.fs.set_acl)


async def modify_acl_entries(call: WebCall) -> web.StreamResponse:
    """MODIFYACLENTRIES: add these, or replace those about the same."""
    return await _change(call, call.fs.modify_acl)


async def remove_acl_entries(call: WebCall) -> web.StreamResponse:
    """REMOVEACLENTRIES: permissions are not looked at."""
    return await _change(call, call.fs.remove_acl_entries)


async def remove_default_acl(call: WebCall) -> web.StreamResponse:
    """REMOVEDEFAULTACL."""
    await call.fs.remove_default_acl(call.path, timeout=call.deadline)
    return HttpReply()


async def remove_acl(call: WebCall) -> web.StreamResponse:
    """REMOVEACL: everything but what the mode bits say."""
    await call.fs.remove_acl(call.path, timeout=call.deadline)
    return HttpReply()


async def _change(call: WebCall, change: Callable[..., Awaitable[None]]) -> web.StreamResponse:
    call.parameters.required("aclspec", call.operation)
    text = call.parameters.matching("aclspec", _SPEC)
    try:
        await change(call.path, text, timeout=call.deadline)
    except InvalidArgumentError as error:
        raise RemoteException(ACL, f"Invalid ACL: {error.message}") from None
    return HttpReply()


GET = {"GETACLSTATUS": get_acl_status}
PUT = {
    "SETACL": set_acl,
    "MODIFYACLENTRIES": modify_acl_entries,
    "REMOVEACLENTRIES": remove_acl_entries,
    "REMOVEDEFAULTACL": remove_default_acl,
    "REMOVEACL": remove_acl,
}
