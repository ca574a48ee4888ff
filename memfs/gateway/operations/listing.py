"""LISTSTATUS and LISTSTATUS_BATCH. A directory of any size is sent page by page."""

from __future__ import annotations

import logging
from typing import NamedTuple, TypeVar

from aiohttp import web

from memfs import paths
from memfs.errors import AccessDeniedError, PathNotFoundError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop import shapes
from memfs.gateway.hadoop.exceptions import FILE_NOT_FOUND, RemoteException
from memfs.gateway.http.replies import is_java, json_reply, json_stream
from memfs.types import DirectoryEntry, FileKind

log = logging.getLogger(__name__)
T = TypeVar("T", bound=web.StreamResponse)


HIDDEN_HEADER = "X-Memfs-Hidden"
"""How many entries of the (first) page were left out."""
_READ_AND_SEARCH = 0o5
_UNREADABLE = b":"
"""Java's Path parses the part before it as a scheme: one such name breaks the whole listing."""


class ListingPage(NamedTuple):
    """Entries as JSON, in order."""

    statuses: list[str]
    last: bytes
    remaining: int
    hidden: int


async def list_status(call: WebCall) -> web.StreamResponse:
    """LISTSTATUS."""
    page = await _page(call, b"")
    if page.remaining:
        return await _stream(call, page)
    return _tell(json_reply(call.request, shapes.listing(page.statuses)), page)


async def list_status_batch(call: WebCall) -> web.StreamResponse:
    """LISTSTATUS_BATCH: one page after a name; an empty one is the end to Hadoop."""
    page = await _page(call, call.parameters.text("startafter").encode())
    hidden = page.hidden
    while page.remaining and not page.statuses:
        page = await _page(call, page.last)
        hidden += page.hidden
    reply = json_reply(call.request, shapes.partial_listing(page.statuses, page.remaining))
    return _tell(reply, page._replace(hidden=hidden))


async def _page(call: WebCall, after: bytes) -> ListingPage:
    """The page after a name, for Hadoop's client without the names that it cannot parse."""
    try:
        listed = await call.fs.list_page(call.path, after, timeout=call.deadline)
    except PathNotFoundError:
        raise RemoteException(FILE_NOT_FOUND, f"File {call.path} does not exist.") from None
    except AccessDeniedError:
        await call.fs.check_access(
            call.path, _READ_AND_SEARCH, timeout=call.deadline
        )  # says what HDFS says
        raise
    if after and not listed.entries and not await call.fs.isdir(call.path, timeout=call.deadline):
        return await _page(call, b"")  # a file lists itself, whatever it is asked to follow
    shown = list(listed.entries)
    if not shown or not shown[0].attributes.owner:
        # Read permission suffices for the names, or there are none. HDFS wants both.
        await call.fs.check_access(call.path, _READ_AND_SEARCH, timeout=call.deadline)
    if is_java(call.request):
        shown = [entry for entry in shown if _UNREADABLE not in entry.name]
    hidden = len(listed.entries) - len(shown)
    if hidden:
        call.shared.hidden_names += hidden
        log.warning("%s: %d names with ':' are hidden from Hadoop", call.path, hidden)
    last = listed.entries[-1].name if listed.entries else b""
    return ListingPage(
        [await _status(call, entry) for entry in shown], last, listed.remaining, hidden
    )


def _tell(reply: T, page: ListingPage) -> T:
    if page.hidden:
        reply.headers[HIDDEN_HEADER] = str(page.hidden)
    return reply


async def _stream(call: WebCall, page: ListingPage) -> web.StreamResponse:
    """A response in chunks, a page each; cut off when a later page cannot be read."""
    stream = _tell(json_stream(call.request), page)
    await stream.prepare(call.request)
    before, after = shapes.LISTING
    await stream.write(before.encode())
    separator = ""
    while True:
        if page.statuses:
            await stream.write((separator + ",".join(page.statuses)).encode())
            separator = ","
        call.progressed()
        if not page.remaining:
            break
        page = await _page(call, page.last)
    await stream.write_eof(after.encode())
    return stream


async def _status(call: WebCall, entry: DirectoryEntry) -> str:
    """An entry as JSON; a file lists itself under an empty name."""
    name = paths.decode(entry.name)
    return shapes.status_text(entry.attributes, name, await _target(call, entry))


async def _target(call: WebCall, entry: DirectoryEntry) -> str:
    """The target of an entry that is a symlink."""
    if entry.attributes.kind != FileKind.SYMLINK:
        return ""
    try:
        return await call.fs.readlink(
            paths.join(call.path, paths.decode(entry.name)), timeout=call.deadline
        )
    except (PathNotFoundError, ValueError):  # replaced since
        return ""


GET = {"LISTSTATUS": list_status, "LISTSTATUS_BATCH": list_status_batch}
