"""LISTSTATUS and LISTSTATUS_BATCH. A directory of any size is sent page by page."""

from __future__ import annotations

from aiohttp import web

from memfs import limits, paths
from memfs.errors import PathNotFoundError
from memfs.gateway import shapes
from memfs.gateway.call import Call
from memfs.gateway.exceptions import FILE_NOT_FOUND, Refusal
from memfs.gateway.replies import json_reply, json_stream
from memfs.protocol import messages as m
from memfs.types import DirectoryEntry, FileKind


async def list_status(call: Call) -> web.StreamResponse:
    """LISTSTATUS."""
    page = await _page(call, b"")
    statuses = await _statuses(call, page)
    if not page.remaining:
        return json_reply(call.request, shapes.listing(statuses))
    return await _stream(call, page, statuses)


async def list_status_batch(call: Call) -> web.StreamResponse:
    """LISTSTATUS_BATCH: one page after a name."""
    page = await _page(call, call.parameters.text("startafter").encode())
    statuses = await _statuses(call, page)
    return json_reply(call.request, shapes.partial_listing(statuses, page.remaining))


async def _page(call: Call, after: bytes) -> m.ListReply:
    try:
        request = m.List(call.raw, after, limits.ENTRIES_PER_PAGE)
        reply: m.ListReply = await call.ask(request)
    except PathNotFoundError:
        raise Refusal(FILE_NOT_FOUND, f"File {call.path} does not exist.") from None
    return reply


async def _stream(call: Call, page: m.ListReply, statuses: list[str]) -> web.StreamResponse:
    """A response in chunks, a page each; cut off when a later page cannot be had."""
    stream = json_stream(call.request)
    await stream.prepare(call.request)
    before, after = shapes.LISTING
    await stream.write((before + ",".join(statuses)).encode())
    while page.remaining:
        page = await _page(call, page.entries[-1].name)
        if page.entries:
            await stream.write(("," + ",".join(await _statuses(call, page))).encode())
    await stream.write_eof(after.encode())
    return stream


async def _statuses(call: Call, page: m.ListReply) -> list[str]:
    """Every entry as JSON; a file lists itself under an empty name."""
    return [
        shapes.status_text(entry.attributes, paths.decode(entry.name), await _target(call, entry))
        for entry in page.entries
    ]


async def _target(call: Call, entry: DirectoryEntry) -> str:
    """Where an entry points, for a symlink."""
    if entry.attributes.kind != FileKind.SYMLINK:
        return ""
    try:
        return await call.fs.readlink(paths.join(call.path, paths.decode(entry.name)))
    except (PathNotFoundError, ValueError):  # replaced since
        return ""


GET = {"LISTSTATUS": list_status, "LISTSTATUS_BATCH": list_status_batch}
