"""SETPERMISSION, SETOWNER, SETTIMES, SETREPLICATION: what can be set of an inode."""

from __future__ import annotations

import asyncio

from aiohttp import web

from memfs import limits
from memfs.client.calls.deadline import seconds_left
from memfs.errors import PathNotFoundError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop.parameters import illegal
from memfs.gateway.http.replies import HttpReply, is_java
from memfs.gateway.operations.file_status import look_up
from memfs.gateway.operations.names import boolean
from memfs.types import FileKind

_UNCHANGED = -1
_MILLISECOND = 1_000_000
_REPLICATION_WORD = 32_767
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between looks for a file whose upload is on its way, perhaps at another gateway."""


async def set_permission(call: WebCall) -> web.StreamResponse:
    """SETPERMISSION: 755 when none is given.

    Spark sends it for its event log as soon as it has written the head of the upload, on another
    connection: the file may be a moment younger than the request.
    """
    permission = call.parameters.permission(0o755)
    for pause in _PAUSES if is_java(call.request) else ():
        try:
            await call.fs.chmod(call.path, permission, timeout=call.deadline)
            return HttpReply()
        except PathNotFoundError:
            await asyncio.sleep(min(pause, seconds_left(call.deadline) or 0.0))
    await call.fs.chmod(call.path, permission, timeout=call.deadline)
    return HttpReply()


async def set_owner(call: WebCall) -> web.StreamResponse:
    """SETOWNER: owner, group or both."""
    owner, group = call.parameters.text("owner"), call.parameters.text("group")
    if not owner and not group:
        raise illegal("Both owner and group are empty.")
    await call.fs.chown(call.path, owner or None, group or None, timeout=call.deadline)
    return HttpReply()


async def set_times(call: WebCall) -> web.StreamResponse:
    """SETTIMES, milliseconds; -1 leaves one alone. As in HDFS, whoever may write may do it."""
    modified = call.parameters.whole("modificationtime", _UNCHANGED, _UNCHANGED)
    accessed = call.parameters.whole("accesstime", _UNCHANGED, _UNCHANGED)
    await call.fs.set_times(
        call.path,
        modified_ns=None if modified == _UNCHANGED else modified * _MILLISECOND,
        accessed_ns=None if accessed == _UNCHANGED else accessed * _MILLISECOND,
        timeout=call.deadline,
    )
    return HttpReply()


async def set_replication(call: WebCall) -> web.StreamResponse:
    """SETREPLICATION: false for what is no file."""
    wanted = call.parameters.whole("replication", 1, 1, _REPLICATION_WORD)
    try:
        found = await look_up(call)
        if found.kind != FileKind.FILE:
            return boolean(call, False)
    except PathNotFoundError:
        return boolean(call, False)
    if wanted > limits.REPLICAS_MAX:
        text = f"Requested replication factor of {wanted} exceeds maximum of {limits.REPLICAS_MAX}"
        raise illegal(f"{text} for {call.path}")
    await call.fs.set_replication(call.path, wanted, timeout=call.deadline)
    return boolean(call, True)


PUT = {
    "SETPERMISSION": set_permission,
    "SETOWNER": set_owner,
    "SETTIMES": set_times,
    "SETREPLICATION": set_replication,
}
