"""What reads bytes of others: for each a function that raises only when there is a bug.

Checksums are mended before the bytes are read where the first one of a target says so: guessing
them would keep a fuzzer in front of the door, and an attacker computes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from memfs.checksum import crc32c
from memfs.config import GatewayConfig
from memfs.errors import (
    CapabilityError,
    DataLossError,
    IntegrityError,
    InvalidArgumentError,
    InvalidTokenError,
    ProtocolError,
)
from memfs.gateway.auth.token_file import parse_tokens
from memfs.gateway.hadoop.exceptions import RemoteException
from memfs.gateway.hadoop.parameters import USER, Parameters
from memfs.gateway.http.addresses import Addresses
from memfs.gateway.operations.file_status import matches
from memfs.gateway.operations.reading import byte_range
from memfs.node.journal import segment_format
from memfs.node.log.entries import Entry, pack_entries, unpack_entries
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.protocol.records import decode, encode
from memfs.security import acls, capabilities, signature
from memfs.security.delegation_tokens import Token, TokenIdentifier
from memfs.types import Identity

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "frames"
_MENDED: Final = 1
_SIZE: Final = 1000


class Target(NamedTuple):
    """One reader."""

    run: Callable[[bytes], None]
    """Raises when there is a bug."""
    seeds: Callable[[], list[bytes]]
    """Inputs to begin with."""


def golden_frames() -> list[bytes]:
    """The frames of all messages."""
    found = []
    for path in sorted(GOLDEN.glob("*.txt")):
        blocks = re.findall(r"(?:^  [0-9a-f ]+\n)+", path.read_text("utf-8"), re.MULTILINE)
        found += [bytes.fromhex(block) for block in blocks]
    return found


# --- frames and messages ---------------------------------------------------------------------


def run_frames(data: bytes) -> None:
    """Frames one after the other, as a connection reads them: each refused, or exactly itself."""
    given = bytearray(data[1:])
    at = 0
    while len(given) - at >= frames.HEADER_BYTES:
        if data[0] & _MENDED:
            _mend_frame(given, at)
        try:
            header = frames.unpack_header(given, at)
            end = at + frames.HEADER_BYTES + header.record_length
            if end > len(given):
                return
            record = bytes(given[at + frames.HEADER_BYTES : end])
            frames.check_record(header, record)
        except ProtocolError:
            return
        again = frames.pack_frame(*header[:5], record, header.payload_length)
        assert again == given[at:end], "another frame"
        _run_record(header.opcode, header.flags, record)
        at = end + header.payload_length


def _mend_frame(given: bytearray, at: int) -> None:
    length = int.from_bytes(given[at + 28 : at + 32], "big")
    record = at + frames.HEADER_BYTES
    given[at + 36 : at + 40] = crc32c(given[record : record + length]).to_bytes(4, "big")
    given[at + 40 : at + 44] = crc32c(given[at : at + 40]).to_bytes(4, "big")


def run_messages(data: bytes) -> None:
    """A record of any message."""
    if len(data) > 2:
        _run_record(data[0], data[1], data[2:])


def _run_record(opcode: int, flags: int, raw: bytes) -> None:
    spec = m.BY_OPCODE.get(opcode)
    if spec is None:
        return
    kind = {frames.REQUEST: spec.request, frames.REPLY: spec.reply}.get(flags, m.ErrorReply)
    try:
        record = decode(kind, raw)
    except ProtocolError:
        return
    written = encode(record)
    assert encode(decode(kind, written)) == written, "a record that does not come back"


def _messages() -> list[bytes]:
    found = []
    for frame in golden_frames():
        header = frames.unpack_header(frame)
        body = frame[frames.HEADER_BYTES :]
        found.append(bytes([header.opcode & 0xFF, header.flags]) + body)
    return found


# --- the log and the journal -----------------------------------------------------------------


def run_entries(data: bytes) -> None:
    """Log entries, as a primary sends and a journal keeps them."""
    with contextlib.suppress(ProtocolError):
        found = unpack_entries(crc32c(data).to_bytes(4, "big") + data)
        assert unpack_entries(pack_entries(found)) == found, "other entries"
    with contextlib.suppress(ProtocolError):
        unpack_entries(data)


def _entries() -> list[bytes]:
    identity = Identity("alice", ("staff", "users"))
    record = encode(m.MakeDirectory(b"/a"))
    entries = [
        Entry(at, 3, 10**18 + at, 77, at, identity, 130, record, (5, 6) if at == 2 else ())
        for at in (1, 2, 3)
    ]
    return [pack_entries(entries[:count])[4:] for count in range(4)]


def run_journal(data: bytes) -> None:
    """A segment file: its frames in order and the torn rest, or damage that is named."""
    given = bytearray(data[1:])
    if data[:1] and data[0] & _MENDED:
        _mend_segment(given)
    raw = bytes(given)

    def read(at: int, length: int) -> bytes:
        return raw[at : at + length]

    with contextlib.suppress(DataLossError):
        header = segment_format.unpack_header(raw[: segment_format.HEADER_BYTES], "journal")
        if header is None:
            return
        for end in (None, header.previous_end % (len(raw) + 1)):
            for bodies in (True, False):
                with contextlib.suppress(DataLossError):
                    found = segment_format.survey(
                        read, len(raw), header, "j", end=end, bodies=bodies
                    )
                    _check_survey(found, len(raw) if end is None else end)


def _check_survey(found: segment_format.LogSurvey, size: int) -> None:
    assert found.torn >= 0
    assert found.end + found.torn == size or found.end == size
    at = segment_format.HEADER_BYTES
    for frame in found.frames:
        assert at <= frame.at < frame.end <= found.end, "frames overlap"
        at = frame.end


_FRAME_HEAD: Final = struct.Struct(">QQHHII")


def _mend_segment(given: bytearray) -> None:
    """Right salts and checksums wherever the lengths lead to a frame."""
    checked = segment_format.HEADER_BYTES - 4
    if len(given) < segment_format.HEADER_BYTES:
        return
    given[checked : checked + 4] = crc32c(given[:checked]).to_bytes(4, "big")
    salt = int.from_bytes(given[44:52], "big")
    at = segment_format.HEADER_BYTES
    while len(given) - at >= segment_format.FRAME_BYTES:
        _, batch, kind, meta, length, _ = _FRAME_HEAD.unpack_from(given, at)
        meta_at = at + segment_format.FRAME_BYTES
        body_at = meta_at + meta
        crc = crc32c(given[body_at : body_at + length])
        if meta > segment_format.META_BYTES or batch > at:
            return
        given[at:meta_at] = segment_format.pack_frame(
            salt, at, batch, kind, bytes(given[meta_at:body_at]), length, crc
        )[: segment_format.FRAME_BYTES]
        at = body_at + length


def _segments() -> list[bytes]:
    header = segment_format.RecordHeader(1, "0123456789abcdef", 1, 1, 0x1122334455667788, 0, 0)
    found = segment_format.pack_header(header)
    seeds = [found]
    for body in (b"", b"body", b"another body"):
        at = len(found)
        found += (
            segment_format.pack_frame(header.salt, at, at, 2, b"meta", len(body), crc32c(body))
            + body
        )
        seeds.append(found)
    return [bytes([mended]) + each for each in seeds for mended in (0, _MENDED)]


# --- HTTP ------------------------------------------------------------------------------------


def run_parameters(data: bytes) -> None:
    """The query of a request, with every way to read a parameter."""
    query = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(RemoteException):
        given = Parameters(query)
        for _, value in given.pairs:
            value.encode("utf-8")
        for name in {name.lower() for name, _ in given.pairs}:
            for read in _readers(given, name):
                with contextlib.suppress(RemoteException):
                    read()


def _readers(given: Parameters, name: str) -> Iterator[Callable[[], object]]:
    known = frozenset({"CREATE", "REPLACE"})
    yield lambda: given.text(name)
    yield lambda: given.flag(name)
    yield lambda: _between(given.whole(name, 5, 1, 1 << 40), 1, 1 << 40)
    yield lambda: _between(given.permission(0o755, name), 0, 0o1777)
    yield lambda: given.choice(name, known, "OP")
    yield lambda: given.path(name, "OP")
    yield lambda: given.paths(name, "OP")
    yield lambda: given.matching(name, USER)
    yield given.check_unused


def _between(number: int, least: int, most: int) -> None:
    assert least <= number <= most


def run_headers(data: bytes) -> None:
    """Headers that say which bytes, which version, which host."""
    header = data.decode("latin-1")
    for size in (0, 1, _SIZE):
        found = byte_range(header, size)
        if found is not None:
            assert 0 <= found.start <= found.end <= size, "bytes that the file has not"
            assert found.status == 200 or found.start < found.end
    matches(header, '"1-2"')
    addresses = _ADDRESSES
    with contextlib.suppress(RemoteException):
        addresses.check(header, "10.0.0.1")
    base = addresses.base(header, "10.0.0.1", 9870)
    assert re.fullmatch(r"http://[A-Za-z0-9\[\]:._-]+", base), "a redirect to anything"


_ADDRESSES: Final = Addresses(GatewayConfig(allowed_hosts=(".example",)), own=("gateway",))

# --- what proves who somebody is -------------------------------------------------------------


def run_token_file(data: bytes) -> None:
    """The file of bearer tokens."""
    with contextlib.suppress(ValueError):
        for digest, user in parse_tokens(data.decode("utf-8")).items():
            assert re.fullmatch("[0-9a-f]{64}", digest) and USER.fullmatch(user.user)


def run_tokens(data: bytes) -> None:
    """Delegation tokens, as URLs carry them and as bytes."""
    with contextlib.suppress(InvalidTokenError):
        token = Token.from_url(data.decode("latin-1"))
        assert Token.from_url(token.to_url()) == token
    with contextlib.suppress(InvalidTokenError):
        assert TokenIdentifier.decode(data).encode() == data


def run_signatures(data: bytes) -> None:
    """Signatures as they lie beside files."""
    with contextlib.suppress(IntegrityError):
        found = signature.decode(data)
        assert signature.decode(found.encoded()) == found


def run_acls(data: bytes) -> None:
    """Entries of access control lists as text."""
    with contextlib.suppress(InvalidArgumentError):
        for entry in acls.parse_entries(data.decode("utf-8", "surrogateescape")):
            assert acls.parse_entry(acls.format_entry(entry)) == entry


def _identifiers() -> list[bytes]:
    raw = TokenIdentifier("alice", "bob", "gateway", 1, 1 << 40, 7, 1).encode()
    return [raw, Token(raw, bytes(32), service="host:1").to_url().encode()]


_DIGEST: Final = hashlib.sha256(b"token").hexdigest().encode()

_KEY: Final = capabilities.Key(1, bytes(32))
_HOLDER: Final = capabilities.holder("cluster", "alice", 1)


def run_capabilities(data: bytes) -> None:
    """Capabilities: what verifies is what was made."""
    mended = data[1:]
    if data[:1] == bytes([_MENDED]):
        body = mended[: -capabilities.PROOF_BYTES]
        mended = body + capabilities._proof(_KEY, _HOLDER, body)
    with contextlib.suppress(CapabilityError):
        capabilities.key_number(mended)
        found = capabilities.verify(_KEY, _HOLDER, mended)
        assert len(found.firsts) == len(found.ends) == len(found.generations)
        for inode in (0, 1, 5, 1 << 63, *found.firsts[:2]):
            found.covers(inode, 1, capabilities.READ)


def _capabilities() -> list[bytes]:
    grants: tuple[list[tuple[int, int]], ...] = ([], [(5, 1)], [(5, 1), (6, 1), (9, 2)])
    made = [capabilities.make(_KEY, _HOLDER, 3, 600, each) for each in grants]
    return [*[b"\0" + each for each in made], *[bytes([_MENDED]) + each for each in made]]


TARGETS: Final[dict[str, Target]] = {
    "frames": Target(
        run_frames,
        lambda: [
            bytes([at % 2]) + frame * (1 + at % 3) for at, frame in enumerate(golden_frames())
        ],
    ),
    "messages": Target(run_messages, _messages),
    "entries": Target(run_entries, _entries),
    "journal": Target(run_journal, _segments),
    "parameters": Target(
        run_parameters,
        lambda: [
            b"op=OPEN&offset=5&length=10&user.name=alice&doas=bob&delegation=abc",
            b"op=CREATE&overwrite=true&permission=644&createflag=create,replace&x=%C3%BC+%2F",
            b"sources=/a,/b&destination=/c&Permission=01777&recursive=null&buffersize=4096",
        ],
    ),
    "headers": Target(
        run_headers,
        lambda: [
            *(b"bytes=0-99", b"bytes=-5", b"bytes=7-", b"bytes=99999999999999999999-"),
            *(b'W/"1-2", "a"', b"*", b"localhost:9870", b"[::1]:80", b"a.example", b"10.0.0.1"),
        ],
    ),
    "token_file": Target(
        run_token_file,
        lambda: [_DIGEST + b" alice\n", b"# no\n\n" + _DIGEST + b" bob ops,staff # so\n"],
    ),
    "tokens": Target(run_tokens, _identifiers),
    "capabilities": Target(run_capabilities, _capabilities),
    "signatures": Target(
        run_signatures,
        lambda: [signature.Signature("/a", 1, 5, bytes(32), bytes(32), bytes(64)).encoded()],
    ),
    "acls": Target(run_acls, lambda: [b"user:alice:rwx,d:g::r-x,mask::7,other:r--"]),
}
