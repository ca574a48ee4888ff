"""The fixed header of every frame: ``header | record | payload``.

Owns the 44 bytes in front and nothing else: the record is ``memfs.protocol.records``'s, the
payload is raw. A header is checked (magic, version, CRC, limits) before anything is allocated.

============== ====== ===== =========================================================
field          offset bytes meaning
============== ====== ===== =========================================================
magic               0     2 ``MF``
version             2     1 protocol version, 1
flags               3     1 :class:`Flag` bits
opcode              4     2 what the record is (``memfs.protocol.messages``)
reserved            6     2 zero
request id          8     8 chosen by the sender of the request, echoed by the reply
epoch              16     8 the sender's epoch when the operation began
timeout            24     4 milliseconds left for the request, 0: no limit (requests only)
record length      28     4 at most 64 KiB
payload length     32     4 at most 64 MiB
record CRC         36     4 CRC32C of the record's bytes
header CRC         40     4 CRC32C of bytes 0..39
============== ====== ===== =========================================================

All integers are unsigned and big-endian.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from memfs import limits
from memfs.checksum import crc32c
from memfs.errors import ProtocolError
from memfs.types import Buffer

MAGIC: Final = b"MF"
VERSION_MIN: Final = 1
VERSION_MAX: Final = 1

_LAYOUT: Final = struct.Struct(">2sBBHHQQIIII")
_CRC: Final = struct.Struct(">I")
HEADER_BYTES: Final = _LAYOUT.size + _CRC.size
# The same bytes for reading: those that never vary, and the fields of Header.
_FIXED: Final = struct.Struct(">2sB3xH")
_FIXED_VALUES: Final = (MAGIC, VERSION_MAX, 0)
_FIELDS: Final = struct.Struct(">3xBH2xQQIIIII")
assert VERSION_MIN == VERSION_MAX, "several versions cannot be compared with one value"
assert _FIELDS.size == HEADER_BYTES
assert HEADER_BYTES == 44


class Flag(enum.IntFlag):
    """Bits of the header's ``flags``."""

    REPLY = 1
    """An answer; its opcode is the request's."""
    ERROR = 2
    """With REPLY: the record is an ``ErrorReply``."""


REQUEST: Final = 0
REPLY: Final = int(Flag.REPLY)
ERROR: Final = int(Flag.REPLY | Flag.ERROR)
_FLAGS: Final = frozenset((REQUEST, REPLY, ERROR))


class FrameHeader(NamedTuple):
    """A decoded header."""

    flags: int
    opcode: int
    request_id: int
    epoch: int
    timeout_ms: int
    record_length: int
    payload_length: int
    record_crc: int
    crc: int
    """Of the header itself."""


_make_header: Final[Callable[[Iterable[int]], FrameHeader]] = functools.partial(
    tuple.__new__, FrameHeader
)


def pack_frame(
    flags: int,
    opcode: int,
    request_id: int,
    epoch: int,
    timeout_ms: int,
    record: bytes,
    payload_length: int = 0,
    version: int = VERSION_MAX,
) -> bytes:
    """Header and record as one buffer; the payload follows it on the wire."""
    assert len(record) <= limits.RECORD_BYTES, f"a record of {len(record)} bytes"
    assert payload_length <= limits.PAYLOAD_BYTES, f"a payload of {payload_length} bytes"
    head = _LAYOUT.pack(
        MAGIC,
        version,
        flags,
        opcode,
        0,
        request_id,
        epoch,
        timeout_ms,
        len(record),
        payload_length,
        crc32c(record),
    )
    return head + _CRC.pack(crc32c(head)) + record


def unpack_header(data: Buffer, at: int = 0) -> FrameHeader:
    """Decode and check the 44 bytes of a header that begins ``at``. Raises ProtocolError."""
    header = _make_header(_FIELDS.unpack_from(data, at))
    if (
        _FIXED.unpack_from(data, at) != _FIXED_VALUES
        or header.flags not in _FLAGS
        or header.record_length > limits.RECORD_BYTES
        or header.payload_length > limits.PAYLOAD_BYTES
        or crc32c(memoryview(data)[at : at + _LAYOUT.size]) != header.crc
    ):
        raise ProtocolError(_fault(header, *_FIXED.unpack_from(data, at)))
    return header


def _fault(header: FrameHeader, magic: bytes, version: int, reserved: int) -> str:
    """What is wrong with a header."""
    if magic != MAGIC:
        return "no memfs frame: wrong magic"
    if not VERSION_MIN <= version <= VERSION_MAX:
        return f"frame of protocol version {version}, {VERSION_MAX} is spoken here"
    if header.flags not in _FLAGS or reserved:
        return "frame header with unknown flags or reserved bits"
    if header.record_length > limits.RECORD_BYTES:
        return f"record of {header.record_length} bytes, {limits.RECORD_BYTES} is the limit"
    if header.payload_length > limits.PAYLOAD_BYTES:
        return f"payload of {header.payload_length} bytes, {limits.PAYLOAD_BYTES} is the limit"
    return "frame header fails its checksum"


def check_record(header: FrameHeader, record: Buffer) -> None:
    """Check the record's bytes against the header. Raises ProtocolError."""
    if crc32c(record) != header.record_crc:
        raise ProtocolError("record fails its checksum")
