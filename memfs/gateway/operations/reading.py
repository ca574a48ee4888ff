"""OPEN: a file's content, or a part of it.

Java's first OPEN is redirected, to the gateway beside the data where there is one; everybody else
is answered at once. Clients that speak HTTP well get Range, ETag and HEAD.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from memfs.client.calls import modes
from memfs.client.handles.handle import Handle
from memfs.errors import MemfsError
from memfs.gateway.call import WebCall
from memfs.gateway.hadoop.exceptions import IO, RemoteException
from memfs.gateway.http.outflow import CutOff, send
from memfs.gateway.http.redirects import to_second_step, wants_redirect
from memfs.gateway.http.replies import HttpReply, HttpStream
from memfs.gateway.operations.file_status import etag, matches, not_modified
from memfs.types import Member

READ: Final = modes.parse("rb")
_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)
_DIGITS: Final = 19
_BEYOND: Final = 1 << 63
SMALL_BYTES: Final = 128 * 1024
"""Up to here content travels with its headers."""


class ByteRange(NamedTuple):
    """The bytes to send, and the HTTP status."""

    start: int
    end: int
    status: int = 200


async def open_file(call: WebCall) -> web.StreamResponse:
    """OPEN."""
    if wants_redirect(call):
        found, holders = await call.fs.first_holders(call.path, timeout=call.deadline)
        _check_offset(call, found.st_size)
        return to_second_step(call, _gateway_of(call, holders))
    handle = await call.fs.open_handle(call.path, READ, timeout=call.deadline)
    try:
        return await _answer(call, handle)
    finally:
        await handle.close()


def _gateway_of(call: WebCall, holders: tuple[Member, ...]) -> str:
    """The base URL of a gateway on a host of ``holders``, "": this one."""
    if any(call.session.known.is_local(holder.number) for holder in holders):
        return ""
    excluded = call.parameters.text("excludedatanodes").split(",")
    return call.shared.peers.at_one_of(holders, excluded)


async def _answer(call: WebCall, handle: Handle) -> web.StreamResponse:
    request, tag = call.request, etag(handle.file.attributes)
    if matches(request.headers.get(hdrs.IF_NONE_MATCH), tag):
        return not_modified(tag)
    extent = _extent(call, handle.size, tag)
    if extent is None:
        reply = HttpReply(b"", 416)
        reply.headers[hdrs.CONTENT_RANGE] = f"bytes */{handle.size}"
        return reply
    headers = {hdrs.ETAG: tag, hdrs.ACCEPT_RANGES: "bytes"}
    if extent.status == 206:
        headers[hdrs.CONTENT_RANGE] = f"bytes {extent.start}-{extent.end - 1}/{handle.size}"
    if request.method != hdrs.METH_HEAD and extent.end - extent.start <= SMALL_BYTES:
        small = await handle.read(extent.start, extent.end - extent.start, call.deadline)
        reply = HttpReply(small, extent.status)
        reply.headers.update(headers)
        return reply
    stream = HttpStream(extent.end - extent.start, extent.status)
    stream.headers.update(headers)
    await stream.prepare(request)
    if request.method != hdrs.METH_HEAD:
        await _send(call, stream, handle, extent)
    return stream


async def _send(call: WebCall, stream: HttpStream, handle: Handle, extent: ByteRange) -> None:
    shared = call.shared
    shared.streams += 1
    try:
        await send(
            stream,
            call.request,
            handle,
            extent.start,
            extent.end,
            shared.buffers,
            shared.config.send_idle_seconds,
        )
        await stream.write_eof()
    except (CutOff, TimeoutError, MemfsError):
        if call.request.transport is not None:
            call.request.transport.abort()
        raise
    finally:
        shared.streams -= 1


def _check_offset(call: WebCall, size: int) -> int:
    offset = call.parameters.whole("offset", 0, 0)
    if offset > size:
        text = f"Offset={offset} out of the range [0, {size}); {call.operation}, path={call.path}"
        raise RemoteException(IO, text)
    return offset


def _extent(call: WebCall, size: int, tag: str) -> ByteRange | None:
    """The range of ``offset`` and ``length``, else that of the Range header; None: it is beyond the
    end."""
    offset = _check_offset(call, size)
    length = call.parameters.whole("length", -1, 0)
    if "offset" in call.parameters or length >= 0:
        return ByteRange(offset, size if length < 0 else min(size, offset + length))
    headers = call.request.headers
    if headers.get(hdrs.IF_RANGE, tag).strip() != tag:  # one tag, a strong one
        return ByteRange(0, size)
    return byte_range(headers.get(hdrs.RANGE, ""), size)


def byte_range(header: str, size: int) -> ByteRange | None:
    """The range that a Range header names in ``size`` bytes, all of them when it is malformed;
    None: beyond the end."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return ByteRange(0, size)
    return _ranged(found[1], found[2], size)


def _ranged(first: str, last: str, size: int) -> ByteRange | None:
    if not first:
        start, end = max(0, size - _number(last)), size
    else:
        start, end = _number(first), min(size, _number(last) + 1) if last else size
        if last and _number(last) < start:
            return ByteRange(0, size)  # no range at all, says RFC 9110
    return ByteRange(start, end, 206) if start < end else None


def _number(digits: str) -> int:
    """As it is, or beyond every file: of any length, for the grammar has no bound."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else _BEYOND


GET = {"OPEN": open_file}
