"""How extended attributes travel: small values in the record, others beside it. Pure."""

from __future__ import annotations

from memfs import limits
from memfs.protocol import messages as m
from memfs.types import Buffer


def split_value(request: m.SetXattr) -> tuple[m.SetXattr, tuple[bytes, ...]]:
    """The request as it is sent, and its payload."""
    if len(request.value) <= limits.XATTRS_IN_RECORD_BYTES:
        return request, ()
    return request._replace(value=b""), (request.value,)


def values(reply: m.XattrsReply, payload: Buffer) -> dict[str, bytes]:
    """What an answer tells, by name."""
    if not reply.lengths:
        return {each.name: each.value for each in reply.xattrs}
    found, at = {}, 0
    for each, length in zip(reply.xattrs, reply.lengths, strict=True):
        found[each.name] = bytes(memoryview(payload)[at : at + length])
        at += length
    return found
